"""Phantoms differ in mm³ and in nothing that is easier to see, and the same seed makes the same files."""

import csv
from collections import Counter, defaultdict

import numpy as np
import pytest

from vitkit.errors import UsageError
from vitkit.volumes import make_phantoms, read, read_mask, save
from vitkit.volumes.phantoms import CLASSES, LEAST, SPACINGS, SPREAD


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms")
    manifest = make_phantoms(out, 40)
    assert manifest == out / "manifest.csv"
    with manifest.open(newline="", encoding="utf-8") as file:
        return out, list(csv.DictReader(file))


def test_every_scan_is_read_without_a_word(phantoms):
    out, rows = phantoms
    assert len(rows) == 40
    orientations, spacings = set(), Counter()
    for row in rows:
        image = read(out / row["image"])
        mask = read_mask(out / row["mask"], image)
        orientations.add(image.orientation)
        spacings[tuple(sorted(image.spacing))] += 1
        assert mask.data.unique().tolist() == [0, 1]
        volume = float(mask.data.sum()) * np.prod(image.spacing)
        wanted = CLASSES[row["label"]]
        # Of the class, give or take the patient's own size, and the voxels that the surface of some 1,000 mm² cuts.
        assert abs(volume / wanted - 1) < SPREAD + 0.05
        assert np.abs(image.affine[:3, :3] / image.spacing).max() < 1 - 1e-4  # oblique
    assert spacings == {tuple(sorted(spacing)): 20 for spacing in SPACINGS}
    assert len(orientations) > 10


def test_a_patient_is_the_same_in_both_scans_and_in_one_split(phantoms):
    out, rows = phantoms
    patients = defaultdict(list)
    for row in rows:
        patients[row["patient"]].append(row)
    for scans in patients.values():
        assert len(scans) == 2
        assert len({(row["split"], row["label"]) for row in scans}) == 1
        volumes = [float(read_mask(out / row["mask"]).data.sum()) * np.prod(read(out / row["image"]).spacing) for row in scans]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
    assert Counter((row["split"], row["label"]) for row in rows) == {
        (split, label): count for split, count in (("train", 12), ("val", 4), ("test", 4)) for label in CLASSES
    }


def test_intensities_do_not_tell_the_class(phantoms):
    out, rows = phantoms
    medians = {row["image"]: float(read(out / row["image"]).data.median()) for row in rows}
    groups = [[medians[row["image"]] for row in rows if row["label"] == label] for label in CLASSES]
    assert max(min(group) for group in groups) < min(max(group) for group in groups)
    assert max(medians.values()) > 2 * min(medians.values())


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_phantoms(tmp_path / name, LEAST, seed)
    files = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in "abc"
    }
    assert files["a"] == files["b"]
    assert len(files["a"]) == 2 * LEAST + 1
    assert files["a"] != files["c"]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match="exists already"):
            make_phantoms(out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UsageError, match="19 scans; expected 20 at least"):
        make_phantoms(tmp_path / "out", 19)
    with pytest.raises(UsageError, match="seed -1"):
        make_phantoms(tmp_path / "out", seed=-1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_what_could_not_be_finished_is_gone_and_can_be_made_again(tmp_path, monkeypatch, error, existed):
    out = tmp_path / "out"
    if existed:
        out.mkdir()
    left = iter(range(13))

    def failing(volume, path):
        if next(left, None) is None:
            raise error
        save(volume, path)

    with monkeypatch.context() as patch:
        patch.setattr("vitkit.volumes.phantoms.save", failing)
        with pytest.raises(type(error)):
            make_phantoms(out, LEAST)
    assert list(tmp_path.rglob("*")) == ([out] if existed else [])
    make_phantoms(out, LEAST)
    assert len(list(out.rglob("*.nii.gz"))) == 2 * LEAST


def test_what_others_put_there_meanwhile_stays(tmp_path, monkeypatch):
    def failing(volume, path):
        save(volume, path)
        (tmp_path / "out" / "theirs.txt").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitkit.volumes.phantoms.save", failing)
    with pytest.raises(OSError, match="No space"):
        make_phantoms(tmp_path / "out", LEAST)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs.txt"]


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        make_phantoms(tmp_path / "file" / "out", LEAST)
