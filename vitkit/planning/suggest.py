"""What to change where a model does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vitkit.attention import Attention, Axial, Pattern, Window
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier
from vitkit.errors import VitkitError
from vitkit.planning.plan import Plan, plan_changed
from vitkit.planning.rehearsal import Change
from vitkit.tasks import ClassificationTask


@dataclass(frozen=True)
class Alternative:
    """A change and what comes of it.

    Args:
        name: What is changed.
        options: How to say so to ``vitkit fit``.
        plan: What the model takes then.
        fits: Whether training stays within the limit.
    """

    name: str
    options: str
    plan: Plan
    fits: bool


def suggest(
    model: ClassificationTask | Classifier,
    batch_size: int,
    limit: int,
    size: Sequence[int] | None = None,
    *,
    precision: str | int = "32-true",
    device: str = "cpu",
    average: bool = False,
    accumulate: int = 1,
    padded: bool | None = None,
) -> list[Alternative]:
    """Plans of changed models; a change that the model does not take is left out.

    Checkpointing and smaller batches, whose gradients are added up, train the same model. A larger patch or another pattern is
    another model.

    Args:
        model: The model; it stays as it is.
        batch_size: Samples in a batch.
        limit: Bytes that training may take.
        size: Pixels or voxels along each axis; those of the preprocess if not given.
        precision: As Lightning's trainer takes it.
        device: Type of the device.
        average: Whether a callback averages the weights.
        accumulate: Batches whose gradients are added up before a step.
        padded: Whether samples may be smaller than the size, as :func:`plan` takes it.
    """
    classifier = model.model if isinstance(model, ClassificationTask) else model
    assert isinstance(classifier, Classifier)
    encoder = classifier.encoder

    def of(name: str, options: str, batch: int, steps: int, change: Change | None) -> Alternative | None:
        try:
            found = plan_changed(model, batch, size, str(precision), device, average, steps, padded, change)
        except VitkitError:
            return None
        return Alternative(name, options, found, found.peak <= limit)

    def smaller(prefix: str, options: str, change: Change | None) -> Alternative | None:
        """With the largest half, quarter, eighth ... of the batch that fits."""
        found, batch = None, batch_size
        while batch > 1 and (found is None or not found.fits):
            batch = (batch + 1) // 2
            steps = accumulate * -(-batch_size // batch)
            more = f"--data.batch_size {batch} --trainer.accumulate_grad_batches {steps}"
            found = of(f"{prefix}batches of {batch}, {steps} to a step", f"{options}{more}", batch, steps, change)
        return found

    found = []
    ticking = "--model.encoder.checkpointing true"
    if not encoder.checkpointing:
        found.append(of("checkpointing", ticking, batch_size, accumulate, _checkpoint))
    found.append(smaller("", "", None))
    if not encoder.checkpointing:
        found.append(smaller("checkpointing, and ", f"{ticking} ", _checkpoint))
    patch = [2 * length for length in encoder.embed.patch_size]
    words = f"--model.encoder.embed.patch_size {str(patch).replace(' ', '')}"
    found.append(of(f"patches of {' × '.join(map(str, patch))}", words, batch_size, accumulate, _patch(patch)))
    for words, pattern in (("Window --model.encoder.pattern.size 4", Window(4)), ("Axial", Axial())):
        if type(pattern) not in {type(module.pattern) for module in encoder.modules() if isinstance(module, Attention)}:
            name = f"pattern {words.split()[0]}" + (" of 4" if isinstance(pattern, Window) else "")
            found.append(of(name, f"--model.encoder.pattern {words}", batch_size, accumulate, _pattern(pattern)))
    return [alternative for alternative in found if alternative is not None]


def _checkpoint(model: Classifier) -> None:
    model.encoder.checkpointing = True


def _patch(size: list[int]) -> Callable[[Classifier], None]:
    def change(model: Classifier) -> None:
        old = model.encoder.embed
        model.encoder.embed = PatchEmbed(old.ndim, size, old.in_chans, old.dim, old.norm, old.indivisible, old.eps)

    return change


def _pattern(pattern: Pattern) -> Callable[[Classifier], None]:
    def change(model: Classifier) -> None:
        for module in model.modules():
            if isinstance(module, Attention):
                module.pattern = pattern

    return change
