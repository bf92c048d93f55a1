"""One seed per epoch, so that a run that was killed and resumed equals one that was not."""

import random

import lightning.pytorch as L
import numpy as np
import torch


class ReseedEpochs(L.Callback):
    """Seed Python, NumPy and torch anew at the start of every training epoch, from (seed, epoch, process).

    Dropout, mixup and augmentation in an epoch then depend on nothing that was drawn before it, so that resuming from the
    checkpoint at its start continues as if nothing had happened. Lightning calls this before it makes the epoch's iterator, so
    the workers' seeds follow as well.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed for the epoch that begins."""
        reseed(self.seed, trainer.current_epoch, trainer.global_rank)


def reseed(*entropy: int) -> None:
    """Seed Python's, NumPy's and torch's global generators from several non-negative integers.

    >>> reseed(0, 3)
    >>> first = torch.rand(())
    >>> reseed(0, 3)
    >>> bool(first == torch.rand(()))
    True
    """
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # libraries that augment draw from the global generator
    torch.manual_seed(seed)
