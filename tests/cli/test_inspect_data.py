"""What `vitkit inspect-data` says of folders, manifests and MSD's layout, and of what is wrong in them."""

import csv
import json

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
    assert any("manifest.csv" in line and "does not exist" in line for line in problems)
    assert len(problems) == 4


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
