from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from vitkit.data import TorchVision
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess


def idx(path, values):
    """Write an array in the format of MNIST's files: a magic number, the axes' lengths, the bytes."""
    header = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def fashion(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 60), ("t10k", 20)):
        idx(folder / f"{split}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        idx(folder / f"{split}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


@pytest.fixture
def signs(tmp_path):
    """GTSRB: a set whose splits have names, whose training pictures lie in folders and whose test labels in a table."""
    training, test = tmp_path / "gtsrb/GTSRB/Training", tmp_path / "gtsrb/GTSRB/Final_Test/Images"
    test.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(3):
        (training / f"{label:05}").mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (7, 6), (label * 100, 0, 0)).save(training / f"{label:05}" / f"{index}.ppm")
        Image.new("RGB", (7, 6)).save(test / f"{label}.ppm")
        rows.append(f"{label}.ppm;7;6;0;0;1;1;{label}")
    (tmp_path / "gtsrb/GT-final_test.csv").write_text("\n".join(rows))
    return tmp_path


def load(name, root, stage="fit", **options):
    data = TorchVision(name, str(root), **options)
    data.setup(stage)
    return data


def test_a_set_with_a_training_and_a_test_half(fashion):
    data = load("FashionMNIST", fashion)
    assert (data.name, data.channels, data.ndim, data.num_classes, data.classes[1]) == ("FashionMNIST", 1, 2, 10, "Trouser")
    data.setup("test")
    assert {name: len(ids) for name, ids in data.splits().items()} == {"train": 50, "val": 10, "test": 20}
    stored = torchvision.datasets.FashionMNIST(str(fashion), train=True)
    for name in ("train", "val"):
        for image, label, sample, *_ in data.split(name):
            index = int(sample.removeprefix("train/"))
            assert label == stored.targets[index]
            torch.testing.assert_close(image[0], stored.data[index] / 255)


def test_validation_is_a_fixed_stratified_share_of_training(fashion):
    data = load("FashionMNIST", fashion, val_fraction=0.2)
    splits = data.splits()
    assert not set(splits["train"]) & set(splits["val"])
    assert sorted(data.split("val").labels) == sorted(list(range(10)) * 1)
    assert splits == load("FashionMNIST", fashion, val_fraction=0.2, seed=3).splits()
    assert splits != load("FashionMNIST", fashion, val_fraction=0.2, split_seed=3).splits()


def test_a_set_whose_splits_have_names(signs):
    data = load("GTSRB", signs, val_fraction=0.2)
    data.setup("test")
    assert {name: len(ids) for name, ids in data.splits().items()} == {"train": 12, "val": 3, "test": 3}
    assert (data.channels, data.classes) == (3, ["0", "1", "2"])
    for image, label, *_ in data.split("val"):
        torch.testing.assert_close(image[0], torch.full((6, 7), label * 100 / 255))
    data.preprocess = Preprocess(size=(4, 4))
    assert data.split("train")[0].image.shape == (1, 4, 4)


def test_a_validation_split_of_its_own(signs):
    data = load("GTSRB", signs, val_split="test")
    assert {name: len(ids) for name, ids in data.splits().items()} == {"train": 15, "val": 3, "test": 3}
    assert data.split("val").ids[0] == "val/0"


def test_a_split_that_the_set_does_not_have(signs):
    with pytest.raises(UsageError, match=r"'train', 'test'.*Set data\.train_split"):
        load("GTSRB", signs, train_split="trainval")
    with pytest.raises(UsageError, match=r"val_split 'val' for FashionMNIST"):
        TorchVision("FashionMNIST", str(signs), val_split="val")


@pytest.mark.parametrize("name", ["Cifar10", "CIFAR-10"])
def test_a_name_that_is_close(tmp_path, name):
    with pytest.raises(UsageError, match=r"Did you mean CIFAR10\?"):
        TorchVision(name, str(tmp_path))


@pytest.mark.parametrize("name", ["FakeData", "SBU"])
def test_a_set_without_splits(tmp_path, name):
    with pytest.raises(UsageError, match="a set with a training and a test split"):
        TorchVision(name, str(tmp_path))


@pytest.mark.parametrize("name", ["CIFAR10", "FashionMNIST", "GTSRB", "ImageNet"])
def test_files_that_are_not_there(tmp_path, name):
    with pytest.raises(UsageError, match=r"was not found in .*download to true, which only works where there is a network"):
        load(name, tmp_path)


@pytest.mark.parametrize("step", ["prepare_data", "setup"])
def test_a_download_without_a_network(tmp_path, monkeypatch, step):
    def offline(self):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "download", offline)
    data = TorchVision("FashionMNIST", str(tmp_path), download=True)
    with pytest.raises(DataError, match=r"fetching FashionMNIST .*Name or service not known.*expected a network"):
        getattr(data, step)()


def test_a_damaged_picture_is_named(signs):
    (signs / "gtsrb/GTSRB/Final_Test/Images/1.ppm").write_bytes(b"P6")
    data = load("GTSRB", signs, "test")
    with pytest.raises(DataError, match="GTSRB test/1 cannot be read"):
        data.split("test")[1]


def test_pictures_with_a_box_instead_of_a_class(tmp_path):
    folder = tmp_path / "gtsrb/GTSRB/Training/00000"
    folder.mkdir(parents=True)
    Image.new("RGB", (7, 6)).save(folder / "0.ppm")
    data = TorchVision("GTSRB", str(tmp_path))
    data._set("train")._samples = [("0.ppm", {"box": 1})]
    with pytest.raises(UsageError, match="labels are no numbers"):
        data.setup("fit")
