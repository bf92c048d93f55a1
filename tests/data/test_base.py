from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torchvision.transforms import v2

from vitkit.data import Digits, ImageFolder, MedMNIST, Sample, collate
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess


def seen(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def ids(batches):
    return [name for batch in batches for name in batch.id]


def images(batches):
    return torch.cat([batch.image for batch in batches])


class Jitter(torch.nn.Module):
    """A transform that draws from torch's global generator."""

    def forward(self, image):
        return image * torch.rand(())


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_the_order_is_a_permutation_that_seed_and_epoch_determine(npz, epoch):
    path = str(npz())
    order = ids(seen(MedMNIST(path, batch_size=6), epoch))
    assert sorted(order) == sorted(f"train/{index}" for index in range(12))
    assert order == ids(seen(MedMNIST(path, batch_size=6), epoch))
    assert order != ids(seen(MedMNIST(path, batch_size=6), epoch + 1))
    assert order != ids(seen(MedMNIST(path, batch_size=6, seed=1), epoch))


def test_what_is_seen_depends_neither_on_workers_nor_on_the_global_generator(npz):
    path = str(npz())
    runs = []
    for workers, state in ((0, 0), (0, 1), (2, 2)):
        torch.manual_seed(state)
        batches = seen(MedMNIST(path, batch_size=5, num_workers=workers, augment=[Jitter()]), 3)
        runs.append(([batch.id for batch in batches], images(batches)))
    for names, pictures in runs[1:]:
        assert names == runs[0][0]
        assert torch.equal(pictures, runs[0][1])


def test_augmentation_changes_with_seed_epoch_and_sample_and_leaves_the_generator(npz):
    path = str(npz(train_images=torch.full((12, 7, 7), 255, dtype=torch.uint8).numpy()))
    data = MedMNIST(path, batch_size=12, augment=[Jitter()])
    state = torch.get_rng_state()
    drawn = data.split("train")[0].image
    assert torch.equal(state, torch.get_rng_state())
    factors = images(seen(data, 0))[:, 0, 0, 0]
    assert len(set(factors.tolist())) == 12
    assert factors.tolist() == [
        data.split("train")[data.split("train").ids.index(name)].image[0, 0, 0] for name in ids(seen(data, 0))
    ]
    assert not set(factors.tolist()) & set(images(seen(data, 1))[:, 0, 0, 0].tolist())
    assert MedMNIST(path, augment=[Jitter()], seed=1).split("train")[0].image.max() != drawn.max()


def test_only_training_is_augmented(npz):
    data, plain = MedMNIST(str(npz()), augment=[Jitter()]), MedMNIST(str(npz()))
    for split in ("val", "test", "predict"):
        assert torch.equal(data.split(split)[0].image, plain.split(split)[0].image)


def test_augmented_images_stay_in_range_and_shape(npz):
    data = MedMNIST(str(npz()), augment=[v2.RandomHorizontalFlip(), v2.GaussianNoise(sigma=1.0)])
    drawn = images(seen(data, 0))
    assert drawn.min() == 0
    assert drawn.max() == 1
    with pytest.raises(UsageError, match=r"shape \(1, 7, 7\) into one of \(1, 4, 4\)"):
        MedMNIST(str(npz()), augment=[v2.CenterCrop(4)]).split("train")[0]


@pytest.mark.parametrize(("batch_size", "batches"), [(5, [5, 5]), (12, [12]), (100, [12]), (6, [6, 6])])
def test_the_last_batch_is_dropped_unless_full_or_alone(npz, batch_size, batches):
    data = MedMNIST(str(npz()), batch_size=batch_size)
    assert [len(batch.label) for batch in data.train_dataloader()] == batches
    assert sum(len(batch.label) for batch in data.val_dataloader()) == 6


def test_a_batch_is_samples_stacked(npz):
    data = MedMNIST(str(npz()), batch_size=4)
    image, label, names, real, *_ = next(iter(data.test_dataloader()))
    assert image.shape == (4, 1, 7, 7)
    assert label.tolist() == [0, 1, 2, 0]
    assert label.dtype == torch.int64
    assert names == ["test/0", "test/1", "test/2", "test/3"]
    assert real is None


def test_a_batch_says_which_voxels_are_real_if_some_are_not():
    part = torch.tensor([[True, False], [True, True]])
    whole, padded = Sample(torch.zeros(1, 2, 2), 0, "whole"), Sample(torch.zeros(1, 2, 2), 1, "padded", part)
    assert torch.equal(collate([whole, padded]).real, torch.stack([torch.ones(2, 2, dtype=torch.bool), part]))
    assert collate([whole, whole]).real is None


def test_pictures_of_several_sizes_need_a_preprocess():
    with pytest.raises(DataError, match=r"a is an image of shape \(1, 2, 2\) and b one of \(1, 3, 2\)"):
        collate([Sample(torch.zeros(1, 2, 2), 0, "a"), Sample(torch.zeros(1, 3, 2), 0, "b")])


def test_the_preprocess_counts_whenever_it_is_set(npz):
    data = MedMNIST(str(npz()))
    data.setup("fit")
    assert data.channels == 1
    data.preprocess = Preprocess(size=(3, 3), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert data.channels == 3
    assert next(iter(data.val_dataloader())).image.shape == (6, 3, 3, 3)


@pytest.mark.parametrize(("shape", "size", "channels", "said"), [
    ((7, 7), (4, 4, 4), 1, "images of 2 axes"),
    ((7, 7, 7), (4, 4), 1, "images of 3 axes"),
    ((7, 7, 3), (4, 4), 4, "images of 3 channels; expected 4"),
])  # fmt: skip
def test_a_preprocess_of_another_kind_of_image(npz, shape, size, channels, said):
    data = MedMNIST(str(npz(shape)))
    data.preprocess = Preprocess(size=size, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(UsageError, match=said):
        data.setup("fit")


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"num_workers": -1}])
def test_numbers_outside_their_range(option):
    with pytest.raises(UsageError, match=rf"data\.{next(iter(option))}="):
        Digits(**option)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_also_from_a_worker(pictures, workers):
    root = pictures(*(f"{split}/{kind}/0.png" for split in ("train", "val") for kind in ("a", "b")))
    broken = root / "val/b/0.png"
    broken.write_bytes(b"text")
    loader = ImageFolder(str(root), num_workers=workers).val_dataloader()
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"{broken} is not a picture")
    assert str(caught.value).endswith("Delete it, or save it again as PNG.")
    assert "\n" not in str(caught.value)


def test_workers_share_the_pictures_also_where_they_are_not_forked(npz):
    data = MedMNIST(str(npz((200, 200))))
    # What a spawned worker is sent: a handle on shared memory, not the 240,000 bytes.
    assert len(ForkingPickler.dumps(data.split("val"))) < 10_000
