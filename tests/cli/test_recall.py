import pytest
import torch

from vitkit.cli.recall import Recalled, differences, model_overrides


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {}, "vitkit": {"overrides": ["--model.x", "then"]}}, path)
    return str(path)


def test_only_the_model_is_recalled_and_not_its_weights():
    line = "--config a.yaml --model.lr 3 --model.encoder.bias=NoBias --data.root x --model.weights w.ckpt --model A --modelling 1"
    assert model_overrides(line.split()) == ["--model.lr", "3", "--model.encoder.bias=NoBias", "--model", "A"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--config a.yaml --ckpt_path {} --model.x now", "--config a.yaml --model.x then --ckpt_path {} --model.x now"),
        ("--config=a.yaml -c b.yaml --ckpt_path={}", "--config=a.yaml -c b.yaml --model.x then --ckpt_path={}"),
        ("--ckpt_path {}", "--model.x then --ckpt_path {}"),
    ],
)
def test_what_was_typed_then_goes_between_the_configs_and_what_is_typed_now(checkpoint, before, after):
    recalled = Recalled.from_arguments(before.format(checkpoint).split())
    assert recalled.arguments == after.format(checkpoint).split()


def test_without_a_config_the_one_beside_the_checkpoint_is_taken(checkpoint, tmp_path):
    (tmp_path / "config.yaml").write_text("")
    recalled = Recalled.from_arguments(["--ckpt_path", checkpoint])
    assert recalled.arguments == ["--config", str(tmp_path / "config.yaml"), "--ckpt_path", checkpoint]


@pytest.mark.parametrize("line", ["", "--config a.yaml", "--ckpt_path null"])
def test_without_a_checkpoint_there_is_nothing_to_recall(line):
    assert Recalled.from_arguments(line.split()) is None


def test_differences_name_the_key_and_both_values():
    ours = {"encoder": {"class_path": "E", "init_args": {"depth": 3, "bias": {"class_path": "NoBias", "init_args": {}}}}}
    theirs = {
        "encoder": {"class_path": "E", "init_args": {"depth": 2, "bias": {"class_path": "TableBias", "init_args": {"n": 1}}}}
    }
    assert list(differences(ours, theirs, "model")) == [
        "model.encoder.depth is 3, not 2",
        "model.encoder.bias is NoBias, not TableBias",
        "model.encoder.bias.n is None, not 1",
    ]
    assert not list(differences(ours, ours))
