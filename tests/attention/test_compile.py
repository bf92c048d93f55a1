"""torch.compile and torch.export see through the choice of a backend."""

import pytest
import torch

from vitkit.attention import Additive, AlongAxis, Axial, Cosine, Global, Neighbourhood, Union, Window
from vitkit.bias import NoBias, PrefixBias, SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.spectral import Exponential, Gaussian, NumericDensity

pytestmark = [
    pytest.mark.usefixtures("unchecked"),  # a symbolic size is no int
    # Torch's own, as it traces; the last three are 2.6's.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'> should not be instantiated"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node with no underlying reference"),
    pytest.mark.filterwarnings("ignore:.* does not reference an nn.Module, nn.Parameter, or buffer"),
]


class Numeric(NumericDensity):
    def unit_density(self, w):
        return (-w.square().sum(-1) / 2).exp()


def encoder_of(**options):
    bias = SpectralBias(Exponential(2, 2)) + PrefixBias(2)
    return Encoder(PatchEmbed(2, 4, 1, 16), depth=1, num_heads=2, **({"bias": bias} | options))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (64, 60)),
        ({"scorer": Additive(2, 8, 4), "bias": SpectralBias(Gaussian(2, 2), support="patch")}, (16, 24)),
        ({"scorer": Cosine(2), "pattern": Window(2)}, (16, 24)),
        ({"bias": NoBias(), "pattern": Window(3)}, (28, 36)),
    ],
    ids=["many tokens", "additive, patches", "cosine, window", "a length that cuDNN's kernel is not for"],
)
def test_compiled_is_eager(options, size):
    encoder = encoder_of(**options)
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


EXPORTED = {
    "dot product": {},
    "additive, by quadrature": {"scorer": Additive(2, 8, 4), "bias": SpectralBias(Numeric(2, 2), support="patch")},
    "cosine, axial": {"scorer": Cosine(2), "pattern": [[Axial(gates=2), AlongAxis(1)]], "bias": SpectralBias(Exponential(2, 2))},
    "patterns, prefix": {"pattern": Union([Window(2), Neighbourhood(1), Global(stride=2)]), "bias": PrefixBias(2)},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_at_a_dynamic_size_is_eager(name):
    module = Pooled(encoder_of(**EXPORTED[name])).eval()
    height, width = (4 * torch.export.Dim(axis, min=2, max=64) for axis in ("height", "width"))
    example, sizes = (torch.randn(2, 1, 16, 24),), ({2: height, 3: width},)
    program = torch.export.export(module, example, dynamic_shapes=sizes, strict=False)  # torch 2.6 is strict by default
    for size in ((16, 24), (8, 40), (64, 60)):
        x = torch.randn(2, 1, *size)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-5)
