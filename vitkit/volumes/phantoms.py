"""A small data set of generated scans, on which everything about volumes can be tried without a download."""

import csv
from contextlib import suppress
from io import StringIO
from itertools import permutations, product
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from vitkit.errors import UsageError
from vitkit.files import replacing
from vitkit.volumes.volume import Volume
from vitkit.volumes.write import save

CLASSES = {"small": 2500.0, "large": 5000.0}
"""Volume of the ellipsoid of each class, in mm³."""
SPREAD = 0.15
"""Share by which a patient's ellipsoid is larger or smaller than that, at most."""
SPACINGS = ((1.5, 1.5, 1.5), (1.2, 1.2, 3.0))
"""Of each patient's first and second scan, in mm, before the axes are permuted."""
LEAST = 20
"""Scans with which every split has patients of both classes."""
_SIDE = 48.0  # mm that a scan covers along each axis
_SPLITS = ("train", "train", "train", "val", "test")
_TURNS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def make_phantoms(out: str | PathLike[str], count: int = 80, seed: int = 0) -> Path:
    """Write a data set of NIfTI files with masks, and its manifest ``manifest.csv`` (image, mask, label, split, patient).

    A patient is an ellipsoid in a round body. The two classes, ``small`` and ``large``, differ in the ellipsoid's volume in mm³;
    its shape, place and direction are random. Each patient is scanned twice, at another spacing, obliquely, with axes that are
    permuted and flipped at random, and with another gain and shift of intensities: so only a reader that keeps the geometry sees
    the volume. The same seed gives the same files, to the byte. Splits are by patient, 3 : 1 : 1. If it fails or
    is interrupted, it removes what it wrote.

    Args:
        out: Folder, new or empty.
        count: Scans.
        seed: Of everything that is random.

    Returns:
        Path of the manifest.

    Raises:
        UsageError: A folder that holds something, a file in its place, or fewer than 20 scans.
    """
    out = Path(out)
    there = out.exists()
    if count < LEAST:
        raise UsageError(f"{count} scans", f"{LEAST} at least, so that every split has both classes", f"Use --count {LEAST}.")
    if seed < 0:
        raise UsageError(f"seed {seed}", "0 or a larger number", "Correct it.")
    if there and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "a new or empty folder, as nothing is overwritten", "Choose another one.")
    written: list[Path] = []
    try:
        _write(out, count, seed, written)
    except BaseException:  # also Ctrl-C: a part of a set would be in the way when the command is run again
        for path in written:
            with suppress(OSError):
                path.unlink()
        # Not the whole tree: what others put there is theirs, and its folder stays.
        for folder in (out / "images", out / "masks", *(() if there else (out,))):
            with suppress(OSError):
                folder.rmdir()
        raise
    return out / "manifest.csv"


def _write(out: Path, count: int, seed: int, written: list[Path]) -> None:
    """Write the files, each noted before it is begun."""
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["image", "mask", "label", "split", "patient"])
    for index in range(count):
        patient, scan = divmod(index, 2)
        label = list(CLASSES)[patient % 2]
        image, mask = phantom(CLASSES[label], patient, scan, seed)
        names = [f"{kind}/patient-{patient:03}-{'ab'[scan]}.nii.gz" for kind in ("images", "masks")]
        for name, volume in zip(names, (image, mask), strict=True):
            written.append(out / name)
            save(volume, written[-1])
        rows.writerow([*names, label, _SPLITS[patient // 2 % len(_SPLITS)], f"patient-{patient:03}"])
    written.append(out / "manifest.csv")
    with replacing(written[-1]) as temporary:
        temporary.write_text(table.getvalue(), encoding="utf-8")


def phantom(volume: float, patient: int, scan: int, seed: int) -> tuple[Volume, Volume]:
    """One scan of one patient, and its mask.

    Args:
        volume: Of the class, in mm³.
        patient: Number of the patient, who is the same in every scan.
        scan: 0 or 1: which of the two spacings.
        seed: Of the data set.
    """
    body = np.random.default_rng([seed, patient])
    axes = np.exp(body.uniform(-0.2, 0.2, 3))
    axes /= axes.prod() ** (1 / 3)
    radius = (volume * (1 + body.uniform(-SPREAD, SPREAD)) * 3 / 4 / np.pi) ** (1 / 3)  # of the sphere of that volume
    place, lying = body.uniform(-4, 4, 3), Rotation.from_rotvec(body.uniform(-1, 1, 3)).as_matrix()

    scanner = np.random.default_rng([seed, patient, 1 + scan])
    size, affine = _grid(scanner, SPACINGS[scan])
    where = np.moveaxis(np.indices(size), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inner = np.linalg.norm((where - place) @ lying / (axes * radius), axis=-1)
    outer = np.linalg.norm(where, axis=-1) / 21.0
    # An edge is one mm wide, as a scanner's is.
    tissue = (0.5 - (outer - 1) * 21.0).clip(0, 1) * 0.5 + (0.5 - (inner - 1) * radius).clip(0, 1) * 0.4
    noisy = tissue + scanner.normal(0, 0.04, size)
    stored = np.rint(np.exp(scanner.uniform(-1, 1)) * 1000 * noisy + scanner.uniform(0, 300))
    name = f"patient {patient}, scan {scan}"
    image = Volume(torch.from_numpy(stored.astype(np.int32))[None], affine, name)
    return image, Volume(torch.from_numpy(inner <= 1)[None], affine, name)


def _grid(random: np.random.Generator, spacing: tuple[float, float, float]) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid about the origin: oblique by up to a third of a right angle, with permuted and flipped axes."""
    order, signs = _TURNS[random.integers(len(_TURNS))]
    turn = np.zeros((3, 3))
    turn[list(order), range(3)] = signs
    size = tuple(round(_SIDE / step) for step in spacing)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(random.uniform(-0.3, 0.3, 3)).as_matrix() @ turn @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2) + random.uniform(-2, 2, 3)
    # As a header can hold it, so that image and mask lie where they were computed.
    return size, affine.astype(np.float32).astype(np.float64)
