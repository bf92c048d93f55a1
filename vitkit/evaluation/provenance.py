"""Where results come from: versions, machine, commit, time."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import torch

_PACKAGES = ("torch", "torchvision", "timm", "lightning", "monai", "numpy", "pyarrow", "pillow")


def packages() -> dict[str, str]:
    """Versions of those installed packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> str:
    """The machine and the device, in words."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{platform.machine()}, {os.cpu_count()} cores, {kind}"


def commit() -> str | None:
    """Commit of the working directory, with -dirty if files differ from it; None outside of a checkout or without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
