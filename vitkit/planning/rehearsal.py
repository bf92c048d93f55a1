"""A training step and an evaluation on tensors without content: every shape is real, and no memory is taken."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from vitkit.attention import Attention
from vitkit.encoder import Block, Classifier
from vitkit.planning.ledger import Kept, Ledger
from vitkit.planning.stand_in import StandIn

Change = Callable[[Classifier], None]

KINDS = {
    "embed": "embedding",
    "position": "positions",
    "qkv": "queries, keys, values",
    "attn": "attention",
    "proj": "projection",
    "norm": "norms",
    "norm1": "norms",
    "norm2": "norms",
    "q_norm": "norms",
    "k_norm": "norms",
    "mlp": "MLP",
    "act": "GELU",
    "ls1": "LayerScale",
    "ls2": "LayerScale",
    "drop_path": "drop path",
    "head": "head",
}
"""What a module's work is called, by the last part of its name; what has no name here goes with what it is part of."""


@dataclass(frozen=True)
class Settings:
    """How a model is run.

    Args:
        dtype: Of parameters and images.
        autocast: What products are computed in; None for ``dtype``.
        device: Type of the device that is meant.
        mixes: Whether images are mixed in training.
        accumulate: Batches whose gradients are added up before a step.
        padded: Whether a batch says which of its pixels or voxels are real.
    """

    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    device: str = "cpu"
    mixes: bool = False
    accumulate: int = 1
    padded: bool = False

    @property
    def place(self) -> str:
        """Where tensors without content stand: there are none on CUDA without CUDA."""
        return self.device if self.device != "cuda" or torch.cuda.is_available() else "cpu"

    def casting(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.place, self.autocast, enabled=self.autocast is not None)


@dataclass(frozen=True)
class Rehearsal:
    """What came out, in bytes beyond parameters and the optimiser's state.

    Args:
        parameters: Number of parameters.
        parameter_bytes: Their bytes, with buffers.
        gradients: Bytes of all gradients.
        largest: Bytes of the largest parameter.
        batch: Images, labels and which voxels are real.
        activations: What the forward pass leaves for the backward pass.
        forward: Peak of the training step's forward pass, with the last step's gradients.
        backward: Peak of its backward pass.
        evaluation: Peak of a forward pass without gradients.
        flops: Operations of a training step.
        traffic: Bytes that its elementwise operations move.
        evaluation_flops: The same of a forward pass without gradients.
        evaluation_traffic: Likewise.
        kept: Activations by kind.
        forward_flops: Operations of the training step's forward pass by kind.
        backends: What computes attention in training, then in evaluation.
        grid: Tokens along each axis.
        prefix: Class and register tokens.
    """

    parameters: int
    parameter_bytes: int
    gradients: int
    largest: int
    batch: int
    activations: int
    forward: int
    backward: int
    evaluation: int
    flops: int
    traffic: int
    evaluation_flops: int
    evaluation_traffic: int
    kept: dict[str, int]
    forward_flops: dict[str, int]
    backends: tuple[tuple[str, ...], tuple[str, ...]]
    grid: tuple[int, ...]
    prefix: int


def rehearse(model: Classifier, batch: int, size: Sequence[int], settings: Settings, change: Change | None = None) -> Rehearsal:
    """Run a copy of a model that has no content.

    Args:
        model: The model; it stays as it is.
        batch: Samples.
        size: Pixels or voxels along each axis.
        settings: How it is run.
        change: What is done to the copy first.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        copy = _without_content(model, settings)
        if change is not None:
            change(copy)
            copy = _without_content(copy, settings)  # what is new has the type of everything else
        originals = {name: module for name, module in model.named_modules() if isinstance(module, Attention)}
        ledger = Ledger()
        stand_ins: list[StandIn] = []
        for name, module in copy.named_modules():
            if isinstance(module, Attention):
                stand_ins.append(StandIn(originals[name], settings.device, ledger))
                module.backend = stand_ins[-1]  # type: ignore[assignment]  # attend takes it as it takes a name
            _name_work(module, name, ledger)
        parameters = [x for x in copy.parameters() if x.requires_grad]
        copy.train()
        trained = _train(copy, parameters, batch, size, settings, ledger)
        used = _chosen(stand_ins)
        traffic, flops = ledger.traffic, sum(ledger.flops.values())
        ledger.traffic = 0
        ledger.flops.clear()
        for parameter in parameters:
            parameter.grad = None
        copy.eval()
        ledger.start()
        before = ledger.live
        with ledger:
            _evaluate(copy, batch, size, settings)
        everything = [*copy.parameters(), *copy.buffers()]
        return Rehearsal(
            parameters=sum(x.numel() for x in copy.parameters()),
            parameter_bytes=sum(x.nbytes for x in everything),
            gradients=sum(x.nbytes for x in parameters),
            largest=max((x.nbytes for x in parameters), default=0),
            evaluation=ledger.peak - before,
            flops=flops,
            traffic=traffic,
            evaluation_flops=sum(ledger.flops.values()),
            evaluation_traffic=ledger.traffic,
            backends=(used, _chosen(stand_ins)),
            grid=copy.grid(size).shape,
            prefix=copy.encoder.prefix.shape[1],
            **trained,
        )


def _chosen(stand_ins: list[StandIn]) -> tuple[str, ...]:
    """Names of the backends that were taken since the last call."""
    found = tuple(sorted(set().union(*(stand_in.chosen for stand_in in stand_ins)))) if stand_ins else ()
    for stand_in in stand_ins:
        stand_in.chosen.clear()
    return found


def _without_content(model: Classifier, settings: Settings) -> Classifier:
    memo: dict[int, Any] = {}
    for x in (*model.parameters(), *model.buffers()):
        dtype = settings.dtype if x.is_floating_point() else x.dtype
        empty = torch.empty(x.shape, dtype=dtype, device=settings.place)
        memo[id(x)] = nn.Parameter(empty, x.requires_grad) if isinstance(x, nn.Parameter) else empty
    return deepcopy(model, memo)


def _name_work(module: nn.Module, name: str, ledger: Ledger) -> None:
    kind = "residuals" if isinstance(module, Block) else KINDS.get(name.rpartition(".")[2])
    if kind is None:
        return
    module.register_forward_pre_hook(partial(_enter, ledger, kind))
    # A checkpoint stops computing again as soon as it has all it needs.
    module.register_forward_hook(partial(_leave, ledger), always_call=True)


def _enter(ledger: Ledger, kind: str, *_: Any) -> None:
    ledger.kinds.append(kind)


def _leave(ledger: Ledger, *_: Any) -> None:
    ledger.kinds.pop()


def _train(
    model: Classifier, parameters: Sequence[Tensor], batch: int, size: Sequence[int], settings: Settings, ledger: Ledger
) -> dict[str, Any]:
    kept = Kept(ledger, [*model.parameters(), *model.buffers()])
    with ledger:
        images, labels, real = _batch(model, batch, size, settings)
        held = ledger.live
        for parameter in parameters:  # of the step before, as Lightning clears them between the two passes
            parameter.grad = torch.empty_like(parameter)
        before = ledger.live
        with kept.recording():
            loss = _loss(model, images, labels, real, settings)
        activations, forward = ledger.live - before, ledger.peak
        counted = dict(ledger.flops)
        if settings.accumulate == 1:
            for parameter in parameters:
                parameter.grad = None
        ledger.start()
        ledger.kinds.append("backward")
        loss.backward()
        ledger.kinds.pop()
        backward = ledger.peak
    return {
        "batch": held,
        "activations": activations,
        "forward": forward,
        "backward": backward,
        "kept": dict(kept.bytes),
        "forward_flops": counted,
    }


def _batch(model: Classifier, batch: int, size: Sequence[int], settings: Settings) -> tuple[Tensor, Tensor, Tensor | None]:
    channels, place = model.preprocess.channels, settings.place
    images = torch.empty(batch, channels, *size, dtype=settings.dtype, device=place)
    real = torch.empty(batch, *size, dtype=torch.bool, device=place) if settings.padded else None
    return images, torch.empty(batch, dtype=torch.long, device=place), real


def _loss(model: Classifier, images: Tensor, labels: Tensor, real: Tensor | None, settings: Settings) -> Tensor:
    with settings.casting():
        if settings.mixes:
            images = images.roll(1, 0).mul_(0.5).add_(images.mul(0.5))
            real = None if real is None else real | real.roll(1, 0)
        return cross_entropy(model(images, real=real).float(), labels)


@torch.no_grad()
def _evaluate(model: Classifier, batch: int, size: Sequence[int], settings: Settings) -> None:
    images, _, real = _batch(model, batch, size, settings)
    with settings.casting():
        model(images, real=real).float().softmax(-1)
