"""How Sphinx builds these pages: MyST for text, autodoc for the reference, Furo for looks."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import figures

project = "vitkit"
author = "The vitkit authors"
copyright = "2026, the vitkit authors"  # noqa: A001  Sphinx's own name
release = version = metadata.version("vitkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"vitkit {release}"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# A reference to a public name of vitkit has to resolve. Other projects' types are not looked up, so that the pages build without
# a network, and neither are names that a room keeps to itself.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!vitkit\.).*|vitkit\.\w+\.[a-z_]+\..*")]


def setup(app: Any) -> None:
    """Put the benchmarks' results into their page."""
    app.connect("source-read", figures.insert)
