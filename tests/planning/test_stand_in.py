"""A backend that is handed over is the one that runs."""

from dataclasses import replace

import torch

from tests.planning.training import DIM, HEADS
from vitkit.attention import Axial, Full, ScaledDotProduct, Window, attend
from vitkit.attention.backends import BACKENDS, Backend
from vitkit.attention.case import Case
from vitkit.bias import KeyBias, NoBias, SpectralBias
from vitkit.grid import Grid
from vitkit.spectral import Exponential


class Zeros(Backend):
    name, summary, composite = "zeros", "nothing at all", True

    def serves(self, case):
        return None

    def cost(self, case):
        return BACKENDS["eager"].cost(case)

    def __call__(self, case, q, k, v, keep):
        return torch.zeros_like(q)


def test_attend_takes_a_backend_of_ones_own():
    q, k, v = torch.randn(3, 2, HEADS, 16, DIM // HEADS)
    for options in ({}, {"pattern": Axial()}):
        assert not attend(q, k, v, Grid((4, 4)), backend=Zeros(), **options).any()


def test_what_is_kept_is_part_of_what_is_held():
    grid = Grid((8, 8))
    for bias in (NoBias(), KeyBias(2, grid.shape), SpectralBias(Exponential(2, 2))):
        for pattern in (Full(), Window(4), Axial()):
            case = Case(grid, ScaledDotProduct(), bias, pattern, batch=2, num_heads=2, head_dim=8, gradients=True)
            for backend in BACKENDS.values():
                if backend.serves(case) is not None or (pattern.composite and not backend.composite):
                    continue
                with_gradients, without = backend.cost(case), backend.cost(replace(case, gradients=False))
                assert 0 <= with_gradients.kept <= with_gradients.memory
                assert (without.kept, without.copies) == (0, 0)
