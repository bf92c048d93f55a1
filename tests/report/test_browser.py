"""The page in a real browser: on a desk and on a phone, with scripts and without."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch

from tests.report.conftest import save
from vitkit.evaluation import Gain, Suite, compare, evaluate
from vitkit.evaluation.results import Interval
from vitkit.report import write_comparison, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--allow-file-access-from-files",  # so that the page around may look into the frame
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
]

# A window cannot be as narrow as a phone, a frame can. A sandbox without allow-scripts is a browser without them.
AROUND = """<!DOCTYPE html><body style="margin:0">
<iframe id="page" style="width:{width}px;height:900px;border:0" {sandbox}></iframe>
<pre id="out"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument;
  const look = (selector) => [...page.querySelectorAll(selector)];
  const visible = (element) =>
    element.checkVisibility({{ visibilityProperty: true }}) && element.getBoundingClientRect().width > 0;
  const out = {{}};
  {script}
  document.getElementById("out").textContent = JSON.stringify(out);
}});
frame.src = {url};
</script>"""


@pytest.fixture(scope="module")
def page(results, tmp_path_factory) -> Path:
    return write_report(save(results, tmp_path_factory.mktemp("page")))


@pytest.fixture(scope="module")
def failing_page(failing, tmp_path_factory) -> Path:
    return write_report(save(failing, tmp_path_factory.mktemp("failing")))


def look(page: Path, script: str, *, width: int = 1280, scripts: bool = True) -> dict:
    """Load a page in a frame, run a script beside it, and return what that put into ``out``."""
    sandbox = "" if scripts else 'sandbox="allow-same-origin"'
    run = page.parent
    around = run / "around.html"
    around.write_text(AROUND.format(width=width, sandbox=sandbox, script=script, url=json.dumps(page.as_uri())))
    command = [BROWSER, *FLAGS, f"--user-data-dir={run / 'profile'}", "--window-size=1300,1000", "--dump-dom", around.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "sandboxed" not in line]
    assert complaints == []
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert found[1], done.stderr[-2000:]
    return json.loads(unescape(found[1]))


WIDTHS = """
  out.inside = page.documentElement.clientWidth;
  out.whole = page.documentElement.scrollWidth;
  out.outside = look("body *").filter((element) => visible(element) && !element.closest(".scroll, pre, svg, .skip"))
    .filter((element) => element.getBoundingClientRect().right > page.documentElement.clientWidth + 0.5)
    .map((element) => element.outerHTML.slice(0, 80));
  out.text = Math.min(...look("svg text").map((text) => text.getBoundingClientRect().height));
"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_is_wider_than_the_screen(failing_page, width, scripts):
    out = look(failing_page, WIDTHS, width=width, scripts=scripts)
    assert out["inside"] <= width
    assert out["whole"] <= out["inside"]
    assert out["outside"] == []
    assert out["text"] >= 10  # pixels: figures can be read on a phone


def test_long_names_are_wider_than_no_screen(results, builders, tmp_path):
    line, _ = builders
    name = "averylongname" * 20
    made = line(results, name[:60], name[:60], {0.5: 0.3}, Interval(0.2, 0.1, 0.3), unit=name, title=name)
    made = replace(
        made,
        command=name,
        warnings=[name],
        model=replace(made.model, name=name, fingerprint=name),
        data=replace(made.data, name=name, classes=[name]),
        suite=replace(made.suite, name=name, config={name: name}),
        packages={name: name},
    )
    out = look(write_report(save(made, tmp_path)), WIDTHS, width=400)
    assert out["whole"] <= 400
    assert out["outside"] == []


def test_slider_shows_what_the_model_saw_and_where_that_is_on_the_curve(page):
    out = look(
        page,
        """
  out.ready = page.documentElement.dataset.ready;
  const curve = page.querySelector(".curve");
  const slider = curve.querySelector("input");
  const state = () => ({
    seen: [...curve.querySelectorAll(".steps li")].flatMap((step, index) => visible(step) ? [index] : []),
    rings: [...curve.querySelectorAll("[id*='-ring-']")].flatMap((ring, index) => visible(ring) ? [index] : []),
    said: slider.getAttribute("aria-valuetext"),
  });
  out.control = visible(slider);
  out.first = state();
  slider.value = 3;
  slider.dispatchEvent(new Event("input"));
  out.moved = state();
  curve.querySelector("[id$='-point-1']").dispatchEvent(new Event("click"));
  out.clicked = state();
  curve.querySelector(".control button").click();
  out.all = state().seen;
""",
    )
    assert out["ready"] == "true"
    assert out["control"]
    # The first severity below 80 % is looked at first, beside the untouched images.
    assert (out["first"]["seen"], out["first"]["rings"]) == ([0, 2], [2])
    assert (out["moved"]["seen"], out["moved"]["rings"]) == ([0, 3], [3])
    assert (out["clicked"]["seen"], out["clicked"]["rings"]) == ([0, 1], [1])
    assert out["moved"]["said"].replace("\N{NO-BREAK SPACE}", " ").startswith("90 % of the area is hidden, accuracy 20.0 %")
    assert out["all"] == [0, 1, 2, 3]


def test_tables_sort_by_number_and_by_name(page):
    out = look(
        page,
        """
  const table = look("table.sortable").at(-1);
  const headings = [...table.tHead.rows[0].cells];
  const column = (name) => headings.findIndex((heading) => heading.textContent.startsWith(name));
  const read = (index) => [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.value ?? row.cells[index].textContent);
  const press = (name) => { headings[column(name)].querySelector("button").click(); return read(column(name)); };
  out.up = press("Accuracy").map(Number);
  out.sort = headings[column("Accuracy")].getAttribute("aria-sort");
  out.down = press("Accuracy").map(Number);
  out.undefined = press("AUROC");
  out.names = press("Condition");
  out.sorted = headings.filter((heading) => heading.hasAttribute("aria-sort")).length;
""",
    )
    assert out["up"] == sorted(out["up"])
    assert out["down"] == sorted(out["up"], reverse=True)
    assert out["sort"] == "ascending"
    assert len(set(out["undefined"])) == 1
    assert out["names"] == sorted(out["names"])
    assert out["sorted"] == 1


def test_everything_can_be_seen_without_scripts(page, results):
    out = look(
        page,
        """
  out.ready = page.documentElement.dataset.ready ?? null;
  out.pictures = look(".steps img").filter((image) => visible(image) && image.naturalWidth > 0).length;
  out.curves = look(".plot svg").filter(visible).length;
  out.controls = look(".control").filter(visible).length;
  out.rings = look("[id*='-ring-']").filter(visible).length;
""",
        scripts=False,
    )
    pictures = sum(len(curve.severities) - 1 for curve in results.curves)
    assert out == {"ready": None, "pictures": pictures, "curves": 4, "controls": 0, "rings": 0}


def test_a_link_opens_the_chapter_that_it_leads_to(failing, tmp_path, monkeypatch):
    """Closed at first, as with many curves; the table of contents and the answers lead into it, and paper shows everything."""
    monkeypatch.setattr("vitkit.report.page._OPEN", 1)
    out = look(
        write_report(save(failing, tmp_path)),
        """
  const seen = () => look(".curve").filter(visible).map((curve) => curve.id);
  const chapters = look("details.chapter");
  out.closed = seen();
  out.missing = look("nav a").filter((link) => !page.getElementById(link.hash.slice(1))).length;
  out.links = look("nav a").filter(visible).map((link) => link.textContent);
  const follow = (hash) => {
    frame.contentWindow.history.replaceState(null, "", hash);
    frame.contentWindow.dispatchEvent(new HashChangeEvent("hashchange"));
  };
  follow("#curve-2");
  out.followed = seen();
  out.shown = Math.abs(page.getElementById("curve-2").getBoundingClientRect().top) < 900;
  chapters.forEach((chapter) => { chapter.open = false; });
  const bars = chapters.map((chapter) => chapter.querySelector("summary"));
  out.focusable = bars.every((bar) => { bar.focus(); return page.activeElement === bar; });
  frame.contentWindow.dispatchEvent(new Event("beforeprint"));
  out.printed = seen();
  out.failures = look(".samples li").filter(visible).length;
  out.pictures = look(".samples img").filter((image) => visible(image) && image.naturalWidth > 0).length;
""",
    )
    assert out["closed"] == []
    assert out["missing"] == 0
    assert out["links"][:4] == [
        "When it falls below 80\N{NO-BREAK SPACE}%",
        "Where it fails",
        "Occlusion: 2 curves",
        "Brightness: 1 curve",
    ]
    assert (out["followed"], out["shown"]) == (["curve-2"], True)
    assert out["focusable"]
    assert out["printed"] == ["curve-0", "curve-1", "curve-2"]
    assert (out["failures"], out["pictures"]) == (4, 3)


def test_headings_are_sorted_by_from_the_keyboard(page):
    out = look(
        page,
        """
  const table = look("table.sortable").at(-1);
  const buttons = [...table.tHead.querySelectorAll("th > button")];
  out.all = buttons.length === table.tHead.rows[0].cells.length;
  out.reached = buttons.every((button) => { button.focus(); return page.activeElement === button && button.tabIndex === 0; });
  const region = table.parentElement;
  region.focus();
  out.scrolled = page.activeElement === region && region.getAttribute("role") === "region";
""",
    )
    assert out == {"all": True, "reached": True, "scrolled": True}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Path:
    """The page of three models against one another, one of them with a name as long as names get."""
    root = tmp_path_factory.mktemp("compared")
    images = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    brightness = images.mean((1, 2, 3))
    batch = (images, (brightness > brightness.median()).long())

    def bright(threshold: float):
        return lambda x: torch.stack([threshold - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - threshold], 1)

    suite = Suite("gain", [Gain([0.8, 0.9, 1.1])])
    names = {"exact": brightness.median(), "darker": 0.47, "averylongname" * 8: 0.44}
    for name, threshold in names.items():
        evaluate(bright(float(threshold)), [batch], suite, root / name, name=name)
    return write_comparison(*compare([root / name for name in names]), root / "page")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scripts", [True, False])
def test_no_comparison_is_wider_than_the_screen(comparison, width, scripts):
    out = look(comparison, WIDTHS, width=width, scripts=scripts)
    assert out["whole"] <= out["inside"] <= width
    assert out["outside"] == []
    assert out["text"] >= 10


def test_tables_of_a_comparison_sort_and_are_reached_from_the_keyboard(comparison):
    out = look(
        comparison,
        """
  out.ready = page.documentElement.dataset.ready;
  out.figures = look(".plot svg").filter(visible).length;
  const table = page.querySelector("table.sortable");
  const headings = [...table.tHead.rows[0].cells];
  const index = headings.findIndex((heading) => heading.textContent.startsWith("darker"));
  const button = headings[index].querySelector("button");
  const read = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[index].dataset.value));
  button.focus();
  out.focused = page.activeElement === button;
  button.click();
  out.up = read();
  button.click();
  out.down = read();
""",
    )
    assert out["ready"] == "true"
    assert out["figures"] == 1
    assert out["focused"]
    assert len(out["up"]) == 2
    assert out["up"] == sorted(out["up"])
    assert out["down"] == out["up"][::-1] != out["up"]
