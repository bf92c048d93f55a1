"""One door to the models of other libraries."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vitkit.backbones import from_timm, from_torchvision
from vitkit.backbones.backbone import Backbone
from vitkit.backbones.request import Request
from vitkit.errors import UsageError

_LIBRARIES = {"timm": from_timm, "torchvision": from_torchvision}


def names(library: str | None = None) -> list[str]:
    """Every name that :func:`load` knows, as ``library:model``; of one library, or of all.

    >>> "torchvision:resnet50" in names("torchvision")
    True
    """
    chosen = _LIBRARIES if library is None else {library: _LIBRARIES[library]}
    return [f"{prefix}:{name}" for prefix, module in chosen.items() for name in module.names()]


def load(
    name: str,
    weights: str | Path | None = None,
    pretrained: bool = False,
    native: bool = False,
    num_classes: int | None = None,
    in_chans: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Backbone:
    """A model of timm or torchvision, with the preprocessing that belongs to its weights.

    Args:
        name: ``timm:NAME``, where NAME may carry a tag (``vit_small_patch16_224.augreg_in21k_ft_in1k``) or be ``hf-hub:...``;
            or ``torchvision:NAME``, where a tag (``resnet50.IMAGENET1K_V1``) chooses the weights and their preprocessing.
        weights: File of weights to load: .safetensors, or a .pth, .pt, .bin or .ckpt that holds tensors alone.
        pretrained: Let the library download its weights.
        native: Put the weights into vitkit's own encoder (timm's plain vision transformers).
        num_classes: Length of the logits; the library's default if not given.
        in_chans: Channels of the images; three if not given.
        arguments: What else the library's own constructor is given, such as ``{"img_size": 64}``.

    Without ``weights`` and ``pretrained`` the weights are random, and ``random_weights`` says so. A model that can be run on some
    of its tokens comes as a :class:`TokenBackbone`.

    Raises:
        UsageError: An unknown name, a file that is not there, arguments that exclude one another or that the library refuses, or
            no network to download from.
        CheckpointError: A weights file that cannot be read or does not fit.

    >>> backbone = load("timm:test_vit", num_classes=5)
    >>> import torch
    >>> backbone(torch.rand(2, 3, 160, 160)).shape, backbone.grid((160, 160)).shape
    (torch.Size([2, 5]), (10, 10))
    """
    library, _, model_name = name.partition(":")
    if library == "monai":
        raise UsageError(f"the backbone {name}", "one of timm or torchvision", "MONAI's are to come in a later version.")
    if library not in _LIBRARIES or not model_name:
        raise UsageError(
            f"the backbone {name!r}",
            "timm:NAME or torchvision:NAME",
            f"{_suggest(name)}See `vitkit ls backbones`.",
        )
    if weights is not None and pretrained:
        raise UsageError("both weights and pretrained", "one of them", "Leave out pretrained to use your file.")
    if native and library != "timm":
        raise UsageError(f"native=True with {name}", "a vision transformer of timm", "Use it as it is, without native.")
    if not _LIBRARIES[library].knows(model_name):
        known = f"a name that {library} knows"
        raise UsageError(f"{library} has no model {model_name!r}", known, f"{_suggest(name)}See `vitkit ls backbones`.")
    for argument, value in (("num_classes", num_classes), ("in_chans", in_chans)):
        if value is not None and value < 1:
            raise UsageError(f"{argument}={value}", "a positive number", "Leave it out for the library's default.")
    further = dict(arguments or {})
    if twice := sorted({"num_classes", "in_chans", "pretrained", "weights"} & set(further)):
        found = f"{' and '.join(twice)} among the arguments of {name}"
        raise UsageError(found, "what only the library's constructor knows", "Give it as an argument of its own.")
    asked = Request(library, model_name, weights, pretrained, num_classes, in_chans, further)
    try:
        return from_timm.load_native(asked) if native else _LIBRARIES[library].load(asked)
    except OSError as error:
        raise UsageError(
            f"{name} could not be downloaded ({type(error).__name__})",
            "a network connection, or the weights in the library's cache",
            "Download the file elsewhere and give it as weights.",
        ) from error


def _suggest(name: str) -> str:
    """A sentence with the names that come close, or nothing."""
    library, _, rest = name.rpartition(":")
    known = names(library) if library in _LIBRARIES else names()
    by_model = {full.partition(":")[2]: full for full in reversed(known)}
    close = [by_model[match] for match in get_close_matches(rest.partition(".")[0], by_model, n=3, cutoff=0.6)]
    return f"Did you mean {' or '.join(close)}? " if close else ""
