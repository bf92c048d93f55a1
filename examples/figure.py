"""Draw a figure of your own from the folder of an evaluation, without the model.

    python examples/figure.py runs/demo occlusion.png

Every number of it comes from results.json, and the pictures are what the model saw.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from vitkit.evaluation import load_results
from vitkit.evaluation.results import ConditionResult

SHOWN = [0.2, 0.4, 0.6, 0.8]
COLOURS = {"painted": "#a84300", "removed": "#0063a6"}


def area(condition: ConditionResult) -> float:
    """Share of the pixels that are hidden; a ratio of few patches is rounded down to whole ones."""
    return float(condition.params.get("area", 0.0))


def draw(folder: Path) -> Figure:
    """What the model saw under random occlusion, beside its accuracy."""
    results = load_results(folder)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2, 3])

    rows = [results.clean] + [results.condition(f"occlusion.random.painted/{severity:g}") for severity in SHOWN]
    for axes, row in zip(left.subplots(len(rows), 1), rows, strict=True):
        axes.imshow(Image.open(folder / str(row.picture)), cmap="gray", interpolation="nearest")
        axes.set_ylabel(f"{area(row):.0%}", rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)

    axes = right.subplots()
    for mode, colour in COLOURS.items():
        curve = results.curve("occlusion", f"random.{mode}")
        hidden = [100 * area(condition) for condition in results.at(curve)]
        found = [condition.metrics["accuracy"] for condition in results.at(curve)]
        axes.plot(hidden, [100 * interval.value for interval in found], "o-", color=colour, label=f"patches {mode}")
        low, high = [100 * interval.ci_low for interval in found], [100 * interval.ci_high for interval in found]
        axes.fill_between(hidden, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(80, color="#59626c", linestyle=":", linewidth=1)
    axes.set(xlabel="area hidden (%)", ylabel="test accuracy (%)", ylim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    draw(Path(sys.argv[1])).savefig(sys.argv[2], dpi=130)
