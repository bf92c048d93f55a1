"""Results as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from vitkit.evaluation.results import Interval, Results
from vitkit.report.scale import SPACE, decimal, minus
from vitkit.report.track import Track, tracks
from vitkit.report.words import answers, samples, within


def table(results: Results) -> Table:
    """One row for each condition: lowest accuracy, area under the curve, and the severity at which it falls below the threshold.

    Severities are in the unit of the condition, which the page spells out. Intervals are 95 % bootstrap intervals. Whatever a
    user named is shown as it is, never read as markup.
    """
    found = tracks(results)
    data = f"{results.data.name} {results.data.split}".strip()
    clean = next((c.metrics["accuracy"] for c in results.conditions if c.suite == "clean" and "accuracy" in c.metrics), None)
    caption = Text(f"{samples(results)}; 95 % bootstrap intervals in brackets", justify="left")
    if clean is not None:
        caption = Text(f"Untouched: accuracy {cell(clean)}; ").append_text(caption)
    for warning in results.warnings:
        caption.append(f"\nWarning: {warning}", style="bold yellow")
    shown = Table(title=Text(f"{results.model.name} on {data}"), caption=caption, caption_justify="left", box=box.SIMPLE_HEAD)
    thresholds = " or ".join(f"{threshold * 100:g}{SPACE}%" for threshold in sorted({t.curve.threshold.accuracy for t in found}))
    for heading in ("Condition", "Lowest accuracy", "Area under curve", f"Falls below {thresholds} at"):
        shown.add_column(heading)
    for answer in answers(results, found):
        if answer.curve is None:
            shown.add_row(Text(answer.title), "", "", Text(str(answer.sentences[0])))
            continue
        track = found[answer.curve]
        lowest = min(track.accuracies, key=lambda accuracy: accuracy.value or 0.0)
        shown.add_row(Text(answer.title), Text(cell(lowest)), Text(cell(track.curve.auc)), Text(falls(track)))
    return shown


def cell(value: Interval, factor: float = 100.0, digits: int = 1, unit: str = f"{SPACE}%") -> str:
    """A number with its interval in brackets, which may stand on the next line.

    >>> cell(Interval(0.5, 0.25, None)).replace(SPACE, " ")
    '50.0 % [25.0, …]'
    """
    if value.value is None:
        return "–"
    text = decimal(value.value, factor, digits) + unit
    if value.ci_low is not None or value.ci_high is not None:
        ends = ("…" if end is None else decimal(end, factor, digits) for end in (value.ci_low, value.ci_high))
        text += f" [{f',{SPACE}'.join(ends)}]"
    return minus(text)


def falls(track: Track) -> str:
    """The severity at which accuracy falls below the threshold, on each side."""
    if (track.accuracies[track.identity].value or 0.0) < track.curve.threshold.accuracy:
        return "before anything is changed"
    lines = []
    for side in track.crossings():
        where = "never" if side.at is None else f"{track.scale.number(side.at)} [{within(side, track.scale)}]"
        lines.append(f"{side.side}: {where}" if side.side else where)
    return "\n".join(lines)
