"""The page as a file: well formed, in want of nothing, safe, and the same every time."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from tests.report.conftest import save
from tests.report.reader import Page
from vitkit.errors import DataError, UsageError
from vitkit.evaluation.results import Interval, Worst, WorstSample
from vitkit.report import write_report

HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'&amp;{{ 7*7 }}{% raw %}</title></style>-->$x_1$"""


def page_of(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Page.of(text)


@pytest.fixture(scope="module")
def standard(results, tmp_path_factory) -> tuple[str, Page]:
    """The page of the results, which drawing anew for every look at it would take long."""
    return page_of(save(results, tmp_path_factory.mktemp("standard")))


def words(text: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", "", text)).split())


def test_is_well_formed_and_named(standard):
    text, page = standard
    assert text.startswith("<!DOCTYPE html>")
    assert page.faults == []
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    known = set(ids)
    for element in page.elements:
        for key in ("aria-labelledby", "aria-describedby", "for"):
            assert known.issuperset(element.attributes.get(key, "").split())
        if element.attributes.get("href", "").startswith("#"):
            assert element.attributes["href"][1:] in known
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert all(svg.attributes["role"] == "img" and svg.attributes["aria-labelledby"] for svg in page.all("svg"))
    assert len(page.all("svg")) == 4
    assert len(page.all("caption")) == len(page.all("table")) == 3
    assert [page.all(name)[0].attributes.get("lang", "") for name in ("html",)] == ["en"]
    levels = [int(element.tag[1]) for element in page.elements if re.fullmatch(r"h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_needs_nothing_but_itself(standard):
    text, page = standard
    for element in page.elements:
        for key, value in element.attributes.items():
            if key in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                assert value.startswith(("#", "data:image/")), (element.tag, key, value)
        assert element.tag not in ("link", "iframe", "object", "embed", "base")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "http://" not in text
    assert "https://" not in text


def test_answers_first(standard):
    text, _ = standard
    assert 'id="drift"' not in text  # there are no profiles
    body = words(text[text.index("<main") :])
    assert body.startswith(
        "When does accuracy fall below 80 %? On the untouched images accuracy is 97.2 % (95 % interval 93.2 to 100.0 %). "
        "Occlusion Random patches painted Accuracy falls below 80 % when 46 % of the area is hidden "
        "(95 % interval 41 to 52 %; 360 images)."
    )
    assert body.index("95 of 100 bootstrap resamples of the images") < body.index("What the model saw")


def test_warnings_stand_before_the_numbers(results, builders, tmp_path):
    _, save = builders
    text, _ = page_of(save(replace(results, warnings=["The model's weights are random."]), tmp_path))
    assert words(text).index("The model's weights are random.") < words(text).index("On the untouched images")


def test_holds_every_number_and_how_to_get_them_again(standard, results):
    text, page = standard
    for made in results.conditions:
        if made.skipped is None:
            assert any(
                element.tag == "tr"
                and made.title in element.text
                and f"{made.metrics['accuracy'].value * 100:.1f}" in element.text
                for element in page.elements
            )
    body = words(text)
    for needed in (
        "Gamma brightness.gamma/2: the model takes no gamma",
        "10.0 points higher when patches are removed",
        results.command,
        "seed 7",
        "sha256:cafe",
        "sha256:beef",
        "123,456",
        "x86_64, 2 cores, cpu",
        "torch2.6.0",
        "8 × 8",
        "commit abc1234",
    ):
        assert needed in body, needed


def test_shows_what_the_model_saw_at_every_severity(standard, results):
    _, page = standard
    shown = sum(len(curve.severities) for curve in results.curves)
    pictures = page.all("img")
    # The untouched images have no picture in these results: each curve says so once.
    assert len(pictures) == shown - len(results.curves)
    assert sum("missing" in element.attributes.get("class", "") for element in page.elements) == len(results.curves)
    assert "A strip of sample images. 60 % of the area is hidden." in {
        picture.attributes["alt"].replace("\N{NO-BREAK SPACE}", " ") for picture in pictures
    }


def test_shows_the_samples_on_which_the_model_fails(failing, builders, tmp_path):
    _, save = builders
    text, page = page_of(save(failing, tmp_path))
    assert page.faults == []
    body = words(text)
    for needed in (
        "3 taken for 8 99.9 % certain when untouched. "
        "First wrong under Random patches painted, where 60 % of the area is hidden. Wrong at 75 % of severities. digits/4.png",
        "First wrong under Gain, where intensity is multiplied by 2. Wrong at 50 % of severities. digits/17.png",
        "No picture was kept. 3 taken for 8 99.9 % certain when untouched. First wrong under gone/1. "
        "Wrong at 25 % of severities.",
        "3 taken for 7 100 % certain. Wrong at 75 % of severities, too. digits/9.png",
    ):
        assert needed in body, needed
    alternatives = [image.attributes["alt"] for image in page.all("img")]
    assert [text for text in alternatives if text.startswith("Sample")] == [
        "Sample digits/4.png, untouched, and what the model saw where it is first wrong.",
        "Sample digits/17.png, untouched, and what the model saw where it is first wrong.",
        "Sample digits/9.png, untouched.",
    ]


def test_all_pictures_together_fit_into_one_page(empty, builders, tmp_path, monkeypatch):
    """Of noise, which compresses worst: each gets its share of what a page may hold."""
    monkeypatch.setattr("vitkit.report.pictures._BUDGET", 150_000)
    line, save = builders
    folder = save(line(empty, "occlusion", "painted", {float(s): 0.9 for s in range(1, 11)}), tmp_path / "run")
    noise = Image.effect_noise((788, 128), 60).convert("RGB")
    for path in (folder / "pictures").iterdir():
        noise.save(path)
    _, page = page_of(folder)
    sizes = [len(image.attributes["src"]) for image in page.all("img")]
    assert len(sizes) == 10
    assert sum(sizes) <= 150_000 * 4 / 3 + 10 * 100  # as text


def test_many_curves_stand_in_closed_chapters(failing, builders, tmp_path, monkeypatch):
    _, save = builders
    folder = save(failing, tmp_path)
    for most, opened in ((3, True), (2, False)):
        monkeypatch.setattr("vitkit.report.page._OPEN", most)
        _, page = page_of(folder)
        chapters = page.all("details")[:-1]  # the last is the suite's config
        titles = ["Occlusion 2 curves", "Brightness 1 curve", "Missingness bias 1"]
        assert [" ".join(chapter.text.split()[:3]) for chapter in chapters] == titles
        assert {"open" in chapter.attributes for chapter in chapters} == {opened}


def test_comparisons_of_one_name_have_figures_of_their_own(results, builders, tmp_path):
    _, save = builders
    (first,) = results.comparisons
    other = replace(first, minuend="random.painted", subtrahend="random.removed")
    _, page = page_of(save(replace(results, comparisons=[first, other]), tmp_path))
    assert page.faults == []
    names = {path.name for path in (tmp_path / "figures").glob("*missingness*.pdf")}
    assert names == {f"occlusion.missingness-bias.random.{mode}.pdf" for mode in ("removed", "painted")}
    assert [heading.text for heading in page.all("h2") if "bias" in heading.text] == ["Missingness bias"]


def test_names_are_never_markup(results, builders, tmp_path):
    line, save = builders
    hostile = line(results, "brightness", "own", {0.5: 0.3}, Interval(0.2, 0.1, 0.3), unit=HOSTILE, title=HOSTILE)
    hostile = replace(
        hostile,
        command=HOSTILE,
        hardware=HOSTILE,
        git=HOSTILE,
        warnings=[HOSTILE],
        packages={HOSTILE: HOSTILE},
        preprocess={HOSTILE: [HOSTILE]},
        model=replace(hostile.model, name=HOSTILE, fingerprint=HOSTILE),
        data=replace(hostile.data, name=HOSTILE, split=HOSTILE, classes=[HOSTILE]),
        suite=replace(hostile.suite, name=HOSTILE, config={HOSTILE: HOSTILE}),
        comparisons=[replace(hostile.comparisons[0], name=HOSTILE)],
        worst=Worst([WorstSample(0, HOSTILE, 0, 0, 0.5, 0.5, HOSTILE, 0, None)], []),
        conditions=[replace(c, skipped=HOSTILE) if c.skipped else c for c in hostile.conditions],
    )
    folder = save(hostile, tmp_path / "hostile")
    text, page = page_of(folder)
    assert page.faults == []
    assert len(page.all("script")) == 1
    assert len(page.all("title")) == 1 + len(page.all("svg"))
    assert all("onerror" not in element.attributes for element in page.elements)
    assert page.all("h1")[0].text == HOSTILE
    assert "49" not in page.all("h1")[0].text
    assert HOSTILE not in text
    assert {path.parent.name for path in folder.rglob("*.png")} == {"figures", "pictures"}


def test_unprintable_names_can_be_drawn(empty, builders, tmp_path):
    line, save = builders
    made = line(empty, "any", "thing", {1.0: 0.3}, Interval(0.5), unit="a\x00b\x1b\n漢字" * 30, title="\x07漢字")
    _, page = page_of(save(made, tmp_path))
    assert page.faults == []


def test_is_the_same_every_time_and_imports_no_pyplot(run, tmp_path):
    def read() -> dict[str, bytes]:
        files = [run / "report.html", *sorted((run / "figures").iterdir())]
        return {file.name: file.read_bytes() for file in files}

    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        write_report(run)
        assert mpl.rcParams["font.size"] == 30
    first = read()
    names = ("brightness.gain", "occlusion.missingness-bias", "occlusion.random.painted", "occlusion.random.removed")
    assert sorted(first) == [*(f"{name}.{form}" for name in names for form in ("pdf", "png")), "report.html"]
    # Another process, with another style, order of sets and addresses; its pyplot, of which programs keep a state, is left alone.
    code = (
        "import sys; from vitkit.report import write_report; "
        f"write_report({str(run)!r}); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "123", "MPLCONFIGDIR": str(tmp_path), "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[2])
    assert read() == first


def test_a_full_disk_leaves_the_page_that_was_there(run, monkeypatch):
    page = run / "report.html"
    page.write_text("the page of before")
    write = Path.write_text

    def full(path: Path, text: str, **options: str) -> int:
        write(path, text[:100], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(run)
    assert page.read_text() == "the page of before"
    assert [path for path in run.rglob("*") if "tmp" in path.name] == []


def test_renders_without_pictures_and_without_curves(results, empty, tmp_path):
    results.save(tmp_path / "no-pictures")
    text, page = page_of(tmp_path / "no-pictures")
    assert page.faults == []
    assert page.all("img") == []
    assert "No picture was kept." in text
    empty.save(tmp_path / "no-curves")
    text, page = page_of(tmp_path / "no-curves")
    assert page.faults == []
    assert "No curve was measured" in text
    replace(empty, conditions=[], preprocess=None, git=None, command="").save(tmp_path / "nothing")
    text, page = page_of(tmp_path / "nothing")
    assert page.faults == []
    assert "It was run from Python" in text


def test_takes_no_picture_that_is_broken_or_elsewhere(results, builders, tmp_path):
    _, save = builders
    folder = save(results, tmp_path / "run")
    names = [c.picture for c in results.conditions if c.picture]
    (folder / names[0]).write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (folder / names[1]).write_bytes(b"")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    moved = [replace(c, picture="../secret.png") if c.picture == names[2] else c for c in results.conditions]
    replace(results, conditions=moved).save(folder)
    _, page = page_of(folder)
    assert len(page.all("img")) == len(names) - 3


def test_large_pictures_are_made_small(empty, builders, tmp_path):
    line, save = builders
    folder = save(line(empty, "occlusion", "painted", {0.5: 0.9}), tmp_path)
    noise = Image.effect_noise((2000, 300), 100).convert("RGB")
    noise.save(folder / "pictures/occlusion.painted_0.5.png")
    _, page = page_of(folder)
    (image,) = page.all("img")
    assert image.attributes["src"].startswith("data:image/webp;base64,")
    assert (image.attributes["width"], image.attributes["height"]) == ("960", "144")
    assert len(image.attributes["src"]) < 400_000


def test_refuses_a_folder_without_results(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "figures").exists()


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_by_contrast(standard, dark):
    """At least 4.5 to 1, as WCAG 2.2 asks in 1.4.3, for every colour of text on every ground."""
    text, _ = standard
    blocks = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[int(dark)]))
    for ground in ("paper", "panel", "warn"):
        for ink in ("ink", "muted", "first", "second"):
            bright, dim = sorted((luminance(colours[ground]), luminance(colours[ink])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ground, ink)
