"""The table in the terminal."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from vitkit.report import table


def shown(results, width=160) -> str:
    stream = StringIO()
    Console(file=stream, width=width, color_system=None).print(table(results))
    return stream.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def test_says_what_fell_where(results):
    text = shown(replace(results, warnings=["The model's weights are random."]))
    assert "runs/digits/best.ckpt on Digits test" in text
    assert "Falls below 80 % when" in text
    row = next(row for row in text.splitlines() if "Random patches painted" in row)
    assert "20.0 % [16.0, 24.0]" in row
    assert "70.0 % [65.0, 75.0]" in row
    assert "46 % of the area is hidden [41 to 52 %]" in row
    assert "Darker: intensity is multiplied by 0.7 [0.6 to 0.8]" in text
    assert "Brighter: never" in text
    assert "Not measured: the model takes no gamma" in text
    assert "Untouched: accuracy 97.2 % [93.2, 100.0]; 360 images" in text
    assert "Warning: The model's weights are random." in text


def test_shows_names_as_they_are(results):
    name = "[bold red]runs[/] :smile:"
    assert f"{name} on Digits" in shown(replace(results, model=replace(results.model, name=name)))


def test_fits_a_narrow_terminal(results):
    assert max(map(len, shown(results, 60).splitlines())) <= 60


def test_has_nothing_to_say_of_nothing(empty):
    assert "Untouched: accuracy 97.2 %" in shown(empty)
    assert "0 images" in shown(replace(empty, conditions=[], data=replace(empty.data, n=0)))
