"""NIfTI files as scanners write them."""

import nibabel as nib
import numpy as np
import pytest

from tests.volumes.headers import OBLIQUE, patched


@pytest.fixture
def scan(tmp_path):
    """Write voxels to a file, with sform and qform, and fields of the header as given."""

    def write(data=None, affine=OBLIQUE, name="scan.nii", kind=nib.Nifti1Image, qform=None, **fields):
        if data is None:
            data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
        image = kind(data, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine if qform is None else qform, 1)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
        return patched(path, **fields) if fields else path

    return write
