"""Random changes of training volumes ``(channels, R, A, S)``, each drawn from torch's global generator.

They inherit torchvision's ``v2.Transform``, so its containers (``RandomApply``, ``RandomOrder``) take them, and a mask goes
through the same change as its volume. Of torchvision's own transforms, those that know of no picture plane do for volumes as
well, such as ``GaussianNoise``.
"""

from collections.abc import Sequence
from math import cos, exp, radians, sin
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitkit.errors import UsageError
from vitkit.volumes.volume import placed

_AXES = ("R", "A", "S")


class _Random(v2.Transform):  # type: ignore[misc]  # torchvision ships no types
    """A change with parameters that are drawn once for a volume and its mask."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change a volume, or its mask."""
        if inpt.ndim != 4:
            raise UsageError(
                f"{type(self).__name__} got a tensor of shape {tuple(inpt.shape)}",
                "a volume of shape (channels, R, A, S)",
                "Use torchvision's transforms for pictures.",
            )
        mask = isinstance(inpt, tv_tensors.Mask)
        return tv_tensors.wrap(self.changed(inpt.as_subclass(Tensor), mask, **params), like=inpt)

    def changed(self, volume: Tensor, mask: bool, **params: Any) -> Tensor:
        """The volume after the change, or the mask."""
        raise NotImplementedError


class RandomFlip(_Random):
    """Mirror along axes of the patient, each with a probability of its own.

    Left and right are not exchanged unless ``axes`` says so: hearts and livers have their side, and a label such as "left
    hippocampus" would become wrong.

    Args:
        axes: Of ``R`` (left-right, the first axis), ``A`` (front-back) and ``S`` (head-feet).
        p: Probability of each flip.

    Raises:
        UsageError: Another axis, or no probability.

    >>> volume = torch.arange(4.0).view(1, 2, 2, 1)
    >>> RandomFlip(axes=["A"], p=1.0)(volume).flatten().tolist()
    [1.0, 0.0, 3.0, 2.0]
    """

    def __init__(self, axes: Sequence[Literal["R", "A", "S"]] = ("A", "S"), p: float = 0.5) -> None:
        super().__init__()
        if not set(axes) <= set(_AXES):
            raise UsageError(f"axes {list(axes)} of RandomFlip", "some of R, A and S", "Correct axes.")
        if not 0 <= p <= 1:
            raise UsageError(f"p={p} of RandomFlip", "a probability in [0, 1]", "Correct p.")
        self.axes, self.p = tuple(axes), p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Which axes are flipped; a number is drawn for each axis, listed or not."""
        drawn = (torch.rand(3) < self.p).tolist()
        return {"axes": [1 + axis for axis, name in enumerate(_AXES) if name in self.axes and drawn[axis]]}

    def changed(self, volume: Tensor, mask: bool, axes: Sequence[int]) -> Tensor:  # type: ignore[override]
        """Flip."""
        return volume.flip(list(axes))


class RandomShift(_Random):
    """Move by whole voxels, which changes no value; what comes in from outside is 0.

    Args:
        voxels: The furthest along each axis, one number or three.

    Raises:
        UsageError: Negative numbers, or another number of them.
    """

    def __init__(self, voxels: int | Sequence[int] = 2) -> None:
        super().__init__()
        self.voxels = (voxels,) * 3 if isinstance(voxels, int) else tuple(voxels)
        if len(self.voxels) != 3 or min(self.voxels) < 0:
            raise UsageError(f"voxels={voxels} of RandomShift", "numbers not below 0, one or three", "Correct voxels.")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """How far along each axis."""
        return {"shift": [int(torch.randint(-most, most + 1, ())) for most in self.voxels]}

    def changed(self, volume: Tensor, mask: bool, shift: Sequence[int]) -> Tensor:  # type: ignore[override]
        """Move."""
        return placed(volume, [-step for step in shift], volume.shape[1:], 0.0)[0]


class RandomAffine3d(_Random):
    """Turn about each axis, scale and move a little; what comes in from outside is 0.

    Args:
        degrees: The largest turn about each axis, in degrees.
        scale: The smallest and the largest factor; drawn evenly on the scale of its logarithm.
        shift: The furthest along each axis, in voxels.
        spacing: Of the voxels, in mm, so that a turn stays one where they are longer than wide; only their ratios count.
        interpolation: Between voxels. ``nearest`` makes no value that was not there: right for volumes that hold shapes of 0 and
            1, which ``linear`` gives soft edges that no scan has later. A mask is always taken by the nearest.

    Raises:
        UsageError: Numbers outside of what makes sense, or another interpolation.
    """

    def __init__(
        self,
        degrees: float = 10.0,
        scale: tuple[float, float] = (0.9, 1.1),
        shift: float = 0.0,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        interpolation: Literal["linear", "nearest"] = "linear",
    ) -> None:
        super().__init__()
        for name, value, right in (
            ("degrees", degrees, 0 <= degrees <= 180),
            ("scale", scale, 0 < scale[0] <= scale[1]),
            ("shift", shift, shift >= 0),
            ("spacing", spacing, min(spacing) > 0),
        ):
            if not right:
                raise UsageError(f"{name}={value} of RandomAffine3d", "positive numbers, degrees up to 180", f"Correct {name}.")
        if interpolation not in ("linear", "nearest"):
            found = f"interpolation={interpolation} of RandomAffine3d"
            raise UsageError(found, "linear or nearest", "Correct interpolation.")
        self.degrees, self.scale, self.shift, self.spacing = degrees, tuple(scale), shift, tuple(spacing)
        self.interpolation = interpolation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Three angles, a factor and three shifts."""
        drawn = (2 * torch.rand(7, dtype=torch.float64) - 1).tolist()
        low, high = torch.tensor(self.scale, dtype=torch.float64).log().tolist()
        return {
            "angles": [radians(self.degrees * part) for part in drawn[:3]],
            "factor": exp((low + high) / 2 + (high - low) / 2 * drawn[3]),
            "shift": [self.shift * part for part in drawn[4:]],
        }

    def changed(  # type: ignore[override]
        self, volume: Tensor, mask: bool, angles: Sequence[float], factor: float, shift: Sequence[float]
    ) -> Tensor:
        """Sample where each voxel came from."""
        turn = torch.eye(3, dtype=torch.float64)
        for axis, angle in enumerate(angles):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            plane = torch.eye(3, dtype=torch.float64)
            plane[first, first] = plane[second, second] = cos(angle)
            plane[first, second], plane[second, first] = -sin(angle), sin(angle)
            turn = plane @ turn
        # From the cube [-1, 1] of grid_sample to mm and back.
        half = torch.tensor(volume.shape[1:], dtype=torch.float64) / 2
        mm = half * torch.tensor(self.spacing, dtype=torch.float64)
        matrix = turn * mm / mm[:, None] / factor
        theta = torch.cat([matrix, -(torch.tensor(shift, dtype=torch.float64) / half)[:, None]], dim=1)
        theta = theta.flip(0)[:, [2, 1, 0, 3]]  # grid_sample counts axes from the last
        grid = affine_grid(theta[None].to(volume.device, torch.float32), [1, *volume.shape], align_corners=False)
        mode = "nearest" if mask or self.interpolation == "nearest" else "bilinear"
        return grid_sample(volume[None].float(), grid, mode=mode, align_corners=False)[0].to(volume.dtype)


class RandomIntensity(_Random):
    """Change contrast, brightness and gamma: gain · x^γ + shift, for x in [0, 1].

    Args:
        gain: The largest change of the gain, as a share: between 1 / (1 + gain) and 1 + gain.
        shift: The largest shift, as a share of full intensity.
        gamma: The largest change of γ, as a share, as for the gain.

    Raises:
        UsageError: Negative numbers.
    """

    def __init__(self, gain: float = 0.1, shift: float = 0.1, gamma: float = 0.0) -> None:
        super().__init__()
        if min(gain, shift, gamma) < 0:
            raise UsageError(
                f"gain={gain}, shift={shift}, gamma={gamma} of RandomIntensity", "numbers not below 0", "Correct them."
            )
        self.gain, self.shift, self.gamma = gain, shift, gamma

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The three numbers."""
        gain, shift, gamma = (2 * torch.rand(3) - 1).tolist()
        return {"gain": (1 + self.gain) ** gain, "shift": self.shift * shift, "gamma": (1 + self.gamma) ** gamma}

    def changed(self, volume: Tensor, mask: bool, gain: float, shift: float, gamma: float) -> Tensor:  # type: ignore[override]
        """The intensities; a mask has none."""
        return volume if mask else (volume.clamp(0, 1) ** gamma * gain + shift).clamp(0, 1)
