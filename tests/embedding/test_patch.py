import pytest
import torch
from timm.layers import PatchEmbed as TimmPatchEmbed
from torch import nn

from vitkit.embedding import PatchEmbed
from vitkit.errors import UsageError
from vitkit.grid import Grid


@pytest.mark.parametrize(
    ("ndim", "patch", "size"),
    [(1, 4, (16,)), (2, 4, (16, 24)), (2, (2, 8), (16, 24)), (3, (2, 4, 4), (6, 8, 12)), (3, 1, (2, 3, 4))],
)
def test_is_a_strided_convolution(ndim, patch, size):
    embed = PatchEmbed(ndim, patch, in_chans=3, dim=10).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = embed.proj.weight.view(10, 3, *embed.patch_size)
    conv = [nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d][ndim - 1]
    wanted = conv(x, weight, embed.proj.bias, stride=embed.patch_size)
    tokens, grid = embed(x)
    assert grid.shape == tuple(wanted.shape[2:])
    torch.testing.assert_close(tokens, wanted.flatten(2).transpose(1, 2), rtol=1e-12, atol=1e-12)


def test_padding_agrees_with_timm():
    oracle = TimmPatchEmbed(img_size=None, patch_size=4, in_chans=3, embed_dim=10, dynamic_img_pad=True, strict_img_size=False)
    embed = PatchEmbed(2, 4, 3, 10)
    embed.proj.weight.data = oracle.proj.weight.data.flatten(1)
    embed.proj.bias.data = oracle.proj.bias.data
    x = torch.randn(2, 3, 9, 14)
    torch.testing.assert_close(embed(x)[0], oracle(x), rtol=1e-5, atol=1e-6)


def test_nothing_is_cropped():
    """Every pixel of an input that the patch does not divide reaches a token."""
    for norm in ("none", "patch", "channel"):
        embed = PatchEmbed(2, 4, 2, 10, norm=norm)
        x = torch.randn(1, 2, 9, 14, requires_grad=True)
        embed(x)[0].square().sum().backward()
        assert (x.grad.abs() > 0).all(), norm


def test_grid_carries_the_spacing():
    embed = PatchEmbed(3, (2, 4, 4), 1, 8)
    assert embed.grid((5, 16, 16), (3.0, 0.5, 0.5)) == Grid((3, 4, 4), (6.0, 2.0, 2.0))
    assert embed.grid((5, 16, 16)).spacing == (2.0, 4.0, 4.0)


@pytest.mark.parametrize("size", [(8, 8), (9, 14)], ids=["divisible", "padded"])
@pytest.mark.parametrize("norm", ["patch", "channel"])
def test_normalised_tokens_do_not_see_gain_and_shift(norm, size):
    embed = PatchEmbed(2, 4, 3, 10, norm=norm, eps=0.0).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(embed(0.3 * x + 2.0)[0], embed(x)[0], rtol=1e-9, atol=1e-9)


def test_per_channel_norm_survives_a_change_of_each_channel():
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    gain = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1)
    channel = PatchEmbed(2, 4, 3, 10, norm="channel", eps=0.0).double()
    torch.testing.assert_close(channel(gain * x)[0], channel(x)[0], rtol=1e-9, atol=1e-9)
    patch = PatchEmbed(2, 4, 3, 10, norm="patch", eps=0.0).double()
    assert (patch(gain * x)[0] - patch(x)[0]).abs().max() > 1e-2


def test_without_norm_tokens_do_see_it():
    embed = PatchEmbed(2, 4, 3, 10).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert (embed(x + 1)[0] - embed(x)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("norm", ["patch", "channel"])
def test_padding_is_no_part_of_the_statistics(norm):
    """A patch that lies half outside is standardised as its real half alone would be."""
    embed = PatchEmbed(1, 4, 2, 10, norm=norm, eps=0.0).double()
    x = torch.randn(1, 2, 6, dtype=torch.float64)
    part = x[:, :, 4:]
    over = (1, 2) if norm == "patch" else (2,)
    real = (part - part.mean(over, keepdim=True)) / part.var(over, keepdim=True, correction=0).sqrt()
    wanted = embed.proj(nn.functional.pad(real, (0, 2)).flatten(1))
    torch.testing.assert_close(embed(x)[0][:, 1], wanted, rtol=1e-9, atol=1e-9)


def test_a_flat_patch_is_zero_and_not_nan():
    tokens, _ = PatchEmbed(2, 4, 1, 10, norm="patch")(torch.full((1, 1, 6, 6), 0.7))
    assert torch.isfinite(tokens).all()


def test_refuses_what_it_is_told_to():
    with pytest.raises(UsageError, match=r"size \(9, 8\), which the patch size \(4, 4\) does not divide"):
        PatchEmbed(2, 4, 1, 10, indivisible="error")(torch.zeros(1, 1, 9, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PatchEmbed(2, (4, 4, 4), 1, 8), "for 2 axes"),
        (lambda: PatchEmbed(2, 0, 1, 8), "patch_size=0"),
        (lambda: PatchEmbed(2, 4, 1, 0), "dim=0"),
        (lambda: PatchEmbed(2, 4, 1, 8)(torch.zeros(1, 3, 8, 8)), "an input of 3 channels"),
        (lambda: PatchEmbed(2, 4, 1, 8)(torch.zeros(1, 1, 8, 8, 8)), "an input of 3 axes"),
        (lambda: PatchEmbed(2, 4, 1, 8).grid((8, 8), (1.0,)), "a spacing of 1 numbers"),
        (lambda: PatchEmbed(2, 4, 1, 8).grid((8, 8), (1.0, -1.0)), "spacing"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_norm():
    with pytest.raises(UsageError, match="norm='layer' in PatchEmbed; expected one of none, patch, channel"):
        PatchEmbed(2, 4, 1, 8, norm="layer")
