"""Predictions as a table."""

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch

from vitkit.cli.say import say
from vitkit.errors import UsageError
from vitkit.files import replacing
from vitkit.tasks import ClassificationTask


class PredictionsFile(L.Callback):
    """Write a CSV file with a row per sample: its id, the class predicted, and the probability of each class.

    Rows are written as they come; the file appears under its name when all are there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise UsageError(f"--out {path} is a folder", "a file", f"Use e.g. {path / 'predictions.csv'}.")
        self.path = path
        self.rows = 0
        self._of = ""
        self._open = ExitStack()

    def on_predict_start(self, trainer: L.Trainer, pl_module: ClassificationTask) -> None:  # type: ignore[override]
        """Open a temporary file beside the one to be."""
        parts = getattr(getattr(getattr(trainer, "datamodule", None), "layout", None), "parts", {})
        self._of = " of the test split" if "test" in parts and "predict" not in parts else ""
        temporary = self._open.enter_context(replacing(self.path))
        self._writer = csv.writer(self._open.enter_context(temporary.open("w", newline="", encoding="utf-8")))
        self._writer.writerow(["id", "prediction", *(f"p_{name}" for name in pl_module.classes)])

    def on_predict_batch_end(  # type: ignore[override]
        self,
        trainer: L.Trainer,
        pl_module: ClassificationTask,
        outputs: torch.Tensor,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the rows of a batch."""
        winners = outputs.argmax(dim=-1).tolist()
        for name, winner, probabilities in zip(batch[2], winners, outputs.tolist(), strict=True):
            self._writer.writerow([name, pl_module.classes[winner], *(f"{value:.6g}" for value in probabilities)])
        self.rows += len(winners)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the file its name."""
        self._open.close()

    def report(self) -> None:
        """Say where it is; for when the progress bar has gone."""
        say(f"{self.rows} predictions{self._of} in {self.path}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave nothing half-written."""
        self._open.__exit__(type(exception), exception, exception.__traceback__)
