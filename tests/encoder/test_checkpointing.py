"""What a checkpoint computes again is what it computed."""

import pytest
import torch

from vitkit.attention import Axial, Full, Window
from vitkit.bias import SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.spectral import Exponential

PATTERNS = {
    "full": Full(),
    "axial, gated": Axial(gates=3),
    "axial, gated, windows": Axial((2, 3, 2), gates=3),
    "window": Window(2),
}
SIZE = (8, 12, 8)


def run(encoder, x, real, checkpointing):
    """The pooled vector and the gradient of all there is, with the same numbers drawn."""
    torch.manual_seed(1)
    encoder.checkpointing = checkpointing
    out = encoder.pool(encoder(x, real=real))
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return out, torch.autograd.grad(out, [x, *encoder.parameters()], cotangent, allow_unused=True)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_changes_no_bit(pattern, dtype, padded, dropout):
    """Of the output and of every gradient: the same is dropped, and the same is padding, when blocks are computed again."""
    torch.manual_seed(0)
    bias = SpectralBias(Exponential(2, 3, lengthscale=4.0))
    embed = PatchEmbed(3, 2, 1, 16)
    options = {"pattern": PATTERNS[pattern], "dropout": dropout, "drop_path": dropout, "class_token": False, "pool": "mean"}
    encoder = Encoder(embed, 2, 2, bias=bias, **options).to(dtype)
    x, real = torch.randn(2, 1, *SIZE, dtype=dtype, requires_grad=True), None
    if padded:
        real = torch.ones(2, *SIZE, dtype=torch.bool)
        real[1, :, 7:] = False
    (plain, theirs), (ticked, ours) = (run(encoder, x, real, checkpointing) for checkpointing in (False, True))
    assert torch.equal(ticked, plain)
    names = ["input", *(name for name, _ in encoder.named_parameters())]
    for name, mine, other in zip(names, ours, theirs, strict=True):
        assert (mine is None) == (other is None), name
        assert mine is None or torch.equal(mine, other), name
