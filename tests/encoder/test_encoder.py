import pytest
import torch
from torch import nn

from vitkit.bias import NoBias, SpectralBias, TableBias
from vitkit.embedding import LearnedPosition, NoPosition, PatchEmbed, SinCosPosition
from vitkit.encoder import Block, Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import build, recipe
from vitkit.spectral import Exponential


def make(ndim=2, patch=4, channels=1, **options) -> Encoder:
    torch.manual_seed(0)
    options = {"position": SinCosPosition(), "depth": 2, "num_heads": 2} | options
    return Encoder(PatchEmbed(ndim, patch, channels, 32), **options).eval()


@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_block_is_torchs_encoder_layer(order):
    encoder = make(norm_order=order)
    block: Block = encoder.blocks[0]
    oracle = nn.TransformerEncoderLayer(32, 2, 128, 0.0, "gelu", 1e-6, batch_first=True, norm_first=order == "pre").eval()
    oracle.self_attn.in_proj_weight.data = block.attn.qkv.weight.data
    oracle.self_attn.in_proj_bias.data = block.attn.qkv.bias.data
    for ours, theirs in (
        (block.attn.proj, oracle.self_attn.out_proj),
        (block.mlp.fc1, oracle.linear1),
        (block.mlp.fc2, oracle.linear2),
        (block.norm1, oracle.norm1),
        (block.norm2, oracle.norm2),
    ):
        nn.init.normal_(ours.weight, std=0.3)
        theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, 32)
    grid = encoder.embed.grid((8, 12))
    torch.testing.assert_close(block(x, grid), oracle(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [NoBias(), SpectralBias(Exponential(2, 2))], ids=["none", "spectral"])
@pytest.mark.parametrize("pool", ["token", "mean"])
def test_keeping_every_token_changes_nothing(bias, pool):
    encoder = make(bias=bias, pool=pool, registers=2)
    x = torch.randn(3, 1, 16, 16)
    every = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(encoder.pool(encoder(x, keep=every)), encoder.pool(encoder(x)))


@pytest.mark.parametrize("bias", [NoBias(), SpectralBias(Exponential(2, 2))], ids=["none", "spectral"])
def test_the_order_of_kept_tokens_does_not_matter(bias):
    encoder = make(bias=bias)
    x, keep = torch.randn(2, 1, 16, 16), torch.tensor([[3, 7, 1, 12]]).expand(2, -1)
    there = encoder(x, keep=keep)
    back = encoder(x, keep=keep.flip(1))
    torch.testing.assert_close(there.patches, back.patches.flip(1))
    torch.testing.assert_close(there.prefix, back.prefix)


def test_removed_tokens_are_not_seen():
    """What stands in a removed patch cannot change the result, unlike what is painted over a patch."""
    encoder = make(bias=SpectralBias(Exponential(2, 2)))
    x = torch.randn(2, 1, 16, 16)
    keep = torch.arange(1, 16).expand(2, -1)
    other = x.clone()
    other[:, :, :4, :4] = 7.0
    assert torch.equal(encoder(x, keep=keep).patches, encoder(other, keep=keep).patches)
    assert not torch.equal(encoder(x).patches, encoder(other).patches)


def test_keeping_none_leaves_the_class_token():
    encoder = make(bias=SpectralBias(Exponential(2, 2)))
    tokens = encoder(torch.randn(2, 1, 16, 16), keep=torch.empty(2, 0, dtype=torch.long))
    assert tokens.patches.shape == (2, 0, 32)
    assert torch.isfinite(encoder.pool(tokens)).all()
    with pytest.raises(UsageError, match="no patch to take the mean of"):
        make(pool="mean").pool(tokens)


@pytest.mark.parametrize(
    ("ndim", "size", "shape"), [(1, (18,), (5,)), (2, (16, 10), (4, 3)), (3, (8, 7, 4), (2, 2, 1))], ids=["1d", "2d", "3d"]
)
def test_one_code_for_any_number_of_axes(ndim, size, shape):
    encoder = make(ndim, bias=SpectralBias(Exponential(2, ndim)), pool="mean", class_token=False)
    tokens = encoder(torch.randn(2, 1, *size), spacing=(0.5,) * ndim)
    assert tokens.grid.shape == shape
    assert tokens.grid.spacing == (2.0,) * ndim
    assert tokens.spatial().shape == (2, 32, *shape)
    assert torch.equal(tokens.spatial().flatten(2).mean(2), encoder.pool(tokens))


def test_a_plane_in_3d_is_a_picture_in_2d():
    """With one token of depth the volume encoder computes what the picture encoder does."""
    flat = make(2, bias=SpectralBias(Exponential(2, 2)), position=NoPosition())
    deep = make(3, (1, 4, 4), bias=SpectralBias(Exponential(2, 3)), position=NoPosition())
    state = {
        name: value[:, [0, 0, 1]] if name.endswith("raw_lengthscale") else value for name, value in flat.state_dict().items()
    }
    deep.load_state_dict(state)
    x = torch.randn(2, 1, 12, 8)
    torch.testing.assert_close(deep(x[:, :, None]).patches, flat(x).patches)


def test_without_positions_the_mean_does_not_know_the_order():
    encoder = make(position=NoPosition(), pool="mean").double()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    patches = x.view(1, 1, 4, 4, 4, 4).transpose(3, 4).flatten(2, 3)[:, :, torch.randperm(16)]
    shuffled = patches.unflatten(2, (4, 4)).transpose(3, 4).reshape(1, 1, 16, 16)
    torch.testing.assert_close(encoder.pool(encoder(x)), encoder.pool(encoder(shuffled)), rtol=1e-10, atol=1e-12)


def test_each_block_has_a_bias_of_its_own():
    encoder = make(bias=TableBias(2, (4, 4)), depth=3)
    first, second, third = (block.attn.bias.logits for block in encoder.blocks)
    assert first is not second
    assert not torch.equal(second, third)


def test_checkpointing_changes_no_value_and_no_gradient():
    x = torch.randn(2, 1, 16, 16)
    gradients = []
    for checkpointing in (False, True):
        encoder = make(bias=SpectralBias(Exponential(2, 2)), checkpointing=checkpointing).train()
        encoder.pool(encoder(x)).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.equal(gradient, gradients[1][name]), name


def test_drop_path_and_dropout_are_for_training_only():
    encoder = make(drop_path=0.5, dropout=0.5, depth=3)
    x = torch.randn(4, 1, 16, 16)
    assert torch.equal(encoder(x).patches, encoder(x).patches)
    encoder.train()
    assert not torch.equal(encoder(x).patches, encoder(x).patches)


def test_layer_scale_of_zero_makes_blocks_the_identity():
    encoder = make(layer_scale=0.0)
    first, *_, last = encoder.forward_intermediates(torch.randn(2, 1, 16, 16))
    assert torch.equal(first, last)


def test_intermediates_end_where_the_encoder_ends():
    encoder = make(registers=1)
    x = torch.randn(2, 1, 16, 16)
    states = encoder.forward_intermediates(x)
    assert [tuple(state.shape) for state in states] == [(2, 18, 32)] * 3
    tokens = encoder(x)
    assert torch.equal(encoder.norm(states[-1]), torch.cat([tokens.prefix, tokens.patches], dim=1))


def test_a_recipe_makes_the_same_encoder():
    encoder = make(bias=SpectralBias(Exponential(2, 2)), position=LearnedPosition(32, (4, 4)), layer_scale=0.1, registers=2)
    again = build(recipe(encoder)).eval()
    again.load_state_dict(encoder.state_dict())
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(again(x).patches, encoder(x).patches)


def test_the_classifier_normalises_once():
    encoder = make(channels=2)
    preprocess = Preprocess((16, 16), mean=(0.2, 0.4), std=(0.5, 0.25))
    model = Classifier(encoder, 5, preprocess).eval()
    images = torch.rand(3, 2, 16, 16)
    by_hand = (images - torch.tensor([0.2, 0.4]).view(2, 1, 1)) / torch.tensor([0.5, 0.25]).view(2, 1, 1)
    torch.testing.assert_close(model(images), model.head(encoder.pool(encoder(by_hand))))
    assert model.grid((16, 16)).shape == (4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(class_token=False), 'pool="token" without a class token'),
        (lambda: make(depth=0), "depth=0"),
        (lambda: make(drop_path=1.0), "drop_path=1.0"),
        (lambda: make(pool="max"), "pool='max' in Encoder; expected one of token, mean"),
        (lambda: make(bias=TableBias(4, (4, 4))), "4 heads in an attention of 2 heads"),
        (lambda: make()(torch.zeros(2, 1, 16, 16), keep=torch.zeros(3, 4, dtype=torch.long)), "for a batch of 2"),
        (lambda: make()(torch.zeros(1, 1, 16, 16), keep=torch.tensor([[16]])), "keep between 16 and 16 on a grid of 16"),
        (lambda: Classifier(make(), 1, Preprocess((16, 16))), "num_classes=1"),
        (lambda: Classifier(make(), 3, Preprocess((16, 16), (0.5,) * 3, (0.5,) * 3)), "3 channels and 2 axes for"),
        (lambda: make()(torch.zeros(1, 1, 16, 16), keep=torch.tensor([[0, 1]])).spatial(), "some were removed"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_encoders_share_no_module():
    first, second = (Encoder(PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=8), depth=1, num_heads=2) for _ in range(2))
    first.eval()
    assert all(module.training for module in second.modules())
