"""A task that is as small as one can be."""

import pytest

from vitkit.bias import SpectralBias, TableBias
from vitkit.embedding import LearnedPosition, PatchEmbed
from vitkit.encoder import Encoder
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks import ClassificationTask


@pytest.fixture
def encoder():
    def make(depth=2, dim=16, bias=None, **options):
        bias = bias or SpectralBias(Exponential(num_heads=2, ndim=2, lengthscale=4.0))
        embed = PatchEmbed(ndim=2, patch_size=4, in_chans=1, dim=dim)
        return Encoder(embed, depth, 2, position=LearnedPosition(dim, (2, 2)), bias=bias, **options)

    return make


@pytest.fixture
def task(encoder):
    def make(num_classes=10, depth=2, dim=16, bias=None, **options):
        return ClassificationTask(encoder(depth, dim, bias), num_classes, Preprocess(size=(8, 8)), **options)

    return make


@pytest.fixture
def table():
    return TableBias(num_heads=2, shape=(2, 2))
