"""Models of timm."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.layers.patch_embed import PatchEmbed
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitkit.backbones.backbone import Backbone, Card, NativeBackbone, TokenBackbone
from vitkit.backbones.constructing import constructing
from vitkit.backbones.native import to_native
from vitkit.backbones.removal import TokenRemoval
from vitkit.backbones.weights import load_weights
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess

_REMOTE = ("hf-hub:", "hf_hub:", "local-dir:")


def names() -> list[str]:
    """The architectures of timm."""
    return list(timm.list_models())


def knows(name: str) -> bool:
    """Whether timm can make it; what lies on a hub or in a folder is not known before it is asked for."""
    return name.startswith(_REMOTE) or timm.is_model(name.partition(".")[0])


def load(
    name: str,
    weights: str | Path | None,
    pretrained: bool,
    num_classes: int | None,
    in_chans: int | None,
    arguments: dict[str, Any],
) -> Backbone:
    """The model that timm makes, with what its own data configuration says."""
    model, card = _create(name, weights, pretrained, num_classes, in_chans, arguments)
    removal = _install_removal(model)
    if removal is None:
        backbone = Backbone(model, card)
        backbone.no_removal = _why_not(model)
        return backbone
    embed = model.patch_embed
    return TokenBackbone(model, card, removal, embed.patch_size, embed.img_size if embed.strict_img_size else None)


def load_native(
    name: str,
    weights: str | Path | None,
    pretrained: bool,
    num_classes: int | None,
    in_chans: int | None,
    arguments: dict[str, Any],
) -> NativeBackbone:
    """The same weights in vitkit's encoder."""
    model, card = _create(name, weights, pretrained, num_classes, in_chans, arguments)
    return NativeBackbone(to_native(model, card.preprocess), card)


def _create(
    name: str,
    weights: str | Path | None,
    pretrained: bool,
    num_classes: int | None,
    in_chans: int | None,
    arguments: dict[str, Any],
) -> tuple[Any, Card]:
    asked: dict[str, Any] = {
        key: value for key, value in (("num_classes", num_classes), ("in_chans", in_chans)) if value is not None
    }
    try:
        with constructing(f"timm:{name}", arguments):
            model: Any = timm.create_model(name, pretrained=pretrained, **asked, **arguments)
    except RuntimeError as error:
        remedy = f"Choose a tag among {', '.join(timm.list_pretrained(name.partition('.')[0])) or 'none'}, or give weights."
        raise UsageError(f"timm:{name}: {error}", "a model and a tag that timm has weights for", remedy) from error
    if weights is not None:
        load_weights(model, weights, model.num_classes)
    preprocess = preprocess_of(resolve_model_data_config(model), in_chans or 3)  # type: ignore[no-untyped-call]
    classes = _classes(model) if pretrained and num_classes in (None, model.pretrained_cfg.get("num_classes")) else None
    card = Card(f"timm:{name}", preprocess, model.num_classes, classes, random_weights=weights is None and not pretrained)
    return model, card


def preprocess_of(config: dict[str, Any], channels: int = 3) -> Preprocess:
    """A data configuration of timm's as a :class:`~vitkit.preprocess.Preprocess`.

    Other channel counts than the configuration's take the mean of its means and of its standard deviations for every channel.

    Raises:
        UsageError: A way to crop that vitkit has not.
    """
    if config["crop_mode"] == "border" or config["crop_pct"] > 1:
        raise UsageError(
            f"a timm model whose pictures are padded (crop_mode={config['crop_mode']}, crop_pct={config['crop_pct']})",
            "one whose pictures are cropped",
            "Choose another model.",
        )
    preprocess = Preprocess(
        size=config["input_size"][1:],
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        crop=config["crop_pct"],
        squash=config["crop_mode"] == "squash",
    )
    if channels == preprocess.channels:
        return preprocess
    mean, std = (sum(values) / len(values) for values in (preprocess.mean, preprocess.std))
    return replace(preprocess, mean=(mean,) * channels, std=(std,) * channels)


def _classes(model: nn.Module) -> tuple[str, ...] | None:
    """WordNet's identifiers, which are also the folders of ImageNet, where the number of classes tells which set it is."""
    subset = infer_imagenet_subset(model)
    return tuple(ImageNetInfo(subset).label_names()) if subset else None  # type: ignore[no-untyped-call]


def _why_not(model: Any) -> str:
    """Why tokens cannot be taken away from a model of another family."""
    kind = type(model).__name__
    if isinstance(model, VisionTransformer | Eva):
        return f"the tokens of this {kind} come from a {type(model.patch_embed).__name__}, and are not patches of the image"
    if isinstance(model, Beit):
        return "the relative position bias of a Beit is a table over its whole grid, which its blocks add to whatever tokens come"
    return f"a {kind} is none of timm's plain vision transformers (VisionTransformer, Eva), whose blocks take any set of tokens"


def _install_removal(model: Any) -> TokenRemoval | None:
    """Put token removal into the slot behind the position embedding, if there is one and the tokens are patches."""
    if not isinstance(model, VisionTransformer | Eva) or not isinstance(model.patch_embed, PatchEmbed):
        return None
    removal = TokenRemoval(model.num_prefix_tokens, with_indices=isinstance(model, Eva))
    setattr(model, "patch_drop", removal)  # noqa: B010  # its declared type is that of timm's own dropout
    return removal
