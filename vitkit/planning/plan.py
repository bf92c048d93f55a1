"""Memory and work of a model's steps, before any of them runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vitkit.encoder import Classifier
from vitkit.errors import UsageError
from vitkit.planning.calibration import Speed
from vitkit.planning.rehearsal import Change, Rehearsal, Settings, rehearse
from vitkit.tasks import ClassificationTask

PRECISIONS: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "32-true": (torch.float32, None),
    "64-true": (torch.float64, None),
    "bf16-true": (torch.bfloat16, None),
    "16-true": (torch.float16, None),
    "bf16-mixed": (torch.float32, torch.bfloat16),
    "16-mixed": (torch.float32, torch.float16),
}
"""Type of parameters and, under autocast, of products; the names are Lightning's."""
_SHORT = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def full_precision(name: str | int) -> str:
    """Lightning's full name of a precision.

    >>> full_precision(32), full_precision("bf16")
    ('32-true', 'bf16-mixed')
    """
    return _SHORT.get(str(name), str(name))


@dataclass(frozen=True)
class Stage:
    """One step of a kind: of training, of validation, or of inference.

    Args:
        peak: Bytes of tensors that are alive at the worst moment, with parameters and whatever else is held at that time.
        flops: Floating-point operations of products, two per multiply-add.
        traffic: Bytes that all other operations read and write.
    """

    peak: int
    flops: int
    traffic: int

    def seconds(self, speed: Speed) -> float:
        """A rough time: products at the machine's speed, and everything else at its memory's."""
        return self.flops / speed.flops + self.traffic / speed.bandwidth


@dataclass(frozen=True)
class Layer:
    """One kind of layer, summed over all blocks.

    Args:
        name: What it is.
        kept: Bytes that stay from the forward pass to the backward pass.
        flops: Floating-point operations of products in the forward pass.
    """

    name: str
    kept: int
    flops: int


@dataclass(frozen=True)
class Plan:
    """What a model takes; bytes unless stated.

    Args:
        batch_size: Samples in a batch.
        size: Pixels or voxels along each axis.
        grid: Tokens along each axis.
        prefix: Class and register tokens.
        precision: Lightning's name of it.
        device: Type of the device.
        backends: What computes attention in training.
        evaluation_backends: What computes it without gradients.
        parameter_count: Number of parameters.
        parameters: Parameters and buffers.
        gradients: Gradients of all parameters.
        optimiser: AdamW's two moments.
        average: Copy of the weights that an average over steps keeps; 0 without one.
        batch: Images, labels and which voxels are real.
        activations: What the forward pass leaves for the backward pass.
        temporary: What the worst moment holds beyond these.
        moment: When that is: in the ``"forward"`` pass, in the ``"backward"`` pass, or in the ``"optimiser"``.
        training: A training step, from the second on.
        validation: A validation step between training steps, beside gradients and the optimiser's state.
        inference: A forward pass of a model alone.
        layers: Activations and operations by kind of layer.
    """

    batch_size: int
    size: tuple[int, ...]
    grid: tuple[int, ...]
    prefix: int
    precision: str
    device: str
    backends: tuple[str, ...]
    evaluation_backends: tuple[str, ...]
    parameter_count: int
    parameters: int
    gradients: int
    optimiser: int
    average: int
    batch: int
    activations: int
    temporary: int
    moment: str
    training: Stage
    validation: Stage
    inference: Stage
    layers: tuple[Layer, ...]

    @property
    def peak(self) -> int:
        """The most that training takes, validation included."""
        return max(self.training.peak, self.validation.peak)


def plan(
    model: ClassificationTask | Classifier,
    batch_size: int,
    size: Sequence[int] | None = None,
    *,
    precision: str | int = "32-true",
    device: str = "cpu",
    average: bool = False,
    accumulate: int = 1,
    padded: bool | None = None,
) -> Plan:
    """Memory and operations of a training step with AdamW, a validation step and inference.

    A copy of the model without content is run forward and backward, so nothing is allocated and nothing computed. Attention is
    not run even so: the backend that would be chosen states its own :class:`~vitkit.attention.backends.Cost`. What is counted are
    the bytes of live tensors. A process also holds its libraries, and an allocator its gaps.

    Args:
        model: A task, whose mixing counts as well, or a classifier.
        batch_size: Samples in a batch.
        size: Pixels or voxels along each axis; those of the preprocess if not given.
        precision: As Lightning's trainer takes it.
        device: Type of the device.
        average: Whether a callback averages the weights (EMA), which keeps a copy of them.
        accumulate: Batches whose gradients are added up before a step.
        padded: Whether samples may be smaller than the size, so that each comes with a mask of what is real, which attention
            holds and some backends do not take. If not given, where the preprocess has a spacing: scans of one spacing differ in
            size.

    Raises:
        UsageError: No samples, a precision that is not known, a size that the model does not take, or a library's model.

    >>> from vitkit.embedding import PatchEmbed
    >>> from vitkit.encoder import Encoder
    >>> from vitkit.preprocess import Preprocess
    >>> encoder = Encoder(PatchEmbed(ndim=2, patch_size=4, in_chans=1, dim=64), depth=2, num_heads=4)
    >>> small, large = (plan(Classifier(encoder, 10, Preprocess(size=(64, 64))), batch_size=size) for size in (8, 16))
    >>> small.parameter_count, small.grid, small.backends
    (101898, (16, 16), ('fused',))
    >>> round(large.activations / small.activations, 2)
    2.0
    """
    return plan_changed(model, batch_size, size, str(precision), device, average, accumulate, padded, None)


def plan_changed(
    model: ClassificationTask | Classifier,
    batch_size: int,
    size: Sequence[int] | None,
    precision: str,
    device: str,
    average: bool,
    accumulate: int,
    padded: bool | None,
    change: Change | None,
) -> Plan:
    """The plan of a model to which something is done first; the model itself stays as it is."""
    precision = full_precision(precision)
    if precision not in PRECISIONS:
        raise UsageError(f"precision={precision!r} in a plan", f"one of {', '.join(PRECISIONS)}", "Plan for one of these.")
    if batch_size < 1 or accumulate < 1:
        raise UsageError(f"batch_size={batch_size} and accumulate={accumulate} in a plan", "numbers not below 1", "Correct them.")
    classifier = model.model if isinstance(model, ClassificationTask) else model
    if not isinstance(classifier, Classifier):
        remedy = "Run a few steps instead: `vitkit fit --trainer.fast_dev_run 5`."
        raise UsageError(f"a plan of {classifier.name}", "vitkit's own encoder, whose memory is known before it runs", remedy)
    mixes = isinstance(model, ClassificationTask) and model.mixing.mix is not None and batch_size > 1
    size = tuple(size if size is not None else classifier.preprocess.size)
    dtype, autocast = PRECISIONS[precision]
    masked = classifier.preprocess.spacing is not None if padded is None else padded
    settings = Settings(dtype, autocast, device, mixes, accumulate, masked)
    found = rehearse(classifier, batch_size, size, settings, change)
    optimiser = 2 * found.gradients
    copied = found.parameter_bytes if average else 0
    state = found.parameter_bytes + optimiser + copied
    moments = {
        "forward": found.forward,
        "backward": found.backward,
        "optimiser": found.batch + found.gradients + optimiser_temporary(found, device),
    }
    moment = max(moments, key=lambda name: moments[name])
    held = found.batch + {"optimiser": found.gradients}.get(moment, found.activations)
    if moment == "forward" or accumulate > 1:
        held += found.gradients
    # 7: AdamW reads a parameter, its gradient and both moments, and writes all but the gradient.
    step = 7 * found.gradients // accumulate
    return Plan(
        batch_size=batch_size,
        size=size,
        grid=found.grid,
        prefix=found.prefix,
        precision=precision,
        device=device,
        backends=found.backends[0],
        evaluation_backends=found.backends[1],
        parameter_count=found.parameters,
        parameters=found.parameter_bytes,
        gradients=found.gradients,
        optimiser=optimiser,
        average=copied,
        batch=found.batch,
        activations=found.activations,
        temporary=max(moments[moment] - held, 0),
        moment=moment,
        training=Stage(state + moments[moment], found.flops, found.traffic + step),
        validation=Stage(state + found.gradients + found.evaluation, found.evaluation_flops, found.evaluation_traffic),
        inference=Stage(found.parameter_bytes + found.evaluation, found.evaluation_flops, found.evaluation_traffic),
        layers=_layers(found),
    )


def optimiser_temporary(found: Rehearsal, device: str) -> int:
    """What AdamW's step holds: two temporaries as large as a parameter, or on CUDA, where it takes all at once, one of all."""
    return found.gradients if device == "cuda" else 2 * found.largest


def _layers(found: Rehearsal) -> tuple[Layer, ...]:
    names = [*found.kept, *(name for name in found.forward_flops if name not in found.kept)]
    layers = [Layer(name or "loss", found.kept.get(name, 0), found.forward_flops.get(name, 0)) for name in names]
    # What a checkpoint holds is its blocks' inputs, which no layer keeps.
    rest = found.activations - sum(found.kept.values())
    return (*layers, Layer("inputs of checkpointed blocks", rest, 0)) if rest > found.activations // 100 else tuple(layers)
