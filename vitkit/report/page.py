"""The page: everything of a run in one file that needs no network, and no script to be read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vitkit.evaluation.results import Comparison, Interval, Results
from vitkit.report.cells import Cell
from vitkit.report.drift import drift_section
from vitkit.report.figures import add_rings, describe, draw_comparison, draw_curve
from vitkit.report.pictures import Picture, embed, share
from vitkit.report.scale import SPACE, decimal, minus, scale_of
from vitkit.report.svg import inline_svg
from vitkit.report.terminal import cell
from vitkit.report.track import Track, of_volumes, titles, tracks
from vitkit.report.words import answers, clean_sentence, meaning, percent, points, samples, within
from vitkit.report.worst import failures

# Heading, factor and digits of the metrics that are known; others are shown as they are.
_METRICS = {
    "accuracy": ("Accuracy (%)", 100.0, 1),
    "nll": ("Log loss (nats)", 1.0, 3),
    "brier": ("Brier score", 1.0, 3),
    "ece": ("Calibration error (%)", 100.0, 1),
    "adaptive_ece": ("Calibration error, bins of equal mass (%)", 100.0, 1),
    "auroc": ("AUROC (%)", 100.0, 1),
    "aurc": ("Area under risk-coverage (%)", 100.0, 1),
    "accuracy_at_80": ("Accuracy of the surest 80 % (%)", 100.0, 1),
    "accuracy_at_50": ("Accuracy of the surest 50 % (%)", 100.0, 1),
}


_OPEN = 12  # curves up to which all of them are open when the page is


@dataclass(frozen=True)
class Step:
    """One severity of a curve: what it is, how accurate the model is there, and what it saw."""

    severity: str
    accuracy: str
    picture: Picture | None


@dataclass(frozen=True)
class Section:
    """A curve with all that is shown of it; ``start`` is the step that is looked at first, ``identity`` the untouched one."""

    id: str
    title: str
    suite: str
    sentences: list[Any]
    figure: Markup
    steps: list[Step]
    start: int
    identity: int
    notes: list[str]


def environment() -> Environment:
    """The templates."""
    return Environment(
        loader=PackageLoader("vitkit.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def render(results: Results, folder: Path) -> str:
    """The page of a run, the same bytes for the same results.

    Args:
        results: What is shown.
        folder: Where its pictures are.
    """
    found = tracks(results)
    replies = answers(results, found)
    thresholds = sorted({track.curve.threshold.accuracy for track in found})
    suites = list(dict.fromkeys(reply.suite for reply in replies))
    worst = [] if results.worst is None else [*results.worst.broken, *results.worst.confident]
    most = share(len(worst) + sum(len(track.conditions) for track in found))
    sections = [_section(results, folder, found, index, replies[index].sentences, most) for index in range(len(found))]
    compared = [_comparison(index, comparison, found) for index, comparison in enumerate(results.comparisons)]
    names = list(dict.fromkeys(item["name"] for item in compared))
    chapters = [(suite, [section for section in sections if section.suite == suite]) for suite in suites]
    return (
        environment()
        .get_template("page.html")
        .render(
            results=results,
            threshold=" or ".join(f"{threshold * 100:g}{SPACE}%" for threshold in thresholds),
            clean=clean_sentence(results),
            groups=[(suite.capitalize(), [reply for reply in replies if reply.suite == suite]) for suite in suites],
            data=f"{results.data.name} {results.data.split}".strip(),
            samples=samples(results),
            noun=_noun(results),
            failures=failures(results, found, folder, most),
            chapters=[(suite.capitalize(), own) for suite, own in chapters if own],
            open=len(found) <= _OPEN,
            comparisons=[(name, [item for item in compared if item["name"] == name]) for name in names],
            drift=drift_section(results),
            curves=curve_table(found),
            conditions=condition_table(results),
            corruption_error=_corruption_error(results),
            skipped=[c for c in results.conditions if c.skipped is not None],
            cards=_cards(results),
            config=json.dumps(results.suite.config, indent=2, ensure_ascii=False),
        )
    )


def pair(comparison: Comparison, found: list[Track]) -> tuple[Track, Track] | None:
    """The curves that a comparison is about, if both are there."""
    by_name = {(track.curve.suite, track.curve.condition): track for track in found}
    first, second = (by_name.get((comparison.suite, name)) for name in (comparison.minuend, comparison.subtrahend))
    return (first, second) if first and second and comparison.points else None


def chance(results: Results) -> float | None:
    """Accuracy of guessing among the classes evenly."""
    return 1 / results.model.num_classes if results.model.num_classes > 1 else None


def _section(results: Results, folder: Path, found: list[Track], index: int, sentences: list[Any], most: int) -> Section:
    track = found[index]
    figure = draw_curve(track, chance(results))
    add_rings(figure, track)
    below = [i for i, a in enumerate(track.accuracies) if (a.value or 0.0) < track.curve.threshold.accuracy]
    notes = [f"Area under the curve (mean accuracy over the tested range): {percent(track.curve.auc)}."]
    clipped = max(track.conditions, key=lambda condition: condition.clipped)
    if clipped.clipped:
        where = track.scale.number(track.positions[track.conditions.index(clipped)])
        cut = f"Up to {decimal(clipped.clipped)}{SPACE}% of the {_noun(results)}' values are cut"
        notes.append(f"{cut} to the range from 0 to 1 (at {where}).")
    return Section(
        id=f"curve-{index}",
        title=track.title,
        suite=track.curve.suite,
        sentences=sentences,
        figure=inline_svg(figure, f"figure-{index}", f"{track.title}: accuracy over severity", describe(track)),
        steps=[
            Step(_severity(track, i), percent(track.accuracies[i]), embed(folder, condition.picture, most))
            for i, condition in enumerate(track.conditions)
        ],
        start=min(below, key=lambda i: abs(i - track.identity)) if below else track.identity,
        identity=track.identity,
        notes=notes,
    )


def _noun(results: Results) -> str:
    return "volumes" if of_volumes(results) else "images"


def _severity(track: Track, index: int) -> str:
    if index == track.identity:
        return "Untouched"
    text = track.scale.phrase(track.positions[index])
    return text[0].upper() + text[1:]


def _comparison(index: int, comparison: Comparison, found: list[Track]) -> dict[str, Any]:
    tracked = pair(comparison, found)
    first, second = comparison.minuend, comparison.subtrahend
    scale = tracked[0].scale if tracked else scale_of("")
    places = [tracked[0].place(p.severity) if tracked else p.severity for p in comparison.points]
    description = f"Above, the accuracy of {first} and {second} over severity; below, their difference with its interval."
    title = f"{comparison.name}: {first} minus {second}"
    # Two sides of one family are called by it, with what they have in common as the reader knows it.
    family = tracked[0].title.rpartition(f" {first.rpartition('.')[2]}")[0] if tracked else ""
    return {
        "index": index,
        "family": family or f"{first} minus {second}",
        "name": comparison.name,
        "suite": comparison.suite,
        "minuend": first,
        "subtrahend": second,
        "meaning": meaning(comparison),
        "figure": inline_svg(draw_comparison(comparison, *tracked), f"versus-{index}", title, description) if tracked else "",
        "axis": scale.axis,
        "rows": [
            [
                Cell(scale.digits(place), value=place),
                Cell(points(p.difference), f"{points(p.ci_low)} to {points(p.ci_high)}", p.difference),
            ]
            for place, p in zip(places, comparison.points, strict=True)
        ],
    }


def curve_table(found: list[Track]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of the table of curves."""
    thresholds = " or ".join(f"{value * 100:g}{SPACE}%" for value in sorted({t.curve.threshold.accuracy for t in found}))
    headings = ["Suite", "Condition", "Severity", "Area under curve (%)", f"Falls below {thresholds} at"]
    headings += ["Resamples that fall below (%)", "Predictions that flip from one severity to the next (%)"]
    return headings, [_curve_row(track) for track in found]


def _curve_row(track: Track) -> list[Cell]:
    crossings = track.crossings()
    fallen = " / ".join(track.scale.number(side.at) if side.at is not None else "never" for side in crossings)
    ends = " / ".join(within(side, track.scale) for side in crossings if side.near is not None)
    share = track.curve.threshold.share_below
    return [
        Cell(track.curve.suite),
        Cell(track.title),
        Cell(track.scale.axis),
        _interval(track.curve.auc, 100.0, 1),
        Cell(fallen, ends, crossings[0].at),
        Cell(decimal(share), value=share),
        _interval(track.curve.flip_probability or Interval(None), 100.0, 1),
    ]


def _metrics(results: Results) -> list[str]:
    present = dict.fromkeys(name for condition in results.conditions for name in condition.metrics)
    return [*(name for name in _METRICS if name in present), *(name for name in present if name not in _METRICS)]


def condition_table(results: Results) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of the table of conditions."""
    hidden = "Volume hidden (%)" if of_volumes(results) else "Area hidden (%)"
    headings = ["Condition", "Severity", hidden, "Values cut (%)", "Samples"]
    headings += [_METRICS.get(name, (name, 1.0, 3))[0] for name in _metrics(results)]
    return headings, _condition_rows(results)


def _corruption_error(results: Results) -> str:
    """What there is to say of the mean corruption error; nothing where no such corruption was run."""
    found = results.mce
    if found is None or not any(condition.suite == "corruptions" for condition in results.conditions):
        return ""
    if found.refused is not None:
        return f"Not given. {found.refused}"
    return f"mCE {percent(found.mce)} of AlexNet's errors; relative mCE {percent(found.relative)}."


def _condition_rows(results: Results) -> list[list[Cell]]:
    rows, named = [], titles(results)
    units = {"share of area": "share of volume"} if of_volumes(results) else {}
    for condition in sorted((c for c in results.conditions if c.skipped is None), key=lambda c: c.order):
        area = condition.params.get("area")
        rows.append(
            [
                Cell(named[condition.suite, condition.condition], condition.id.partition("/")[0]),
                Cell(minus(f"{condition.severity:g}"), units.get(condition.unit, condition.unit), condition.severity),
                Cell(decimal(area), value=area) if isinstance(area, (int, float)) else Cell("–"),
                Cell(decimal(condition.clipped), value=condition.clipped),
                Cell(f"{condition.n:,}", value=condition.n),
                *(
                    _interval(condition.metrics.get(name, Interval(None)), *_METRICS.get(name, (name, 1.0, 3))[1:])
                    for name in _metrics(results)
                ),
            ]
        )
    return rows


def _interval(value: Interval, factor: float, digits: int) -> Cell:
    text, _, ends = cell(value, factor, digits, "").partition(" [")
    return Cell(text, ends.rstrip("]").replace(f",{SPACE}", " to "), value.value)


def _cards(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    model, data = results.model, results.data
    classes = ", ".join(data.classes[:20]) + (f" and {len(data.classes) - 20} more" if len(data.classes) > 20 else "")
    given = {key: _short(value) for key, value in (results.preprocess or {}).items()}
    return [
        (
            "Model",
            [
                ("Name", model.name),
                ("Parameters", f"{model.parameters:,}"),
                ("Classes", f"{model.num_classes:,}"),
                ("Weights", "random" if model.random_weights else "loaded"),
                ("Fingerprint", model.fingerprint),
            ],
        ),
        (
            "Data",
            [
                ("Name", f"{data.name} {data.split}".strip()),
                ("Samples", f"{data.n:,}"),
                ("Classes", classes or "unnamed"),
                ("Fingerprint", data.fingerprint or "none"),
            ],
        ),
        (
            "Preprocessing",
            [(key.capitalize(), value) for key, value in given.items()] or [("None", "images as the loader gives them")],
        ),
        (
            "Run",
            [
                ("Suite", results.suite.name),
                ("Seed", str(results.seed)),
                ("Hardware", results.hardware),
                ("Began", results.created),
                ("vitkit", results.vitkit + (f", commit {results.git}" if results.git else "")),
                *sorted(results.packages.items()),
            ],
        ),
    ]


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " × ".join(map(_short, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
