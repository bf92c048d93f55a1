"""Certificates: what a model claims of brightness, held against what was measured."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.profiles.found import Certificate, DriftProfile
from vitkit.evaluation.profiles.kinds import AffineDrift
from vitkit.evaluation.profiles.measure import TOLERANCE, Profiler, at_once, spread_of
from vitkit.evaluation.subject import Subject

GAINS, SHIFTS = (0.5, 2.0), (-0.25, 0.25)
_SLACK = 0.1  # share of eps's own drift by which the measured one may exceed it: it is computed on the same patches, in float64

_BEGUN = 0.5  # share of the tokens' drift from which it is eps's doing what becomes of it


@runtime_checkable
class Claim(Protocol):
    """What a model's ``brightness_certificate()`` returns: which of gain · x + shift leave its tokens as they are."""

    gain: bool
    shift: bool
    per_channel: bool
    family: str
    reason: str
    given_up: str


def certify(
    model: Callable[..., Any], images: Float[Tensor, "batch channels *size"], tolerance: float = TOLERANCE
) -> Certificate:
    """What a model claims of brightness, held against what is measured on some images.

    Args:
        model: Images to logits, as for :func:`~vitkit.evaluation.evaluate`. Its ``brightness_certificate()`` is what it claims.
        images: In [0, 1], at the model's size.
        tolerance: Relative drift up to which a layer counts as unmoved.

    Raises:
        UsageError: No image at all.

    >>> from torch import nn
    >>> found = certify(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.rand(8, 1, 4, 4))
    >>> found.verdict, found.breaks_at
    ('none', 'before Flatten 0')
    """
    if not len(images):
        raise UsageError("no image", "at least one", "Give a batch of images.")
    subject = Subject(model)
    certifier = Certifier(subject, images.shape[1])
    profiler = Profiler(subject, certifier.members)
    with subject.evaluating():
        for part in images.to(subject.device).split(at_once(tuple(images.shape[1:]))):
            profiler.add(part)
            certifier.add(part, None, len(part))
    return certifier.certificate(profiler, 0, tolerance)


class Certifier:
    """Measures a model's certificate on a profiler's images.

    The claim is that of ``brightness_certificate()`` of the model or of a module inside it. It is tested by gains of 0.5 and 2,
    shifts of -0.25 and 0.25, and both together, and where it is about single channels by another one for each; a model that
    claims nothing is put to the same test.

    Args:
        subject: The model.
        channels: Of its images.
    """

    def __init__(self, subject: Subject, channels: int) -> None:
        self._subject = subject
        owner = _owner(subject)
        self._claim: Claim | None = None if owner is None else owner.brightness_certificate()
        self._eps_drift: Callable[..., Tensor] | None = getattr(owner, "eps_drift", None)
        self.members = _members(self._claim, channels)
        self._explained: list[list[Tensor]] = [[] for _ in self.members]

    def add(self, images: Float[Tensor, "batch channels *size"], real: Bool[Tensor, "batch *size"] | None, valid: int) -> None:
        """Ask the model how much of each drift its norm's eps makes, where it can tell."""
        if self._eps_drift is None or self._claim is None or not self._claim.family:
            return
        for member, values in zip(self.members, self._explained, strict=True):
            values.append(self._eps_drift(images, member.gain, real)[:valid].cpu())

    def certificate(self, profiler: Profiler, start: int, tolerance: float = TOLERANCE) -> Certificate:
        """The verdict, from the profiles of the members, which begin at an index of the profiler's transformations."""
        profiles = [
            profiler.profile(start + index, member.name, member.title, family=True, tolerance=tolerance)
            for index, member in enumerate(self.members)
        ]
        explained = [spread_of(values).q90 if values else None for values in self._explained]
        worst = max(range(len(profiles)), key=lambda index: _moved(profiles[index]))
        claimed = self._claim is not None and bool(self._claim.family)
        first = [profile.enters for profile in profiles if profile.enters is not None]
        order = [layer.layer for layer in profiles[worst].layers]
        breaks_at = min(first, key=order.index) if first else None
        verdict = "none"
        if claimed:
            within = all(
                _moved(profile) <= tolerance + (1 + _SLACK) * (own or 0.0)
                for profile, own in zip(profiles, explained, strict=True)
            )
            # A later layer may move more than the tokens did; whether that is eps's doing is seen where it began.
            begun = all(
                profile.enters is None or (own or 0.0) >= _BEGUN * _moved(profile)
                for profile, own in zip(profiles, explained, strict=True)
            )
            verdict = "exact" if breaks_at is None else "up to eps" if within and begun else "broken"
        return Certificate(
            verdict=verdict,
            family=self._claim.family if self._claim is not None else "",
            reason=self._claim.reason if self._claim is not None else "the model does not tell of a norm of its pixels",
            given_up=self._claim.given_up if self._claim is not None else "",
            tolerance=tolerance,
            n=profiler.n,
            worst=profiles[worst].title,
            layer=profiles[worst].layers[0].layer,
            tokens=profiles[worst].layers[0].features,
            explained=explained[worst],
            logits=max((profile.layer("logits").features for profile in profiles), key=lambda spread: _size(spread.q90)),
            breaks_at=breaks_at,
        )


def _owner(subject: Subject) -> Any:
    inside = [] if subject.module is None else subject.module.modules()
    return next((part for part in (subject.model, *inside) if callable(getattr(part, "brightness_certificate", None))), None)


def _members(claim: Claim | None, channels: int) -> list[AffineDrift]:
    whole = claim is None or not claim.family  # nothing is claimed, so all of it is tried
    gain, shift = whole or claim.gain, whole or claim.shift  # type: ignore[union-attr]  # a claim that claims something
    members = [AffineDrift(gain=factor) for factor in GAINS if gain]
    members += [AffineDrift(shift=amount) for amount in SHIFTS if shift]
    if gain and shift:
        members.append(AffineDrift(GAINS[0], SHIFTS[1]))
    if claim is not None and claim.per_channel and channels > 1:
        gains, shifts = ([round(value, 3) for value in torch.linspace(*ends, channels).tolist()] for ends in (GAINS, SHIFTS))
        members.append(AffineDrift(gains if gain else 1.0, shifts if shift else 0.0))
    return members


def _moved(profile: DriftProfile) -> float:
    return _size(profile.layers[0].features.q90)


def _size(value: float | None) -> float:
    return float("inf") if value is None else value
