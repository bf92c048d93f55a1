"""``vitkit compare``, as it is typed."""

import json
import re

import pytest
import torch

from vitkit.cli.main import main
from vitkit.evaluation import Gain, Suite, evaluate

IMAGES = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = (IMAGES.mean((1, 2, 3)) > 0.5).long()


def brighter(than):
    def model(images):
        mean = images.mean((1, 2, 3)) - than
        return torch.stack([-mean, mean], 1)

    return model


def run(out, than, name, **options):
    evaluate(brighter(than), [(IMAGES, LABELS)], Suite("tiny", [Gain([0.5, 2.0])]), out, name=name, **options)
    return str(out)


@pytest.fixture
def runs(tmp_path):
    return [run(tmp_path / f"{index}", than, name) for index, (than, name) in enumerate([(0.5, "a_1"), (0.3, "<b>"), (0.2, "c")])]


def test_a_page_tables_and_figures_are_left(runs, tmp_path, capsys):
    out = tmp_path / "page"
    assert main(["compare", *runs, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "against a_1" in said
    assert f"comparison: {out}/comparison.html" in said
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "comparison.html", "comparison.json", "comparison.csv", "figures/brightness.gain.png", "figures/brightness.gain.pdf",
        "tables/areas.csv", "tables/areas.tex", "tables/severities.csv", "tables/severities.tex",
    }  # fmt: skip
    assert json.loads((out / "comparison.json").read_text())["baseline"] == "a_1"
    page = (out / "comparison.html").read_text()
    assert "<b>" not in page, "what a user named is text"
    assert "&lt;b&gt;" in page
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*", page) == [], "it needs nothing else"
    assert r"a\_1" in (out / "tables" / "areas.tex").read_text()
    before = page
    assert main(["compare", *runs, "--out", str(out)]) == 0
    assert (out / "comparison.html").read_text() == before


def test_another_run_may_be_the_baseline(runs, tmp_path):
    assert main(["compare", *runs, "--baseline", runs[2], "--out", str(tmp_path / "page")]) == 0
    assert json.loads((tmp_path / "page" / "comparison.json").read_text())["baseline"] == "c"


def test_runs_that_cannot_be_compared_leave_nothing(runs, tmp_path, capsys):
    other = run(tmp_path / "other", 0.5, "other", seed=1)
    out = tmp_path / "page"
    assert main(["compare", runs[0], other, "--out", str(out)]) == 2
    assert "other and a_1 differ in seed: 1 and 0; expected one seed in all" in capsys.readouterr().err
    assert main(["compare", runs[0], "--out", str(out)]) == 2
    assert "1 run; expected two or more" in capsys.readouterr().err
    assert main(["compare", runs[0], str(tmp_path), "--out", str(out)]) == 2
    assert main(["compare", "--ot", "x", *runs]) == 2
    assert "Did you mean --out?" in capsys.readouterr().err
    assert not out.exists()
