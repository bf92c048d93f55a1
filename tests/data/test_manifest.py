"""What scans there are, in each of the ways to say it, and every way to say it wrong."""

import json
from itertools import chain

import pytest

from vitkit.data import Scans
from vitkit.errors import DataError, UsageError

MANY = [f"{index}.nii,{'ab'[index % 2]}" for index in range(20)]
FOLDERS = [f"{kind}/{index}.nii.gz" for kind in ("sick", "well") for index in range(10)]
SPLIT = [f"{split}/{kind}/{index}.nii" for split in ("train", "val", "test") for kind in ("sick", "well") for index in range(2)]


def test_a_manifest_has_its_splits(listed):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val", "4.nii,b,test")
    data = Scans(str(root))
    assert data.splits() == {"train": ["1.nii", "2.nii"], "val": ["3.nii"], "test": ["4.nii"]}
    assert data.classes == ["a", "b"]
    assert list(data.split("train").labels) == [1, 0]
    assert (data.channels, data.ndim, data.name) == (1, 3, "scans")


def test_a_manifest_without_splits_is_split_for_good(listed):
    root = listed("image,label", *MANY)
    splits = Scans(str(root)).splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(chain(*splits.values())) == sorted(row.split(",")[0] for row in MANY)
    assert splits == Scans(str(root), seed=3).splits() != Scans(str(root), split_seed=3).splits()


def test_scans_of_a_patient_stay_together(listed):
    lines = [f"{index}.nii,{'ab'[index // 20]},{index // 4}" for index in range(40)]
    root = listed("image,label,patient", *lines)
    splits = Scans(str(root), fractions=(0.6, 0.2, 0.2)).splits()
    whose = [{int(name.split(".")[0]) // 4 for name in ids} for ids in splits.values()]
    assert [len(patients) for patients in whose] == [6, 2, 2]
    assert sum(map(len, splits.values())) == 40
    assert not whose[0] & whose[1] | whose[0] & whose[2] | whose[1] & whose[2]


def test_validation_is_taken_from_training_where_it_is_missing(listed):
    root = listed("image,label,split", *(f"{row},train" for row in MANY[:16]), *(f"{row},test" for row in MANY[16:]))
    splits = Scans(str(root), fractions=(0.75, 0.25, 0.0)).splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 12, "val": 4, "test": 4}
    assert splits["test"] == [row.split(",")[0] for row in MANY[16:]]


def test_labels_of_a_withheld_split_are_missed_when_it_is_asked_for(listed):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val", "4.nii,,test")
    data = Scans(str(root))
    data.setup("fit")
    assert data.splits()["test"] == ["4.nii"]
    with pytest.raises(DataError, match=r"manifest\.csv, line 5: no label for 4\.nii"):
        data.setup("test")
    assert list(data.split("predict").labels) == [-1]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_mark_of_the_byte_order(listed, separator):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val")
    path = root / "manifest.csv"
    path.write_text("\ufeff" + path.read_text().replace(",", separator).replace("image", " Image "))
    assert Scans(str(root)).splits() == {"train": ["1.nii", "2.nii"], "val": ["3.nii"]}


def test_numbers_are_classes_in_their_own_order(listed):
    root = listed("image,label,grade", *(f"{index}.nii,x,{index + 8}" for index in range(4)))
    assert Scans(str(root), label="grade").classes == ["8", "9", "10", "11"]


def test_a_manifest_can_be_named_and_lie_elsewhere(listed, tmp_path):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val", name="mine.csv")
    (root / "other.csv").write_text("image,label\n1.nii,c\n")
    with pytest.raises(UsageError, match=r"2 CSV files with a column image: mine\.csv, other\.csv"):
        Scans(str(root)).setup("fit")
    expected = {"train": ["1.nii", "2.nii"], "val": ["3.nii"]}
    assert Scans(str(root), "mine.csv").splits() == Scans(str(root / "mine.csv")).splits() == expected
    moved = (root / "mine.csv").rename(tmp_path / "moved.csv")
    assert Scans(str(root), str(moved)).splits() == expected
    with pytest.raises(UsageError, match=r"data\.manifest gone\.csv .* CSV files in .*: other\.csv"):
        Scans(str(root), "gone.csv").setup("fit")


def test_class_folders(scans):
    data = Scans(str(scans(*FOLDERS)), fractions=(0.6, 0.2, 0.2))
    assert data.classes == ["sick", "well"]
    assert {name: len(ids) for name, ids in data.splits().items()} == {"train": 12, "val": 4, "test": 4}
    data.setup("fit")
    assert all(data.classes[label] == name.split("/")[0] for split in ("train", "val") for name, label in _labels(data, split))


def test_class_folders_in_split_folders(scans):
    data = Scans(str(scans(*SPLIT)))
    assert data.splits() == {split: [name for name in SPLIT if name.startswith(split)] for split in ("train", "val", "test")}
    data.setup("test")
    assert list(data.split("test").labels) == [0, 0, 1, 1]
    assert data.split("predict").ids == data.split("test").ids


def test_class_folders_have_the_errors_of_class_folders(scans):
    root = scans(*SPLIT, "val/odd/0.nii")
    with pytest.raises(DataError, match="val has the class folders odd; expected no other than sick, well"):
        Scans(str(root)).setup("fit")
    root = scans(*FOLDERS, "stray.nii", root=root.parent / "other")
    with pytest.raises(DataError, match=r"stray\.nii lies beside the class folders; expected every scan in"):
        Scans(str(root)).setup("fit")


def _labels(data, split):
    return list(zip(data.split(split).ids, data.split(split).labels, strict=True))


def msd(root, images, tests=()):
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "name": "Toy",
                "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in images],
                "test": [f"./imagesTs/{name}" for name in tests],
            }
        )
    )
    return root


@pytest.mark.parametrize("called", ["imagesTr/{}.nii.gz", "./imagesTr/{}.nii.gz", "{}.nii.gz", "{}"])
def test_msd_with_labels_beside_it(scans, called):
    names = [f"toy_{index}" for index in range(4)]
    root = scans(*(f"{folder}/{name}.nii.gz" for name in names for folder in ("imagesTr", "labelsTr")))
    msd(root, [f"{name}.nii.gz" for name in names])
    lines = [f"{called.format(name)},{index % 2},{'train' if index < 2 else 'val'}" for index, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["image,big,split", *lines]))
    data = Scans(str(root), label="big")
    data.setup("fit")
    ids = [called.format(name) for name in names]
    assert data.splits() == {"train": ids[:2], "val": ids[2:]}
    assert list(data.split("val").labels) == [0, 1]
    assert [entry.mask for entry in data.manifest.entries] == [root / f"labelsTr/{name}.nii.gz" for name in names]
    assert data.split("train")[0].image.shape == (1, 6, 5, 4)


def test_msd_alone_can_be_predicted_only(scans):
    root = msd(scans("imagesTr/a.nii", "labelsTr/a.nii", "imagesTs/b.nii"), ["a.nii"], ["b.nii"])
    assert Scans(str(root)).split("predict").ids == ["imagesTr/a.nii", "imagesTs/b.nii"]
    with pytest.raises(UsageError, match=r"dataset\.json has no class for a scan, only masks; .* columns image and label"):
        Scans(str(root)).setup("fit")
    (root / "dataset.json").write_text('{"training": [1]}')
    with pytest.raises(DataError, match=r"dataset\.json is not a dataset\.json of the Medical"):
        Scans(str(root)).setup("predict")


def test_predicting_takes_what_there_is(scans, listed):
    root = scans("b.nii", "deep/er/a.nii.gz", ".hidden.nii")
    assert [sample.id for sample in Scans(str(root)).split("predict")] == ["b.nii", "deep/er/a.nii.gz"]
    root = listed("image,split", "1.nii,train", "2.nii,test", root=root.parent / "listed")
    assert Scans(str(root), label="large").split("predict").ids == ["2.nii"]
    root = listed("image", "1.nii", "2.nii", root=root.parent / "bare")
    assert Scans(str(root)).split("predict").ids == ["1.nii", "2.nii"]


def test_a_medmnist_file_is_taken_as_such(npz):
    path = npz((7, 7, 7))
    data = Scans(str(path))
    data.setup("fit")
    assert data.split("val")[0].image.shape == (1, 7, 7, 7)
    assert data.name == "toy"


@pytest.mark.parametrize(("lines", "said"), [
    (("path,label", "1.nii,a"), r"no scans in .* \(manifest\.csv has the columns path, label\); expected a CSV manifest"),
    (("image,label", "1.nii"), r"line 2: 1 values; expected 2"),
    (("image,label", "1.nii,a,b"), r"line 2: 3 values; expected 2"),
    (("image,label,image", "1.nii,a,1.nii"), r"several columns image"),
    (("image,label,split", "1.nii,a,valid"), r"line 2: split valid; expected one of train, val, test"),
    (("image,label,split", "1.nii,a,train", "2.nii,b,"), r"line 3: no split"),
    (("image,label,patient", "1.nii,a,"), r"line 2: no patient"),
    (("image,label", ",a"), r"line 2: no image"),
    (("image,label",), r"manifest\.csv names no scan"),
    (("image,label", "1.nii,a", "2.nii,b", "", "1.nii,b"), r"line 5 names .*1\.nii again, after .*line 2"),
    (("image,label", "1.nii,a", "./1.nii,b"), r"line 3 names .*1\.nii again"),
    (("image,label,split,patient", "1.nii,a,train,p", "2.nii,b,train,q", "3.nii,a,val,p"),
     r"patient p is in val \(.*line 4\) and in train \(.*line 2\)"),
    (("image,label", "1.nii,a", "2.nii,a"), r"every scan of .* has the label a; expected two classes"),
    (("image,label,split", "1.nii,a,train", "2.nii,b,train", "3.nii,a,test", "4.nii,b,test"), None),
])  # fmt: skip
def test_a_manifest_that_is_wrong(listed, scans, lines, said):
    scans("1.nii")
    root = listed(*lines)
    if said is None:
        with pytest.raises(DataError, match="class a has 1 samples"):
            Scans(str(root)).setup("fit")
        return
    if lines[0].startswith("path"):
        (root / "1.nii").unlink()
    with pytest.raises((DataError, UsageError), match=said):
        Scans(str(root)).setup("fit")


@pytest.mark.parametrize(("missing", "said"), [
    (["1.nii", "2.nii"], r"line 2 names .*1\.nii, which does not exist \(and 1 more are missing\)"),
    (["n.nii"], r"line 3 names .*n\.nii, which does not exist;"),
])  # fmt: skip
def test_missing_files_are_counted(listed, missing, said):
    root = listed("image,mask,label", "1.nii,m.nii,a", "2.nii,n.nii,b", missing=missing)
    with pytest.raises(DataError, match=said):
        Scans(str(root)).setup("predict")


def test_a_missing_label_column_is_named_with_those_there_are(listed):
    root = listed("image,split,volume,large", "1.nii,train,7,1", "2.nii,train,8,0")
    with pytest.raises(UsageError, match=r"no column label, only image, split, volume, large; .* --data\.label large"):
        Scans(str(root)).setup("fit")
    with pytest.raises(UsageError, match="no column big"):
        Scans(str(root), label="big").setup("fit")


def test_a_label_outside_the_classes(listed):
    root = listed("image,label,split", "1.nii,a,train", "2.nii,c,train", "3.nii,b,val")
    with pytest.raises(DataError, match=r"line 3: 2\.nii has the label c; expected one of a, b"):
        Scans(str(root), classes=["a", "b"]).setup("fit")


def test_an_empty_split(listed):
    root = listed("image,label,split", "1.nii,a,val", "2.nii,b,test")
    with pytest.raises(DataError, match=r"manifest\.csv has no train split; .*Write train in the column split of"):
        Scans(str(root)).setup("fit")
    root = listed("image,label", *MANY, root=root.parent / "other")
    with pytest.raises(DataError, match=r"the test split of .*manifest\.csv has zero samples"):
        Scans(str(root), fractions=(0.8, 0.2, 0.0)).setup("test")


def test_nothing_there(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"no scans in .*; expected a CSV manifest .* dataset\.json, folders CLASS/\*\.nii\.gz"):
        Scans(str(tmp_path)).setup("fit")
    with pytest.raises(UsageError, match="gone does not exist"):
        Scans(str(tmp_path / "gone")).setup("fit")


def test_a_table_that_cannot_be_read_is_no_manifest(listed):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val")
    (root / "a notes.csv").write_bytes("größe,image".encode("latin-1"))
    (root / "folder.csv").mkdir()
    assert Scans(str(root)).splits() == {"train": ["1.nii", "2.nii"], "val": ["3.nii"]}
    (root / "manifest.csv").rename(root / "list.csv")
    assert Scans(str(root)).splits() == {"train": ["1.nii", "2.nii"], "val": ["3.nii"]}
    (root / "list.csv").unlink()
    with pytest.raises(DataError, match=r"a notes\.csv is not UTF-8"):  # it could be the manifest
        Scans(str(root)).setup("fit")


def test_a_manifest_that_cannot_be_read_is_not_passed_over(listed):
    root = listed("image,label", "1.nii,b", "2.nii,a", name="other.csv")
    (root / "manifest.csv").write_bytes("größe,image".encode("latin-1"))
    with pytest.raises(DataError, match=r"manifest\.csv is not UTF-8"):
        Scans(str(root)).setup("fit")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_table_in_utf_16_is_called_so(listed, encoding):
    root = listed("image,label,split", "1.nii,b,train", "2.nii,a,train", "3.nii,a,val")
    path = root / "manifest.csv"
    text = path.read_text().replace(",", "\t")
    path.write_bytes(f"\ufeff{text}".encode(encoding))
    with pytest.raises(DataError, match=r'manifest\.csv is UTF-16.*; expected .*UTF-8\. .*"CSV UTF-8"'):
        Scans(str(root)).setup("fit")
    path.write_bytes(b"\x93NUMPY\0\1")
    with pytest.raises(DataError, match=r"manifest\.csv is no text"):
        Scans(str(root)).setup("fit")
