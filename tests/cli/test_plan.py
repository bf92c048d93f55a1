"""vitkit plan, and fit that asks it."""

import json

import pytest

from tests.planning.training import MODELS
from vitkit.cli import memory
from vitkit.cli.main import main
from vitkit.planning import plan
from vitkit.tasks import ClassificationTask


@pytest.fixture
def ask(conf, capsys):
    def call(*arguments, config="tiny.yaml", command="plan"):
        code = main([command, "--config", str(conf / config), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_it_says_what_a_training_takes(ask):
    code, out, _ = ask()
    assert code == 0
    assert out.startswith("256 samples of 8 × 8: 1 prefix tokens and 2 × 2 patches, 32-true on cpu\n")
    for words in ("AdamW's moments", "activations", "validation step", "inference", "times are rough", "it fits: "):
        assert words in out
    assert "averaged weights" not in out


def test_it_knows_what_the_trainer_is_told(ask, conf, tmp_path):
    def peak(*options):
        file = tmp_path / "plan.json"
        assert ask("--config", conf / "everything.yaml", "--no-time", "--json", file, *options)[0] == 0
        return json.loads(file.read_text())

    plain = peak()
    assert plain["average"] == plain["parameters"] > 0
    assert plain["precision"] == "32-true"
    half = peak("--trainer.precision", "bf16-true")
    assert half["parameters"] == plain["parameters"] // 2
    fewer = peak("--data.batch_size", "16", "--trainer.accumulate_grad_batches", "16")
    assert fewer["batch_size"] == 16
    assert fewer["training"]["peak"] < plain["training"]["peak"]
    assert peak("--device", "cuda", "--memory", "1GiB")["device"] == "cuda"
    assert peak("--size", "16", "16")["grid"] == [4, 4]


def test_what_does_not_fit_comes_with_what_would(ask, tmp_path):
    code, out, _ = ask("--memory", "1MiB", "--no-time", "--json", tmp_path / "deep" / "plan.json")
    assert code == 1
    assert "it does not fit: " in out
    assert "rough" not in out
    found = json.loads((tmp_path / "deep" / "plan.json").read_text())
    assert not found["fits"]
    assert found["limit"] == 2**20
    assert found["seconds"] is None
    options = {item["name"]: item["options"] for item in found["alternatives"]}
    assert options["checkpointing"] == "--model.encoder.checkpointing true"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["plan.json"]
    for item in found["alternatives"]:
        assert f"{item['name']} " in out
        assert item["fits"] == (item["peak"] <= 2**20)
        # What is suggested can be typed, and gives what was said.
        ask("--memory", "1GiB", "--no-time", "--json", tmp_path / "again.json", *item["options"].split())
        again = json.loads((tmp_path / "again.json").read_text())
        assert max(again["training"]["peak"], again["validation"]["peak"]) == item["peak"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "plenty"], "'plenty'"),
        (["--model.encoder.bias", "Foo"], "model.encoder.bias is Foo"),
        (["--model.encoder.nix", "1"], "nix"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_mistakes_are_one_line(ask, arguments, message):
    code, _, err = ask(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_fit_refuses_what_no_machine_holds(ask, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "total_memory", lambda device: 2**20)
    options = ("--trainer.default_root_dir", tmp_path, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false")
    code, _, err = ask(*options, command="fit")
    assert code == 1
    assert err.startswith("vitkit: error: a training that takes ")
    assert "1.0 MiB" in err
    assert "`vitkit plan` with the same options" in err
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(memory.SWITCH, "0")
    assert ask(*options, command="fit")[0] == 0
    assert (tmp_path / "tiny" / "last.ckpt").is_file()


def test_fit_makes_no_plan_where_there_is_plenty(ask, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(memory, "plan", refuse)
    options = ("--trainer.default_root_dir", tmp_path, "--trainer.fast_dev_run", "true")
    assert ask(*options, command="fit")[0] == 0


def test_the_bound_that_spares_a_plan_is_one():
    for name in ("image, table of a network", "image, dropout", "image, norms after", "volume, window", "volume, axial"):
        model = MODELS[name]()
        task = ClassificationTask(model.encoder, model.num_classes, model.preprocess, mixup=0.5)
        assert memory._generous(task, 4) > plan(task, 4, average=True).peak
