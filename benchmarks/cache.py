"""A scan of 128 x 128 x 128 voxels: from the cache, against reading the same bytes with numpy, and against making it anew."""

import tempfile
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from harness import Step, compare, options, write

from vitkit.data import Scans
from vitkit.data.part import Images
from vitkit.preprocess import Preprocess

SIZE = 128


def images(folder: Path, cache: bool) -> Images:
    """A data set of one scan, which is in the cache already."""
    data = Scans(str(folder), cache=str(folder / "cache") if cache else None)
    data.preprocess = Preprocess((SIZE,) * 3, spacing=(1.0,) * 3)
    split = data.split("predict")
    if cache:
        _ = split[0]
    return split


def cached(folder: Path) -> Step:
    """The whole way of a sample: the file's identity, the entry mapped into memory, and its checksum, which sees every byte."""
    split = images(folder, cache=True)
    return lambda: split[0]


def copied(folder: Path) -> Step:
    """The same, and a copy of it into memory of the process, as a batch makes one."""
    split = images(folder, cache=True)
    return lambda: split[0].image.numpy().copy()


def made(folder: Path) -> Step:
    """Reading the .nii.gz, turning it and finding its percentiles; it has the model's spacing."""
    split = images(folder, cache=False)
    return lambda: split[0]


def bytes_alone(folder: Path) -> Step:
    """numpy.fromfile of a file with the same numbers and nothing else."""
    path = folder / "same.bin"
    images(folder, cache=True)[0].image.numpy().tofile(path)
    return partial(np.fromfile, path, np.float32)


def main() -> None:
    """Measure and write."""
    out = options("cache", __doc__).parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = np.random.default_rng(0).integers(0, 4000, (SIZE,) * 3).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 1.0, 1.0])), folder / "scan.nii.gz")
        time.sleep(3)  # a file that was written a moment ago is hashed each time, for it might be written again in that moment
        fast = {
            "numpy.fromfile": partial(bytes_alone, folder),
            "cached": partial(cached, folder),
            "cached and copied": partial(copied, folder),
        }
        slow = {"numpy.fromfile": partial(bytes_alone, folder), "not cached": partial(made, folder)}
        results = compare(fast, "numpy.fromfile", rounds=101, warmup=10)
        results["not cached"] = compare(slow, "numpy.fromfile", rounds=3, warmup=1)["not cached"]
    write(out, {f"one scan of {SIZE}^3": results})


if __name__ == "__main__":
    main()
