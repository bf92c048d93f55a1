"""Progress: a bar on a terminal, a line per epoch elsewhere."""

import sys

import lightning.pytorch as L
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

from vitkit.cli.say import remark


class EpochLines(ProgressBar):
    """One line per epoch, for logs: the training loss and the validation scores."""

    def disable(self) -> None:
        """Nothing is drawn."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the epoch's line."""
        metrics = trainer.callback_metrics
        names = [name for name in ("train/loss", "val/loss", "val/accuracy") if name in metrics]
        shown = ", ".join(f"{name} {float(metrics[name]):.4f}" for name in names)
        if trainer.is_global_zero:
            of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
            remark(f"epoch {trainer.current_epoch + 1}{of}: {shown}")


def progress() -> ProgressBar:
    """What suits standard output."""
    return RichProgressBar(leave=False) if sys.stdout.isatty() else EpochLines()
