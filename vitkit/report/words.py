"""What the page says in sentences: numbers with their intervals, and what they mean."""

from dataclasses import dataclass

from vitkit.evaluation.results import Comparison, Interval, Results
from vitkit.report.scale import SPACE, Scale, decimal, minus
from vitkit.report.track import Crossing, Track, of_volumes, titles

LEVEL = f"95{SPACE}%"


@dataclass(frozen=True)
class Sentence:
    """A sentence with what matters most in its middle."""

    before: str
    key: str
    after: str

    def __str__(self) -> str:
        return self.before + self.key + self.after


@dataclass(frozen=True)
class Answer:
    """What one condition has to say: its title, sentences, and the index of its curve, if it has one."""

    suite: str
    title: str
    sentences: list[Sentence]
    curve: int | None = None


def answers(results: Results, found: list[Track]) -> list[Answer]:
    """One answer for each condition, and one for each that was skipped with its reason."""
    noun = samples(results)
    replies = [Answer(track.curve.suite, track.title, _falls(track, noun), index) for index, track in enumerate(found)]
    measured = {(track.curve.suite, track.curve.condition) for track in found}
    skipped = {
        (c.suite, c.condition): c for c in results.conditions if c.skipped is not None and (c.suite, c.condition) not in measured
    }
    named = titles(results)
    return replies + [Answer(key[0], named[key], [Sentence("", "Not measured", f": {c.skipped}")]) for key, c in skipped.items()]


def samples(results: Results) -> str:
    """How many images or volumes there were."""
    noun = "volume" if of_volumes(results) else "image"
    return f"{results.data.n:,}{SPACE}{noun}{'' if results.data.n == 1 else 's'}"


def percent(value: Interval, *remarks: str) -> str:
    """A share in percent, with its interval and remarks in brackets.

    >>> percent(Interval(0.5, 0.25, 0.75), "360 images").replace(SPACE, " ")
    '50.0 % (95 % interval 25.0 to 75.0 %; 360 images)'
    """
    if value.value is None:
        return "undefined"
    inside = list(remarks)
    if value.ci_low is not None and value.ci_high is not None:
        inside.insert(0, f"{LEVEL} interval {decimal(value.ci_low)} to {decimal(value.ci_high)}{SPACE}%")
    return f"{decimal(value.value)}{SPACE}%" + (f" ({'; '.join(inside)})" if inside else "")


def clean_sentence(results: Results) -> str:
    """How accurate the model is on the untouched images, and whether that is too low to fall; empty where it was not measured."""
    clean = next((c.metrics["accuracy"] for c in results.conditions if c.suite == "clean" and "accuracy" in c.metrics), None)
    if clean is None:
        return ""
    noun = "volumes" if of_volumes(results) else "images"
    missed = {c.threshold.accuracy for c in results.curves if clean.value is not None and clean.value < c.threshold.accuracy}
    after = f", below {' and '.join(f'{limit * 100:g}{SPACE}%' for limit in sorted(missed))} before anything is changed"
    return f"On the untouched {noun} accuracy is {percent(clean)}{after if missed else ''}."


def meaning(comparison: Comparison) -> str:
    """What a comparison says, in a sentence."""
    names = (comparison.minuend, comparison.subtrahend)
    of_paint = [name.rpartition(".")[2] for name in names] == ["removed", "painted"]
    area = comparison.auc
    if area.value is None:
        return f"The difference between {' and '.join(names)} could not be measured."
    way = "higher" if area.value >= 0 else "lower"
    sides = "when patches are removed than when they are painted" if of_paint else f"under {names[0]} than under {names[1]}"
    opening = f"On average over the tested range, accuracy is {decimal(abs(area.value))}{SPACE}points {way} {sides}"
    if area.ci_low is None or area.ci_high is None:
        return f"{opening}."
    opening += f" ({LEVEL} interval {points(area.ci_low)} to {points(area.ci_high)}{SPACE}points)"
    if not of_paint:
        return f"{opening}."
    if area.ci_low > 0:
        return f"{opening}: the paint itself misleads the model, beyond the information that is missing."
    if area.ci_high < 0:
        return f"{opening}: the model bears paint better than missing tokens, so its losses are not the paint's doing."
    return f"{opening}: the harm done by paint cannot be told from that of the missing information on this many samples."


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return minus(decimal(difference, sign="+"))


def _falls(track: Track, noun: str) -> list[Sentence]:
    threshold = f"{track.curve.threshold.accuracy * 100:g}{SPACE}%"
    clean = track.accuracies[track.identity]
    if clean.value is not None and clean.value < track.curve.threshold.accuracy:
        lowest = min(track.accuracies, key=lambda accuracy: accuracy.value or 0.0)
        return [Sentence("Its lowest accuracy is ", percent(lowest, noun), ".")]
    # How many there were is said once.
    return [_fall(side, track.scale, threshold, *remarks) for side, remarks in zip(track.crossings(), ([noun], []), strict=False)]


def _fall(side: Crossing, scale: Scale, threshold: str, *remarks: str) -> Sentence:
    opening = f"{side.side}: accuracy " if side.side else "Accuracy "
    if side.at is not None:
        inside = "; ".join([f"{LEVEL} interval {within(side, scale)}", *remarks])
        return Sentence(f"{opening}falls below {threshold} when ", scale.phrase(side.at), f" ({inside}).")
    tested = f" in every test, up to where {scale.phrase(side.farthest)}; its lowest is {percent(side.lowest, *remarks)}."
    return Sentence(opening, f"stays at {threshold} or above", tested + _doubt(side, scale))


def within(side: Crossing, scale: Scale) -> str:
    """The interval of a crossing, and what is known of it where an end was not met."""
    if side.near is None:
        return f"beyond the {scale.number(side.farthest)} tested"
    if side.far is None:
        return f"from {scale.number(side.near)} to beyond the {scale.number(side.farthest)} tested"
    low, high = sorted((side.near, side.far))
    return f"{scale.digits(low)} to {scale.number(high)}"


def _doubt(side: Crossing, scale: Scale) -> str:
    if side.near is not None:
        interval = f"{LEVEL} interval {within(side, scale)}"
        return f" A fall from where {scale.phrase(side.near)} on cannot be ruled out ({interval})."
    if side.share_below:
        return f" It falls below in {side.share_below * 100:.2g}{SPACE}% of the bootstrap resamples."
    return ""
