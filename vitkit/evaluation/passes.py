"""A pass: every sample under one condition at one severity, through the model, and its outcome into a part."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitkit.errors import DataError, UsageError, VitkitError
from vitkit.evaluation.condition import Applied, Condition, Context
from vitkit.evaluation.guards import ClassOrder, Guards, Probe, check_normalisation, check_state
from vitkit.evaluation.results import CLEAN
from vitkit.evaluation.storage.samples import PartWriter
from vitkit.evaluation.stream import Stream, chunks
from vitkit.evaluation.subject import Subject
from vitkit.metrics import record


@dataclass(frozen=True)
class Pass:
    """All samples once through the model, under one condition."""

    subject: Subject
    loader: Iterable[Any]
    stream: Stream
    chunk: int
    classes: list[str]
    context: Context
    guards: Guards
    probe: Probe

    def each(self, condition: Condition, severity: float, part: PartWriter) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Write every sample's outcome; yield how many are done, with the last images and what of them was removed as tokens."""
        skipped = condition.obstacle_at(severity, self.context, self.stream.size[1:])
        name = (condition.suite, condition.name, severity)
        done, clipped, hidden = 0, 0.0, 0.0
        area = None
        clean = condition.id(severity) == CLEAN
        order = ClassOrder()
        if clean:
            self._check()
        for (images, labels, ids, real, groups), valid in chunks(self.loader, self.chunk, self.stream) if skipped is None else ():
            real = None if real is None else real.to(self.subject.device)
            context = replace(self.context, ids=ids, real=real)
            images = images.to(self.subject.device)
            applied = _applied(condition, images, severity, context)
            if not done and condition.code() is not None:
                _check_same(applied, _applied(condition, images, severity, context), condition.id(severity))
            try:
                logits = self.subject(applied.images, applied.keep, real)[:valid]
            except UsageError as error:  # the untouched images went through already, so it is the condition's doing as well
                if clean:
                    raise
                found = f"under {condition.id(severity)}: {error.found}"
                raise UsageError(found, error.expected, "Look at what the model makes of such images.") from error
            self.subject.check_fit(self.stream, self.classes)  # its number of classes may be known only now
            whose = None if groups is None else groups[:valid]
            part.write(name, ids[:valid], labels[:valid], record(logits, labels[:valid]), logits, whose)
            if clean:
                order.add(labels[:valid], logits)
            done += valid
            if applied.clipped is not None:
                clipped += float(applied.clipped[:valid].double().sum())
            if applied.area is not None:
                hidden += float(applied.area[:valid].flatten(1).double().mean(1).sum())
                area = hidden / done
            yield done, applied.images[:valid], None if applied.keep is None or applied.area is None else applied.area[:valid]
        if clean and not self.subject.random_weights:
            self.guards(order.findings())
        params = condition.params(self.context, self.stream.size[1:])
        part.entry |= {
            "id": condition.id(severity),
            "suite": condition.suite,
            "condition": condition.name,
            "title": condition.title,
            "severity": severity,
            "unit": condition.unit,
            "identity": condition.identity,
            "params": params if area is None else params | {"area": area},
            "clipped": clipped / max(done, 1),
            "n": done,
            "classes": self.subject.num_classes,
            "skipped": skipped,
        }
        if clean and (warnings := [*self.guards.warnings, *self._unnamed()]):
            part.entry["warnings"] = warnings

    def _unnamed(self) -> list[str]:
        """What cannot be checked where the data name no classes."""
        model, data = self.subject.num_classes or 0, self.stream.classes
        if self.classes or model <= data:
            return []
        return [
            f"The model has {model:,} classes, and the highest label is {data - 1}. The data name no classes, so nobody can say "
            "whether the model is for them."
        ]

    def _check(self) -> None:
        """Hold the model against a few of the samples before it is given all of them."""
        self.guards(check_state(self.subject, self.probe, self.chunk))
        self.subject.check_fit(self.stream, self.classes)
        if not self.subject.random_weights:  # such a model is right by chance
            self.guards(check_normalisation(self.subject, self.probe, self.chunk))


def _applied(condition: Condition, images: Tensor, severity: float, context: Context) -> Applied:
    """What a condition, perhaps one of a user's own, makes of images."""
    identifier = condition.id(severity)
    try:
        applied: Any = condition.apply(images, severity, context)
    except (VitkitError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if condition.code() is None:
            raise
        found = f"{identifier} fails: {type(error).__name__}: {error}"
        raise UsageError(found, "images", "Mend that condition; VITKIT_DEBUG=1 shows where.") from error
    if not isinstance(applied, Applied):
        found = f"{identifier}: apply returned {type(applied).__name__}"
        raise UsageError(found, "vitkit.evaluation.Applied", "Return Applied(images).")
    if applied.images.dtype != images.dtype:
        found = f"{identifier}: images of {applied.images.dtype}"
        raise UsageError(found, f"{images.dtype}, as they came", "Convert them back at the end.")
    if not applied.images.isfinite().all():
        raise DataError(f"{identifier}: images that are not finite", "finite values in [0, 1]", "Mend that condition.")
    return applied


def _check_same(one: Applied, other: Applied, identifier: str) -> None:
    """Refuse a user's condition that draws from more than its seeds: nobody could get its numbers again."""
    if not torch.equal(one.images, other.images):
        raise UsageError(
            f"{identifier} makes other images of the same ones when it is called again",
            "the same, as often as it is called",
            "Draw what is random from the seeds that it is given, for example with vitkit.corruptions.random.",
        )
