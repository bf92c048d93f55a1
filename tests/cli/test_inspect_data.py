"""What `vitkit inspect-data` says of folders, manifests and MSD's layout, and of what is wrong in them."""

import csv
import json
import re
import shlex

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from vitkit.cli.main import main
from vitkit.volumes import make_phantoms


@pytest.fixture
def phantoms(tmp_path):
    make_phantoms(tmp_path / "phantoms", 20)
    return tmp_path / "phantoms"


def inspect(path, out, *options):
    return main(["inspect-data", str(path), "--out", str(out), *options])


def test_a_manifest_without_a_fault(phantoms, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert inspect(phantoms, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "scans that can be read" in said
    assert "[1.35, 1.5, 1.5]" in said or "a spacing to start from" in said
    assert "problem:" not in said
    with (tmp_path / "out" / "scans.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert {row["labels"] for row in rows} == {"0 1"}
    with Image.open(tmp_path / "out" / "planes.png") as picture:
        three = picture.height
    assert inspect(phantoms / "manifest.csv", tmp_path / "out", "--pictures", "1") == 0
    with Image.open(tmp_path / "out" / "planes.png") as picture:
        assert picture.height < three / 2


def test_faults_are_listed_and_end_in_1(phantoms, tmp_path, capsys):
    images = sorted((phantoms / "images").iterdir())
    images[3].write_bytes(images[3].read_bytes()[:1000])
    images[5].unlink()
    (phantoms / "masks" / images[7].name).write_bytes((phantoms / "masks" / images[8].name).read_bytes())
    assert inspect(phantoms, tmp_path / "out") == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem:")]
    assert any(f"{images[3]} is truncated" in line and line.endswith("Copy or download it again.") for line in problems)
    assert any(f"{images[5]} does not exist" in line for line in problems)
    assert any("masks/patient-003-b" in line for line in problems)
    assert len(problems) == 3


def test_a_folder_of_files_a_file_and_msds_layout(phantoms, tmp_path, capsys):
    assert inspect(phantoms / "images", tmp_path / "out") == 0
    one = next((phantoms / "images").iterdir())
    assert inspect(one, tmp_path / "out") == 0
    (phantoms / "manifest.csv").unlink()
    pairs = [
        {"image": f"./images/{path.name}", "label": f"./masks/{path.name}"} for path in sorted((phantoms / "images").iterdir())
    ]
    (phantoms / "dataset.json").write_text(json.dumps({"training": pairs[:3], "test": [pair["image"] for pair in pairs[3:5]]}))
    capsys.readouterr()
    assert inspect(phantoms, tmp_path / "out") == 0
    assert "labels in masks" in capsys.readouterr().out
    with (tmp_path / "out" / "scans.csv").open(newline="", encoding="utf-8") as file:
        assert [bool(row["mask"]) for row in csv.DictReader(file)] == [True] * 3 + [False] * 2


def test_where_nothing_can_be_read_nothing_is_drawn(tmp_path, capsys):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3)), np.eye(4)), tmp_path / "flat.nii")
    assert inspect(tmp_path, tmp_path / "out") == 1
    assert "all 27 voxels have the value 0" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_mistakes(tmp_path, capsys):
    assert inspect(tmp_path / "gone", tmp_path) == 2
    assert "gone does not exist" in capsys.readouterr().err
    assert inspect(tmp_path, tmp_path) == 2
    assert "no scans in" in capsys.readouterr().err
    assert inspect(tmp_path, tmp_path, "--pictures", "0") == 2


def test_phantoms_are_made_once(tmp_path, capsys):
    assert main(["make-phantoms", str(tmp_path / "phantoms"), "--count", "20", "--seed", "1"]) == 0
    assert f"20 scans with masks: {tmp_path / 'phantoms' / 'manifest.csv'}" in capsys.readouterr().out
    assert len(list((tmp_path / "phantoms").rglob("*.nii.gz"))) == 40
    assert main(["make-phantoms", str(tmp_path / "phantoms")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["make-phantoms", str(tmp_path / "few"), "--count", "3"]) == 2


def test_the_last_line_trains_on_what_was_found(phantoms, tmp_path, capsys):
    rows = (phantoms / "manifest.csv").read_text()
    (phantoms / "manifest.csv").write_text(rows.replace("label", "size"))
    assert inspect(phantoms, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "has no column label" in " ".join(said.split())
    assert "train:" not in said
    assert inspect(phantoms, tmp_path / "out", "--label", "size", "--xform", "sform") == 0
    said = capsys.readouterr().out
    assert "large (10), small (10)" in said
    (line,) = [line for line in said.splitlines() if line.startswith("train: vitkit ")]
    smaller = ["--model.encoder.depth", "1", "--trainer.max_epochs", "1", "--trainer.default_root_dir", str(tmp_path / "runs")]
    command = [*shlex.split(line)[2:], *smaller, "--data.num_workers", "0", "--data.cache", str(tmp_path / "cache")]
    assert command[command.index("--data.xform") + 1] == "sform"
    assert main(command) == 0
    assert "--suite volume" in capsys.readouterr().out


def test_labels_that_are_missing_are_problems(phantoms, tmp_path, capsys):
    rows = (phantoms / "manifest.csv").read_text().splitlines()
    train = next(index for index, row in enumerate(rows) if ",train," in row)
    test = next(index for index, row in enumerate(rows) if ",test," in row)
    for index in (train, test):
        rows[index] = rows[index].replace("small", "").replace("large", "")
    (phantoms / "manifest.csv").write_text("\n".join(rows))
    assert inspect(phantoms, tmp_path / "out") == 1
    (problem,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem:")]
    assert f"line {train + 1}: no label for" in problem
    assert inspect(phantoms, tmp_path / "out", "--label", "age") == 1
    assert "has no column age" in capsys.readouterr().out


def test_class_folders_with_a_fault(phantoms, tmp_path, capsys):
    for index, path in enumerate(sorted((phantoms / "images").iterdir())):
        home = tmp_path / "folders" / "train" / ("a", "b")[index % 2] / path.name
        home.parent.mkdir(parents=True, exist_ok=True)
        path.rename(home)
    assert inspect(tmp_path / "folders", tmp_path / "out") == 0
    assert "a (10), b (10)" in capsys.readouterr().out
    (tmp_path / "folders" / "train" / "c").mkdir()
    assert inspect(tmp_path / "folders", tmp_path / "out") == 1
    assert "class folder" in capsys.readouterr().out


def test_scans_of_other_formats_are_counted(phantoms, tmp_path, capsys):
    for name in ("old.img", "old.hdr", "deeper/a.NRRD", "deeper/b.nrrd", ".hidden.img", ".cache/x.img"):
        (phantoms / "images" / name).parent.mkdir(exist_ok=True)
        (phantoms / "images" / name).touch()
    assert inspect(phantoms / "images", tmp_path / "out") == 0
    assert "1 .img, 2 .nrrd; NIfTI is: convert them" in " ".join(capsys.readouterr().out.split())


def test_files_that_fit_is_told_how_to_read(tmp_path, capsys):
    values = np.arange(60.0).reshape(3, 4, 5)
    values[1, 1, 1] = np.nan
    nib.save(nib.Nifti1Image(values, None), tmp_path / "lost.nii")
    assert inspect(tmp_path, tmp_path / "out") == 1
    assert inspect(tmp_path, tmp_path / "out", "--assume", "LAS", "--nonfinite", "fill") == 0
    assert (tmp_path / "out" / "planes.png").exists()


def test_what_inspects_without_a_fault_trains(tmp_path, capsys):
    values = np.random.default_rng(0).uniform(0, 100, (16, 16, 16))
    rows = ["Image,Label,Split"]
    for index in range(4):
        nib.save(nib.Nifti1Image(values + index, np.eye(4)), tmp_path / f"{index}.nii")
        rows.append(f"{index}.nii,{'ab'[index % 2]},{('train', 'val')[index // 2]}")
    nib.save(nib.Nifti1Image(np.full((16, 16, 16), 7.0), np.eye(4)), tmp_path / "flat.nii")
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "flat.nii,a,train"]))
    assert inspect(tmp_path, tmp_path / "out") == 1
    assert inspect(tmp_path, tmp_path / "out", "--data.constant", "allow") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train: vitkit ")]
    smaller = ["--model.encoder.depth", "1", "--trainer.max_epochs", "1", "--trainer.default_root_dir", str(tmp_path / "runs")]
    assert main([*shlex.split(line)[2:], *smaller, "--data.num_workers", "0", "--data.cache", str(tmp_path / "cache")]) == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.replace(",train,", ",val,"), "has no train split"),
        (lambda rows: rows.split("\n")[0], "names no scan"),
        (lambda rows: rows + "gone.nii,,large,train,p\n", "gone.nii does not exist"),
        (lambda rows: re.sub("large(?=,test)", "huge", rows), "has no scan of huge to train on"),
    ],
)
def test_faults_of_a_manifest_are_told_once(phantoms, tmp_path, capsys, spoil, said):
    path = phantoms / "manifest.csv"
    path.write_text(spoil(path.read_text()))
    assert inspect(phantoms, tmp_path / "out") == 1
    (problem,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem:")]
    assert said in problem


def test_a_scan_in_metres_among_others_in_mm(phantoms, tmp_path, capsys):
    path = sorted((phantoms / "images").iterdir())[4]
    image = nib.load(path)
    image.header.set_xyzt_units("meter")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), phantoms / "metre.nii.gz")
    (phantoms / "metre.nii.gz").rename(path)
    assert inspect(phantoms, tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert f"{path} has a spacing of" in said
    assert "xyzt_units" in said


@pytest.mark.parametrize("options", [["--assume", "XYZ"], ["--data.xform", "neither"]])
def test_options_that_are_none(phantoms, tmp_path, options, capsys):
    assert inspect(phantoms, tmp_path / "out", *options) == 2
    assert not (tmp_path / "out").exists()
