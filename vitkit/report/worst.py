"""The samples on which a model fails, as the page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitkit.evaluation.results import Results, WorstSample
from vitkit.report.pictures import MOST, Picture, embed
from vitkit.report.scale import SPACE
from vitkit.report.track import Track


@dataclass(frozen=True)
class Failure:
    """A sample: its id and picture, what it is, what it is taken for, and the rest of it in words.

    Args:
        id: Of the sample.
        picture: The untouched image, with what the model saw where it is first wrong if there is such; or None.
        label: Its class.
        prediction: What it is taken for.
        told: The rest in words, of which ``condition`` is a part that leads to the curve with the number ``curve``.
    """

    id: str
    picture: Picture | None
    label: str
    prediction: str
    told: tuple[str, str, str]
    curve: int | None = None


@dataclass(frozen=True)
class Failures:
    """Samples of one kind, what that is, and whether their pictures show what the model saw beside the untouched image."""

    title: str
    meaning: str
    samples: list[Failure]
    pairs: bool


def failures(results: Results, found: Sequence[Track], folder: Path, most: int = MOST) -> list[Failures]:
    """The lists of a run's worst samples that are not empty.

    Args:
        results: Of the run.
        found: Its curves.
        folder: Where its pictures are.
        most: Bytes of one picture.
    """
    if results.worst is None:
        return []
    lists = [
        Failures(
            "Right when untouched, and easiest broken",
            "Those that are wrong at the largest share of severities, on average over all conditions. First means after the "
            "smallest share of the way from nothing to a condition's farthest severity. The right picture is what the model saw "
            "there.",
            [_broken(results, sample, found, embed(folder, sample.picture, most)) for sample in results.worst.broken],
            pairs=True,
        ),
        Failures(
            "Wrong when untouched, and most certain",
            "Those to whose wrong class the model gives the highest probability.",
            [_certain(results, sample, embed(folder, sample.picture, most)) for sample in results.worst.confident],
            pairs=False,
        ),
    ]
    return [each for each in lists if each.samples]


def _broken(results: Results, sample: WorstSample, found: Sequence[Track], picture: Picture | None) -> Failure:
    clean = f"{percent(sample.confidence)} certain when untouched. "
    where, curve = sample.first or "", None
    for index, track in enumerate(found):
        for place, condition in enumerate(track.conditions):
            if condition.id == sample.first:
                where, curve = f"{track.title}, where {track.scale.phrase(track.positions[place])}", index
    told = (f"{clean}First wrong under ", where, f". Wrong at {percent(sample.share)} of severities.")
    mistaken = sample.prediction if sample.mistaken_for is None else sample.mistaken_for
    return Failure(sample.id, picture, _name(results, sample.label), _name(results, mistaken), told, curve)


def _certain(results: Results, sample: WorstSample, picture: Picture | None) -> Failure:
    also = "" if sample.share is None else f" Wrong at {percent(sample.share)} of severities, too."
    told = (f"{percent(sample.confidence)} certain.{also}", "", "")
    return Failure(sample.id, picture, _name(results, sample.label), _name(results, sample.prediction), told)


def _name(results: Results, index: int) -> str:
    classes = results.data.classes
    return classes[index] if index < len(classes) else f"class {index}"


def percent(share: float | None) -> str:
    """A share in percent, which is never said to be all where it is not.

    >>> percent(0.9996).replace(SPACE, " "), percent(1.0).replace(SPACE, " "), percent(0.5).replace(SPACE, " ")
    ('99.9 %', '100 %', '50 %')
    """
    if share is None:
        return "an unknown share"
    value = share * 100
    text = f"{value:.0f}" if value <= 99 or value == 100 else f"{min(value, 99.9):.1f}"
    return f"{text}{SPACE}%"
