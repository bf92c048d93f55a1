"""Models of timm."""

from dataclasses import replace
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
from vitkit.backbones.native import to_native
from vitkit.backbones.removal import TokenRemoval
from vitkit.backbones.request import Request
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


def load(asked: Request) -> Backbone:
    """The model that timm makes, with what its own data configuration says."""
    model, card = _create(asked)
    removal = _install_removal(model)
    if removal is None:
        backbone = Backbone(model, card)
        backbone.no_removal = _why_not(model)
        return backbone
    embed = model.patch_embed
    return TokenBackbone(model, card, removal, embed.patch_size, embed.img_size if embed.strict_img_size else None)


def load_native(asked: Request) -> NativeBackbone:
    """The same weights in vitkit's encoder."""
    model, card = _create(asked)
    return NativeBackbone(to_native(model, card.preprocess), card)


def _create(asked: Request) -> tuple[Any, Card]:
    shape = {key: value for key in ("num_classes", "in_chans") if (value := getattr(asked, key)) is not None}
    try:
        with asked.constructing():
            model: Any = timm.create_model(asked.name, pretrained=asked.pretrained, **shape, **asked.arguments)
    except RuntimeError as error:
        remedy = f"Choose a tag among {', '.join(timm.list_pretrained(asked.name.partition('.')[0])) or 'none'}, or give weights."
        raise UsageError(f"{asked}: {error}", "a model and a tag that timm has weights for", remedy) from error
    if asked.weights is not None:
        load_weights(model, asked.weights, model.num_classes)
    preprocess = preprocess_of(resolve_model_data_config(model), asked.in_chans or 3)  # type: ignore[no-untyped-call]
    own = asked.pretrained and asked.num_classes in (None, model.pretrained_cfg.get("num_classes"))
    loaded = asked.weights is not None or asked.pretrained
    card = Card(str(asked), preprocess, model.num_classes, _classes(model) if own else None, random_weights=not loaded)
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
