"""Write the figures, tables and the page of a run."""

from pathlib import Path

from vitkit.evaluation.results import load_results
from vitkit.files import replacing
from vitkit.report.drift import draw_profiles
from vitkit.report.figures import draw_comparison, draw_curve, drawing
from vitkit.report.page import chance, condition_table, curve_table, pair, render
from vitkit.report.save import save_figure
from vitkit.report.tabular import write_tables
from vitkit.report.track import tracks


def write_report(folder: Path | str) -> Path:
    """Write ``figures/*.png`` and ``.pdf``, ``tables/*.csv`` and ``.tex``, and ``report.html``, the same bytes for the same
    results of a finished evaluation.

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
    with drawing():
        if results.profiles:
            save_figure(draw_profiles(results.profiles), folder / "figures", "drift", "Drift of each layer")
        for track in found:
            figure = draw_curve(track, chance(results))
            save_figure(figure, folder / "figures", f"{track.curve.suite}.{track.curve.condition}", track.title)
        for comparison in results.comparisons:
            if tracked := pair(comparison, found):
                drawn = draw_comparison(comparison, *tracked)
                name = f"{comparison.suite}.{comparison.name}"
                if [other.name for other in results.comparisons].count(comparison.name) > 1:  # each has a file of its own
                    name += f".{comparison.minuend}"
                save_figure(drawn, folder / "figures", name, comparison.name.capitalize())
        page = render(results, folder)
    title = f"{results.model.name} on {results.data.name}"
    write_tables(folder / "tables", "curves", *curve_table(found), f"Robustness of {title}: curves, with 95 % intervals")
    write_tables(folder / "tables", "conditions", *condition_table(results), f"{title}: conditions, with 95 % intervals")
    with replacing(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    return folder / "report.html"
