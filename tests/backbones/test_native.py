"""The oracle of the encoder: timm's models, weight for weight."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from vitkit.backbones.native import to_native
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess

NAMES = ["vit_tiny_patch16_224", "vit_small_patch16_224", "deit3_small_patch16_224", "vit_small_patch14_reg4_dinov2"]
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def normalised(images):
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.fixture(scope="module", params=NAMES)
def pair(request, tmp_path_factory):
    """A timm model whose every parameter counts, its weights saved and loaded again, and its twin."""
    torch.manual_seed(0)
    model = timm.create_model(request.param, num_classes=10, img_size=112).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(model.state_dict(), path)
    again = timm.create_model(request.param, num_classes=10, img_size=112).eval()
    again.load_state_dict(load_file(path))
    size = model.patch_embed.img_size
    return model, to_native(again, Preprocess(size, mean=MEAN, std=STD)), torch.rand(1, 3, *size)


@torch.inference_mode()
def test_logits_and_every_blocks_features_agree(pair):
    model, native, images = pair
    x = normalised(images)
    torch.testing.assert_close(native(images), model(x), rtol=1e-5, atol=1e-5)
    theirs = model.forward_intermediates(x, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True)
    ours = native.encoder.forward_intermediates(native.preprocess.normalise(images))[1:]
    assert len(ours) == len(theirs) == 12
    for mine, (patches, prefix) in zip(ours, theirs, strict=True):
        wanted = torch.cat([prefix, patches], dim=1)
        # Relative to the size of the features, which LayerScale lets grow over the blocks.
        assert (mine - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@torch.inference_mode()
def test_removing_tokens_is_timms_blocks_on_the_tokens_that_are_left(pair):
    model, native, images = pair
    keep = torch.randperm(model.patch_embed.num_patches)[None, :20].sort().values
    x = model._pos_embed(model.patch_embed(normalised(images)))
    kept = torch.cat([x[:, : model.num_prefix_tokens], x[:, model.num_prefix_tokens + keep[0]]], dim=1)
    wanted = model.forward_head(model.norm(model.blocks(kept)))
    torch.testing.assert_close(native(images, keep=keep), wanted, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_another_input_size_agrees_with_timms_resampling():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=10).eval()
    torch.nn.init.normal_(model.pos_embed)
    native = to_native(model, Preprocess((224, 224), mean=MEAN, std=STD))
    model.set_input_size((160, 192))
    images = torch.rand(1, 3, 160, 192)
    torch.testing.assert_close(native(images), model(normalised(images)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet10t", {}, "a ResNet; expected a plain timm VisionTransformer"),
        ("test_vit", {"global_pool": "avg"}, "pooling other than by its class token"),
        ("test_vit", {"qk_norm": True}, "normalised queries and keys"),
        ("test_vit", {"num_classes": 0}, "without a head"),
        ("vit_tiny_patch16_224", {"depth": 1, "pre_norm": True}, "a norm before the blocks"),
    ],
)
def test_says_which_part_it_does_not_have(name, options, message):
    with pytest.raises(UsageError, match=message):
        to_native(timm.create_model(name, **options), Preprocess((224, 224), mean=MEAN, std=STD))
