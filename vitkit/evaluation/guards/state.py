"""Whether a model is in evaluation mode, and stays as it is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.guards.probe import Probe
from vitkit.evaluation.subject import Subject


def check_state(subject: Subject, probe: Probe, chunk: int) -> Iterator[UsageError]:
    """Whether the model gives the same images the same logits twice, and is itself the same afterwards.

    - Logits differ by more than 1e-4 of the largest on a CPU and 1e-2 elsewhere, where the order of sums may change: dropout,
      noise, a state kept between calls. Of a layer whose outputs are dropped with probability p, logits change by about
      sqrt(p / (1 - p)) of their spread, so p = 0.001 is noticed.
    - They are probabilities: none negative, and all within 1e-3 of a sum of 1.
    - A module is in training mode after the call.
    - A buffer or a parameter changed in the second call; what the first one prepares is its own affair.

    Raises:
        UsageError: The model cannot take the images, or returns no logits: with or without guards.
    """
    images, real, valid = next(probe.chunks(chunk))
    images, real = images.to(subject.device), None if real is None else real.to(subject.device)
    try:
        first = subject(images, None, real)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, (UsageError, torch.OutOfMemoryError)):
            raise
        size = "" if subject.preprocess is None else f" of size {tuple(subject.preprocess.size)}"
        raise UsageError(
            f"a model that fails on images of shape {tuple(images.shape)} ({type(error).__name__}: {str(error).strip():.200})",
            f"one that takes images (batch, channels, *size) as they come{size}",
            "Give images of the channels and the size that the model takes.",
        ) from error
    sums = first[:valid].double().sum(1)
    if valid > 1 and float(first[:valid].min()) >= 0 and bool(((sums - 1).abs() < 1e-3).all()):
        yield UsageError(
            "a model whose outputs are not negative and add up to 1: probabilities",
            "logits, of which confidences and calibration are computed",
            "Return what goes into the softmax, or the logarithm of the probabilities.",
        )
    before = _state(subject)
    second = subject(images, None, real)
    modules = [] if subject.module is None else list(subject.module.named_modules())
    if training := [f"{name or 'itself'} ({type(module).__name__})" for name, module in modules if module.training]:
        yield UsageError(
            f"a model that goes into training mode when it is called: {', '.join(training[:3])}",
            "evaluation mode throughout",
            "Take train() out of its forward.",
        )
    after = _state(subject)
    if changed := [name for name in after if name not in before or not torch.equal(before[name], after[name])]:
        yield UsageError(
            f"a model whose {', '.join(changed[:3])} changed when it was called",
            "a model that stays as it is",
            "Batch normalisation in training mode does this, and counters: put them into evaluation mode.",
        )
    largest, change = float(first.abs().max()), float((first - second)[:valid].abs().max())
    if change > (1e-4 if subject.device.type == "cpu" else 1e-2) * max(largest, 1e-6):
        yield UsageError(
            f"a model that gives the same images other logits when called again, by up to {change:.2g} of {largest:.2g}",
            "the same answer in every call",
            "Turn off dropout, noise and whatever it keeps from one call to the next; model.eval() must reach every part of it.",
        )


def _state(subject: Subject) -> dict[str, Tensor]:
    """Copies of the buffers; of the parameters, which are large, how often each was written to."""
    if subject.module is None:
        return {}
    written = {name: torch.tensor(value._version) for name, value in subject.module.named_parameters()}
    return written | {name: value.detach().clone() for name, value in subject.module.named_buffers()}
