"""The drift profile of a run: one figure, and what it and the certificate say in sentences."""

from collections.abc import Callable
from math import floor, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from vitkit.evaluation.profiles.found import Certificate, DriftProfile, LayerDrift, Spread
from vitkit.evaluation.results import Results
from vitkit.report.cells import Cell
from vitkit.report.figures import COLOURS, plain
from vitkit.report.scale import SPACE, minus
from vitkit.report.svg import inline_svg
from vitkit.report.words import Sentence

FLOOR = 1e-8
"""Drift below which the figure does not tell numbers apart: the rounding of float32 and less."""
_MARKERS = "os^Dv<>Pd"
_DIGITS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_NAMED = 12  # layers whose names stand below the axis; of more, evenly spread ones


def drift_section(results: Results) -> dict[str, Any] | None:
    """What the page shows of a run's profiles; None if it has none."""
    profiles = results.profiles
    if not profiles:
        return None
    layers = list(dict.fromkeys(layer.layer for profile in profiles for layer in profile.layers))
    attended = [name for name in layers if any(_spread(profile, name, "attention") for profile in profiles)]
    title = "Drift of each layer under each transformation"
    return {
        "certificate": certified(results.certificate) if results.certificate is not None else None,
        "sentences": [said(profile) for profile in profiles],
        "figure": inline_svg(draw_profiles(profiles), "drift-figure", title, describe_profiles(profiles)),
        "tolerance": number(profiles[0].tolerance),
        "headings": ["Layer", *(profile.title for profile in profiles)],
        "features": [_row(profiles, layers.index(name), name, "features") for name in layers],
        "attention": [_row(profiles, layers.index(name), name, "attention") for name in attended],
    }


def _row(profiles: list[DriftProfile], place: int, name: str, what: str) -> list[Cell]:
    found = [_spread(profile, name, what) for profile in profiles]
    cells = [Cell("–") if spread is None else Cell(number(spread.median), number(spread.q90), spread.median) for spread in found]
    return [Cell(name, value=place), *cells]


def _spread(profile: DriftProfile, name: str, what: str) -> Spread | None:
    spreads: list[Spread | None] = [getattr(layer, what) for layer in profile.layers if layer.layer == name]
    return spreads[0] if spreads else None


def number(value: float | None) -> str:
    """A drift as a reader wants it.

    >>> number(0.25), number(0.00012), number(0.0), number(None)
    ('0.25', '1.2×10⁻⁴', '0', 'undefined')
    """
    if value is None:
        return "undefined"
    if value == 0 or value >= 0.001:
        return minus(f"{value:.2g}")
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}×10{str(int(exponent)).translate(_DIGITS)}"


def certified(certificate: Certificate) -> Sentence:
    """What the certificate says, in one sentence.

    >>> spread = Spread(0.2, 0.3)
    >>> str(certified(Certificate("none", "", "no norm", "", 1e-4, 8, "Gain 2", "stem", spread, None, spread, "stem")))
    'Brightness certificate: none (no norm). Gain 2 moves stem by 0.3 and the logits by 0.3; what moves first is stem.'
    """
    found = certificate
    opening, moved, logits = "Brightness certificate: ", number(found.tokens.q90), number(found.logits.q90)
    lost = f" Given up: {found.given_up}." if found.given_up else ""
    if found.verdict == "exact":
        text = f" under {found.family}: no layer moves by more than {number(found.tolerance)}, {found.layer} by {moved} at most"
        return Sentence(opening, "holds", f"{text} and the logits by {logits} ({_images(found.n)}).{lost}")
    if found.verdict == "up to eps":
        text = f" under {found.family}: {found.worst} moves {found.layer} by {moved}, of which eps explains"
        text += (
            f" {number(found.explained)} (patches that are nearly flat), and the logits by {logits} at most ({_images(found.n)})."
        )
        return Sentence(opening, "holds up to the norm's eps", text + lost)
    first = f"; what moves first is {found.breaks_at}" if found.breaks_at else ""
    drift = f"{found.worst} moves {found.layer} by {moved} and the logits by {logits}{first}."
    if found.layer == "logits":
        drift = f"{found.worst} moves the logits by {logits}."
    if found.verdict == "broken":
        return Sentence(opening, "does not hold", f", though the model claims {found.family}: {drift}")
    return Sentence(opening, "none", f" ({found.reason}). {drift}")


def said(profile: DriftProfile) -> Sentence:
    """Where a transformation enters the model, and what is left of it at the end."""
    opening, end = f"{profile.title}: ", profile.layer("logits").features.median
    if profile.enters is None:
        return Sentence(opening, "moves no layer", f" by more than {number(profile.tolerance)}; the logits by {number(end)}.")
    entry = profile.layer(profile.enters)
    if entry.kind == "logits":
        return Sentence(opening, f"moves the logits by {number(end)}", ".")
    here = (
        f", where the median drift is {number(entry.features.median)} and the 90{SPACE}% quantile {number(entry.features.q90)};"
    )
    here += f" that of the logits is {number(end)} and {number(profile.layer('logits').features.q90)}."
    return Sentence(opening, f"enters at {profile.enters}", here + _attention(profile))


def _attention(profile: DriftProfile) -> str:
    moved = [layer for layer in profile.layers if layer.attention is not None and layer.attention.median is not None]
    if not moved:
        return ""
    most = max(moved, key=lambda layer: _of(layer.attention) or 0.0)
    return f" Attention changes most in {most.layer}, by {number(_of(most.attention))} of what a query pays."


def _images(n: int) -> str:
    return f"{n}{SPACE}image{'' if n == 1 else 's'}, 90{SPACE}% of them below"


def draw_profiles(profiles: list[DriftProfile]) -> Figure:
    """The median drift of each layer, from the embedding to the logits; below it that of the attention, where there is any.

    Blue is what lies in the family gain · x + shift, vermilion what does not.
    """
    seen = any(layer.attention is not None for profile in profiles for layer in profile.layers)
    figure = Figure(figsize=(4.5, 5.6 if seen else 3.8))
    axes = list(figure.subplots(2 if seen else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 2] if seen else [1]).flat)
    names = list(dict.fromkeys(layer.layer for profile in profiles for layer in profile.layers))
    places = {name: place for place, name in enumerate(names)}
    _lines(axes[0], profiles, places, lambda layer: layer.features)
    axes[0].set_ylabel("Relative drift of features")
    axes[0].axhline(profiles[0].tolerance, color=COLOURS["muted"], linewidth=1, linestyle=":")
    if seen:
        _lines(axes[1], profiles, places, lambda layer: layer.attention)
        axes[1].set_ylabel("Change of attention")
    step = -(-len(names) // _NAMED)
    ticks = [place for place in places.values() if (len(names) - 1 - place) % step == 0]
    axes[-1].set_xticks(ticks, [plain(names[tick], 18) for tick in ticks], rotation=45, ha="right", rotation_mode="anchor")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure


def _lines(axes: Axes, profiles: list[DriftProfile], places: dict[str, int], of: Callable[[LayerDrift], Spread | None]) -> None:
    axes.set_yscale("log")
    highest = FLOOR
    for index, profile in enumerate(profiles):
        points = [(places[layer.layer], value) for layer in profile.layers if (value := _of(of(layer))) is not None]
        colour = COLOURS["first" if profile.family else "second"]
        axes.plot(
            [place for place, _ in points], [max(value, FLOOR) for _, value in points],
            marker=_MARKERS[index % len(_MARKERS)], color=colour, linewidth=1.2, label=plain(profile.title, 30), clip_on=False,
        )  # fmt: skip
        highest = max([highest, *(value for _, value in points)])
    axes.set_ylim(FLOOR, 10 ** (floor(log10(highest)) + 1))
    axes.yaxis.set_major_formatter(lambda value, _: number(value).removeprefix("1×"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(-0.3, len(places) - 0.7)


def _of(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def describe_profiles(profiles: list[DriftProfile]) -> str:
    """The figure in words, for those who cannot see it."""
    lines = [
        f"{profile.title}: " + ", ".join(f"{layer.layer} {number(layer.features.median)}" for layer in profile.layers)
        for profile in profiles
    ]
    return "Median relative drift of each layer under each transformation, on a logarithmic scale. " + "; ".join(lines) + "."
