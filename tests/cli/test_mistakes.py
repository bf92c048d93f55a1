"""Every mistake in a command line or a config: one line, code 2, and nothing written."""

import pytest
import torch
import yaml

from vitkit.cli.main import main

BIAS = "--model.encoder.bias"


@pytest.fixture
def told(conf, tmp_path, capsys, unchecked):
    """Run fit with a mistake in it, and give the line that it ends with."""

    def call(*arguments, config=None):
        root = tmp_path / "runs"
        base = ["fit", "--config", str(config or conf / "tiny.yaml"), "--trainer.default_root_dir", str(root)]
        assert main([*base, *map(str, arguments)]) == 2
        assert not root.exists()
        captured = capsys.readouterr()
        assert captured.out == ""
        [line] = captured.err.splitlines()
        return line.removeprefix("vitkit: error: ")

    return call


@pytest.fixture
def changed(conf, tmp_path):
    """A config with something wrong in it."""

    def write(change):
        tree = yaml.safe_load((conf / "tiny.yaml").read_text())
        change(tree)
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model.lrr", "3"], "unknown key model.lrr; expected a key that the command knows. Did you mean model.lr?"),
        (
            ["--trainer.max_epoch", "3"],
            "unknown key trainer.max_epoch; expected a key that the command knows. Did you mean trainer.max_epochs?",
        ),
        (
            ["--model.encoder.depht", "3"],
            "unknown key model.encoder.depht; expected a key that the command knows. Did you mean model.encoder.depth?",
        ),
        (
            ["--data.batchsize", "3"],
            "unknown key data.batchsize; expected a key that the command knows. Did you mean data.batch_size?",
        ),
        (
            ["--model.encoder.depth", "three"],
            "model.encoder.depth is three; expected a whole number. Correct model.encoder.depth.",
        ),
        (["--model.lr", "[1]"], "model.lr is [1]; expected a number. Correct model.lr."),
        (["--model.class_weights", "[1,a]"], "model.class_weights is a; expected a number. Correct model.class_weights."),
        (["--model.class_weights", "3"], "model.class_weights is 3; expected a list of numbers. Correct model.class_weights."),
        (["--model.preprocess.size", "8"], "model.preprocess.size is 8; expected a list of whole numbers. Correct"),
        (["--model.preprocess.spacing", "3"], "model.preprocess.spacing is 3; expected a list of numbers. Correct"),
        (
            ["--model.encoder.embed.patch_size", "abc"],
            "model.encoder.embed.patch_size is abc; expected a whole number or a list of whole numbers. Correct",
        ),
        (["--data", "Scans", "--data.root", "x", "--data.fractions", "3"], "data.fractions is 3; expected a list of numbers."),
        (
            ["--model.encoder.pool", "max"],
            "model.encoder.pool is max; expected one of 'token', 'mean', 'sum'. Correct model.encoder.pool.",
        ),
        (["--seed_everything", "x"], "seed_everything is x; expected true or false or a whole number. Correct seed_everything."),
        ([f"{BIAS}.density.lengthscale", "abc"], "model.encoder.bias.density.lengthscale is abc; expected a number."),
        ([BIAS, "torch.nn.Linear"], "model.encoder.bias is torch.nn.Linear; expected a Bias: "),
        ([BIAS, "Linear"], "model.encoder.bias is Linear; expected a Bias: "),
        ([BIAS, "vitkit.bias.NoBia"], "Did you mean NoBias?"),
        ([BIAS, "null"], "model.encoder.bias is null; expected a Bias. Write NoBias, which does nothing."),
        ([BIAS, "NoBias", f"{BIAS}.lengthscale", "3"], "unknown key model.encoder.bias.lengthscale;"),
        (["--data", "Nope"], "data is Nope; expected an ImageData: Digits, ImageFolder, MedMNIST, Scans, TorchVision."),
        (["--data", "ImageFolder"], "no data.root; expected a value. Give it in the config or on the command line."),
        (["--data", "ImageFolder", "--data.root", "nowhere"], "data.root nowhere does not exist; expected a folder"),
        (["--config", "none.yaml"], "none.yaml; expected a YAML file. Check the path."),
        (["--ckpt_path", "none.ckpt"], "no checkpoint at none.ckpt; expected a .ckpt file."),
        (["--model.weights", "none.ckpt"], "no weights file at none.ckpt;"),
        (["--model.lr"], "--model.lr without a value; expected a value after it. Give one."),
        (["stray"], "unknown key stray;"),
        (["--monitor", "val/acc"], "monitor is val/acc; expected one of 'val/accuracy', "),
        (
            ["--model.num_classes", "7"],
            "expected 7, as the model has. Correct labels that are no class, or set model.num_classes",
        ),
        (["--model.preprocess.mean", "[0.5,0.5]"], "preprocess.mean (0.5, 0.5) and preprocess.std (0.5,)"),
        (["--model.preprocess.size", "[8,8,8]"], "expected the same in both."),
        (["--model.encoder.num_heads", "3"], "num_heads=3 and dim=16; expected heads that divide the width."),
        ([f"{BIAS}.density.lengthscale", "-3"], "lengthscale=-3.0 in Exponential; expected a finite number above 0."),
        (["--model.mixup", "-1"], "model.mixup=-1.0; expected a number not below 0. Correct model.mixup."),
        (["--trainer.callbacks+", "EarlyStoping"], "Did you mean EarlyStopping?"),
    ],
)
def test_on_the_command_line(told, arguments, line):
    assert line in told(*arguments)


def drop(*path):
    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]

    return change


def put(value, *path):
    def change(tree):
        for key in path[:-1]:
            tree = tree.setdefault(key, {})
        tree[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (put(3, "modle"), "unknown key modle; expected a key that the command knows. Did you mean model?"),
        (put(3, "model", "lrr"), "unknown key model.lrr; expected a key that the command knows. Did you mean model.lr?"),
        (put(3, "model", "encoder", "init_args", "depht"), "unknown key model.encoder.depht;"),
        (put(3, "data", "init_args", "bach_size"), "unknown key data.bach_size;"),
        (put(3, "trainer", "max_epoch"), "unknown key trainer.max_epoch;"),
        (
            put("x", "model", "encoder", "init_args", "embed", "init_args", "dim"),
            "model.encoder.embed.dim is x; expected a whole number.",
        ),
        (put(None, "model", "encoder", "init_args", "bias"), "model.encoder.bias is null; expected a Bias. Write NoBias"),
        (
            put("vitkit.encoder.Encodr", "model", "encoder", "class_path"),
            "model.encoder is vitkit.encoder.Encodr; expected an Encoder",
        ),
        (put("nowhere.Encoder", "model", "encoder", "class_path"), "model.encoder is nowhere.Encoder; expected an Encoder"),
        (put("torch.nn.ReLU", "model", "encoder", "init_args", "bias"), "model.encoder.bias is torch.nn.ReLU; expected a Bias"),
        (drop("model", "num_classes"), "no model.num_classes; expected a value."),
        (drop("model", "encoder", "init_args", "depth"), "no model.encoder.depth; expected a value."),
        (drop("data"), "no data; expected a value."),
    ],
)
def test_in_a_config(told, changed, change, line):
    assert line in told(config=changed(change))


NO_CONFIGS = {
    b"model: [1,\n  a: b: c\n": "is no YAML (line 2, column 7: expected ',' or ']', but got ':'); expected a YAML file. Mend",
    b"model:\n\tlr: 1\n": "is no YAML (line 2, column 1: found character '\\t' that cannot start any token); expected",
    b"a: \x00": "is no YAML (unacceptable character #x0000: special characters are not allowed at position 3); expected a YAML",
    "name: Müller".encode("latin-1"): "is no text in UTF-8; expected a YAML file. Save it as UTF-8, or give another file.",
    b"": "is empty; expected a config with keys such as model, data and trainer. Give another file",
    b"# nothing\n": "is empty; expected a config with keys",
    b"- 1\n- 2\n": "is a list; expected a config with keys",
    b"just words": "has no keys; expected a config with keys",
}


@pytest.mark.parametrize(("content", "line"), NO_CONFIGS.items())
def test_a_config_that_is_none(told, tmp_path, content, line):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert told(config=path).startswith(f"{path} {line}")


@pytest.mark.parametrize("command", ["fit", "test", "validate", "predict", "plan", "explain"])
@pytest.mark.parametrize(("content", "line"), list(NO_CONFIGS.items())[1:5:3])  # a tab, none at all
def test_every_command_names_it(conf, tmp_path, capsys, command, content, line):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    checkpoint = []
    if command in ("test", "validate", "predict"):
        torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
        checkpoint = ["--ckpt_path", str(tmp_path / "a.ckpt")]
    assert main([command, "--config", str(conf / "tiny.yaml"), f"--config={path}", *checkpoint]) == 2
    assert capsys.readouterr().err.startswith(f"vitkit: error: {path} {line}")


def test_a_config_beside_a_checkpoint_is_named_as_well(tmp_path, capsys):
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    (tmp_path / "config.yaml").touch()
    assert main(["test", "--ckpt_path", str(tmp_path / "a.ckpt")]) == 2
    assert capsys.readouterr().err.startswith(f"vitkit: error: {tmp_path / 'config.yaml'} is empty;")


def test_a_config_can_be_written_out_in_place_of_its_name(conf, capsys):
    assert main(["fit", "--config", str(conf / "tiny.yaml"), "--config", "{model: {lr: 0.5}}", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["lr"] == 0.5


def test_a_switched_class_takes_no_arguments_of_the_one_before(conf, tmp_path, capsys):
    """Lightning-AI/pytorch-lightning#15796: arguments of the class that a config names must not reach another."""
    arguments = [
        "fit",
        "--config",
        str(conf / "tiny.yaml"),
        BIAS,
        "TableBias",
        f"{BIAS}.num_heads",
        "2",
        f"{BIAS}.shape",
        "[2,2]",
    ]
    assert main([*arguments, "--print_config"]) == 0
    tree = yaml.safe_load(capsys.readouterr().out)
    assert tree["model"]["encoder"]["init_args"]["bias"] == {
        "class_path": "vitkit.bias.TableBias",
        "init_args": {"num_heads": 2, "shape": [2, 2], "std": 0.02},
    }
    assert main([*arguments, "--trainer.fast_dev_run", "true", "--trainer.default_root_dir", str(tmp_path)]) == 0


def test_a_list_without_a_default_is_an_option(conf, capsys):
    arguments = ["fit", "--config", str(conf / "tiny.yaml"), "--model.class_weights", "[1,1,1,1,1,1,1,1,1,2]"]
    augment = ["--data.augment+", "torch.nn.Identity", "--data.augment+", "torch.nn.Flatten", "--data.augment.start_dim", "0"]
    assert main([*arguments, *augment, "--print_config"]) == 0
    tree = yaml.safe_load(capsys.readouterr().out)
    assert tree["model"]["class_weights"][-1] == 2
    assert [entry["class_path"] for entry in tree["data"]["init_args"]["augment"]] == ["torch.nn.Identity", "torch.nn.Flatten"]


def test_a_later_config_and_the_command_line_come_last(conf, tmp_path, capsys):
    (tmp_path / "later.yaml").write_text("model: {lr: 0.5, weight_decay: 0.25}")
    arguments = ["fit", "--config", str(conf / "tiny.yaml"), "--config", str(tmp_path / "later.yaml"), "--model.lr", "0.75"]
    assert main([*arguments, "--print_config"]) == 0
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    assert (model["lr"], model["weight_decay"]) == (0.75, 0.25)


def test_a_printed_config_is_the_same_config(conf, tmp_path, capsys):
    assert main(["fit", "--config", str(conf / "tiny.yaml"), "--config", str(conf / "everything.yaml"), "--print_config"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert main(["fit", "--config", str(tmp_path / "printed.yaml"), "--print_config"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_begins_with_an_example_and_tells_of_the_model(command, capsys):
    assert main([command, "--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"usage: vitkit {command} --config FILE")
    assert f"example: vitkit {command} --config configs/image/digits.yaml" in output
    assert "--model.lr LR" in output
    assert ("--out OUT" in output) == (command == "predict")


def test_the_parser_writes_no_usage_dump(told):
    assert len(told("--model.encoder.bias.density.lengthscale", "abc")) < 200
