import nibabel as nib
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


@pytest.fixture
def scans(tmp_path):
    """A function that writes small scans of noise under the given paths, and returns the folder they are in."""

    def write(*paths, root=tmp_path / "scans", size=(6, 5, 4), affine=None, seed=0):
        random = np.random.default_rng(seed)
        root.mkdir(exist_ok=True)
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            values = random.integers(0, 1000, size).astype(np.int16)
            nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), root / path)
        return root

    return write


@pytest.fixture
def listed(scans):
    """A function that writes a manifest of the given lines, the first being its columns, and the scans that it names."""

    def write(*lines, name="manifest.csv", missing=(), **options):
        first = lines[0].split(",")
        rows = [dict(zip(first, line.split(","), strict=False)) for line in lines[1:]]
        names = {row[key] for row in rows for key in ("image", "mask") if row.get(key)} - set(missing)
        root = scans(*sorted(names), **options)
        (root / name).write_text("\n".join(lines) + "\n")
        return root

    return write
