"""Write the figures and the page of a run."""

import re
from pathlib import Path

from matplotlib.figure import Figure

from vitkit.evaluation.results import load_results
from vitkit.files import replacing
from vitkit.report.figures import draw_comparison, draw_curve, drawing, plain
from vitkit.report.page import chance, pair, render
from vitkit.report.track import tracks


def write_report(folder: Path | str) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished evaluation, the same bytes for the same results.

    Args:
        folder: The run, with ``results.json`` and its pictures.

    Returns:
        The path of the page: one file, which needs nothing else.

    Raises:
        UsageError: There are no results in the folder.
        DataError: They cannot be read.
    """
    folder = Path(folder)
    results = load_results(folder)
    found = tracks(results)
    (folder / "figures").mkdir(exist_ok=True)
    with drawing():
        for track in found:
            figure = draw_curve(track, chance(results))
            _save(figure, folder, f"{track.curve.suite}.{track.curve.condition}", track.title)
        for comparison in results.comparisons:
            if tracked := pair(comparison, found):
                _save(
                    draw_comparison(comparison, *tracked),
                    folder,
                    f"{comparison.suite}.{comparison.name}",
                    comparison.name.capitalize(),
                )
        page = render(results, folder)
    with replacing(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    return folder / "report.html"


def _save(figure: Figure, folder: Path, name: str, title: str) -> None:
    figure.suptitle(plain(title), x=0.02, ha="left", weight="bold", fontsize=11)
    with replacing(folder / "figures" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.png") as path:
        figure.savefig(path, format="png", metadata={"Software": None})
