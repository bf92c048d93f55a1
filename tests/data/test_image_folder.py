from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from vitkit.data import ImageFolder
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess

CATS_AND_DOGS = [f"{kind}/{index}.png" for kind in ("cat", "dog") for index in range(20)]
SPLIT = [f"{split}/{kind}/{index}.png" for split in ("train", "val", "test") for kind in ("cat", "dog") for index in range(4)]


def folder(root, **options):
    return ImageFolder(str(root), **options)


def test_class_folders_are_split_for_good(pictures):
    root = pictures(*CATS_AND_DOGS)
    splits = folder(root).splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 28, "val": 6, "test": 6}
    assert sorted(chain(*splits.values())) == sorted(CATS_AND_DOGS)
    assert splits == folder(root, seed=5).splits()
    assert splits != folder(root, split_seed=5).splits()


def test_fractions_are_the_users(pictures):
    splits = folder(pictures(*CATS_AND_DOGS), fractions=(0.5, 0.25, 0.25)).splits()
    assert [len(ids) for ids in splits.values()] == [20, 10, 10]


def test_folders_of_splits_are_kept(pictures):
    data = folder(pictures(*SPLIT))
    assert data.splits() == {split: [name for name in SPLIT if name.startswith(split)] for split in ("train", "val", "test")}
    assert data.classes == ["cat", "dog"]
    assert list(data.split("val").labels) == [0] * 4 + [1] * 4


def test_validation_is_taken_from_training_where_it_is_missing(pictures):
    data = folder(pictures(*(f"train/{name}" for name in CATS_AND_DOGS)), fractions=(0.6, 0.2, 0.2))
    splits = data.splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 30, "val": 10}
    assert not set(splits["train"]) & set(splits["val"])


def test_a_withheld_test_split_is_missed_when_asked_for(pictures):
    data = folder(pictures(*(name for name in SPLIT if not name.startswith("test"))))
    data.setup("fit")
    with pytest.raises(DataError, match="has no test split; expected one of train, val"):
        data.setup("test")


def test_a_test_folder_alone_is_enough_to_evaluate(pictures):
    data = folder(pictures(*(name for name in SPLIT if name.startswith("test"))))
    data.setup("test")
    assert len(data.split("test")) == 8
    with pytest.raises(DataError, match="no train split"):
        data.setup("fit")


def test_files_deeper_down_count_and_others_do_not(pictures):
    root = pictures(*CATS_AND_DOGS, "cat/more/deep.PNG", "cat/.hidden.png", ".cache/x.png")
    (root / "cat" / "notes.txt").write_text("no picture")
    assert sorted(chain(*folder(root).splits().values())) == sorted([*CATS_AND_DOGS, "cat/more/deep.PNG"])


def test_samples_are_the_files(pictures):
    root = pictures(*SPLIT)
    image, label, name, *_ = folder(root).split("test")[5]
    assert (label, name) == (1, "test/dog/1.png")
    torch.testing.assert_close(image, torch.from_numpy(np.asarray(Image.open(root / name)) / np.float32(255)).movedim(-1, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_gets_its_size_and_channels(pictures, channels):
    root = pictures(*SPLIT)
    Image.fromarray(np.full((9, 9), 40000, dtype=np.uint16)).save(root / "test/cat/0.png")
    data = folder(root)
    data.preprocess = Preprocess(size=(4, 4), mean=(0.5,) * channels, std=(0.5,) * channels)
    assert data.channels == channels
    for image, *_ in data.split("test"):
        assert image.shape == (channels, 4, 4)
        assert image.min() >= 0
        assert image.max() <= 1
    torch.testing.assert_close(data.split("test")[0].image, torch.full((channels, 4, 4), 40000 / 65535))


def test_predicting_takes_a_folder_without_classes(pictures):
    data = folder(pictures("b.png", "a.jpg"))
    data.setup("predict")
    assert [(sample.id, sample.label) for sample in data.split("predict")] == [("a.jpg", -1), ("b.png", -1)]


def test_predicting_takes_every_picture_of_class_folders(pictures):
    data = folder(pictures(*CATS_AND_DOGS, "stray.png"), classes=["dog", "cat"])
    data.setup("predict")
    labels = {sample.id: sample.label for sample in data.split("predict")}
    assert len(labels) == 41
    assert (labels["cat/0.png"], labels["dog/0.png"], labels["stray.png"]) == (1, 0, -1)


def test_predicting_takes_the_test_pictures_where_there_are_splits(pictures):
    assert len(folder(pictures(*SPLIT)).split("predict")) == 8


def test_predicting_takes_a_list_of_files(pictures):
    root = pictures(*CATS_AND_DOGS)
    data = folder(root, files=["dog/3.png", str(root / "cat/1.png")])
    assert [sample.id for sample in data.split("predict")] == ["dog/3.png", str(root / "cat/1.png")]
    with pytest.raises(UsageError, match=r"gone\.png does not exist"):
        folder(root, files=["gone.png"]).setup("predict")


def test_classes_of_a_model_may_lack_folders_and_have_their_order(pictures):
    data = folder(pictures(*SPLIT), classes=["dog", "fish", "cat"])
    data.setup("test")
    assert set(data.split("test").labels) == {0, 2}
    assert data.num_classes == 3


def test_a_folder_outside_the_classes(pictures):
    with pytest.raises(DataError, match=r"class folders dog; expected no other than cat, fish"):
        folder(pictures(*SPLIT), classes=["cat", "fish"]).setup("fit")


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match="none does not exist"):
        folder(tmp_path / "none").setup("fit")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file"):
        folder(tmp_path / "file").setup("fit")


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_no_class_folder(pictures, stage):
    with pytest.raises(DataError, match=r"no class folder \(2 pictures lie directly in it\)"):
        folder(pictures("a.png", "b.png")).setup(stage)


def test_nothing_at_all(tmp_path):
    with pytest.raises(DataError, match="has no class folder;"):
        folder(tmp_path).setup("fit")
    with pytest.raises(DataError, match="zero samples"):
        folder(tmp_path).setup("predict")


def test_one_class(pictures):
    with pytest.raises(DataError, match="one class folder only, cat"):
        folder(pictures("cat/0.png", "cat/1.png")).setup("fit")


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_an_empty_class_is_named(pictures, prefix):
    root = pictures(*(prefix + name for name in CATS_AND_DOGS))
    (root / prefix / "fish").mkdir()
    with pytest.raises(DataError, match=r"class folder .*fish has no picture"):
        folder(root).setup("fit")


@pytest.mark.parametrize("split", ["val", "test"])
def test_splits_with_other_classes(pictures, split):
    root = pictures(*SPLIT, f"{split}/fish/0.png")
    with pytest.raises(DataError, match=rf"{split} has the class folders fish; expected no other than cat, dog"):
        folder(root).setup({"val": "fit", "test": "test"}[split])
    root = pictures(*(name for name in SPLIT if not name.startswith(f"{split}/dog")), root=root.parent / "lacking")
    with pytest.raises(DataError, match=rf"{split} has no folder for the classes dog"):
        folder(root).split(split)


def test_pictures_outside_of_class_folders(pictures):
    with pytest.raises(DataError, match=r"stray\.png lies beside"):
        folder(pictures(*CATS_AND_DOGS, "stray.png")).setup("fit")


@pytest.mark.parametrize("other", ["cat/0.png", "stray.png"])
def test_split_folders_beside_other_pictures(pictures, other):
    with pytest.raises(DataError, match=rf"has {other.split('/')[0]} beside train"):
        folder(pictures(*SPLIT, other)).setup("fit")


def test_a_class_too_small_to_split(pictures):
    with pytest.raises(DataError, match="class fish has 1 samples"):
        folder(pictures(*CATS_AND_DOGS, "fish/0.png")).setup("fit")


def test_a_fraction_of_zero_leaves_zero_samples(pictures):
    data = folder(pictures(*CATS_AND_DOGS), fractions=(0.8, 0.2, 0.0))
    data.setup("fit")
    with pytest.raises(DataError, match=r"test split of .* has zero samples"):
        data.setup("test")


def test_the_fingerprint_sees_files_and_labels(pictures):
    root = pictures(*SPLIT)
    before = folder(root).fingerprint("test")
    assert before == folder(root, seed=1).fingerprint("test")
    assert before != folder(root).fingerprint("val")
    assert before != folder(root, classes=["dog", "cat"]).fingerprint("test")
    pictures("test/cat/0.png", root=root, size=(20, 20))
    assert before != folder(root).fingerprint("test")


def test_the_fingerprint_is_that_of_files_whatever_a_model_makes_of_them(pictures):
    root = pictures(*(name.replace(".png", ".bmp") for name in SPLIT))
    before = folder(root).fingerprint("test")
    resized = folder(root)
    resized.preprocess = Preprocess(size=(8, 8))
    assert resized.fingerprint("test") == before
    path = root / "test" / "cat" / "0.bmp"
    size = path.stat().st_size
    Image.new("RGB", (5, 6)).save(path)
    assert path.stat().st_size == size
    assert folder(root).fingerprint("test") != before, "other pixels in a file as long"


def test_a_file_that_cannot_be_read_is_named_by_the_fingerprint(pictures):
    root = pictures(*SPLIT)
    (root / "test" / "cat" / "0.png").unlink()
    (root / "test" / "cat" / "0.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"test/cat/0\.png cannot be read: .*; expected a readable file\. Copy it again"):
        folder(root).fingerprint("test")
