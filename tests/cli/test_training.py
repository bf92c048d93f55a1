"""fit, validate, test and predict, from the command line that a user types to the files that are left."""

import csv
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vitkit import files
from vitkit.bias import NoBias, SpectralBias
from vitkit.cli.main import main
from vitkit.cli.run_folder import alone
from vitkit.data import Digits
from vitkit.tasks import ClassificationTask, load_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder; nobody may write into it."""
    root = tmp_path_factory.mktemp("runs")
    conf = Path(__file__).parents[1] / "conf" / "tiny.yaml"
    assert main(["fit", "--config", str(conf), "--trainer.default_root_dir", str(root)]) == 0
    return root / "tiny"


@pytest.fixture
def run(conf, tmp_path):
    def call(command, *arguments, config="tiny.yaml"):
        return main([command, "--config", str(conf / config), "--trainer.default_root_dir", str(tmp_path), *map(str, arguments)])

    return call


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def scores(text):
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if "/" in line}


def test_a_run_leaves_checkpoints_config_splits_and_logs(trained):
    assert {entry.name for entry in trained.iterdir()} == {"best.ckpt", "last.ckpt", "config.yaml", "splits.json", "logs"}
    assert json.loads((trained / "splits.json").read_text()) == Digits().splits()
    [log] = (trained / "logs").iterdir()
    rows = table(log / "metrics.csv")
    names = {f"val/{name}" for name in ("accuracy", "accuracy_macro", "auroc", "ece", "loss")} | {"train/loss"}
    assert names <= set(rows[0])
    assert list(log.glob("events.out.tfevents.*"))
    about = torch.load(trained / "best.ckpt", weights_only=True)["vitkit"]
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert about["data"]["name"] == "Digits"
    assert about["data"]["config"]["class_path"] == "vitkit.data.Digits"


def test_fit_says_what_was_reached_and_what_comes_next(run, capsys, tmp_path):
    assert run("fit", "--trainer.max_epochs", 1) == 0
    captured = capsys.readouterr()
    best = tmp_path / "tiny" / "best.ckpt"
    assert captured.out.startswith("best val/accuracy: 0.")
    assert f"vitkit evaluate {best} --suite quick --out {tmp_path / 'tiny' / 'robustness'}" in captured.out
    [line] = captured.err.splitlines()
    assert line.startswith("vitkit: epoch 1/1: train/loss ")
    assert run("fit", "--trainer.max_epochs", 1) == 0
    assert "holds an earlier run, which this one overwrites" in capsys.readouterr().err


def test_the_saved_config_makes_the_same_run_again(trained, tmp_path):
    arguments = ["fit", "--config", str(trained / "config.yaml"), "--trainer.default_root_dir", str(tmp_path)]
    assert main(arguments) == 0
    one, other = (torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (trained, tmp_path / "tiny"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_everything_at_once_can_be_saved_and_read(run, conf, tmp_path):
    assert run("fit", "--config", conf / "everything.yaml", "--trainer.max_epochs", 1) == 0
    saved = yaml.safe_load((tmp_path / "tiny" / "config.yaml").read_text())
    assert saved["data"]["init_args"]["augment"][0]["init_args"]["degrees"] == 10
    assert saved["model"]["class_weights"][5] == 2
    assert load_checkpoint(tmp_path / "tiny" / "best.ckpt").num_classes == 10


@pytest.mark.parametrize("command", ["test", "validate"])
def test_scores_are_those_of_the_checkpoints_weights(run, trained, capsys, command):
    assert run(command, "--ckpt_path", trained / "best.ckpt") == 0
    found = scores(capsys.readouterr().out)
    split = {"test": "test", "validate": "val"}[command]
    model, data = load_checkpoint(trained / "best.ckpt"), Digits()
    samples = list(data.split(split))
    right = model(torch.stack([sample.image for sample in samples])).argmax(1) == torch.tensor(
        [sample.label for sample in samples]
    )
    assert found[f"{split}/accuracy"] == pytest.approx(float(right.float().mean()), abs=6e-5)
    assert set(found) == {f"{split}/{name}" for name in ("accuracy", "accuracy_macro", "auroc", "ece", "loss")}


def test_predict_writes_a_row_per_sample(run, trained, capsys, tmp_path):
    out = tmp_path / "new" / "p.csv"
    assert run("predict", "--ckpt_path", trained / "best.ckpt", "--out", out) == 0
    rows = table(out)
    assert capsys.readouterr().out == f"{len(rows)} predictions of the test split in {out}\n"
    images = [sample.image for sample in Digits().split("test")]
    expected = load_checkpoint(trained / "best.ckpt")(torch.stack(images)).softmax(1)
    found = torch.tensor([[float(row[f"p_{digit}"]) for digit in range(10)] for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert [row["id"] for row in rows] == Digits().splits()["test"]
    assert [row["prediction"] for row in rows] == [str(index) for index in expected.argmax(1).tolist()]
    assert list(out.parent.iterdir()) == [out]


def test_predictions_lie_beside_the_checkpoint_by_default(run, trained, tmp_path):
    shutil.copy(trained / "best.ckpt", tmp_path / "a.ckpt")
    assert run("predict", "--ckpt_path", tmp_path / "a.ckpt") == 0
    assert (tmp_path / "predictions.csv").exists()


def test_a_failing_prediction_leaves_no_file(run, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vitkit.tasks.ClassificationTask.predict_step", lambda *_: 1 / 0)
    assert run("predict", "--ckpt_path", trained / "best.ckpt", "--out", tmp_path / "p.csv") == 1
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err.startswith("vitkit: error: ZeroDivisionError")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_without_a_checkpoint_nothing_is_scored(run, capsys, command):
    assert run(command) == 2
    assert "without --ckpt_path" in capsys.readouterr().err


def test_a_checkpoint_alone_brings_the_config_beside_it(trained, capsys):
    assert main(["test", "--ckpt_path", str(trained / "best.ckpt")]) == 0
    assert "test/accuracy" in scores(capsys.readouterr().out)


def test_what_fit_was_told_is_recalled_by_test_and_beaten_by_the_command_line(run, trained, tmp_path, capsys):
    assert run("fit", "--model.encoder.bias", "NoBias", "--trainer.max_epochs", 1) == 0
    best = tmp_path / "tiny" / "best.ckpt"
    assert isinstance(load_checkpoint(best).model.encoder.blocks[0].attn.bias, NoBias)
    assert isinstance(load_checkpoint(trained / "best.ckpt").model.encoder.blocks[0].attn.bias, SpectralBias)
    assert run("test", "--ckpt_path", best) == 0
    assert run("test", "--ckpt_path", trained / "best.ckpt", "--model.encoder.bias", "NoBias") == 1
    assert "keys too many (model.encoder.blocks.0.attn.bias.density.raw_lengthscale" in capsys.readouterr().err


def test_the_command_line_beats_the_checkpoints_hyperparameters(run, trained, capsys, tmp_path):
    assert run("test", "--ckpt_path", trained / "best.ckpt", "--model.preprocess.mean", "[0.2]") == 0
    assert "the model is not quite the checkpoint's: model.preprocess.mean is [0.2], not [0.5]" in capsys.readouterr().err
    assert run("fit", "--trainer.max_epochs", 1, "--model.label_smoothing", 0.1) == 0
    resume = ["--ckpt_path", tmp_path / "tiny" / "last.ckpt", "--trainer.max_epochs", 2, "--model.label_smoothing", 0.3]
    assert run("fit", *resume) == 0
    task = torch.load(tmp_path / "tiny" / "last.ckpt", weights_only=True)["vitkit"]["task"]
    assert task["init_args"]["label_smoothing"] == 0.3


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--model.encoder.depth", "3"], "keys missing (model.encoder.blocks.2.norm1.weight"),
        (["--model.encoder.embed.dim", "32"], "shapes that differ (model.encoder.prefix (1, 1, 16) instead of (1, 1, 32)"),
        (["--model.num_classes", "7"], "has a head for 10 classes; expected 7"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(run, trained, capsys, tmp_path, command, change, words):
    assert run(command, "--ckpt_path", trained / "last.ckpt", *change) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_broken_checkpoint_is_refused(run, trained, capsys, tmp_path, command):
    content = (trained / "last.ckpt").read_bytes()
    (tmp_path / "short.ckpt").write_bytes(content[: len(content) // 2])
    assert run(command, "--ckpt_path", tmp_path / "short.ckpt") == 1
    assert run(command, "--ckpt_path", tmp_path / "none.ckpt") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "short.ckpt cannot be read: it is truncated" in lines[0]
    assert "no checkpoint at" in lines[1]


def test_weights_warm_start_and_ckpt_path_resumes(run, trained, capsys, tmp_path):
    weights = ["--model.weights", trained / "last.ckpt"]
    assert run("fit", *weights, "--trainer.max_epochs", 1) == 0
    said = capsys.readouterr().err
    assert f"tensors taken from {trained / 'last.ckpt'}" in said
    assert "epoch 1/1" in said
    last = tmp_path / "tiny" / "last.ckpt"
    assert run("fit", *weights, "--trainer.max_epochs", 2, "--ckpt_path", last) == 0
    said = capsys.readouterr().err
    assert f"resuming from {last}; model.weights is not read again" in said
    assert "tensors taken" not in said
    assert "epoch 1/2" not in said
    assert "epoch 2/2" in said


def test_a_disk_that_fills_ends_the_run_and_keeps_what_there_is(run, capsys, tmp_path, monkeypatch):
    assert run("fit", "--trainer.max_epochs", 1) == 0
    before = (tmp_path / "tiny" / "last.ckpt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert run("fit", "--ckpt_path", tmp_path / "tiny" / "last.ckpt", "--trainer.max_epochs", 2) == 1
    assert "could not be written (No space left on device); the one before it is intact" in capsys.readouterr().err
    assert (tmp_path / "tiny" / "last.ckpt").read_bytes() == before
    assert not list((tmp_path / "tiny").glob(".*"))


def test_a_folder_is_free_though_a_worker_lives_on(tmp_path):
    with alone(tmp_path / "run"):
        child = subprocess.Popen(["sleep", "60"], pass_fds=open_folders(tmp_path / "run"))
    try:
        with alone(tmp_path / "run"):
            pass
    finally:
        child.kill()
        child.wait()


def open_folders(folder):
    return [int(handle.name) for handle in Path("/proc/self/fd").iterdir() if handle.resolve() == folder.resolve()]


def test_two_trainings_do_not_share_a_folder(run, tmp_path, capsys):
    with alone(tmp_path / "tiny"):
        assert run("fit") == 2
        assert not list((tmp_path / "tiny").iterdir())
    assert not (tmp_path / "tiny").exists()
    captured = capsys.readouterr().err
    assert "tiny is what another training writes to" in captured
    assert "--name" in captured
    assert run("fit") == 0


def test_a_volume_of_two_classes_trains_and_predicts(run, tmp_path):
    generator = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = generator.integers(0, 256, (8, 8, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(8)[:, None] % 2
    np.savez(tmp_path / "volume.npz", **arrays)
    path = ["--data.path", tmp_path / "volume.npz"]
    assert run("fit", *path, config="volume.yaml") == 0
    assert run("predict", *path, "--ckpt_path", tmp_path / "volume" / "best.ckpt", config="volume.yaml") == 0
    rows = table(tmp_path / "volume" / "predictions.csv")
    assert all(float(row["p_0"]) + float(row["p_1"]) == pytest.approx(1, abs=1e-5) for row in rows)


def test_another_score_can_choose_the_best(run, tmp_path, capsys):
    assert run("fit", "--monitor", "val/loss", "--trainer.max_epochs", 1) == 0
    assert "best val/loss: 2." in capsys.readouterr().out
    states = torch.load(tmp_path / "tiny" / "best.ckpt", weights_only=True)["callbacks"]
    [(key, state)] = [item for item in states.items() if "val/loss" in item[0]]
    assert "'mode': 'min'" in key
    assert state["monitor"] == "val/loss"


def test_mixed_precision_and_a_quick_look_leave_no_files(run, tmp_path):
    assert run("fit", "--trainer.precision", "bf16-mixed", "--trainer.fast_dev_run", "true") == 0
    assert not list(tmp_path.iterdir())


def test_seed_everything_decides_the_run(run, tmp_path):
    def weights(name, seed):
        arguments = ["--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2]
        assert run("fit", "--name", name, "--seed_everything", seed, *arguments) == 0
        return torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]["model.head.weight"]

    first = weights("a", 1)
    assert torch.equal(first, weights("b", 1))
    assert not torch.equal(first, weights("c", 2))


def test_the_users_own_logger_and_callbacks_are_kept(run, tmp_path):
    own = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path / "mine"]
    stop = ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss", "--trainer.callbacks.patience", 0]
    assert run("fit", *own, *stop, "--model.lr", 1.0) == 0
    assert list((tmp_path / "mine").rglob("metrics.csv"))
    assert not (tmp_path / "tiny" / "logs").exists()
    assert "EarlyStopping" in (tmp_path / "tiny" / "config.yaml").read_text()


def read_only(path, *_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


@pytest.mark.parametrize("there", [False, True])
def test_fit_names_a_folder_that_may_not_be_written_to(run, tmp_path, capsys, monkeypatch, there):
    folder = tmp_path / "tiny"
    if there:
        folder.mkdir()
        monkeypatch.setattr(files, "TemporaryFile", lambda **options: read_only(options["dir"]))
    else:
        monkeypatch.setattr(Path, "mkdir", read_only)
    assert run("fit") == 2
    found = f"{folder} cannot be {'written' if there else 'made'} (Read-only file system); expected a "
    assert capsys.readouterr().err.startswith(f"vitkit: error: {found}")


def test_predict_names_a_file_that_may_not_be_written(run, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Path, "touch", read_only)
    assert run("predict", "--ckpt_path", trained / "best.ckpt", "--out", tmp_path / "p.csv") == 2
    found = f"{tmp_path / 'p.csv'} cannot be written (Read-only file system); expected a place that may be written to."
    assert capsys.readouterr().err.startswith(f"vitkit: error: {found}")


def test_a_fit_that_fails_before_it_logged_leaves_no_folder(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vitkit.tasks.ClassificationTask.training_step", lambda *_: 1 / 0)
    assert run("fit") == 1
    assert not (tmp_path / "tiny").exists()
    (tmp_path / "tiny" / "logs" / "version_0").mkdir(parents=True)  # an earlier one's
    assert run("fit") == 1
    assert list((tmp_path / "tiny").rglob("*")) == [tmp_path / "tiny" / "logs", tmp_path / "tiny" / "logs" / "version_0"]


def test_a_fit_that_fails_later_keeps_its_logs(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ClassificationTask, "on_train_epoch_start", lambda task: 1 // (task.current_epoch == 0))
    assert run("fit") == 1
    assert table(tmp_path / "tiny" / "logs" / "version_0" / "metrics.csv")


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "val", "test")])
def test_without_a_test_split_the_validation_split_is_what_comes_next(run, tmp_path, capsys, splits):
    arrays = {f"{split}_images": np.zeros((8, 8, 8, 8), dtype=np.uint8) for split in splits}
    arrays |= {f"{split}_labels": np.arange(8)[:, None] % 2 for split in splits}
    np.savez(tmp_path / "volume.npz", **arrays)
    assert run("fit", "--data.path", tmp_path / "volume.npz", config="volume.yaml") == 0
    option = "" if "test" in splits else " --split val"
    assert f"best.ckpt --suite volume{option} --out " in capsys.readouterr().out
