"""A library's model from the command line: trained, tested, asked for predictions, and broken, from its checkpoint alone."""

import json

import pytest

from vitkit.cli.main import main

SUITE = """\
name: small
conditions:
  - class_path: vitkit.evaluation.RandomOcclusion
    init_args: {mode: painted, ratios: [0.5]}
  - class_path: vitkit.evaluation.RandomOcclusion
    init_args: {mode: removed, ratios: [0.5]}
"""


@pytest.fixture
def write(tmp_path):
    def call(name, arguments):
        path = tmp_path / "model.yaml"
        encoder = {"class_path": "vitkit.backbones.LibraryModel", "init_args": {"name": name, "arguments": arguments}}
        model = {"num_classes": 10, "preprocess": {"size": [16, 16]}, "encoder": encoder}
        data = {"class_path": "vitkit.data.Digits", "init_args": {"batch_size": 512}}
        trainer = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": str(tmp_path)}
        path.write_text(json.dumps({"name": "run", "model": model, "data": data, "trainer": trainer}))  # JSON is YAML
        return path

    return call


@pytest.mark.parametrize(
    ("name", "arguments", "skipped"),
    [
        ("timm:vit_tiny_patch16_224", {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}, set()),
        ("timm:resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}, {"random.removed"}),
    ],
)
def test_from_training_to_a_report(write, tmp_path, capsys, name, arguments, skipped):
    assert main(["fit", "--config", str(write(name, arguments))]) == 0
    checkpoint = tmp_path / "run" / "best.ckpt"
    assert main(["test", "--ckpt_path", str(checkpoint)]) == 0
    assert "test/accuracy" in capsys.readouterr().out
    alone = checkpoint.rename(tmp_path / "alone.ckpt")
    (tmp_path / "suite.yaml").write_text(SUITE)
    out = tmp_path / "out"
    words = ["--suite", str(tmp_path / "suite.yaml"), "--out", str(out), "--limit", "20"]
    assert main(["evaluate", str(alone), *words]) == 0
    results = json.loads((out / "results.json").read_text())
    reasons = {item["condition"]: item["skipped"] for item in results["conditions"] if item["skipped"]}
    assert set(reasons) == skipped
    assert set(reasons.values()) <= {"timm:resnet18 has no tokens that could be removed"}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("command", ["plan", "explain"])
def test_what_covers_vitkits_encoder_only_says_so(write, capsys, command):
    path = write("timm:resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})
    assert main([command, "--config", str(path)]) == 2
    assert "expected vitkit's own encoder" in capsys.readouterr().err


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--model.encoder.nam", "x"], "Did you mean model.encoder.name?"),
        (["--model.encoder.name", "timm:resnet1"], "Did you mean timm:resnet"),
        (["--model.encoder.arguments.img_size", "16"], "timm:resnet18 refuses "),
        (["--model.encoder", "null"], "model.encoder is null; expected one of Encoder, LibraryModel."),
        (["--model.layer_decay", "0.5"], "model.layer_decay=0.5 for timm:resnet18;"),
    ],
)
def test_mistakes(write, capsys, options, line):
    path = write("timm:resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})
    assert main(["fit", "--config", str(path), *options]) == 2
    assert line in capsys.readouterr().err
