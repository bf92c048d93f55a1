import numpy as np
import pytest
import torch

from vitkit.data import MedMNIST
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess


def load(path, stage="fit", **options):
    data = MedMNIST(str(path), **options)
    data.setup(stage)
    return data


@pytest.mark.parametrize(("shape", "channels", "ndim"), [((7, 7), 1, 2), ((7, 5, 3), 3, 2), ((4, 5, 6), 1, 3)])
def test_grey_colour_and_volumes(npz, shape, channels, ndim):
    path = npz(shape)
    data = load(path)
    assert (data.channels, data.ndim, data.classes) == (channels, ndim, ["0", "1", "2"])
    stored = np.load(path)["val_images"][4]
    image, label, name, *_ = data.split("val")[4]
    expected = torch.from_numpy(stored.astype(np.float32) / 255)
    torch.testing.assert_close(image, expected.movedim(-1, 0) if channels == 3 else expected[None])
    assert (label, name) == (1, "val/4")


def test_pictures_stay_bytes_in_memory(npz):
    images = load(npz()).split("train").part.read.args[0]
    assert images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [((7, 7), (4, 4), 3), ((7, 7, 3), (4, 4), 1), ((4, 4, 4), (3, 3, 3), 1), ((4, 4, 4), (4, 4, 4), 3)],
)
def test_a_model_gets_its_size_and_channels(npz, shape, size, channels):
    data = load(npz(shape))
    data.preprocess = Preprocess(size=size, mean=(0.5,) * channels, std=(0.5,) * channels)
    image = data.split("val")[0].image
    assert image.shape == (channels, *size)
    assert image.min() >= 0
    assert image.max() <= 1


def test_the_test_split_may_be_withheld(npz):
    data = load(npz(counts={"train": 6, "val": 3}))
    assert list(data.splits()) == ["train", "val"]
    for stage in ("test", "predict"):
        with pytest.raises(DataError, match=r"has no test split.*keys test_images and test_labels"):
            data.setup(stage)


def test_the_test_split_may_be_all_there_is(npz):
    assert len(load(npz(counts={"test": 6}), "test").split("test")) == 6


def test_prediction_takes_the_test_split(npz):
    data = load(npz(), "predict")
    assert data.split("predict").ids == data.split("test").ids


def test_labels_of_one_axis_and_names_of_classes(npz):
    path = npz(train_labels=np.arange(12) % 3)
    data = load(path, classes=["a", "b", "c"])
    assert data.classes == ["a", "b", "c"]
    assert list(data.split("train").labels) == [0, 1, 2] * 4


def test_the_fingerprint_sees_the_pictures(npz):
    path = npz()
    before = [load(path).fingerprint(split) for split in ("train", "val")]
    assert before[0] != before[1]
    assert before == [load(path, seed=3).fingerprint(split) for split in ("train", "val")]
    path = npz(val_images=np.zeros((6, 7, 7), dtype=np.uint8))
    assert load(path).fingerprint("train") == before[0]
    assert load(path).fingerprint("val") != before[1]
    assert load(path).fingerprint("val", range(6)) == load(path).fingerprint("val") != load(path).fingerprint("val", range(5))


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"none\.npz does not exist"):
        load(tmp_path / "none.npz")
    with pytest.raises(UsageError, match=r"data\.path .* is a folder; expected a MedMNIST file .*vitkit\.data\.Scans"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", "cut", "npy"])
def test_no_npz_or_a_truncated_one(npz, content):
    path = npz()
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:1000] if content == "cut" else content)
    with pytest.raises(DataError, match=r"toy\.npz is no \.npz file, or a truncated one"):
        load(path)


def test_damage_inside_the_file(npz):
    path = npz((28, 28))
    content = bytearray(path.read_bytes())
    content[2000:2050] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"toy\.npz cannot be read"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_labels": None}, "lacks train_labels; it holds train_images"),
        ({"val_images": None}, "lacks val_images"),
        ({"train_images": np.zeros((12, 7, 7), np.float32)}, r"train_images is float32;.*save as uint8"),
        ({"train_images": np.full((12, 7, 7), np.nan)}, "train_images is float64 and holds 588 NaN"),
        ({"val_images": np.zeros((6, 7, 7), np.int64)}, "val_images is int64"),
        ({"val_images": np.zeros((5, 7, 7), np.uint8)}, "has 5 val_images and 6 val_labels"),
        ({"val_images": np.zeros((6, 8, 7), np.uint8)}, r"images of the shapes \(7, 7\) and \(8, 7\)"),
        ({"val_labels": np.zeros((6, 14), np.uint8)}, "several at once are not supported"),
        ({"val_labels": np.zeros((6, 1), np.float32)}, "val_labels is float32"),
        ({"val_labels": np.full((6, 1), 3)}, "val/0 has label 3; expected a class from 0 to 2"),
        ({"val_labels": np.full((6, 1), -1)}, "val/0 has label -1"),
        ({"train_labels": np.full((12, 1), 2)}, "no train sample has label 0, 1"),
        (
            {"val_images": np.zeros((0, 7, 7), np.uint8), "val_labels": np.zeros((0, 1), np.uint8)},
            "val split of .* has zero samples",
        ),
    ],
)
def test_content_that_is_not_right(npz, changes, said):
    with pytest.raises(DataError, match=said) as caught:
        load(npz(**changes))
    assert "toy.npz" in str(caught.value)


def test_other_keys(npz):
    with pytest.raises(DataError, match="lacks train_images, train_labels, val_images, val_labels; it holds x"):
        load(npz(counts={"train": 0}, train_images=None, train_labels=None, x=np.zeros(3)))


def test_images_of_no_known_shape(npz):
    with pytest.raises(DataError, match=r"images of shape \(2, 2, 2, 2\)"):
        load(npz((2, 2, 2, 2)))


def test_objects_are_not_unpickled(npz):
    with pytest.raises(DataError, match=r"toy\.npz"):
        load(npz(train_labels=np.array([print] * 12, dtype=object)))


def test_labels_outside_of_named_classes(npz):
    with pytest.raises(DataError, match=r"train/2 has label 2; expected a class from 0 to 1"):
        load(npz(), classes=["a", "b"])


def test_a_volume_is_not_stretched_along_one_axis(npz):
    data = load(npz(shape=(7, 7, 7)))
    data.preprocess = Preprocess(size=(12, 16, 12))
    with pytest.raises(UsageError, match=r"volumes of 7 × 7 × 7 voxels .* 12 × 16 × 12; expected the same proportions"):
        data.split("train")[0]
    data.preprocess = Preprocess(size=(14, 14, 14))
    assert data.split("train")[0].image.shape == (1, 14, 14, 14)
