import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path):
    """A function that writes small pictures of noise under the given paths, and returns the folder they are in."""

    def write(*paths, root=tmp_path / "pictures", size=(6, 5)):
        root.mkdir(exist_ok=True)
        random = np.random.default_rng(0)
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / path)
        return root

    return write


@pytest.fixture
def npz(tmp_path):
    """A function that writes a MedMNIST file of three classes, with the given keys replaced, or left out where they are None."""

    def write(shape=(7, 7), counts=None, **changes):
        random = np.random.default_rng(0)
        content = {}
        for split, count in (counts or {"train": 12, "val": 6, "test": 6}).items():
            content[f"{split}_images"] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
            content[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 3)[:, None]
        content |= changes
        path = tmp_path / "toy.npz"
        np.savez_compressed(path, **{key: value for key, value in content.items() if value is not None})
        return path

    return write
