"""Which parameter learns how fast and when, and what decays."""

import math
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from vitkit.backbones import Backbone
from vitkit.bias import Bias
from vitkit.embedding import Position
from vitkit.encoder import Classifier
from vitkit.errors import UsageError


def parameter_groups(
    model: Classifier | Backbone, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser.

    Weight decay falls on matrices alone: not on anything one-dimensional (norms, offsets, scales), and not on relative position
    biases, absolute positions, class and register tokens, and the gates of axes, for which zero means nothing.

    The learning rate of depth d is ``lr * layer_decay ** (depth + 1 - d)``: the embedding, its positions and the prefix tokens
    are at depth 0, block i (from 0) at i + 1, and the last norm and the head at depth + 1. A library's model has one rate
    everywhere, and what its library does not let decay, by name, does not.

    Args:
        model: The classifier, or a library's model.
        lr: Learning rate of the head.
        weight_decay: Decay, as AdamW has it.
        layer_decay: Factor from one block to the one below; 1 for one rate everywhere.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    if isinstance(model, Classifier):
        undecayed, last = _undecayed(model), len(model.encoder.blocks) + 1
    else:
        undecayed, last = model.no_weight_decay(), 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = _depth(name, last) if last else 0
        decays = parameter.ndim > 1 and name not in undecayed
        group = groups.setdefault(
            (depth, decays),
            {"params": [], "lr": lr * layer_decay ** (last - depth), "weight_decay": weight_decay if decays else 0.0},
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _undecayed(model: nn.Module) -> set[str]:
    """Names of the matrices that mean nothing at zero."""
    owners = (name for name, module in model.named_modules() if isinstance(module, Bias | Position))
    inside = {f"{owner}.{name}" for owner in owners for name, _ in model.get_submodule(owner).named_parameters()}
    gates = {name for name, _ in model.named_parameters() if name.endswith(".gates")}
    return inside | gates | {"encoder.prefix"}


def _depth(name: str, last: int) -> int:
    if name.startswith("encoder.blocks."):
        return int(name.split(".")[2]) + 1
    return 0 if name.startswith(("encoder.embed.", "encoder.position.", "encoder.prefix")) else last


def step_counts(trainer: Trainer, warmup_epochs: float) -> tuple[int, int]:
    """Steps of a whole training, and those of them that are its warm-up.

    Raises:
        UsageError: A training without an end, or epochs of warm-up on data without a length.
    """
    steps = trainer.estimated_stepping_batches
    if steps == float("inf") or steps < 0:
        raise UsageError(
            "a training without an end, which the cosine needs",
            "a number of epochs or steps",
            "Set trainer.max_epochs, or trainer.max_steps where the data have no length.",
        )
    if trainer.train_dataloader is None:  # as it is before the first epoch, if nobody counted its batches yet
        trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    if math.isinf(batches) and warmup_epochs:
        raise UsageError(
            f"model.warmup_epochs={warmup_epochs} for data without a length",
            "epochs whose length is known",
            "Set trainer.limit_train_batches, or model.warmup_epochs to 0.",
        )
    warmup = warmup_epochs and round(warmup_epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    return int(steps), int(warmup)


def warmup_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Factor on the learning rate at each step: a straight line up over ``warmup`` steps, then half a cosine down to zero.

    >>> factor = warmup_cosine(steps=10, warmup=2)
    >>> [round(factor(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = min(warmup, steps - 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor
