"""Patches of pixels or voxels, normalised if wanted, projected to tokens."""

from collections.abc import Sequence
from math import ceil, prod
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class PatchEmbed(nn.Module, Recorded):
    """Cut an image or a volume into patches, and project each to a token.

    With ``norm`` each patch's pixels are standardised first, without learned scale (the projection can learn it). Tokens are
    then invariant to ``gain * x + shift``, up to ``eps``: with ``"channel"`` always, with ``"patch"`` if the channels share one
    normalising mean and standard deviation (:func:`~vitkit.embedding.invariance_of`). Absolute intensity is given up by this.

    Args:
        ndim: Axes of the input, 2 for images, 3 for volumes.
        patch_size: Pixels or voxels per patch along each axis; one number for all axes, or one each.
        in_chans: Channels of the input.
        dim: Width of the tokens.
        norm: ``"none"``, ``"patch"`` (LayerNorm over a patch's pixels and channels) or ``"channel"`` (per channel).
        indivisible: What to do with an input that the patch does not divide: ``"pad"`` at the end of each axis, where the added
            pixels count in no patch's statistics and add nothing to its token, or ``"error"``.
        eps: Added to the variance by ``norm``, in units of normalised intensity squared.

    Raises:
        UsageError: Sizes that are not positive, or another number of patch sizes than axes.

    >>> tokens, grid = PatchEmbed(ndim=3, patch_size=(2, 4, 4), in_chans=1, dim=32)(torch.randn(1, 1, 5, 16, 16), (3.0, 1.0, 1.0))
    >>> tokens.shape, grid
    (torch.Size([1, 48, 32]), Grid(shape=(3, 4, 4), spacing=(6.0, 4.0, 4.0)))
    """

    def __init__(
        self,
        ndim: int,
        patch_size: int | Sequence[int],
        in_chans: int,
        dim: int,
        norm: Literal["none", "patch", "channel"] = "none",
        indivisible: Literal["pad", "error"] = "pad",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.patch_size = (patch_size,) * ndim if isinstance(patch_size, int) else tuple(patch_size)
        if len(self.patch_size) != ndim or min(self.patch_size, default=0) < 1:
            raise UsageError(
                f"patch_size={patch_size} for {ndim} axes", "one positive number for each axis", "Correct patch_size."
            )
        if in_chans < 1 or dim < 1:
            raise UsageError(f"in_chans={in_chans} and dim={dim}", "positive numbers", "Correct the embedding's sizes.")
        for name, value, choices in (
            ("norm", norm, ("none", "patch", "channel")),
            ("indivisible", indivisible, ("pad", "error")),
        ):
            if value not in choices:
                raise UsageError(f"{name}={value!r} in PatchEmbed", f"one of {', '.join(choices)}", f"Correct {name}.")
        self.ndim, self.in_chans, self.dim = ndim, in_chans, dim
        self.norm, self.indivisible, self.eps = norm, indivisible, eps
        self.proj = nn.Linear(in_chans * prod(self.patch_size), dim)

    def grid(self, size: Sequence[int], spacing: Sequence[float] | None = None) -> Grid:
        """The grid of tokens for an input of this size.

        Args:
            size: Pixels or voxels along each axis.
            spacing: Distance between neighbouring pixels or voxels along each axis, in mm; one pixel if not given.
        """
        if len(size) != self.ndim:
            raise UsageError(
                f"an input of {len(size)} axes, {tuple(size)}",
                f"{self.ndim} axes",
                "Set the embedding's ndim to that of the data.",
            )
        shape = tuple(ceil(length / patch) for length, patch in zip(size, self.patch_size, strict=True))
        pixel = tuple(spacing) if spacing is not None else (1.0,) * self.ndim
        if len(pixel) != self.ndim:
            raise UsageError(f"a spacing of {len(pixel)} numbers, {pixel}", f"{self.ndim}, one per axis", "Give one per axis.")
        return Grid(shape, tuple(step * patch for step, patch in zip(pixel, self.patch_size, strict=True)))

    def covered(self, real: Bool[Tensor, "batch *size"]) -> Bool[Tensor, "batch tokens"]:
        """Which tokens hold at least one real pixel or voxel, in row-major order."""
        return self._cut(real).any(-1)

    def shares(self, mask: Bool[Tensor, "batch *size"]) -> Float[Tensor, "batch tokens"]:
        """Share of each token's pixels or voxels that are in a mask, in row-major order."""
        return self._cut(mask).float().mean(-1)

    def _cut(self, mask: Bool[Tensor, "batch *size"]) -> Bool[Tensor, "batch tokens pixels"]:
        grid = self.grid(tuple(mask.shape[1:]))
        return self._patches(pad(mask[:, None], self._margins(grid, tuple(mask.shape[1:]))), grid).flatten(2)

    def forward(
        self,
        x: Float[Tensor, "batch channels *size"],
        spacing: Sequence[float] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Grid]:
        """Tokens in row-major order, and the grid they stand on.

        Args:
            x: Normalised images or volumes.
            spacing: Distance between neighbouring pixels or voxels along each axis, in mm; one pixel if not given.
            real: Which pixels or voxels are real; the others are as those that are added here. All if not given.

        Raises:
            UsageError: Other channels or axes than the embedding's; a size the patch does not divide, if that is an error.
        """
        if x.shape[1] != self.in_chans:
            raise UsageError(
                f"an input of {x.shape[1]} channels",
                f"{self.in_chans}, the embedding's in_chans",
                "Make in_chans and the data agree.",
            )
        size = tuple(x.shape[2:])
        grid = self.grid(size, spacing)
        margins = self._margins(grid, size)
        if any(margins) and self.indivisible == "error":
            raise UsageError(
                f"an input of size {size}, which the patch size {self.patch_size} does not divide",
                "a multiple of the patch size along each axis",
                'Resize the input, change patch_size, or set indivisible="pad".',
            )
        if real is not None:
            x = x.masked_fill(~real[:, None], 0)
        counted = None
        if self.norm != "none" and (any(margins) or real is not None):
            ones = x.new_ones(1, *size, dtype=torch.bool) if real is None else real
            counted = self._patches(pad(ones[:, None], margins), grid)
        if any(margins):
            x = pad(x, margins)
        patches = self._patches(x, grid)
        if self.norm != "none":
            patches = self._normalise(patches, counted)
        return linear(patches.flatten(2), self.proj.weight, self.proj.bias), grid

    def _margins(self, grid: Grid, size: tuple[int, ...]) -> list[int]:
        """What to add at the end of each axis, as :func:`torch.nn.functional.pad` takes it."""
        missing = [count * patch - length for count, patch, length in zip(grid.shape, self.patch_size, size, strict=True)]
        return [margin for length in reversed(missing) for margin in (0, length)]

    def _patches(self, x: Shaped[Tensor, "batch channels *size"], grid: Grid) -> Shaped[Tensor, "batch tokens channels pixels"]:
        """Cut: (batch, N, channels, pixels of a patch)."""
        split = [length for pair in zip(grid.shape, self.patch_size, strict=True) for length in pair]
        x = x.reshape(*x.shape[:2], *split)
        tokens, pixels = range(2, x.ndim, 2), range(3, x.ndim, 2)
        return x.permute(0, *tokens, 1, *pixels).reshape(x.shape[0], prod(grid.shape), x.shape[1], prod(self.patch_size))

    def _normalise(
        self, patches: Float[Tensor, "batch tokens channels pixels"], real: Bool[Tensor, "#batch tokens 1 pixels"] | None
    ) -> Float[Tensor, "batch tokens channels pixels"]:
        over = (-2, -1) if self.norm == "patch" else (-1,)
        if real is None:
            return layer_norm(patches, [patches.shape[axis] for axis in over], eps=self.eps)
        weight = real.expand(-1, -1, patches.shape[2], -1).to(patches.dtype)
        count = weight.sum(over, keepdim=True).clamp(min=1)
        mean = (patches * weight).sum(over, keepdim=True) / count
        centred = (patches - mean) * weight
        return centred * torch.rsqrt(centred.square().sum(over, keepdim=True) / count + self.eps)
