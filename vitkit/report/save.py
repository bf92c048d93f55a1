"""A figure as files: PNG to look at, PDF to print."""

import re
from pathlib import Path

from matplotlib.figure import Figure

from vitkit.files import replacing
from vitkit.report.figures import plain

_METADATA = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}


def save_figure(figure: Figure, folder: Path, name: str, title: str) -> None:
    """Write a figure with its title as PNG and as PDF, the same bytes every time."""
    figure.suptitle(plain(title), x=0.02, ha="left", weight="bold", fontsize=11)
    folder.mkdir(parents=True, exist_ok=True)
    for form, metadata in _METADATA.items():
        with replacing(folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.{form}") as path:
            figure.savefig(path, format=form, metadata=metadata)
        figure.set_layout_engine("none")  # found once, it is the same for every format
