"""Whether there is the memory that a training takes."""

import os
from math import prod
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import WeightAveraging

from vitkit.attention import Attention
from vitkit.cli.training import TrainingCLI
from vitkit.errors import VitkitError
from vitkit.planning import format_memory, plan, total_memory
from vitkit.planning.plan import PRECISIONS, full_precision
from vitkit.tasks import ClassificationTask

SWITCH = "VITKIT_MEMORY_CHECK"
"""Environment variable that, set to 0, lets ``vitkit fit`` begin whatever its plan says."""


class PlanningCLI(TrainingCLI):
    """The command line of ``vitkit fit``, which makes model and data, no trainer, and runs nothing."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """None: a trainer would look for the GPU that a plan may be made without."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass

    def facts(self, device: str | None) -> dict[str, Any]:
        """What of the trainer's options a plan depends on, as :func:`~vitkit.planning.plan` takes it.

        Args:
            device: Type of the device; the one that the trainer would take if not given.
        """
        config = self._get(self.config_init, "trainer")
        if device is None:
            accelerator = config["accelerator"]
            found = torch.cuda.is_available() if accelerator == "auto" else accelerator in ("gpu", "cuda")
            device = "cuda" if found else "cpu"
        callbacks = config["callbacks"] or []
        return {
            "precision": str(config["precision"] or "32-true"),
            "device": device,
            "average": _averages(callbacks if isinstance(callbacks, list) else [callbacks]),
            "accumulate": config["accumulate_grad_batches"],
        }


def require_memory(task: ClassificationTask, batch_size: int, trainer: L.Trainer) -> None:
    """Refuse a training that takes more memory than there is at all.

    Args:
        task: The task.
        batch_size: Samples in a batch.
        trainer: Runs it.

    Raises:
        VitkitError: It does, and the environment does not say to go on.
    """
    device = "cuda" if trainer.strategy.root_device.type == "cuda" else "cpu"
    precision = full_precision(trainer.precision)
    if os.environ.get(SWITCH) == "0" or precision not in PRECISIONS:
        return
    total = total_memory(device)
    if _generous(task, batch_size) < total:
        return
    averages = _averages(trainer.callbacks)  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
    peak = plan(
        task,
        batch_size,
        precision=precision,
        device=device,
        average=averages,
        accumulate=trainer.accumulate_grad_batches,
    ).peak
    if peak > total:
        raise VitkitError(
            f"a training that takes {format_memory(peak)}",
            f"one that fits into the {'GPU' if device == 'cuda' else 'machine'}'s {format_memory(total)}",
            f"`vitkit plan` with the same options says what would; {SWITCH}=0 lets fit begin all the same.",
        )


def _averages(callbacks: list[Any]) -> bool:
    return any(isinstance(callback, WeightAveraging) for callback in callbacks)


def _generous(task: ClassificationTask, batch_size: int) -> int:
    """More than a training takes, found at once: so most trainings need no plan."""
    encoder = task.model.encoder
    grid = task.grid(task.preprocess.size)
    tokens, parameters = prod(grid.shape) + encoder.prefix.shape[1], sum(x.numel() for x in task.parameters())
    wide = max((module.out_features for module in task.modules() if isinstance(module, torch.nn.Linear)), default=0)
    heads = max((module.num_heads for module in task.modules() if isinstance(module, Attention)), default=0)
    pixels = batch_size * task.preprocess.channels * prod(task.preprocess.size)
    return 8 * (8 * parameters + 16 * pixels + batch_size * tokens * (len(encoder.blocks) + 2) * (16 * wide + 4 * heads * tokens))
