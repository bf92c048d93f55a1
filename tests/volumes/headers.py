"""An oblique affine, the ways to store it, and headers as they should never be."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix() @ np.diag([-1.5, 2.0, 3.0])
OBLIQUE[:3, 3] = [40.0, -30.5, 12.25]
TURNS = [np.array([*zip(order, signs, strict=True)]) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""The 48 ways in which a grid can be permuted and flipped, as nibabel writes them."""


def about_head(degrees):
    """Voxels of 1 mm, turned about the axis from foot to head."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return affine


def patched(path, **fields):
    """Fields of an uncompressed file's header, overwritten without a check."""
    content = path.read_bytes()
    kind = nib.Nifti1Header if 348 in {int.from_bytes(content[:4], order) for order in ("little", "big")} else nib.Nifti2Header
    length = 348 if kind is nib.Nifti1Header else 540
    header = kind(content[:length], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[length:])
    return path
