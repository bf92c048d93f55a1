"""``vitkit evaluate`` and ``vitkit report``, as they are typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from vitkit import backbones
from vitkit.cli.evaluate import _there
from vitkit.cli.main import main
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

OCCLUSION = [
    {"class_path": "vitkit.evaluation.RandomOcclusion", "init_args": {"mode": mode, "ratios": [0.5]}}
    for mode in ("painted", "removed")
]
GAIN = {"class_path": "vitkit.evaluation.Gain", "init_args": {"factors": [0.5, 2.0]}}
OUTPUTS = {"results.json", "results.csv", "samples.parquet", "run.json", "report.html", "pictures", "figures", "tables"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "conditions": [*OCCLUSION, GAIN]}))
    return "tiny.yaml"


@pytest.fixture
def folder(tmp_path):
    """Four pictures of two classes, dark and bright, and a little red."""
    for name, level in (("dark", 40), ("bright", 210)):
        for index in range(2):
            path = tmp_path / "pictures" / "test" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 20), (level + index + 5, level + index, level + index)).save(path)
    return ["--data", "ImageFolder", "--data.root", "pictures"]


@pytest.fixture
def checkpoint(tmp_path):
    """A model that has seen nothing yet, saved as fit saves it after training on the digits."""
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(ndim=2, patch_size=4, in_chans=1, dim=32), depth=1, num_heads=2)
    task = ClassificationTask(encoder, num_classes=10, preprocess=Preprocess(size=(8, 8)))
    task.data_name, task.data_config = "Digits", {"class_path": "vitkit.data.Digits", "init_args": {"batch_size": 32}}
    content = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(content)
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    torch.save(content, tmp_path / "runs" / "digits" / "best.ckpt")
    return "runs/digits/best.ckpt"


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_a_checkpoint_on_the_data_it_was_trained_on(checkpoint, suite, tmp_path, capsys):
    assert evaluate(checkpoint, "--suite", suite, "--out", "out", "--limit", 20) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS
    found = results(tmp_path / "out")
    assert found["data"]["name"] == "Digits"
    assert (found["data"]["n"], found["data"]["split"]) == (20, "test")
    assert found["model"]["random_weights"] is False
    assert found["command"].startswith("vitkit evaluate runs/digits/best.ckpt --suite tiny.yaml")
    assert all(condition["skipped"] is None for condition in found["conditions"])
    said = capsys.readouterr()
    assert "report: out/report.html" in said.out
    assert "Random patches painted: " in said.out
    assert "passes into out\n" in said.out
    assert "random" not in said.err.replace("occlusion.random", "")
    assert len(said.err.splitlines()) == len(found["conditions"])


def test_the_folder_has_a_name_of_its_own_if_none_is_given(checkpoint, suite, tmp_path, capsys):
    assert evaluate(checkpoint, "--suite", suite, "--limit", 5) == 0
    assert (tmp_path / "runs" / "digits-best-tiny" / "report.html").is_file()
    assert "runs/digits-best-tiny" in capsys.readouterr().out


def test_random_weights_are_owned_up_to_and_are_the_same_in_every_run(suite, folder, tmp_path, capsys):
    arguments = ["timm:test_resnet", "--num-classes", 2, *folder, "--suite", suite, "--out", "out"]
    assert evaluate(*arguments) == 0
    assert "warning: the weights of timm:test_resnet are random" in capsys.readouterr().err
    first = results(tmp_path / "out")
    assert first["model"]["random_weights"] is True
    assert any("random" in warning for warning in first["warnings"])
    skipped = {condition["condition"]: condition["skipped"] for condition in first["conditions"]}
    assert "none of timm's plain vision transformers" in skipped["random.removed"]
    assert skipped["random.painted"] is None
    assert evaluate(*arguments) == 0
    assert "passes into out, which holds a finished run" in capsys.readouterr().out


def test_going_on_is_said(tmp_path):
    (tmp_path / "parts").mkdir()
    assert _there(tmp_path / "parts") == _there(tmp_path) == ""
    for name, words in (("a.parquet", ", which holds 1 finished pass"), ("b.parquet", ", which holds 2 finished passes")):
        (tmp_path / "parts" / name).touch()
        (tmp_path / "parts" / ".c.parquet.x.tmp").touch()  # what was cut off while it was written
        assert _there(tmp_path) == words


def test_grey_pictures_for_a_model_of_colours(suite, tmp_path, capsys):
    arguments = ["timm:test_resnet", "--num-classes", 10, "--data", "Digits", "--limit", 5, "--suite", suite, "--out", "out"]
    assert evaluate(*arguments) == 2
    assert "Digits has grey pictures; expected colours in 3 channels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert evaluate(*arguments, "--grey", "repeat") == 0
    assert any("the grey in each of its 3 channels" in warning for warning in results(tmp_path / "out")["warnings"])


def test_an_empty_class_folder_is_no_class(suite, folder, tmp_path, capsys):
    (tmp_path / "pictures" / "test" / "empty").mkdir()
    assert evaluate("timm:test_resnet", "--num-classes", 2, *folder, "--suite", suite, "--out", "out") == 1
    assert "class folder pictures/test/empty has no picture" in capsys.readouterr().err


def test_a_backbone_with_weights(suite, folder, tmp_path, capsys):
    stock = backbones.load("timm:test_vit", num_classes=2).eval()
    save_file(stock.model.state_dict(), tmp_path / "w.safetensors")
    arguments = ["--weights", "w.safetensors", "--num-classes", 2, *folder, "--suite", suite, "--out", "out"]
    assert evaluate("timm:test_vit", *arguments) == 0
    assert "warning" not in capsys.readouterr().err
    found = results(tmp_path / "out")
    assert found["data"]["classes"] == ["bright", "dark"]
    assert found["preprocess"]["size"] == [160, 160]
    picture = stock.preprocess(Image.open(tmp_path / "pictures/test/bright/0.png"))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(stock(picture[None]), torch.tensor([0])).item()
    import pyarrow.parquet as pq

    [row] = [row for row in pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
             if row["suite"] == "clean" and row["id"].endswith("bright/0.png")]  # fmt: skip
    assert row["loss"] == pytest.approx(loss, rel=1e-4)


def test_batch_size_and_flags_before_the_model_change_nothing(checkpoint, suite, tmp_path):
    assert evaluate(checkpoint, "--suite", suite, "--out", "a", "--limit", 20) == 0
    assert evaluate("--data.batch_size", 7, "--suite", suite, "--out", "b", "--limit", 20, checkpoint) == 0
    assert results(tmp_path / "a")["conditions"] == results(tmp_path / "b")["conditions"]


def test_a_limit_is_spread_over_the_split(checkpoint, suite, tmp_path):
    assert evaluate(checkpoint, "--suite", suite, "--out", "a", "--limit", 10) == 0
    found = results(tmp_path / "a")
    assert any("Only 10 of the" in warning for warning in found["warnings"])
    assert "Intervals draw 10 samples: with fewer than some 30 they are too narrow." in found["warnings"]
    assert evaluate(checkpoint, "--suite", suite, "--out", "b", "--limit", 100000) == 0
    assert results(tmp_path / "b")["warnings"] == []


@pytest.mark.parametrize(
    "tree",
    [
        {"class_path": "ImageFolder", "init_args": {"root": "pictures"}},
        {"model": 3, "data": {"class_path": "vitkit.data.ImageFolder", "init_args": {"root": "pictures"}}},
    ],
)
def test_data_from_a_file(tree, suite, folder, tmp_path):
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(tree))
    assert evaluate("timm:test_resnet", "--num-classes", 2, "--data", "data.yaml", "--suite", suite, "--out", "out") == 0


def test_the_report_is_made_again_without_the_model(checkpoint, suite, tmp_path, capsys):
    assert evaluate(checkpoint, "--suite", suite, "--out", "out", "--limit", 20) == 0
    before = results(tmp_path / "out")
    for name in ("results.json", "results.csv", "report.html"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / checkpoint).unlink()
    capsys.readouterr()
    assert main(["report", "out"]) == 0
    assert results(tmp_path / "out") == before
    assert (tmp_path / "out" / "report.html").is_file()
    assert "report: out/report.html" in capsys.readouterr().out


def test_a_threshold_reached_and_one_missed(checkpoint, suite, capsys):
    arguments = [checkpoint, "--suite", suite, "--out", "out", "--limit", 20]
    assert evaluate(*arguments, "--fail-under", "clean.accuracy=0", "occlusion.random.painted.auc=0.0") == 0
    assert evaluate(*arguments, "--fail-under", "clean.accuracy=0", "--fail-under", "clean.accuracy=1") == 3
    assert "clean.accuracy: found" in capsys.readouterr().err


def refused(capsys, code, *words):
    said = capsys.readouterr()
    assert said.err.count("vitkit: error:") == 1
    for word in words:
        assert word in said.err
    return code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ckpt"], ["there is no file none.ckpt", "vitkit ls backbones"]),
        (["timm:vit_smal_patch16_224"], ["Did you mean timm:vit_small_patch16_224"]),
        (["timm:test_vit"], ["no --data"]),
        (["timm:test_vit", "--data", "ImageFoldr"], ["Did you mean ImageFolder"]),
        (["timm:test_vit", "--data", "none.yaml"], ["no file"]),
        (["timm:test_vit", "--data", "tiny.yaml"], ["class_path"]),
        (["timm:test_vit", "--data", "Digits"], ["Digits has 10 classes", "--num-classes 10"]),
        (["timm:test_vit", "--data", "ImageFolder", "--data.root", "none"], ["none does not exist"]),
        (["timm:test_vit", "--data", "Digits", "--data.batch_siz", "3"], ["data.batch_size"]),
        (["timm:test_vit", "--data", "Digits", "--data.batch_size", "x"], ["data.batch_size", "whole number"]),
        (["timm:test_vit", "--data", "vitkit.errors.UsageError"], ["ImageData"]),
        (["timm:test_vit", "--data", "Digits", "--suite", "quik"], ["quick"]),
        (["timm:test_vit", "--data", "Digits", "--limit", "0"], ["--limit 0"]),
        (["timm:test_vit", "--data", "Digits", "--limt", "3"], ["Did you mean --limit"]),
        (["timm:test_vit", "--data", "Digits", "--fail-under", "clean.acc=1"], ["clean.accuracy"]),
        (["timm:test_vit", "--data", "Digits", "--fail-under", "clean.accuracy"], ["METRIC=VALUE"]),
        (["timm:test_vit", "--data", "Digits", "--weights", "none.pth"], ["none.pth"]),
        (["timm:test_vit", "--data.root"], ["a value after it"]),
        ([], ["MODEL"]),
    ],
)
def test_mistakes_in_usage(arguments, words, suite, tmp_path, capsys):
    if "--suite" not in arguments:
        arguments = [*arguments, "--suite", suite] if arguments[-1:] != ["--data.root"] else arguments
    code = evaluate(*arguments)
    assert code == refused(capsys, 2, *words)
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_takes_no_options_of_a_backbone(checkpoint, capsys):
    assert evaluate(checkpoint, "--weights", "w.pth", "--num-classes", 3) == refused(capsys, 2, "--weights and --num-classes")


def test_classes_of_other_names(checkpoint, folder, tmp_path, capsys):
    for index in range(8):
        (tmp_path / "pictures" / "test" / f"other{index}").mkdir()
        Image.new("L", (8, 8)).save(tmp_path / "pictures" / "test" / f"other{index}" / "a.png")
    assert evaluate(checkpoint, *folder) == refused(capsys, 2, "bright, dark, other0", "trained for: 0, 1, 2")


def test_another_run_in_the_folder(checkpoint, suite, capsys, tmp_path):
    assert evaluate(checkpoint, "--suite", suite, "--out", "out", "--limit", 10) == 0
    before = (tmp_path / "out" / "results.json").read_bytes()
    capsys.readouterr()
    assert evaluate(checkpoint, "--suite", suite, "--out", "out", "--limit", 11) == refused(capsys, 2, "another run", "--out")
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_content_that_is_wrong_exits_with_1(suite, folder, tmp_path, capsys):
    (tmp_path / "w.pth").write_text("no weights")
    arguments = ["timm:test_resnet", "--num-classes", 2, *folder, "--suite", suite, "--out", "out"]
    assert evaluate(*arguments, "--weights", "w.pth") == refused(capsys, 1, "w.pth cannot be read")
    (tmp_path / "pictures/test/dark/9.png").write_bytes(b"")
    code = evaluate(*arguments)
    assert code == refused(capsys, 1, "9.png")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_folder_that_holds_no_run(capsys, tmp_path):
    assert main(["report", str(tmp_path / "none")]) == refused(capsys, 2, "none")


@pytest.mark.parametrize("command", ["evaluate", "report", "ls"])
def test_help(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: vitkit {command}")
    assert "example" in said


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torchrun")
def test_torchrun_gives_the_same_bytes(checkpoint, suite, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    words = ["evaluate", checkpoint, "--suite", suite, "--limit", "40", "--device", "cpu", "--out"]
    assert main([*words, "alone"]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "vitkit.cli"]
    subprocess.run([*torchrun, *words, "shared"], capture_output=True, check=True, timeout=120)
    for name in ("samples.parquet", "results.csv"):
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_pictures_that_another_machine_resizes_by_other_roundings_are_the_same_data(checkpoint, suite, tmp_path, monkeypatch):
    assert evaluate(checkpoint, "--suite", suite, "--out", "here", "--limit", 20) == 0
    prepare = Preprocess.__call__
    rounded = lambda self, *images: prepare(self, *images).nextafter(torch.tensor(0.5))  # noqa: E731 - a method
    monkeypatch.setattr(Preprocess, "__call__", rounded)
    assert evaluate(checkpoint, "--suite", suite, "--out", "there", "--limit", 20) == 0
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("here", "there")]
    assert runs[0]["key"]["data"] != runs[1]["key"]["data"], "the test changes no pixel"
    assert main(["compare", "here", "there", "--out", "page"]) == 0


def test_grey_pictures_of_ones_own(suite, tmp_path, capsys):
    for index, name in enumerate(("a", "b")):
        (tmp_path / "grey" / "test" / name).mkdir(parents=True)
        Image.new("L", (24, 20), 100 + 50 * index).save(tmp_path / "grey" / "test" / name / "0.png")
    arguments = ["timm:test_resnet", "--num-classes", 2, "--data", "ImageFolder", "--data.root", "grey", "--suite", suite]
    assert evaluate(*arguments) == 2
    assert "grey has grey pictures" in capsys.readouterr().err


def test_a_split_that_was_made_is_told_of(suite, folder, tmp_path, capsys):
    whole = tmp_path / "whole"
    for name in ("dark", "bright"):
        for index in range(6):
            (whole / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 20), (200 if name == "bright" else 40, index, 0)).save(whole / name / f"{index}.png")
    arguments = ["timm:test_resnet", "--num-classes", 2, "--data", "ImageFolder", "--data.root", "whole", "--suite", suite]
    assert evaluate(*arguments, "--out", "out") == 0
    assert "whole has no splits there, so data.fractions made them: this is the split test, 2 samples." in capsys.readouterr().err
    assert any("data.fractions made them" in warning for warning in results(tmp_path / "out")["warnings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/digits"], "runs/digits is a folder; expected the path of a checkpoint"),
        (["timm:test_vit", "--data", "pictures"], "--data ImageFolder --data.root pictures"),
    ],
)
def test_folders_where_files_are_wanted(arguments, words, checkpoint, folder, capsys):
    assert evaluate(*arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Give runs/digits/best.ckpt." in said or "pictures" in said
