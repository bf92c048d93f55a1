"""What the page, the figure and the terminal say of drift profiles and certificates."""

from dataclasses import replace

import pytest

from vitkit.cli.report import show
from vitkit.evaluation.profiles.found import Certificate, DriftProfile, LayerDrift, Spread
from vitkit.report import write_report
from vitkit.report.drift import FLOOR, certified, drift_section, said
from vitkit.report.figures import drawing


def profile(title, family, values, attention=None):
    layers = [
        LayerDrift("embed", "embedding", Spread(values[0], values[0] * 2), None),
        LayerDrift("blocks.0", "block", Spread(values[1], values[1] * 2), attention),
        LayerDrift("logits", "logits", Spread(values[2], None if values[2] is None else values[2] * 2), None),
    ]
    enters = next((layer.layer for layer in layers if layer.features.q90 is None or layer.features.q90 > 1e-4), None)
    return DriftProfile(title.lower(), title, family, 64, 1e-4, enters, layers)


SHIFT = profile("Shift 0.1", True, (0.0, 3e-7, 2.4e-7), Spread(1e-7, 2e-7))
GAMMA = profile("Gamma <0.8>", False, (0.041, 0.05, 0.013), Spread(0.0066, 0.01))
CERTIFICATE = Certificate(
    verdict="up to eps", family="gain · x + shift", reason="each patch's pixels are normalised", given_up="the level",
    tolerance=1e-4, n=64, worst="Gain 0.5", layer="embed", tokens=Spread(5e-4, 1.4e-3), explained=1.4e-3,
    logits=Spread(1e-4, 3.3e-4), breaks_at="embed",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["holds up to the norm's eps", "Gain 0.5 moves embed by 0.0014", "eps explains 0.0014", "Given up: the level"]),
        ({"verdict": "exact"}, ["holds", "no layer moves by more than 1×10⁻⁴", "the logits by 3.3×10⁻⁴"]),
        ({"verdict": "broken"}, ["does not hold", "though the model claims gain · x + shift", "what moves first is embed"]),
        (
            {"verdict": "none", "family": "", "given_up": ""},
            ["none (each patch's pixels are normalised)", "moves embed by 0.0014"],
        ),
        ({"verdict": "none", "layer": "logits"}, ["Gain 0.5 moves the logits by 3.3×10⁻⁴."]),
    ],
)
def test_a_certificate_is_one_sentence(changes, words):
    text = str(certified(replace(CERTIFICATE, **changes)))
    assert text.startswith("Brightness certificate: ")
    assert all(word in text for word in words), text
    assert ("Given up" in text) == (replace(CERTIFICATE, **changes).verdict in ("exact", "up to eps"))


def test_a_profile_says_where_it_enters():
    assert "moves no layer by more than 1×10⁻⁴; the logits by 2.4×10⁻⁷" in str(said(SHIFT))
    assert "enters at embed, where the median drift is 0.041" in str(said(GAMMA))
    assert "Attention changes most in blocks.0, by 0.0066" in str(said(GAMMA))
    lone = replace(GAMMA, enters="logits", layers=GAMMA.layers[2:])
    assert str(said(lone)) == "Gamma <0.8>: moves the logits by 0.013."


def test_the_page_shows_profiles_and_is_without_them_where_there_are_none(run, results, builders):
    _, save = builders
    assert drift_section(results) is None
    save(replace(results, profiles=[SHIFT, GAMMA], certificate=CERTIFICATE), run)
    page = write_report(run).read_text("utf-8")
    assert page.count('id="drift"') == 1
    assert "Gamma &lt;0.8&gt;" in page
    assert "<0.8>" not in page
    for words in ("Where brightness enters the model", "holds up to the norm&#39;s eps", "0.041", "blocks.0"):
        assert words in page
    assert 'data-value="0.0066"' in page
    assert (run / "figures" / "drift.png").stat().st_size > 10_000


def test_numbers_below_the_rounding_of_float32_stand_on_the_floor(results):
    with drawing():
        section = drift_section(replace(results, profiles=[SHIFT, replace(GAMMA, layers=GAMMA.layers[:1] + GAMMA.layers[2:])]))
    assert FLOOR == 1e-8
    assert "10⁻⁸" in section["figure"]
    assert [row[0].text for row in section["features"]] == ["embed", "blocks.0", "logits"]
    assert section["features"][1][2].text == "–"
    assert len(section["attention"]) == 1


def test_the_terminal_tells_of_the_certificate_in_one_line(results, capsys, tmp_path):
    show(replace(results, profiles=[SHIFT], certificate=CERTIFICATE), tmp_path / "report.html")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "certificate" in line]
    assert line == str(certified(CERTIFICATE))
