"""Bad input to ``vitkit evaluate``: one line, the right exit code, and nothing half-written."""

import errno
import json
import os

import pytest
import torch
import yaml

from vitkit import files
from vitkit.cli.main import main
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

GAIN = {"class_path": "vitkit.evaluation.Gain", "init_args": {"factors": [0.5]}}


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Run a suite of these conditions over a small model on a few digits."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(ndim=2, patch_size=4, in_chans=1, dim=8), depth=1, num_heads=1)
    task = ClassificationTask(encoder, num_classes=10, preprocess=Preprocess(size=(8, 8)))
    task.data_name, task.data_config = "Digits", {"class_path": "vitkit.data.Digits", "init_args": {}}
    content = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(content)
    torch.save(content, tmp_path / "best.ckpt")

    def call(*options, conditions=(GAIN,)):
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "conditions": list(conditions)}))
        return main(["evaluate", "best.ckpt", "--suite", "tiny.yaml", "--limit", "10", "--out", "out", *options])

    return call


def condition(name, **arguments):
    return {"class_path": f"vitkit.evaluation.{name}", "init_args": arguments}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            condition("Solarise", thresholds=[0.5]),
            "tiny.yaml: conditions[0].class_path: vitkit.evaluation.Solarise; expected a class",
        ),
        (condition("Corruption", function="vitkit.corruptions.image.fgo"), "conditions[0].init_args.function"),
        (condition("Corruption", function="vitkit.corruptions.image.fog", severities=[6]), "conditions[0].init_args.severities"),
        (condition("Gain", factors=[-1]), "conditions[0].init_args.factors"),
        (condition("RandomOcclusion", mode="painted", ratios=[1.5]), "conditions[0].init_args.ratios"),
    ],
    ids=["class", "function", "severity", "factor", "ratio"],
)
def test_a_suite_that_cannot_be_run(evaluate, capsys, tmp_path, unchecked, wrong, words):
    assert evaluate(conditions=[wrong]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def test_what_a_guard_finds_exits_with_2_and_force_goes_on(evaluate, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("vitkit.evaluation.run.check_setup", lambda *_: iter([UsageError("a wrong crop", "another", "Crop.")]))
    assert evaluate() == 2
    assert "a wrong crop; expected another. Crop. If it is meant so, --force" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert evaluate("--force") == 0
    assert "warning: A guard was told to go on. It found a wrong crop" in capsys.readouterr().err
    assert any("a wrong crop" in warning for warning in json.loads((tmp_path / "out" / "results.json").read_text())["warnings"])
    assert "a wrong crop" in (tmp_path / "out" / "report.html").read_text()


def test_a_full_disk_exits_with_1(evaluate, capsys, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    assert evaluate() == 1
    assert "no room on the disk of out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_read_only_file_system_exits_with_2(evaluate, capsys, tmp_path, monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files, "TemporaryFile", read_only)
    assert evaluate() == 2
    assert "out cannot be written (Read-only file system); expected a place that may be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_of_several_processes_one_tells(evaluate, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert evaluate() == 0
    assert "report:" not in capsys.readouterr().out
    assert (tmp_path / "out" / "results.json").exists()
    assert not (tmp_path / "out" / "report.html").exists()
    monkeypatch.setenv("RANK", "0")
    assert evaluate() == 0
    assert "report: out/report.html" in capsys.readouterr().out
