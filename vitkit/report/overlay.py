"""Curves of several runs over each other, and their differences to one of them."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from vitkit.evaluation.comparison import Difference
from vitkit.report.figures import COLOURS, add_band, drawn, percents, plain
from vitkit.report.scale import SPACE
from vitkit.report.track import Track
from vitkit.report.words import LEVEL

_COLOURS = ("first", "second", "third", "fourth", "fifth")
_MARKERS = "os^DvPX"
_LINES = ("-", "--", "-.", ":")


def draw_runs(
    labels: Sequence[str], tracks: Sequence[Track], baseline: int, differences: Sequence[Sequence[Difference]]
) -> Figure:
    """Accuracy of every run over severity, and below it what each has more than the baseline, with intervals.

    Runs differ in colour, marker and line, so that no one has to tell them by colour.

    Args:
        labels: Names of the runs.
        tracks: The same curve of each.
        baseline: Which of them the others are held against.
        differences: Of each run at single severities; empty for the baseline.
    """
    figure = Figure(figsize=(4.5, 5.0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    upper.set_ylim(0, 100)
    upper.set_ylabel("Accuracy (%)")
    width = max(drawn(tracks[0])) - min(drawn(tracks[0]))
    lower.axhline(0, color=COLOURS["muted"], linewidth=0.8)
    legend: list[Artist] = []
    for index, (label, track) in enumerate(zip(labels, tracks, strict=True)):
        colour, marker = COLOURS[_COLOURS[index % len(_COLOURS)]], _MARKERS[index % len(_MARKERS)]
        line = _LINES[index % len(_LINES)]
        add_band(upper, track, colour, linestyle=line)
        upper.plot(drawn(track), percents(track.accuracies), marker, color=colour, zorder=3, clip_on=False)
        words = plain(label, 32) + (" (baseline)" if index == baseline else "")
        legend += upper.plot([], [], f"{line}{marker}", color=colour, label=words)
        if index == baseline or not differences[index]:
            continue
        aside = (index - (len(labels) - 1) / 2) * 0.015 * width  # so that bars at one severity do not hide each other
        found = sorted(differences[index], key=lambda difference: difference.severity or 0.0)
        x = [track.place(each.severity or 0.0) * track.scale.factor + aside for each in found]
        y = [100 * (each.difference.value or 0.0) for each in found]
        low = [value - 100 * (each.difference.ci_low or 0.0) for value, each in zip(y, found, strict=True)]
        high = [100 * (each.difference.ci_high or 0.0) - value for value, each in zip(y, found, strict=True)]
        bars = [[max(end, 0.0) for end in ends] for ends in (low, high)]
        lower.errorbar(x, y, yerr=bars, fmt=marker, color=colour, elinewidth=1.3, capsize=0, markersize=4)
    # Below, because it would lie on the curves of models that are seldom right.
    figure.legend(handles=legend, loc="outside lower left", ncols=2, frameon=False, fontsize=8, handlelength=3.5)
    lower.set_ylabel("Difference to\nbaseline (points)")
    lower.set_xlabel(plain(tracks[0].scale.axis))
    return figure


def describe_runs(labels: Sequence[str], tracks: Sequence[Track]) -> str:
    """The curves in words."""
    rows = []
    for label, track in zip(labels, tracks, strict=True):
        numbers = "; ".join(
            f"{track.scale.number(position)}: {value:.1f}{SPACE}%"
            for position, value in zip(track.positions, percents(track.accuracies), strict=True)
        )
        rows.append(f"{label}: {numbers}.")
    return f"Above, accuracy at each severity with {LEVEL} intervals; below, differences. {' '.join(rows)}"
