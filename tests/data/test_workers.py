"""A worker that fails or dies is told of with the file that it was reading."""

import gc
import os
import signal
from multiprocessing import active_children

import pytest
import torch
from torch.utils.data import Subset

from vitkit.data import ImageFolder, Loader, collate, workers
from vitkit.data.workers import death
from vitkit.errors import DataError

# What a dead worker had begun to send, and files that torch was opening when its handler of signals raised, are left to the
# garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMES = [f"{split}/{kind}/{index}.png" for split in ("train", "val") for kind in ("cat", "dog") for index in range(3)]


@pytest.fixture(scope="module", autouse=True)
def _collected():
    """Here, and not in a later test that has nothing to do with it."""
    yield
    gc.collect()


@pytest.fixture
def data(pictures):
    return ImageFolder(str(pictures(*NAMES)), num_workers=2, batch_size=1)


def kill(index):
    if index == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.zeros(1, 2, 2)


def leave(index):
    if index == 4:
        os._exit(3)
    return torch.zeros(1, 2, 2)


def fail(index):
    if index == 4:
        raise MemoryError("no more")
    return torch.zeros(1, 2, 2)


def reading(images, how):
    object.__setattr__(images.part, "read", how)
    return images


@pytest.mark.parametrize("how", [kill, leave])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_worker_that_dies(data, how, wrapped):
    images = reading(data.split("val"), how)
    loader = Loader(Subset(images, range(6)) if wrapped else images, num_workers=2, collate_fn=collate)
    with pytest.raises(DataError, match=r"a worker process died while it was reading val/dog/1\.png \(.*data\.num_workers"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_that_fails(data, workers):
    images = reading(data.split("val"), fail)
    with pytest.raises(DataError, match=r"val/dog/1\.png cannot be read: MemoryError: no more; expected a readable file"):
        list(Loader(images, num_workers=workers, collate_fn=collate))


def test_no_worker_outlives_an_error(data):
    images = reading(data.split("val"), fail)
    with pytest.raises(DataError) as error:  # held, and so its frames are
        list(Loader(images, num_workers=2, collate_fn=collate))
    assert error.value
    assert not active_children()


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader"])
def test_loaders_of_data_name_it(data, loader):
    reading(data.split(loader.split("_")[0]), leave)
    with pytest.raises(DataError, match=r"died while it was reading (train|val)/dog/1\.png"):
        list(getattr(data, loader)())


def test_a_second_that_dies_while_the_first_is_told_of(data, monkeypatch):
    """torch's handler of signals raises wherever Python is at that moment."""
    deaths, dead = iter([RuntimeError("DataLoader worker (pid 1) exited unexpectedly")]), workers._dead

    def interrupted(iterator):
        for error in deaths:
            raise error
        return dead(iterator)

    monkeypatch.setattr(workers, "_dead", interrupted)
    images = reading(data.split("val"), leave)
    with pytest.raises(DataError, match=r"died while it was reading val/dog/1\.png"):
        list(Loader(images, num_workers=2, collate_fn=collate))


def test_other_errors_stay_what_they_are():
    assert death(RuntimeError("out of luck")) is None
    assert death(RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")) is None
    assert death(ValueError("DataLoader worker (pid 1) is killed by signal: Killed.")) is None
