"""The pictures of densities, biases, patterns and scorers are those that their script draws, and the pages show each of them."""

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
KINDS = ("density", "bias", "pattern", "scorer")


def test_each_picture_is_drawn_kept_and_shown(tmp_path):
    runpy.run_path(str(DOCS / "pictures.py"))["main"](tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for kind in KINDS for path in (DOCS / "images").glob(f"{kind}-*.png")}
    pages = "".join((DOCS / "concepts" / f"{kind}.md").read_text(encoding="utf-8") for kind in KINDS)
    shown = set(re.findall(r"\]\(\.\./images/([\w-]+\.png)\)", pages))
    assert drawn == kept == shown
