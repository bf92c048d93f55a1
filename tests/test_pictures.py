"""The pictures of these pages are those that their script draws, and the pages show each."""

import re
import runpy
from pathlib import Path

import pytest
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {kind: DOCS / "concepts" / f"{kind}.md" for kind in ("density", "bias", "pattern", "scorer", "occlusion", "invariance")}
PAGES["scan"] = DOCS / "volumes.md"
PAGES["evidence"] = DOCS / "robustness.md"
PAGES["corruption"] = DOCS / "concepts" / "corruptions.md"
PAGES["artefact"] = DOCS / "concepts" / "volume_corruptions.md"


@pytest.mark.usefixtures("unchecked")  # as the script is run
def test_each_picture_is_drawn_kept_and_shown(tmp_path, monkeypatch):
    def save(figure, file, save=Figure.savefig, **options):
        figure.set_layout_engine("none")  # finding places for everything takes half of the time
        save(figure, file, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    runpy.run_path(str(DOCS / "pictures.py"))["main"](tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for kind in PAGES for path in (DOCS / "images").glob(f"{kind}-*.png")}
    shown = set(re.findall(r"\]\((?:\.\./)?images/([\w-]+\.png)\)", "".join(page.read_text("utf-8") for page in PAGES.values())))
    assert drawn == kept == shown
