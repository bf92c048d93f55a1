"""What is installed, and that the tests look at what they claim to look at."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import jaxtyping
import pytest
import torch

import vitkit
from vitkit.preprocess import Preprocess

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel as pip builds it from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return ZipFile(path)


def test_one_version() -> None:
    assert metadata.version("vitkit") == vitkit.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{vitkit.__version__}]" in changelog or "## [Unreleased]" in changelog


def test_wheel_holds_every_file_that_vitkit_reads(wheel: ZipFile) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "vitkit").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    assert "vitkit/py.typed" in expected
    assert any(name.startswith("vitkit/report/templates/") for name in expected)
    assert expected <= set(wheel.namelist())


def test_wheel_holds_the_configs(wheel: ZipFile) -> None:
    configs = {f"vitkit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    assert "vitkit/configs/image/digits.yaml" in configs
    assert configs <= set(wheel.namelist())


def test_importing_vitkit_imports_no_torch() -> None:
    code = "import sys, vitkit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shapes_are_checked_in_tests() -> None:
    preprocess = Preprocess(size=(8, 8))
    with pytest.raises(jaxtyping.TypeCheckError, match="batch channels"):
        preprocess.normalise(torch.zeros(8))


def test_every_lower_bound_has_a_reason_and_nothing_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = tomllib.loads(text)["project"]["dependencies"]
    assert dependencies
    for dependency in dependencies:
        assert "==" not in dependency
        assert "<" not in dependency
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f'"{dependency}"')]
        assert "  # " in line, f"{dependency} has no reason beside it"
