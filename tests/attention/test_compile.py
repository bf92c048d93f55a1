"""torch.compile and torch.export see through the choice of a backend."""

import pytest
import torch

from vitkit.attention import Additive, Cosine, ScaledDotProduct
from vitkit.bias import NoBias, PrefixBias, SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.spectral import Exponential

pytestmark = [
    pytest.mark.usefixtures("unchecked"),  # a symbolic size is no int
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # torch's own, as it traces
]
SCORERS = {"dot product": ScaledDotProduct, "cosine": lambda: Cosine(2), "additive": lambda: Additive(2, 8, 4)}


def encoder_of(scorer, biased=True):
    bias = SpectralBias(Exponential(2, 2)) + PrefixBias(2) if biased else NoBias()
    return Encoder(PatchEmbed(2, 4, 1, 16), depth=1, num_heads=2, bias=bias, scorer=scorer())


@pytest.mark.parametrize("size", [(16, 24), (64, 60)], ids=["few tokens", "many tokens"])
def test_compiled_is_eager(size):
    encoder = encoder_of(ScaledDotProduct)
    compiled = torch.compile(encoder, backend="aot_eager")
    x = torch.randn(2, 1, *size)
    found, wanted = compiled(x).patches, encoder(x).patches
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    parameters = list(encoder.parameters())
    ours, theirs = (torch.autograd.grad(out.square().sum(), parameters) for out in (found, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()) + 1e-6)


class Pooled(torch.nn.Module):
    """One tensor in, one out."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder.pool(self.encoder(x))


@pytest.mark.parametrize("name", SCORERS)
def test_exported_at_a_dynamic_size_is_eager(name):
    module = Pooled(encoder_of(SCORERS[name])).eval()
    height, width = (4 * torch.export.Dim(axis, min=2, max=64) for axis in ("height", "width"))
    program = torch.export.export(module, (torch.randn(2, 1, 16, 24),), dynamic_shapes=({2: height, 3: width},))
    for size in ((16, 24), (8, 40), (64, 60)):
        x = torch.randn(2, 1, *size)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-5)
