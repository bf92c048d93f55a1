"""Removing tokens from stock transformers: against the library's own blocks, run by hand on the tokens that are kept."""

import pytest
import timm
import torch
import torchvision
from timm.layers import apply_keep_indices_nlc

from vitkit import backbones
from vitkit.backbones import from_timm
from vitkit.backbones.removal import TokenRemoval
from vitkit.errors import UsageError

PLAIN = ["test_vit", "test_vit2", "test_vit3"]


def load(name, **arguments):
    torch.manual_seed(0)
    return backbones.load(name, **arguments).eval()


def some(backbone, images, kept):
    generator = torch.Generator().manual_seed(1)
    tokens = len(backbone.grid(images.shape[2:]))
    rows = [torch.randperm(tokens, generator=generator)[:kept].sort().values for _ in images]
    return torch.stack(rows)


@torch.no_grad()
def by_hand(model, normalised, keep):
    """timm's ViT step by step, with the other tokens left out of what enters the first block."""
    tokens = model._pos_embed(model.patch_embed(normalised))
    prefix = model.num_prefix_tokens
    kept = torch.stack([row[prefix:][indices] for row, indices in zip(tokens, keep, strict=True)])
    tokens = model.norm_pre(torch.cat([tokens[:, :prefix], kept], dim=1))
    for block in model.blocks:
        tokens = block(tokens)
    return model.forward_head(model.norm(tokens))


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_it_is_timm_s_own_blocks_on_the_kept_tokens(name):
    backbone = load(f"timm:{name}", num_classes=7)
    images = torch.rand(3, 3, 160, 160)
    keep = some(backbone, images, 13)
    expected = by_hand(backbone.model, backbone.preprocess.normalise(images), keep)
    torch.testing.assert_close(backbone(images, keep=keep), expected)
    assert not torch.allclose(backbone(images), expected, atol=1e-3)


@torch.no_grad()
def test_rotary_positions_follow_their_tokens():
    backbone = load("timm:vit_small_patch16_rope_224", num_classes=7)
    model, images = backbone.model, torch.rand(2, 3, 224, 224)
    del model.blocks[2:]
    keep = some(backbone, images, 9)
    tokens, rope = model._pos_embed(model.patch_embed(backbone.preprocess.normalise(images)))
    prefix = model.num_prefix_tokens
    kept = torch.stack([row[prefix:][indices] for row, indices in zip(tokens, keep, strict=True)])
    tokens = model.norm_pre(torch.cat([tokens[:, :prefix], kept], dim=1))
    rope = apply_keep_indices_nlc(tokens, rope, keep).unsqueeze(1)
    for block in model.blocks:
        tokens = block(tokens, rope=rope)
    torch.testing.assert_close(backbone(images, keep=keep), model.forward_head(model.norm(tokens)))


@torch.no_grad()
def test_torchvision_s_transformer():
    backbone = load("torchvision:vit_b_16", num_classes=7)
    model, images = backbone.model, torch.rand(2, 3, 224, 224)
    del model.encoder.layers[1:]
    torch.nn.init.normal_(model.heads.head.weight)
    keep = some(backbone, images, 9)
    patches = model._process_input(backbone.preprocess.normalise(images)) + model.encoder.pos_embedding[:, 1:]
    kept = torch.stack([row[indices] for row, indices in zip(patches, keep, strict=True)])
    tokens = torch.cat([(model.class_token + model.encoder.pos_embedding[:, :1]).expand(2, -1, -1), kept], dim=1)
    expected = model.heads(model.encoder.ln(model.encoder.layers(tokens))[:, 0])
    torch.testing.assert_close(backbone(images, keep=keep), expected)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_vit3", "torchvision:vit_b_16"])
@torch.no_grad()
def test_keeping_all_is_the_plain_forward_and_the_plain_forward_is_the_library_s(name):
    backbone = load(name)
    size = backbone.preprocess.size
    images = torch.rand(1, 3, *size)
    everything = torch.arange(len(backbone.grid(size)))[None]
    plain = backbone(images)
    assert torch.equal(backbone(images, keep=everything), plain)
    untouched = load(name).model
    if name.startswith("torchvision"):
        untouched = torchvision.models.get_model("vit_b_16").eval()
        untouched.load_state_dict(backbone.model.state_dict())
    assert torch.equal(untouched(backbone.preprocess.normalise(images)), plain)


@torch.no_grad()
def test_what_was_removed_cannot_be_seen():
    backbone = load("timm:test_vit", num_classes=7)
    images = torch.rand(2, 3, 160, 160)
    keep = torch.arange(50).expand(2, -1)  # the upper half, row by row
    logits = backbone(images, keep=keep)
    changed = images.clone()
    changed[:, :, 80:] = 1 - changed[:, :, 80:]
    assert torch.equal(backbone(changed, keep=keep), logits)
    assert not torch.allclose(backbone(changed), backbone(images), atol=1e-4)


def test_a_grid_counts_patches_in_pixels():
    grid = backbones.load("timm:test_vit").grid((160, 160))
    assert (grid.shape, grid.spacing) == ((10, 10), (16.0, 16.0))


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:swin_tiny_patch4_window7_224", "torchvision:resnet18"])
def test_an_architecture_that_cannot_says_so(name):
    backbone = backbones.load(name, num_classes=3)
    assert not hasattr(backbone, "grid")
    if name.startswith("timm"):
        assert "VisionTransformer, Eva" in backbone.no_removal
    with pytest.raises(UsageError, match="Paint the patches over"):
        backbone(torch.rand(1, 3, 32, 32), keep=torch.zeros(1, 1, dtype=torch.long))


def test_why_a_family_cannot_is_said():
    """A BEiT, whose bias is a table of its grid, and a hybrid, whose tokens are a network's."""
    beit = timm.models.beit.Beit(img_size=32, embed_dim=12, depth=1, num_heads=1, use_rel_pos_bias=True)
    hybrid = timm.models.VisionTransformer(img_size=32, embed_dim=12, depth=1, num_heads=1)
    hybrid.patch_embed = torch.nn.Identity()
    assert "table over its whole grid" in from_timm._why_not(beit)
    assert "come from a Identity" in from_timm._why_not(hybrid)


@pytest.mark.parametrize("keep", [torch.full((2, 1), 100), torch.full((2, 1), -1)])
def test_indices_off_the_grid_are_refused(keep):
    with pytest.raises(UsageError, match="indices of shape"):
        backbones.load("timm:test_vit")(torch.rand(2, 3, 160, 160), keep=keep)


@torch.no_grad()
def test_a_model_of_any_size_has_a_grid_of_any_size():
    backbone = load("timm:test_vit", num_classes=7)
    assert backbone.grid((64, 96)).shape == (4, 6)
    assert backbone(torch.rand(1, 3, 64, 96), keep=torch.tensor([[0, 23]])).shape == (1, 7)


def test_a_size_the_model_does_not_take_is_refused():
    with pytest.raises(UsageError, match="own preprocess"):
        backbones.load("timm:vit_tiny_patch16_224").grid((32, 32))
    with pytest.raises(UsageError, match="divides"):
        backbones.load("timm:test_vit").grid((160, 161))


def test_a_slot_that_is_never_reached_is_an_error():
    removal = TokenRemoval(prefix=1)
    with pytest.raises(RuntimeError, match="slot"), removal.keeping(torch.zeros(1, 1).long()):
        pass


def test_an_error_inside_leaves_nothing_behind():
    removal = TokenRemoval(prefix=0)
    with pytest.raises(ZeroDivisionError), removal.keeping(torch.zeros(1, 1).long()):
        raise ZeroDivisionError
    tokens = torch.rand(1, 4, 2)
    assert torch.equal(removal(tokens), tokens)
