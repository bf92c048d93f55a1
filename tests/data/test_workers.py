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


def killed(_):
    kill(4)


def left(_):
    leave(4)


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
    way = {kill: r"signal: Killed", leave: "exit code 3"}[how]
    with pytest.raises(
        DataError, match=rf"a worker process died while it was reading val/dog/1\.png \({way}\); .*data\.num_workers"
    ):
        list(loader)


@pytest.mark.parametrize(("way", "words"), [("kill", "signal: Killed"), ("leave", "exit code 3")])
def test_a_worker_that_dies_before_its_first_file(data, way, words):
    loader = Loader(data.split("val"), num_workers=2, collate_fn=collate, worker_init_fn={"kill": killed, "leave": left}[way])
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value) == (
        f"a worker process died ({words}); expected workers that live as long as the loader. "
        "If memory ran out, use a smaller data.num_workers or data.batch_size."
    )


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
    assert death(ValueError("DataLoader worker (pid 1) is killed by signal: Killed.")) is None


@pytest.mark.parametrize(
    ("told", "way"),
    [
        ("DataLoader worker (pid 1) is killed by signal: Killed. ", " (signal: Killed)"),
        ("DataLoader worker (pid 1) is killed by signal: Bus error. It is possible that", " (signal: Bus error)"),
        ("DataLoader worker (pid 1) exited unexpectedly with exit code 3. Details are lost", " (exit code 3)"),
        ("DataLoader worker (pid(s) 1, 2) exited unexpectedly", ""),
    ],
)
def test_what_torch_says_of_a_worker_without_a_file(told, way):
    assert str(death(RuntimeError(told))).startswith(f"a worker process died{way}; expected workers that live")
    assert "If memory ran out" in str(death(RuntimeError(told)))
