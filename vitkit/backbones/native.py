"""timm's vision transformers in vitkit's own encoder, with the same weights."""

from typing import Any

import torch
from timm.models.vision_transformer import Block as TimmBlock
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitkit.embedding import LearnedPosition, NoPosition, PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess


def to_native(model: nn.Module, preprocess: Preprocess) -> Classifier:
    """The same function as a timm ``VisionTransformer``, as vitkit's :class:`~vitkit.encoder.Classifier`.

    Serves the plain ViT, DeiT, DeiT III and DINOv2 with registers: learned positions, a class token that is pooled, pre-norm,
    a GELU MLP, LayerScale or not. Bias, pattern and ``keep`` can then be used on pretrained weights.

    Args:
        model: A model made by ``timm.create_model``.
        preprocess: What its images go through.

    Raises:
        UsageError: Another architecture, or a variant of this one with a part that vitkit's encoder lacks, which is named.
    """
    if not isinstance(model, VisionTransformer):
        raise _refusal(f"a {type(model).__name__}")
    if odd := _unsupported(model):
        raise _refusal(f"a VisionTransformer with {', '.join(odd)}")
    if model.num_classes < 2:
        raise UsageError("a timm model without a head", "at least two classes for native=True", "Give num_classes.")
    first: Any = model.blocks[0]
    shape = model.patch_embed.grid_size
    embed = PatchEmbed(2, model.patch_embed.patch_size, model.patch_embed.proj.in_channels, model.embed_dim)
    encoder = Encoder(
        embed,
        depth=len(model.blocks),
        num_heads=first.attn.num_heads,
        position=NoPosition() if model.pos_embed is None else LearnedPosition(model.embed_dim, shape),
        mlp_ratio=first.mlp.fc1.out_features / model.embed_dim,
        qkv_bias=first.attn.qkv.bias is not None,
        registers=model.num_reg_tokens,
        layer_scale=None if isinstance(first.ls1, nn.Identity) else 1.0,
        eps=first.norm1.eps,
    )
    classifier = Classifier(encoder, model.num_classes, preprocess)
    classifier.load_state_dict(_rename(model))
    return classifier.train(model.training)


def _refusal(found: str) -> UsageError:
    return UsageError(found, "a plain timm VisionTransformer for native=True", "Use it as it is, without native.")


def _unsupported(model: VisionTransformer) -> list[str]:
    """What this model has and vitkit's encoder lacks, in words."""
    block: Any = model.blocks[0]
    tests = {
        f"blocks of type {type(block).__name__}": type(block) is TimmBlock,
        "pooling other than by its class token": model.global_pool == "token" and model.cls_token is not None,
        "a norm before the blocks": isinstance(model.norm_pre, nn.Identity),
        "a norm after pooling": isinstance(model.fc_norm, nn.Identity),
        "no last norm": isinstance(model.norm, nn.LayerNorm),
        "norms other than LayerNorm": isinstance(getattr(block, "norm1", None), nn.LayerNorm),
        "normalised queries and keys": isinstance(getattr(block.attn, "q_norm", nn.Identity()), nn.Identity),
        "an MLP other than fc1, GELU, fc2": isinstance(getattr(getattr(block, "mlp", None), "act", None), nn.GELU)
        and isinstance(getattr(block.mlp, "norm", nn.Identity()), nn.Identity),
        "a patch embedding with a norm": isinstance(getattr(model.patch_embed, "norm", nn.Identity()), nn.Identity),
    }
    return [words for words, plain in tests.items() if not plain]


def _rename(model: VisionTransformer) -> dict[str, torch.Tensor]:
    """The state dict under vitkit's names, with the class token's position folded into the class token."""
    state = dict(model.state_dict())
    prefix = [state.pop("cls_token")]
    if "reg_token" in state:
        prefix.append(state.pop("reg_token"))
    tokens = torch.cat(prefix, dim=1)
    renamed = {}
    if "pos_embed" in state:
        position = state.pop("pos_embed")
        patches = model.patch_embed.num_patches
        if position.shape[1] > patches:
            tokens = tokens + position[:, :-patches]
        renamed["encoder.position.embedding"] = position[0, -patches:].unflatten(0, model.patch_embed.grid_size)
    renamed["encoder.prefix"] = tokens
    for name, value in state.items():
        if name == "patch_embed.proj.weight":
            renamed["encoder.embed.proj.weight"] = value.flatten(1)
        elif name == "patch_embed.proj.bias":
            renamed["encoder.embed.proj.bias"] = value
        elif name.startswith("head."):
            renamed[name] = value
        else:
            renamed[f"encoder.{name}"] = value
    return renamed
