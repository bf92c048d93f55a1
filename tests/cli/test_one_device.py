"""test, validate and predict go through the samples once, also where the config is that of a training on several devices."""

import csv
from pathlib import Path

import lightning.pytorch as L
import pytest
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from vitkit.cli.main import main
from vitkit.cli.one_device import first_device, on_one_device
from vitkit.data import Digits

SEVERAL = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
NOTE = "runs on one device, though trainer.devices is 2, so that each sample counts once"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    conf = Path(__file__).parents[1] / "conf" / "tiny.yaml"
    few = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert main(["fit", "--config", str(conf), "--trainer.default_root_dir", str(root), *few]) == 0
    return root / "tiny" / "best.ckpt"


@pytest.fixture
def run(conf, checkpoint):
    def call(command, *arguments):
        return main([command, "--config", str(conf / "tiny.yaml"), "--ckpt_path", str(checkpoint), *map(str, arguments)])

    return call


@pytest.fixture
def shared(tmp_path):
    """The part of a config that fit is given to train on two devices."""
    path = tmp_path / "two.yaml"
    path.write_text("trainer: {devices: 2, num_nodes: 1, strategy: ddp}\n")
    return path


def ids(path):
    with path.open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_a_config_of_two_devices_predicts_every_sample_once(run, shared, capsys, tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert run("predict", "--out", one) == 0
    assert capsys.readouterr().err == ""
    assert run("predict", "--config", shared, "--out", two) == 0
    captured = capsys.readouterr()
    assert captured.err == f"vitkit: predict {NOTE}\n"
    assert captured.out == f"{len(ids(two))} predictions of the test split in {two}\n"
    assert ids(two) == Digits().splits()["test"]
    assert two.read_bytes() == one.read_bytes()


@pytest.mark.parametrize("command", ["test", "validate"])
def test_scores_on_two_devices_are_those_on_one(run, capsys, command):
    assert run(command) == 0
    one = capsys.readouterr()
    assert run(command, *SEVERAL) == 0
    two = capsys.readouterr()
    assert two.out == one.out
    assert (one.err, two.err) == ("", f"vitkit: {command} {NOTE}\n")


def test_of_torchruns_processes_the_first_does_it_all(run, capsys, tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "p.csv"
    assert run("predict", *SEVERAL, "--out", out) == 0
    assert capsys.readouterr() == ("", "")
    assert not out.exists()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert run("predict", "--out", out) == 0
    assert "predict runs on one device, though torchrun started 2 processes" in capsys.readouterr().err
    assert ids(out) == Digits().splits()["test"]


@pytest.mark.parametrize(
    ("devices", "first"),
    [
        ("auto", 1),
        (1, 1),
        (2, 1),
        ("2", 1),
        (-1, 1),
        ("-1", 1),
        ([3], [3]),
        ([3, 1], [3]),
        ("3,", "3,"),
        ("3,1", "3,"),
        (0, 0),
        ([], []),
        ("cuda", "cuda"),
    ],
)
def test_the_first_of_the_devices_asked_for(devices, first):
    assert first_device(devices) == first


@pytest.mark.parametrize("devices", ["auto", 1, "1", [1], "1,"])
def test_one_device_is_no_news(devices, capsys):
    on_one_device({"devices": devices, "num_nodes": 1, "strategy": "auto"}, "test")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("strategy", ["auto", "ddp", "DDP_spawn", "fsdp", DDPStrategy()])
def test_several_nodes_and_any_strategy_come_down_to_one_process(strategy, capsys):
    config = on_one_device({"devices": "auto", "num_nodes": 2, "strategy": strategy}, "test")
    assert "though trainer.num_nodes is 2," in capsys.readouterr().err
    trainer = L.Trainer(**config, accelerator="cpu", logger=False, enable_progress_bar=False)
    assert trainer.world_size == 1
    assert isinstance(trainer.strategy, SingleDeviceStrategy)


def test_a_strategy_of_one_device_keeps_it_and_a_wrong_name_is_left_to_be_refused():
    options = {"devices": "auto", "num_nodes": 1}
    for strategy in (SingleDeviceStrategy("cpu"), "dpp"):
        assert on_one_device({**options, "strategy": strategy}, "test")["strategy"] is strategy
