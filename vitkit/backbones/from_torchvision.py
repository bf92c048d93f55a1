"""Models of torchvision."""

from pathlib import Path

import torchvision.models as library
from torch import nn
from torchvision.models import VisionTransformer, WeightsEnum
from torchvision.transforms._presets import ImageClassification

from vitkit.backbones.backbone import Backbone, Card, TokenBackbone
from vitkit.backbones.removal import TokenRemoval
from vitkit.backbones.weights import load_weights
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess


def names() -> list[str]:
    """The classifiers of pictures of torchvision."""
    return list(library.list_models(module=library))


def knows(name: str) -> bool:
    """Whether torchvision can make it."""
    return name.partition(".")[0] in names()


def load(name: str, weights: str | Path | None, pretrained: bool, num_classes: int | None, in_chans: int | None) -> Backbone:
    """The model that torchvision makes, with the transforms of the weights that the tag names.

    Without a tag they are those of the library's default weights if these are loaded, and of its first, plainly trained weights
    otherwise.
    """
    if in_chans not in (None, 3):
        raise UsageError(f"in_chans={in_chans} for torchvision:{name}", "3", "Use a model of timm.")
    architecture, _, tag = name.partition(".")
    entry = _entry(architecture, tag or ("DEFAULT" if pretrained else ""))
    own = len(entry.meta["categories"])
    if pretrained and num_classes not in (None, own):
        raise UsageError(f"num_classes={num_classes} for torchvision:{name}", f"{own}, as its weights have", "Leave it out.")
    length = num_classes or own
    model = library.get_model(architecture, weights=entry) if pretrained else library.get_model(architecture, num_classes=length)
    if weights is not None:
        load_weights(model, weights, length)
    classes = tuple(entry.meta["categories"]) if pretrained else None
    loaded = weights is not None or pretrained
    card = Card(f"torchvision:{name}", preprocess_of(entry), length, classes, random_weights=not loaded)
    if not isinstance(model, VisionTransformer):
        return Backbone(model, card)
    removal = TokenRemoval(prefix=1)
    # The encoder's dropout follows the position embedding directly, and has no parameters whose names this would change.
    model.encoder.dropout = nn.Sequential(model.encoder.dropout, removal)
    return TokenBackbone(model, card, removal, (model.patch_size,) * 2, (model.image_size,) * 2)


def _entry(architecture: str, tag: str) -> WeightsEnum:
    entries = library.get_model_weights(architecture)
    if not tag:
        return next(iter(entries))
    if tag not in entries.__members__:
        raise UsageError(
            f"torchvision's {architecture} has no weights {tag!r}",
            f"one of {', '.join(entries.__members__)}",
            f"Write torchvision:{architecture}.{next(iter(entries.__members__))}.",
        )
    return entries[tag]


def preprocess_of(entry: WeightsEnum) -> Preprocess:
    """The transforms of a weights entry as a :class:`~vitkit.preprocess.Preprocess`."""
    transforms = entry.transforms()
    assert isinstance(transforms, ImageClassification)
    [size], [resized] = transforms.crop_size, transforms.resize_size
    return Preprocess(
        size=(size, size),
        mean=transforms.mean,
        std=transforms.std,
        interpolation=transforms.interpolation.value,
        crop=size / resized,
    )
