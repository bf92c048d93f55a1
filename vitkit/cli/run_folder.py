"""What a training leaves in its folder, besides checkpoints and logs."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import ModelCheckpoint

from vitkit.cli.say import remark, say
from vitkit.errors import UsageError
from vitkit.files import make_folder, replacing, require_writable

if sys.platform != "win32":
    import fcntl


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other training out of a run's folder, which would write its checkpoints and logs between this one's.

    Raises:
        UsageError: Another one is going on in it, or it may not be written to.
    """
    if sys.platform == "win32":  # where nobody is kept out
        yield
        return
    make_folder(folder)
    require_writable(folder)  # one that was there before can be on a read-only file system
    handle = os.open(folder, os.O_RDONLY)  # its lock is the folder's own: no file stays behind
    try:
        with suppress(OSError):  # a file system without locks, or NFS, which has none of what is open for reading
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{folder} is what another training writes to",
                    "a folder of its own",
                    "Give this one another --name, or wait.",
                ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()  # if nothing was written
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # closing would leave it to the workers that were forked meanwhile
    finally:
        os.close(handle)


@contextmanager
def no_empty_logs(logs: Path | None) -> Iterator[None]:
    """Remove the logs of a training that failed before it logged a number.

    Args:
        logs: This training's own folder, where a CSVLogger writes; None if there is none.
    """
    try:
        yield
    except BaseException:
        if logs is not None and not (logs / "metrics.csv").exists():
            shutil.rmtree(logs, ignore_errors=True)
            with suppress(OSError):  # earlier ones
                logs.parent.rmdir()
        raise


class RunFolder(L.Callback):
    """Write the config and the splits together with the first checkpoint, and say what was reached when it ends.

    Args:
        folder: The run's folder.
        config: The whole configuration, as YAML.
        best: The callback that keeps the best checkpoint.
    """

    def __init__(self, folder: Path, config: str, best: ModelCheckpoint) -> None:
        self.folder, self.config, self.best = folder, config, best
        self.suite, self.split, self.written = "quick", "", False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell of an earlier run, which stays as it is until this one has a checkpoint."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.suite = "volume" if data.ndim == 3 else "quick"
        self.split = "" if "test" in data.layout.parts else " --split val"
        if trainer.is_global_zero and trainer.ckpt_path is None and (self.folder / "last.ckpt").exists():
            remark(f"{self.folder} holds an earlier run, which this one overwrites after its first epoch; --name gives another")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write config.yaml and splits.json, just before the first checkpoint, which they are about."""
        if trainer.is_global_zero and not self.written:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            write(self.folder / "config.yaml", self.config)
            write(self.folder / "splits.json", json.dumps(data.splits(), indent=1))
            self.written = True

    def report(self) -> None:
        """Say what was reached, where it is, and what to do with it; for when the progress bar has gone."""
        if self.best.best_model_score is None:
            return
        kept = self.folder / Path(self.best.best_model_path).name
        say(f"best {self.best.monitor}: {float(self.best.best_model_score):.4f}, kept in {kept}")
        say(f"how does it break? vitkit evaluate {kept} --suite {self.suite}{self.split} --out {self.folder / 'robustness'}")


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
