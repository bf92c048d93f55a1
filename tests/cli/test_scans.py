"""From a folder of scans to a report, as a user types it."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vitkit.cli.main import main
from vitkit.tasks import load_checkpoint

CONF = Path(__file__).parents[1] / "conf" / "scans.yaml"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "phantoms"
    assert main(["make-phantoms", str(root), "--count", "20"]) == 0
    return root


@pytest.fixture(scope="module")
def trained(phantoms, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    cache = ["--data.cache", str(root / "cache")]
    assert (
        main(["fit", "--config", str(CONF), "--data.root", str(phantoms), "--trainer.default_root_dir", str(root), *cache]) == 0
    )
    return root / "scans"


def predicted(trained, root, out, *arguments):
    given = ["--ckpt_path", str(trained / "best.ckpt"), "--out", str(out), *arguments]
    assert main(["predict", "--config", str(CONF), "--data.root", str(root), *given]) == 0
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_and_test(trained, phantoms, capsys):
    splits = json.loads((trained / "splits.json").read_text())
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 12, "val": 4, "test": 4}
    assert load_checkpoint(trained / "best.ckpt").grid((16, 20, 16)).spacing == (12.0, 12.0, 12.0)
    assert load_checkpoint(trained / "best.ckpt").classes == ["large", "small"]
    given = ["--ckpt_path", str(trained / "best.ckpt"), "--data.root", str(phantoms)]
    assert main(["test", "--config", str(CONF), *given]) == 0
    assert "test/auroc" in capsys.readouterr().out


def test_predictions_are_the_same_however_headers_flip_and_permute_scans(trained, phantoms, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    names = sorted(path.name for path in (phantoms / "images").iterdir())[:3]
    for index, name in enumerate(names):
        image = nib.load(phantoms / "images" / name)
        for copy, (order, signs) in enumerate(([(0, 1, 2), (1, 1, 1)], [(2, 0, 1), (-1, 1, -1)], [(0, 1, 2), (-1, -1, -1)])):
            turned = image.as_reoriented(np.stack([order, signs], axis=1))
            stored = nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine, dtype=image.get_data_dtype())
            nib.save(stored, new / f"{index}-{copy}.nii")
    rows = predicted(trained, new, tmp_path / "predictions.csv")
    assert [row["id"] for row in rows] == [f"{index}-{copy}.nii" for index in range(3) for copy in range(3)]
    for index in range(3):
        same = {(row["prediction"], row["p_large"], row["p_small"]) for row in rows[3 * index : 3 * index + 3]}
        assert len(same) == 1
    again = predicted(trained, new, tmp_path / "again.csv", "--data.cache", str(tmp_path / "cache"), "--data.num_workers", "1")
    assert again == rows


def test_predicting_names_scans_as_the_manifest_does(trained, phantoms, tmp_path):
    rows = predicted(trained, phantoms, tmp_path / "predictions.csv")
    assert [row["id"] for row in rows] == json.loads((trained / "splits.json").read_text())["test"]
    for row in rows:
        assert float(row["p_large"]) + float(row["p_small"]) == pytest.approx(1, abs=1e-5)  # they are printed with six digits


def test_evaluate_runs_the_suites_of_pictures_on_scans(trained, tmp_path):
    suite = Path(__file__).parents[2] / "configs" / "suites" / "quick.yaml"
    out = tmp_path / "robustness"
    assert main(["evaluate", str(trained / "best.ckpt"), "--suite", str(suite), "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    assert {"occlusion", "brightness"} <= {condition["suite"] for condition in results["conditions"]}
    assert not any(condition["skipped"] for condition in results["conditions"])
    assert results["preprocess"]["spacing"] == [3.0, 3.0, 3.0]
    assert (out / "report.html").is_file()


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_a_folder_without_scans_says_what_was_looked_for(command, trained, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    given = ["--trainer.default_root_dir", str(tmp_path)] if command == "fit" else ["--ckpt_path", str(trained / "best.ckpt")]
    assert main([command, "--config", str(CONF), "--data.root", str(empty), *given]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vitkit: error: no scans in {empty}; expected a CSV manifest with the columns image and label")


def test_a_validation_split_that_was_taken_from_training_is_told_of(phantoms, tmp_path, capsys):
    rows = (phantoms / "manifest.csv").read_text().replace(",val,", ",train,")
    (tmp_path / "few.csv").write_text(rows)
    given = ["--config", str(CONF), "--data.root", str(phantoms), "--data.manifest", str(tmp_path / "few.csv")]
    assert main(["fit", *given, "--trainer.default_root_dir", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr()
    assert "few.csv has no split val there, so data.fractions took it from train: 12 train, 4 val, 4 test" in said.err
    assert "--suite volume" in said.out


def test_a_fit_that_fails_leaves_an_earlier_run_as_it_was(phantoms, tmp_path, capsys):
    given = ["--config", str(CONF), "--trainer.default_root_dir", str(tmp_path / "runs")]
    assert main(["fit", *given, "--data.root", str(phantoms)]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "scans").iterdir() if path.is_file()}
    shutil.copytree(phantoms, tmp_path / "bad")
    for path in (tmp_path / "bad" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert main(["fit", *given, "--data.root", str(tmp_path / "bad"), "--model.encoder.depth", "3"]) == 1
    said = capsys.readouterr().err
    assert "holds an earlier run, which this one overwrites after its first epoch" in said
    assert "is truncated" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs" / "scans").iterdir() if path.is_file()} == before


@pytest.mark.parametrize("command", [["make-phantoms", "{}/x"], ["predict", "--out", "{}/p.csv", "--ckpt_path", "{ckpt}"]])
def test_an_output_that_cannot_be_made(trained, phantoms, tmp_path, capsys, command):
    (tmp_path / "file").touch()
    words = [word.format(tmp_path / "file", ckpt=trained / "best.ckpt") for word in command]
    words += ["--config", str(CONF), "--data.root", str(phantoms)] if command[0] == "predict" else []
    assert main(words) == 2
    assert "cannot be made" in capsys.readouterr().err
