"""A figure as SVG that lives inside a page: scalable, named for screen readers, in the page's own colours."""

from io import StringIO
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.figure import Figure

from vitkit.report.figures import COLOURS

_KEPT = ("point-", "ring-")
_LINK = "href"


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> Markup:
    """The figure as an ``<svg>`` element; text stays text, and colours are the page's variables.

    Args:
        figure: Drawn in :func:`vitkit.report.figures.drawing`.
        prefix: Of every id in it, different for each figure of a page.
        title: Its name.
        description: What it shows, in words.
    """
    stream = StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(stream.getvalue())  # noqa: S314  our own drawing, not a file of somebody's
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.attrib.items()}
    names = _names(root, prefix)
    for element in root.iter():
        if (old := element.attrib.pop("id", None)) in names:
            element.set("id", names[old])
        for key, value in element.attrib.items():
            if key == _LINK:
                element.set(key, f"#{names[value[1:]]}")
            elif value.startswith("url(#"):
                element.set(key, f"url(#{names[value[5:-1]]})")
            elif key == "style":
                element.set(key, _coloured(value))
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-description",
    }
    for position, (tag, text) in enumerate([("title", title), ("desc", description)]):
        label = ET.Element(tag, {"id": f"{prefix}-{'title' if tag == 'title' else 'description'}"})
        label.text = text
        root.insert(position, label)
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))  # noqa: S704  escaped by the serialiser


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _names(root: ET.Element, prefix: str) -> dict[str, str]:
    """A new id for every id that is referred to or that the page looks for; the others go."""
    used = {value[1:] for element in root.iter() if (value := element.get(_LINK))}
    used |= {value[5:-1] for element in root.iter() for value in element.attrib.values() if value.startswith("url(#")}
    names: dict[str, str] = {}
    for element in root.iter():
        old = element.get("id", "")
        if old.startswith(_KEPT):
            names[old] = f"{prefix}-{old}"
        elif old in used:
            names.setdefault(old, f"{prefix}-{len(names)}")
    return names


def _coloured(style: str) -> str:
    for name, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{name}, {colour})")
    return style
