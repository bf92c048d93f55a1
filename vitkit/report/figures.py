"""The figures, each as an object that is drawn once for the page and once for a file."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitkit.evaluation.results import Comparison, Interval
from vitkit.report.scale import SPACE
from vitkit.report.track import Track
from vitkit.report.words import LEVEL

# Blue and vermilion, as Okabe and Ito chose them for every kind of colour vision, darkened until text in them is legible.
COLOURS = {
    "ink": "#1c2024", "muted": "#59626c", "rule": "#d9dde2",
    "first": "#0063a6", "second": "#a84300", "third": "#00664d", "fourth": "#8a3b75", "fifth": "#6b5600",
}  # fmt: skip

_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "vitkit",
    "font.size": 10,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.6,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "figure.figsize": (4.5, 3.2),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
}


@contextmanager
def drawing() -> Iterator[None]:
    """While it lasts figures are made in this project's style, whatever the user's own settings are."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def plain(text: str, length: int = 60) -> str:
    """Text that can be drawn: printable, and short enough for its place."""
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= length else text[: length - 1] + "…"


def draw_curve(track: Track, chance: float | None = None) -> Figure:
    """Accuracy over severity with its interval, and where it falls below the threshold.

    The groups ``point-i`` and ``ring-i`` are the i-th severity's; rings are left to the page to show.

    Args:
        track: The curve.
        chance: Accuracy of guessing, drawn as a line if given.
    """
    figure = Figure()
    axes = figure.add_subplot()
    _accuracy_axes(axes, track)
    add_band(axes, track, COLOURS["first"])
    x, y = drawn(track), percents(track.accuracies)
    for index, point in enumerate(zip(x, y, strict=True)):
        axes.plot(*point, "o", color=COLOURS["first"], gid=f"point-{index}", zorder=3, clip_on=False)
    threshold = track.curve.threshold.accuracy * 100
    _line(axes, threshold, f"{threshold:g}{SPACE}%", COLOURS["second"], "--", y)
    if chance is not None and abs(chance * 100 - threshold) > 8:
        _line(axes, chance * 100, "chance", COLOURS["muted"], ":", y)
    factor = track.scale.factor
    for side in track.crossings():
        if side.at is None or side.at * factor == x[track.identity]:
            continue
        ends = [end * factor for end in (side.near, side.far if side.far is not None else side.farthest) if end is not None]
        axes.plot(
            ends, [threshold] * len(ends), color=COLOURS["second"], linewidth=5, alpha=0.45, solid_capstyle="butt", zorder=4
        )
        axes.plot(side.at * factor, threshold, "D", color=COLOURS["second"], markersize=6, zorder=5)
        axes.annotate(
            track.scale.number(side.at),
            (side.at * factor, threshold),
            (0, -7),
            textcoords="offset points",
            ha="right" if side.at * factor >= x[track.identity] else "left",
            va="top",
            color=COLOURS["second"],
            weight="bold",
        )
    return figure


def add_rings(figure: Figure, track: Track) -> None:
    """A ring around every point, which the page shows around the severity that is looked at."""
    for index, point in enumerate(zip(drawn(track), percents(track.accuracies), strict=True)):
        figure.axes[0].plot(
            *point, "o", markersize=13, fillstyle="none", markeredgewidth=2, color=COLOURS["ink"], gid=f"ring-{index}",
            zorder=6, clip_on=False,
        )  # fmt: skip


def draw_comparison(comparison: Comparison, minuend: Track, subtrahend: Track) -> Figure:
    """Both curves with direct labels, and below them their difference with its interval."""
    figure = Figure(figsize=(4.5, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _accuracy_axes(upper, minuend)
    upper.set_xlabel("")
    names = [plain(name.rpartition(".")[2], 24) for name in (comparison.minuend, comparison.subtrahend)]
    for track, colour, marker in ((minuend, "first", "o"), (subtrahend, "second", "s")):
        add_band(upper, track, COLOURS[colour])
        upper.plot(drawn(track), percents(track.accuracies), marker, color=COLOURS[colour], zorder=3, clip_on=False)
    # Labels stand where the curves are farthest apart, above the upper and below the lower one.
    differences = [(a.value or 0.0) - (b.value or 0.0) for a, b in zip(minuend.accuracies, subtrahend.accuracies, strict=False)]
    widest = max(range(len(differences)), key=lambda index: abs(differences[index]))
    for track, colour, name, up in (
        (minuend, "first", names[0], differences[widest] >= 0),
        (subtrahend, "second", names[1], differences[widest] < 0),
    ):
        upper.annotate(
            name,
            (drawn(track)[widest], percents(track.accuracies)[widest]),
            (6 if up else -6, 8 if up else -8),
            textcoords="offset points",
            ha="left" if up else "right",
            va="bottom" if up else "top",
            color=COLOURS[colour],
            weight="bold",
        )
    lower.axhline(0, color=COLOURS["muted"], linewidth=0.8)
    x = [minuend.place(point.severity) * minuend.scale.factor for point in comparison.points]
    y = [point.difference * 100 for point in comparison.points]
    bars = [[100 * (point.difference - point.ci_low) for point in comparison.points],
            [100 * (point.ci_high - point.difference) for point in comparison.points]]  # fmt: skip
    lower.errorbar(x, y, yerr=bars, fmt="o", color=COLOURS["ink"], elinewidth=1.5, capsize=0)
    lower.set_ylabel("Difference (points)")
    lower.set_xlabel(plain(minuend.scale.axis))
    return figure


def describe(track: Track) -> str:
    """A curve in words, for those who cannot see it."""
    numbers = "; ".join(
        f"{track.scale.number(position)}: {value:.1f}{SPACE}%"
        for position, value in zip(track.positions, percents(track.accuracies), strict=True)
    )
    return f"Accuracy at each severity, with a band for the {LEVEL} interval. {track.scale.axis}: accuracy. {numbers}."


def _accuracy_axes(axes: Axes, track: Track) -> None:
    axes.set_ylim(0, 100)
    axes.set_xlabel(plain(track.scale.axis))
    axes.set_ylabel("Accuracy (%)")


def add_band(axes: Axes, track: Track, colour: str, linestyle: str = "-") -> None:
    """A curve of accuracies, and its interval as a band."""
    x, accuracies = drawn(track), track.accuracies
    low = [100 * (a.ci_low if a.ci_low is not None else a.value or 0.0) for a in accuracies]
    high = [100 * (a.ci_high if a.ci_high is not None else a.value or 0.0) for a in accuracies]
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, percents(accuracies), color=colour, zorder=3, linestyle=linestyle)


def _line(axes: Axes, height: float, label: str, colour: str, style: str, curve: list[float]) -> None:
    """A level with its name, at that end of it from which the curve is farther away."""
    axes.axhline(height, color=colour, linewidth=1, linestyle=style)
    right = abs(curve[-1] - height) >= abs(curve[0] - height)
    axes.annotate(
        label,
        (1 if right else 0.01, height),
        (0, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        color=colour,
        fontsize=9,
    )


def drawn(track: Track) -> list[float]:
    """Where a curve's points stand on the axis."""
    return [position * track.scale.factor for position in track.positions]


def percents(accuracies: Sequence[Interval]) -> list[float]:
    """The values in percent."""
    return [100 * (accuracy.value or 0.0) for accuracy in accuracies]
