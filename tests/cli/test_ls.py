"""What ls reads from the source is what importing finds."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from vitkit.cli import ls
from vitkit.corruptions import image, volume
from vitkit.errors import UsageError


@pytest.mark.parametrize("kind", ls.FAMILIES)
def test_it_lists_what_importing_finds(kind):
    package, root_name = ls.FAMILIES[kind]
    module = import_module(f"vitkit.{package}")
    root = getattr(module, root_name)
    imported = {
        name: (inspect.getdoc(thing) or "").partition("\n")[0]
        for name, thing in inspect.getmembers(module, inspect.isclass)
        if issubclass(thing, root) and thing is not root and not inspect.isabstract(thing)
    }
    listed = dict(ls.classes(package, root_name))
    assert listed.keys() == imported.keys()
    assert imported
    assert all(summary == imported[name] for name, summary in listed.items() if "`" not in imported[name])


def test_every_class_has_a_summary():
    for kind in ls.FAMILIES:
        for name, summary in ls.entries_of(kind):
            assert summary, name


def test_abstract_and_private_classes_are_left_out(tmp_path, monkeypatch):
    import vitkit

    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / "all.py").write_text(
        '''
from abc import ABC, abstractmethod
import other
class Root(ABC):
    """Root."""
    @abstractmethod
    def f(self): ...
class Half(Root):
    """Adds a method to write."""
    @abstractmethod
    def g(self): ...
class Whole(Half):
    """Whole :math:`b(r)` of a :class:`~other.Thing` in ``code``.

    More.
    """
    def f(self): ...
    def g(self): ...
class Still(Half):
    """Lacks f."""
    def g(self): ...
class Generic(Whole["x"]):
    """By a subscript."""
class _Private(Whole):
    """Private."""
class Stranger(other.Thing):
    """Another root."""
'''
    )
    monkeypatch.setattr(vitkit, "__file__", str(tmp_path / "__init__.py"))
    assert ls.classes("kind", "Root") == [("Generic", "By a subscript."), ("Whole", "Whole b(r) of a other.Thing in code.")]


def test_biases(capsys):
    assert ls.main(["biases"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert "vitkit.bias.SpectralBias" in [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("resnet50", "torchvision:resnet50"),
        ("timm:vit_*_patch16_224", "timm:vit_tiny_patch16_224"),
        ("RESNET5?", "torchvision:resnet50"),
    ],
)
def test_backbones_by_part_or_pattern(capsys, pattern, name):
    if pattern.startswith("RESNET"):
        pattern = "*:" + pattern
    assert ls.main(["backbones", pattern]) == 0
    lines = capsys.readouterr().out.split()
    assert name in lines
    assert "timm:swin_tiny_patch4_window7_224" not in lines


def test_suites_are_the_configs_that_come_along(capsys, tmp_path, monkeypatch):
    (tmp_path / "one.yaml").write_text("# First words.\nname: one\n")
    (tmp_path / "two.yaml").write_text("name: two\n")
    monkeypatch.setattr(ls, "bundled_suites", lambda: {path.stem: path for path in sorted(tmp_path.glob("*.yaml"))})
    assert ls.main(["suites"]) == 0
    assert capsys.readouterr().out == "one  First words.\ntwo\n"


@pytest.mark.parametrize(
    ("argv", "words"), [(["bias"], "Did you mean biases"), (["zoo"], "suites, backbones"), (["biases", "zz"], "zz")]
)
def test_what_there_is_not(argv, words):
    with pytest.raises(UsageError, match=words):
        ls.main(argv)


def test_corruptions_are_what_a_condition_takes(capsys):
    assert ls.main(["corruptions"]) == 0
    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    for room in (image, volume):
        takers = [name for name in room.__all__ if callable(getattr(room, name))]
        takers = {
            name
            for name in takers
            if list(inspect.signature(getattr(room, name)).parameters)[:3] == ["images", "severity", "seeds"]
        }
        assert takers == {name.rpartition(".")[2] for name in found if name.startswith(f"{room.__name__}.")}
    assert all(found.values())


def test_no_torch_is_imported():
    kinds = ["suites", "corruptions", *ls.FAMILIES]
    code = f"import sys; from vitkit.cli import ls; [ls.main([kind]) for kind in {kinds}]; print([*sys.modules].count('torch'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
