"""Scores of several schemes over the same seeds: mean, spread, and differences within a seed."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.stats import t as student

REFERENCES = ("table", "none")


def summarise(values: Mapping[str, Sequence[float]], references: Sequence[str] = REFERENCES) -> dict[str, dict[str, Any]]:
    """Of each scheme every seed's value, their mean and standard deviation, and the differences to the references."""
    return {
        scheme: {
            "values": list(found),
            "mean": statistics.fmean(found),
            "sd": statistics.stdev(found) if len(found) > 1 else None,
            **{f"minus {other}": difference(found, values[other]) for other in references if other in values and other != scheme},
        }
        for scheme, found in values.items()
    }


def difference(values: Sequence[float], reference: Sequence[float]) -> dict[str, float | int | None]:
    """Mean of the differences within a seed, with the 95 % interval of Student's t over the seeds."""
    apart = [a - b for a, b in zip(values, reference, strict=True)]
    mean, n = statistics.fmean(apart), len(apart)
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(apart) / math.sqrt(n)
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


def table(summary: Mapping[str, Mapping[str, Any]], references: Sequence[str] = REFERENCES) -> Iterator[str]:
    """Lines of plain text, in percent and percentage points."""
    columns = [f"minus {other}" for other in references if other in summary]
    yield (f"{'':26}{'mean':>7}{'sd':>7}" + "".join(f"   {f'{column} [95 %]':24}" for column in columns)).rstrip()
    for scheme, row in summary.items():
        cells = [f"{100 * row['mean']:7.2f}", f"{'-':>7}" if row["sd"] is None else f"{100 * row['sd']:7.2f}"]
        cells += [f"   {_interval(row.get(column)):24}" for column in columns]
        yield (f"{scheme:26}" + "".join(cells)).rstrip()


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    bounds = "" if found["low"] is None else f" [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"
    return f"{100 * found['mean']:+7.2f}{bounds}"
