"""Checkpoints: written whole or not at all, read without running code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import nn

from vitkit.backbones import check_fit, read_file
from vitkit.errors import CheckpointError, UsageError
from vitkit.files import replacing

SCHEMA = 1
"""Version of ``checkpoint["vitkit"]``."""


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to a file: a checkpoint appears under its name once all of it is on the disk, and reading runs no code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Write a checkpoint beside its name, then rename it.

        Raises:
            CheckpointError: It could not be written, for want of space or otherwise. What stood there before is as it was.
        """
        path = Path(path)
        try:
            # Opened here: for a file that torch opens itself, its error does not say what the system said.
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (UsageError, OSError, RuntimeError) as error:  # torch's writer raises RuntimeError when the disk is full
            kept = "; the one before it is intact" if path.exists() else ""
            there = (path.with_name("last.ckpt"), path, *path.parent.glob("*.ckpt"))
            last = next((other for other in there if other.exists()), None)
            again = "run the command again" if last is None else f"resume with --ckpt_path {last}"
            raise CheckpointError(
                f"the checkpoint {path} could not be written ({_cause(error)}){kept}",
                f"a writable folder with about {_megabytes(checkpoint)} MB free",
                f"Free some space or choose another folder, then {again}.",
            ) from error

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as :func:`read_checkpoint` does, whatever ``weights_only`` says."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint that is not among the best any more."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Raises:
        UsageError: No such file.
        CheckpointError: A file that is truncated, is a pickle with code in it, or is no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no checkpoint at {path}", "a .ckpt file", "Check the path; `vitkit fit` says where it saves.")
    content = read_file(path)
    if not (isinstance(content, dict) and isinstance(content.get("state_dict"), Mapping)):
        raise CheckpointError(
            f"{path} is not a checkpoint of a training run",
            "a dict with state_dict",
            "Give weights alone as model.weights, not as ckpt_path.",
        )
    return content


def require_fit(task: nn.Module, num_classes: int, checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Check that a checkpoint's weights are those of this task's model.

    Raises:
        CheckpointError: They are not; the message names what differs.
    """
    remedy = "Give the config that it was trained with, or start from the part that fits with model.weights."
    check_fit(checkpoint["state_dict"], task.state_dict(), os.fspath(path), num_classes, remedy)


def _cause(error: BaseException) -> str:
    """The operating system's own words, which torch's writer may have buried."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if "inline_container" in str(error):  # where torch's writer counts what was written
        return "no room on the disk"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _megabytes(tree: Any) -> int:
    """Size of all tensors in a tree, rounded up."""

    def size(item: Any) -> int:
        match item:
            case torch.Tensor():
                return item.nbytes
            case Mapping():
                return sum(size(value) for value in item.values())
            case list() | tuple():
                return sum(size(value) for value in item)
            case _:
                return 0

    return -(-size(tree) // 1_000_000)
