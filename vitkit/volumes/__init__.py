"""Scans with their geometry: read, turned, resampled, and written back to where they came from."""

from vitkit.volumes.read import check_pair, read, read_mask
from vitkit.volumes.volume import Volume

__all__ = ["Volume", "check_pair", "read", "read_mask"]
