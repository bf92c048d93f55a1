from itertools import chain

import torch
from sklearn.datasets import load_digits

from vitkit.data import Digits
from vitkit.preprocess import Preprocess


def test_the_split_is_a_fixed_stratified_partition():
    splits = Digits().splits()
    assert splits == Digits(seed=7).splits()
    assert sorted(chain(*splits.values()), key=int) == [str(index) for index in range(1797)]
    # Recorded here, so that no change goes unnoticed: published results depend on it.
    assert [len(splits[name]) for name in ("train", "val", "test")] == [1078, 360, 359]
    assert splits["test"][:8] == ["3", "15", "17", "19", "20", "22", "30", "33"]


def test_every_digit_is_shared_out_alike():
    data = Digits()
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        counts = torch.bincount(torch.tensor(data.split(name).labels)) / torch.bincount(torch.from_numpy(load_digits().target))
        torch.testing.assert_close(counts, torch.full((10,), share), atol=0.01, rtol=0)


def test_images_are_the_scans_as_shares_of_full_intensity():
    digits = load_digits()
    for image, label, name, *_ in Digits().split("val"):
        torch.testing.assert_close(image, torch.from_numpy(digits.images[int(name)] / 16).float()[None])
        assert label == digits.target[int(name)]


def test_another_size_and_colour():
    data = Digits()
    data.preprocess = Preprocess(size=(12, 10), mean=(0.5,) * 3, std=(0.5,) * 3)
    data.setup("test")
    assert data.split("test")[0].image.shape == (3, 12, 10)


def test_prediction_takes_the_test_split():
    data = Digits()
    data.setup("predict")
    assert data.split("predict").ids == data.split("test").ids
    assert (data.name, data.channels, data.ndim, data.classes) == ("Digits", 1, 2, list("0123456789"))
