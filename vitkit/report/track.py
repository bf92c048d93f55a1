"""A curve as it is shown: its points on the axis that a reader understands, and where it falls below the threshold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitkit.evaluation.results import ConditionResult, Curve, Interval, Results
from vitkit.report.scale import AREA, VOLUME, Scale, scale_of

_PATIENT = ("R, left to right", "A, back to front", "S, feet to head")


@dataclass(frozen=True)
class Crossing:
    """Where accuracy falls below the threshold on one side of the identity, in the unit that is shown.

    Args:
        side: Name of the side; empty if the curve has one side only.
        at: Severity; None if it never does.
        near: End of the interval towards the identity; None if it lies beyond the farthest severity.
        far: The other end; likewise.
        farthest: Last severity that was measured on this side.
        lowest: The lowest accuracy on this side.
        share_below: Share of bootstrap resamples in which it falls below; None if that is not known for this side.
    """

    side: str
    at: float | None
    near: float | None
    far: float | None
    farthest: float
    lowest: Interval
    share_below: float | None


@dataclass(frozen=True)
class Track:
    """A curve with its conditions, identity among them, in ascending order.

    Args:
        title: Of no other curve: two of the same title carry their names as well.
        curve: As the results hold it.
        scale: How its severities are shown.
        conditions: One for each severity.
        positions: The severities in the unit that is shown.
    """

    title: str
    curve: Curve
    scale: Scale
    conditions: list[ConditionResult]
    positions: list[float]

    @property
    def identity(self) -> int:
        """Index of the point at which nothing happens."""
        return self.curve.severities.index(self.curve.identity)

    @property
    def accuracies(self) -> list[Interval]:
        """Accuracy at each point."""
        return [condition.metrics["accuracy"] for condition in self.conditions]

    def place(self, severity: float) -> float:
        """A severity between those measured, in the unit that is shown."""
        return float(np.interp(severity, self.curve.severities, self.positions))

    def crossings(self) -> list[Crossing]:
        """Where it falls below the threshold, on each side of the identity that was measured.

        The results give one crossing. Of a curve with a second side, that side's is where the accuracy and the bounds of its
        interval cross. Where accuracy falls steadily this is the bootstrap's own interval: a resample crosses before a severity
        if and only if its accuracy there is below the threshold.
        """
        outwards = [list(range(self.identity, -1, -1)), list(range(self.identity, len(self.positions)))]
        measured = [side for side in (0, 1) if len(outwards[side]) > 1]
        given, curve = self.curve.threshold, self.curve
        value = given.severity.value
        found = []
        for side in measured:
            positions = [self.positions[index] for index in outwards[side]]
            accuracies = [self.accuracies[index] for index in outwards[side]]
            if len(measured) == 1 or (value is not None and (value > curve.identity) == bool(side)):
                at, low, high = (self._place(end) for end in (value, given.severity.ci_low, given.severity.ci_high))
                near, far = (low, high) if side else (high, low)
            else:
                at = first_below(positions, [a.value for a in accuracies], given.accuracy)
                near = first_below(positions, [a.ci_low if a.ci_low is not None else a.value for a in accuracies], given.accuracy)
                far = first_below(
                    positions, [a.ci_high if a.ci_high is not None else a.value for a in accuracies], given.accuracy
                )
            found.append(
                Crossing(
                    side=self.scale.sides[side] if len(measured) > 1 else "",
                    at=at,
                    near=near,
                    far=far,
                    farthest=positions[-1],
                    lowest=min(accuracies, key=lambda accuracy: accuracy.value or 0.0),
                    share_below=given.share_below if len(measured) == 1 else None,
                )
            )
        return found

    def _place(self, severity: float | None) -> float | None:
        return None if severity is None else self.place(severity)


def of_volumes(results: Results) -> bool:
    """Whether the samples are volumes, as the model's size or a grid of what was hidden says."""
    shapes = [(results.preprocess or {}).get("size"), *(condition.params.get("grid") for condition in results.conditions)]
    return any(isinstance(shape, list) and len(shape) == 3 for shape in shapes)


def titles(results: Results) -> dict[tuple[str, str], str]:
    """The title of every condition by suite and name: where two are called alike, with their names.

    Scans whose model knows their spacing have the axes R, A and S, and what happens along an axis is said to run along these.
    """
    scans = (results.preprocess or {}).get("spacing") is not None
    plain = {}
    for condition in results.conditions:
        axis = condition.params.get("axis") if scans else None
        where = f" ({_PATIENT[axis]})" if isinstance(axis, int) and axis < len(_PATIENT) else ""
        plain[condition.suite, condition.condition] = condition.title + where
    counts = Counter(plain.values())
    return {key: title if counts[title] == 1 else f"{title} ({key[1]})" for key, title in plain.items()}


def tracks(results: Results) -> list[Track]:
    """Every curve that has an accuracy at every severity.

    Occlusion is shown by the area or volume that was hidden in fact, where that is known: a grid of 16 patches has no 30 %.
    """
    found = []
    hidden = VOLUME if of_volumes(results) else AREA
    named = titles(results)
    for curve in results.curves:
        title = named[curve.suite, curve.condition]
        conditions = results.at(curve)
        if any("accuracy" not in c.metrics or c.metrics["accuracy"].value is None for c in conditions):
            continue
        areas = [
            0.0 if severity == curve.identity else condition.params.get("area")
            for severity, condition in zip(curve.severities, conditions, strict=True)
        ]
        positions = [float(area) for area in areas if isinstance(area, (int, float))]
        if len(positions) == len(curve.severities):
            found.append(Track(title, curve, hidden, conditions, positions))
        else:
            scale = hidden if scale_of(curve.unit) == AREA else scale_of(curve.unit)
            found.append(Track(title, curve, scale, conditions, curve.severities))
    return found


def first_below(positions: Sequence[float], values: Sequence[float | None], threshold: float) -> float | None:
    """The position at which values fall below a threshold for the first time, interpolated; None if they never do.

    >>> first_below([1.0, 2.0, 4.0], [1.0, 1.0, 0.5], 0.75)
    3.0
    """
    for index, value in enumerate(values):
        if value is not None and value < threshold:
            previous = values[index - 1] if index else None
            if previous is None:
                return positions[index]
            share = (previous - threshold) / (previous - value)
            return positions[index - 1] + share * (positions[index] - positions[index - 1])
    return None
