"""NIfTI files as they lie on the disk: the header as it was written, and the stream of voxels behind it."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from math import inf, prod
from os import PathLike
from pathlib import Path
from typing import Any

from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from vitkit.errors import DataError, UsageError, VitkitError

EXTENSIONS = (".nii", ".nii.gz")
_MOST_DEFLATED = 1032  # bytes that one byte of a gzip file can stand for at most
_KINDS: dict[int, tuple[type[Nifti1Header], slice, bytes]] = {
    348: (Nifti1Header, slice(344, 348), b"n+1\0"),
    540: (Nifti2Header, slice(4, 12), b"n+2\0\r\n\x1a\n"),
}  # by the length of a header, which is its first number: its class, and where its mark is
_AGAIN = "Copy or download it again."


@dataclass(frozen=True)
class Nifti:
    """An open file.

    Args:
        path: The file.
        header: As it was written: nothing in it was mended.
        stream: The bytes, uncompressed.
        compressed: Whether the file is gzipped.
    """

    path: Path
    header: Nifti1Header
    stream: BufferedIOBase
    compressed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the voxels, with as many axes as the file says."""
        return tuple(map(int, self.header.get_data_shape()))

    @property
    def bytes_end(self) -> int:
        """Where in the stream the last voxel ends."""
        return self.header.get_data_offset() + prod(self.shape) * self.header.get_data_dtype().itemsize


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Nifti]:
    """A NIfTI-1 or -2 file, gzipped or not, whatever its name says.

    Raises:
        UsageError: There is no such file.
        DataError: It is empty, truncated, damaged or no NIfTI file; also where that shows while the stream is read.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {found}", "a NIfTI file (.nii or .nii.gz)", "Correct the path.")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes)", "a NIfTI file", _AGAIN)
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if compressed:
                with gzip.open(raw) as stream:
                    yield _begin(path, stream, compressed)
            else:
                yield _begin(path, raw, compressed)
    except VitkitError:
        raise
    except EOFError as error:
        raise DataError(f"{path} is truncated: the compressed data stop before their end", "a whole file", _AGAIN) from error
    except (OSError, zlib.error, HeaderDataError, MemoryError) as error:
        words = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be read: {words}", "a NIfTI file that is whole", _AGAIN) from error


def _begin(path: Path, stream: BufferedIOBase, compressed: bool) -> Nifti:
    start = stream.read(348)
    orders = {"<": int.from_bytes(start[:4], "little"), ">": int.from_bytes(start[:4], "big")}
    endianness = next((sign for sign, length in orders.items() if length in _KINDS), "")
    if not endianness:
        raise DataError(
            f"{path} is no NIfTI file: it starts with {start[:8]!r}",
            "the header of NIfTI-1 or NIfTI-2",
            "Convert it (DICOM, for example, with dcm2niix), or leave it out.",
        )
    length = orders[endianness]
    kind, place, magic = _KINDS[length]
    start += stream.read(length - len(start))
    if len(start) < length:
        raise DataError(f"{path} is truncated: {len(start)} bytes of its header", f"a header of {length} bytes", _AGAIN)
    if start[place] != magic:
        raise DataError(
            f"{path} says {start[place]!r} where NIfTI's mark belongs, as the .hdr of a pair of files or an Analyze file does",
            f"{magic!r}, a single NIfTI file",
            "Convert it to .nii, for example with nibabel.save.",
        )
    file = Nifti(path, kind(start, endianness=endianness, check=False), stream, compressed)
    _check_layout(file, length)
    return file


def _check_layout(file: Nifti, header_length: int) -> None:
    """What has to be right before a voxel can be found."""
    header, path = file.header, file.path
    axes = int(header["dim"][0])
    lengths = [int(length) for length in header["dim"][1 : 1 + max(axes, 0)]]
    if not 1 <= axes <= 7 or min(lengths) < 1:
        raise DataError(f"{path}: its header has {axes} axes of lengths {lengths}", "positive lengths of 1 to 7 axes", _AGAIN)
    code = int(header["datatype"])
    try:
        header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise DataError(f"{path}: voxels of the unknown data type {code}", "a data type of NIfTI", _AGAIN) from error
    offset = float(header["vox_offset"])
    if not header_length <= offset < inf:  # NIfTI-1 has it as a float, which may be infinite or NaN
        raise DataError(
            f"{path}: its voxels begin at byte {offset:g} (vox_offset)",
            f"byte {header_length} or later, behind the header",
            _AGAIN,
        )
    size = path.stat().st_size
    if size * (_MOST_DEFLATED if file.compressed else 1) < file.bytes_end:
        raise DataError(
            f"{path} is truncated, or its header wrong: {size} bytes",
            f"{'' if file.compressed else 'at least '}{file.bytes_end} bytes"
            f"{' after unpacking' if file.compressed else ''} for {' × '.join(map(str, file.shape))} voxels",
            _AGAIN,
        )


def dtype_name(header: Any) -> str:
    """A voxel's data type, without its byte order."""
    return str(header.get_data_dtype().newbyteorder("="))
