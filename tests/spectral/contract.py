"""What every covariance family has to satisfy; a family's test inherits this and gets all of it."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.spectral.quadrature import inverse_transform
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build, recipe
from vitkit.spectral import Density

POINT = st.floats(-50, 50, allow_nan=False)
SCALE = st.floats(0.05, 20)
NO_SCALES = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e-46, 1e300]
"""What cannot be a scale, the last two because single precision makes them zero and infinite."""
# Displacements off the axes are in the families' own tests, where the density has no ridges along them.
TRANSFORMS = [[0.02], [0.7], [9.0], [0.5, 0.0], [0.0, 2.0], [0.0, 0.9, 0.0]]


class DensityContract:
    """Property tests of a covariance family."""

    family: type[Density]
    error = 0.0
    """Largest error of the covariance that the family states, relative to b(0)."""
    nodes: ClassVar = {1: 160, 2: 160, 3: 72}
    """Nodes per axis that the numerical transform needs, by the number of axes."""

    def make(self, ndim: int, num_heads: int = 2, **kwargs) -> Density:
        """A member of the family in float64, with different scales per head and axis."""
        density = self.family(num_heads, ndim, **kwargs).double()
        with torch.no_grad():
            for parameter in density.parameters():
                parameter.add_(torch.linspace(-0.4, 0.4, parameter.numel(), dtype=torch.float64).view_as(parameter))
        return density

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @given(data=st.data(), lengthscale=SCALE, outputscale=SCALE)
    def test_positive_definite(self, ndim, data, lengthscale, outputscale):
        points = data.draw(st.lists(st.tuples(*[POINT] * ndim), min_size=2, max_size=12))
        points = torch.tensor(points, dtype=torch.float64)
        density = self.make(ndim, lengthscale=lengthscale, outputscale=outputscale)
        gram = density.covariance(points[:, None] - points[None]).detach()
        # Rounding of an N by N symmetric matrix moves an eigenvalue by at most N eps times its norm, itself at most N b(0).
        slack = 4 * len(points) ** 2 * np.finfo(np.float64).eps * density.outputscale.detach()
        slack = slack + len(points) * self.error * density.outputscale.detach()
        assert (torch.linalg.eigvalsh(gram).min(dim=-1).values >= -slack).all()

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @given(data=st.data())
    def test_even_and_largest_at_zero(self, ndim, data):
        point = torch.tensor(data.draw(st.tuples(*[POINT] * ndim)), dtype=torch.float64)
        density = self.make(ndim)
        there, back, zero = density.covariance(torch.stack([point, -point, torch.zeros_like(point)])).unbind(1)
        torch.testing.assert_close(there, back, rtol=0, atol=0)
        torch.testing.assert_close(zero, density.outputscale)
        assert (there.abs() <= zero * (1 + 1e-15)).all()

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_density_is_not_negative(self, ndim):
        frequency = torch.randn(500, ndim, dtype=torch.float64) * 5
        assert (self.make(ndim).density(frequency) >= 0).all()

    @pytest.mark.parametrize("displacement", TRANSFORMS)
    def test_fourier_pair(self, displacement):
        """The covariance is the numerical inverse transform of the density, also where its axes are rotated."""
        ndim = len(displacement)
        nodes = self.nodes[ndim]
        density = self.make(ndim, num_heads=1, lengthscale=1.5, rotation=ndim > 1)
        # Ridges along the axes are seen by a quadrature whose axes are theirs: turn the displacement with the density.
        point = torch.tensor(displacement, dtype=torch.float64)
        point = point if ndim == 1 else point @ density.rotation[0].detach()
        wanted, largest = density.covariance(point[None])[0, 0].item(), density.outputscale.item()
        coarse, fine = (inverse_transform(density, point, count)[0] for count in (3 * nodes // 4, nodes))
        # The rule's error falls exponentially, so the step from coarse to fine bounds what is left.
        bound = abs(fine - coarse) + 1e-12 * largest
        assert bound < 1e-3 * largest
        assert abs(fine - wanted) <= bound + self.error * largest

    @pytest.mark.parametrize("rotation", [False, True])
    @pytest.mark.parametrize("grid", [Grid((5,)), Grid((3, 4), (1.0, 2.5)), Grid((2, 3, 4), (0.5, 1.0, 3.0))])
    def test_table_is_the_covariance_at_every_displacement(self, grid, rotation):
        density = self.make(grid.ndim, rotation=rotation and grid.ndim > 1)
        wanted = density.covariance(grid.displacements(dtype=torch.float64))
        torch.testing.assert_close(density.table(grid), wanted, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("rotation", [False, True])
    def test_autocast_changes_nothing(self, rotation):
        """Distances and scales in half precision would be off by half a percent."""
        density, grid = self.make(2, rotation=rotation).float(), Grid((3, 4), (1.0, 2.5))
        wanted = density.table(grid), density.patch_table(grid)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = density.table(grid), density.patch_table(grid)
        assert all(torch.equal(mine, other) for mine, other in zip(found, wanted, strict=True))

    @pytest.mark.parametrize("outputscale", [1e-12, 1.0, 1e12])
    @pytest.mark.parametrize("lengthscale", [1e-12, 1e-6, 1e8, 1e12])
    def test_very_small_and_very_large_scales(self, lengthscale, outputscale):
        """A token correlates with itself alone, or with all alike; in single precision, with gradients."""
        density = self.family(2, 2, lengthscale=lengthscale, outputscale=outputscale)
        grid, centre = Grid((3, 4), (16.0, 16.0)), torch.zeros(5, 7)
        centre[2, 3] = 1
        points, patches = density.table(grid) / outputscale, density.patch_table(grid) / outputscale
        wanted = (centre if lengthscale < 1 else torch.ones_like(centre)).expand(2, -1, -1)
        torch.testing.assert_close(points, wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(patches, wanted if lengthscale > 1 else 0 * wanted, rtol=0, atol=1e-4)
        (points + patches).square().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in density.parameters())

    @pytest.mark.parametrize("seed", range(5))
    def test_no_step_of_an_optimiser_makes_it_another_thing(self, seed):
        density = self.make(2, rotation=True)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in density.parameters():
                parameter.normal_(std=5, generator=generator)
        assert (density.lengthscale > 0).all()
        assert (density.outputscale > 0).all()
        points = torch.randn(8, 2, dtype=torch.float64, generator=generator) * density.lengthscale.max().detach()
        gram = density.covariance(points[:, None] - points[None]) / density.outputscale[:, None, None]
        assert (torch.linalg.eigvalsh(gram) >= -1e-12 - 8 * self.error).all()

    def test_units_cancel(self):
        """The same scene in millimetres and in centimetres has the same logits."""
        shape = (4, 5)
        in_mm = self.family(2, 2, lengthscale=20.0).double().table(Grid(shape, (10.0, 30.0)))
        in_cm = self.family(2, 2, lengthscale=2.0).double().table(Grid(shape, (1.0, 3.0)))
        # The scale is built in float32, whose logarithm is off by half a unit in the last place.
        torch.testing.assert_close(in_mm, in_cm, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("rotation", [False, True])
    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_gradients(self, ndim, rotation):
        density = self.make(ndim, rotation=rotation and ndim > 1)
        names, values = zip(*density.named_parameters(), strict=True)
        points = torch.randn(4, ndim, dtype=torch.float64) * 10

        def function(*parameters):
            return torch.func.functional_call(density, dict(zip(names, parameters, strict=True)), (points,))

        density.forward = density.covariance
        assert torch.autograd.gradcheck(function, values, fast_mode=True)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_gradients_at_zero_are_finite(self, ndim):
        """Also where the covariance has a kink; b(0) depends on the output scale alone."""
        density = self.make(ndim, rotation=ndim > 1)
        offset = torch.zeros(2, ndim, dtype=torch.float64, requires_grad=True)
        density.covariance(torch.zeros(1, ndim, dtype=torch.float64), offset).sum().backward()
        assert offset.grad.abs().max() == 0
        for name, parameter in density.named_parameters():
            wanted = density.outputscale if name == "raw_outputscale" else torch.zeros_like(parameter)
            torch.testing.assert_close(parameter.grad, wanted.detach(), atol=1e-12, rtol=1e-12, msg=name)

    def test_no_rotation_is_a_rotation_by_nothing(self):
        plain, turned = self.family(2, 3, lengthscale=2.0).double(), self.family(2, 3, lengthscale=2.0, rotation=True).double()
        grid = Grid((2, 3, 2))
        torch.testing.assert_close(turned.table(grid), plain.table(grid), rtol=1e-12, atol=1e-14)

    def test_a_quarter_turn_swaps_the_axes(self):
        density = self.make(2, rotation=True)
        with torch.no_grad():
            density.raw_rotation.fill_(math.pi / 2)
        points = torch.randn(6, 2, dtype=torch.float64) * 10
        turned = density.covariance(points)
        density.raw_rotation = None
        straight = density.covariance(points.flip(-1) * torch.tensor([1.0, -1.0], dtype=torch.float64))
        torch.testing.assert_close(turned, straight, rtol=1e-12, atol=1e-14)

    def test_an_offset_moves_the_displacement(self):
        density = self.make(2, rotation=True)
        points, offset = torch.randn(2, 5, 2, dtype=torch.float64).unbind(0)
        found = density.covariance(points, offset[:2])
        wanted = torch.stack([density.covariance(points - offset[head])[head] for head in range(2)])
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)

    def test_heads_start_over_a_range_of_scales(self):
        lengths = self.family(5, 2, lengthscale=8.0, spread=16.0).lengthscale[:, 0]
        wanted = 8.0 * torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0])
        torch.testing.assert_close(lengths, wanted)

    @pytest.mark.parametrize("ndim", [1, 2])
    def test_patch_table_is_the_average_over_two_patches(self, ndim):
        """Against a midpoint rule over both patches, whose error by a kink falls as the square of its step."""
        density = self.make(ndim, lengthscale=1.0)
        grid = Grid((2, 3)[:ndim], (0.8, 1.7)[:ndim])
        found = density.patch_table(grid)
        steps = 32 if ndim == 1 else 10
        middles = torch.cartesian_prod(*[(torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 0.5] * ndim).view(-1, ndim)
        inside = middles * torch.tensor(grid.spacing)
        between = grid.displacements(dtype=torch.float64)[..., None, None, :] + inside[:, None] - inside
        wanted = density.covariance(between).mean(dim=(-2, -1))
        # ∫|f''| h²/24 per axis and patch: every family here bends by at most 3 over a length scale, and turns by 2 at a kink.
        shortest = density.lengthscale.min().item()
        bound = sum(2 * (step / steps / shortest) ** 2 * (3 + 2 * shortest / step) / 24 for step in grid.spacing)
        assert ((found - wanted).abs().flatten(1).amax(1) <= bound * density.outputscale).all()

    def test_points_of_other_axes(self, unchecked):
        with pytest.raises(UsageError, match=r"points of 3 axes.*expected 2 axes"):
            self.make(2).covariance(torch.zeros(1, 3))

    @pytest.mark.parametrize("rotation", [False, True])
    def test_recipe_makes_it_again(self, rotation):
        density = self.family(3, 2, lengthscale=5.0, rotation=rotation)
        again = build(recipe(density))
        again.load_state_dict(density.state_dict())
        grid = Grid((3, 3))
        assert torch.equal(again.table(grid), density.table(grid))

    @pytest.mark.parametrize(
        "arguments",
        [
            {"num_heads": 0, "ndim": 2},
            {"num_heads": 2, "ndim": 0},
            *({"num_heads": 2, "ndim": 2, "lengthscale": scale} for scale in NO_SCALES),
            *({"num_heads": 2, "ndim": 2, "outputscale": scale} for scale in NO_SCALES),
            *({"num_heads": 2, "ndim": 2, "spread": scale} for scale in (*NO_SCALES, 0.5)),
            {"num_heads": 2, "ndim": 1, "rotation": True},
        ],
    )
    def test_scales_that_cannot_be(self, arguments):
        with pytest.raises(UsageError, match="expected"):
            self.family(**arguments)
