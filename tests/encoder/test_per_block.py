"""Patterns per block, and several attentions in one."""

import pytest
import torch

from vitkit.attention import AlongAxis, Axial, Full, Window
from vitkit.bias import SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.errors import UsageError
from vitkit.recipe import build, recipe
from vitkit.spectral import Exponential


def make(pattern, depth=4, **options):
    torch.manual_seed(0)
    embed = PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=16)
    bias = SpectralBias(Exponential(2, 2))
    return Encoder(embed, depth, 2, bias=bias, pattern=pattern, class_token=False, pool="mean", **options)


def names(encoder):
    return [[type(attention.pattern).__name__ for attention in block.attentions] for block in encoder.blocks]


def test_a_list_is_repeated_over_the_blocks():
    assert names(make(Axial())) == [["Axial"]] * 4
    assert names(make([Axial(), Full()])) == [["Axial"], ["Full"], ["Axial"], ["Full"]]
    assert names(make([Axial(), [AlongAxis(0), AlongAxis(1)], Full(), Window(2)])) == [
        ["Axial"],
        ["AlongAxis", "AlongAxis"],
        ["Full"],
        ["Window"],
    ]


def test_every_attention_has_a_bias_of_its_own():
    encoder = make([[AlongAxis(0), AlongAxis(1)]], depth=2)
    biases = {id(attention.bias) for block in encoder.blocks for attention in block.attentions}
    assert len(biases) == 4


@pytest.mark.parametrize("norm_order", ["pre", "post"])
@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_attentions_of_a_block_follow_each_other(norm_order, layer_scale):
    """One axis after another reaches everything in one block; one block along one axis does not."""
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    for pattern, everything in (([[AlongAxis(0), AlongAxis(1)]], True), (AlongAxis(0), False), (Axial(), False)):
        encoder = make(pattern, depth=1, norm_order=norm_order, layer_scale=layer_scale)
        [grad] = torch.autograd.grad(encoder(x).patches[0, 0].square().sum(), x)
        assert bool((grad != 0).all()) is everything


def test_all_of_it_learns_and_can_be_made_again():
    encoder = make([Axial(gates=2), [AlongAxis(0), AlongAxis(1, window=2)]], layer_scale=0.1)
    encoder.pool(encoder(torch.randn(2, 1, 8, 8))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    twin = build(recipe(encoder))
    twin.load_state_dict(encoder.state_dict())
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(twin(x).patches, encoder(x).patches)


@pytest.mark.parametrize("pattern", [[], [Full()] * 3, [Full(), []]])
def test_lists_that_do_not_fit(pattern):
    with pytest.raises(UsageError, match=r"patterns for 4 blocks; expected a number that divides the blocks"):
        make(pattern)
