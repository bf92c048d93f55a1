"""Scans with their geometry: read, turned, resampled, and written back to where they came from."""

from vitkit.volumes.crop import read_crop
from vitkit.volumes.fingerprint import Fingerprint, Problem, Record, fingerprint
from vitkit.volumes.intensity import Intensity, Percentile, Window
from vitkit.volumes.phantoms import make_phantoms
from vitkit.volumes.planes import draw_planes
from vitkit.volumes.read import check_pair, read, read_mask
from vitkit.volumes.volume import Volume
from vitkit.volumes.write import save, write_back

__all__ = [
    "Fingerprint",
    "Intensity",
    "Percentile",
    "Problem",
    "Record",
    "Volume",
    "Window",
    "check_pair",
    "draw_planes",
    "fingerprint",
    "make_phantoms",
    "read",
    "read_crop",
    "read_mask",
    "save",
    "write_back",
]
