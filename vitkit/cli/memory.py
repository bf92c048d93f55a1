"""Whether there is the memory that a training takes."""

import os
from math import prod
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import WeightAveraging

from vitkit.attention import Attention
from vitkit.backbones import Backbone
from vitkit.encoder import Classifier
from vitkit.errors import VitkitError
from vitkit.planning import format_memory, plan, total_memory
from vitkit.planning.plan import PRECISIONS, full_precision
from vitkit.tasks import ClassificationTask

SWITCH = "VITKIT_MEMORY_CHECK"
"""Environment variable that, set to 0, lets ``vitkit fit`` begin whatever its plan says."""


def require_memory(task: ClassificationTask, batch_size: int, trainer: L.Trainer) -> None:
    """Refuse a training that takes more memory than there is at all; one of a library's model, which has no plan, is not checked.

    Args:
        task: The task.
        batch_size: Samples in a batch.
        trainer: Runs it.

    Raises:
        VitkitError: It does, and the environment does not say to go on.
    """
    device = "cuda" if trainer.strategy.root_device.type == "cuda" else "cpu"
    precision = full_precision(trainer.precision)
    if os.environ.get(SWITCH) == "0" or precision not in PRECISIONS or isinstance(task.model, Backbone):
        return
    total = total_memory(device)
    if _generous(task, batch_size) < total:
        return
    average = averages_weights(trainer.callbacks)  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    peak = plan(
        task,
        batch_size,
        precision=precision,
        device=device,
        average=average,
        accumulate=trainer.accumulate_grad_batches,
    ).peak
    if peak > total:
        raise VitkitError(
            f"a training that takes {format_memory(peak)}",
            f"one that fits into the {'GPU' if device == 'cuda' else 'machine'}'s {format_memory(total)}",
            f"`vitkit plan` with the same options says what would; {SWITCH}=0 lets fit begin all the same.",
        )


def averages_weights(callbacks: list[Any]) -> bool:
    """Whether a callback keeps a second copy of the weights."""
    return any(isinstance(callback, WeightAveraging) for callback in callbacks)


def _generous(task: ClassificationTask, batch_size: int) -> int:
    """More than a training takes, found at once: so most trainings need no plan."""
    assert isinstance(task.model, Classifier)
    encoder = task.model.encoder
    grid = task.grid(task.preprocess.size)
    tokens, parameters = prod(grid.shape) + encoder.prefix.shape[1], sum(x.numel() for x in task.parameters())
    wide = max((module.out_features for module in task.modules() if isinstance(module, torch.nn.Linear)), default=0)
    heads = max((module.num_heads for module in task.modules() if isinstance(module, Attention)), default=0)
    pixels = batch_size * task.preprocess.channels * prod(task.preprocess.size)
    return 8 * (8 * parameters + 16 * pixels + batch_size * tokens * (len(encoder.blocks) + 2) * (16 * wide + 4 * heads * tokens))
