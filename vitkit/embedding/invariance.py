"""What brightness can do to tokens whose patches are normalised: what leaves them as they are, and how exactly."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import isclose

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.embedding.patch import PatchEmbed

_CLOSE = 1e-6  # relative: numbers of a preprocess that are written with fewer digits than this are the same or they are not


@dataclass(frozen=True)
class Invariance:
    """Which of gain · x + shift, with nothing cut, leave a model's tokens as they are, up to the norm's eps.

    Args:
        gain: Whether any positive gain does.
        shift: Whether any shift does.
        per_channel: Whether each channel may have a gain and shift of its own.
        reason: Why, or why not.
        given_up: What can no longer be told from the tokens for that; empty if nothing is invariant.
    """

    gain: bool
    shift: bool
    per_channel: bool
    reason: str
    given_up: str

    @property
    def family(self) -> str:
        """The transformations in words; empty if there is none.

        >>> Invariance(gain=True, shift=True, per_channel=False, reason="", given_up="").family
        'gain · x + shift'
        """
        words = " + ".join(part for part, holds in (("gain · x" if self.gain else "x", True), ("shift", self.shift)) if holds)
        return f"{words}{' for each channel' if self.per_channel else ''}" if self.gain or self.shift else ""


def invariance_of(embed: PatchEmbed, mean: Sequence[float], std: Sequence[float], background: float | None = None) -> Invariance:
    r"""What tokens are invariant to, of images that are normalised to :math:`z_c = (x_c - m_c) / s_c` first.

    After a gain and a shift channel c is :math:`g z_c + ((g - 1) m_c + t) / s_c`. A norm of each channel takes both away. A norm
    over all channels together takes away the gain and what is added to all alike: a shift where all channels share :math:`s_c`,
    and a gain where all share :math:`m_c / s_c`.

    Args:
        embed: The embedding.
        mean: Mean of each channel, as a fraction of full intensity.
        std: Standard deviation of each channel, likewise.
        background: Intensity that counts as padding, if any does: only a gain of black leaves it where it is.

    >>> embed = PatchEmbed(ndim=2, patch_size=4, in_chans=3, dim=32, norm="patch")
    >>> invariance_of(embed, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).family
    'gain · x + shift'
    >>> invariance_of(embed, (0.4, 0.5, 0.6), (0.25, 0.25, 0.25)).family
    'x + shift'
    """
    if embed.norm == "none":
        return Invariance(False, False, False, "the embedding does not normalise patches", "")
    each = embed.norm == "channel" or embed.in_chans == 1
    shift = each or _alike(std)
    gain = each or _alike([m / s for m, s in zip(mean, std, strict=True)])
    reason = "each patch's pixels are normalised" + (" channel by channel" if embed.in_chans > 1 and each else "")
    if not each:
        reason += " over all channels together, and these "
        reason += "share one mean and standard deviation" if gain and shift else (
            "share one standard deviation, but not one mean" if shift
            else "have standard deviations of their own" + (", in proportion to their means" if gain else "")
        )  # fmt: skip
    if background is not None:
        shift, gain = False, gain and background == 0
        reason += f"; an intensity of {background:g} counts as padding, which a shift{'' if gain else ' or a gain'} would move"
    if not (gain or shift):
        return Invariance(False, False, False, reason, "")
    parts = [part for part, holds in (("the level", shift), ("the contrast", gain)) if holds]
    told = "its colour" if each and embed.in_chans > 1 else ""
    given_up = f"{' and '.join(parts)} of a patch" + (f" and {told}" if told else "")
    given_up += ": absolute intensity, such as the HU of a tissue in CT, and how bright one patch is beside another"
    return Invariance(gain, shift, each and embed.in_chans > 1, reason, given_up)


def eps_drift(
    embed: PatchEmbed,
    normalised: Float[Tensor, "batch channels *size"],
    gain: Sequence[float],
    real: Bool[Tensor, "batch *size"] | None = None,
) -> Float[Tensor, " batch"]:
    r"""Relative drift of an image's tokens under a gain that the norm's eps alone makes, computed in float64.

    The norm of :math:`g x` with :math:`\varepsilon` is that of x with :math:`\varepsilon / g^2`: nothing where a patch varies
    much, and much where it is nearly flat.

    Args:
        embed: An embedding that normalises patches.
        normalised: Images as the embedding takes them.
        gain: One number, or one for each channel.
        real: Which pixels are no padding; all if not given.
    """
    exact = deepcopy(embed).double()
    seen = torch.ones_like(normalised[:, 0], dtype=torch.bool) if real is None else real
    before = exact(normalised.double(), real=seen)[0]
    factors = torch.tensor(list(gain), dtype=torch.float64, device=normalised.device).view(-1, 1)
    exact.eps = embed.eps / factors.square()  # type: ignore[assignment]  # one for each channel
    after = exact(normalised.double(), real=seen)[0]
    return (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)


def _alike(values: Sequence[float]) -> bool:
    return all(isclose(value, values[0], rel_tol=_CLOSE, abs_tol=_CLOSE) for value in values)
