"""Evaluating a model: every sample under every condition of a suite."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitkit import __version__
from vitkit.errors import UsageError
from vitkit.evaluation import provenance
from vitkit.evaluation.bank import make_bank
from vitkit.evaluation.condition import Condition, Context
from vitkit.evaluation.folder import PartWriter, RunFolder, slug
from vitkit.evaluation.pictures import SHOWN, save_strip
from vitkit.evaluation.profiles.store import check_profiles, write_profiles
from vitkit.evaluation.results import DataInfo, Results
from vitkit.evaluation.stream import Stream, chunks, scan
from vitkit.evaluation.subject import Subject
from vitkit.evaluation.suite import Suite
from vitkit.evaluation.summary import summarise
from vitkit.metrics import record

Progress = Callable[[int, int, str], None]


def evaluate(
    model: Callable[..., Any],
    loader: Iterable[Any],
    suite: Suite | str | Path,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    name: str = "model",
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    data_info: DataInfo | None = None,
    command: str = "",
    warnings: Sequence[str] = (),
    chunk: int | None = None,
) -> Results:
    """Run a suite over a model, and keep every sample's outcome.

    The same model, data, suite and seed give the same samples to the last byte on one kind of machine, whatever the loader's
    batch size and workers, and however often the run was interrupted: called again with the same ``out``, it goes on where it
    stopped.

    Args:
        model: Images in [0, 1] to logits; any callable. A ``preprocess`` that it carries is recorded; tokens are removed if it
            has ``grid(size)`` and takes ``keep``, otherwise those conditions are recorded as skipped.
        loader: Yields batches with ``image`` in [0, 1], ``label`` and ``id``, or tuples of images and labels; the same in every
            pass. A batch may also have ``real``, which voxels are no padding, and ``group``, such as the patient of each sample:
            intervals then draw whole groups.
        suite: A suite, the name of one that comes with vitkit, or its YAML file.
        out: Folder for the results; only returned if not given.
        seed: Of the random choices and of the bootstrap.
        name: Of the model, in the results.
        device: Where to run the model; where it is, if not given.
        progress: Called as ``progress(samples done, samples in all, condition's id)``.
        data_info: Name, split and classes of the data, in the results.
        command: What was typed, in the results.
        warnings: What a reader of the results should be told.
        chunk: Images that go through the model at once. If not given, at most 256, with no more values than 64 colour pictures
            of 224 x 224 have. Part of what a run is: other shapes are other roundings.

    Raises:
        UsageError: ``out`` holds another run, or the model does not return logits, or not of the data's classes.
        DataError: Images that are not finite or not in [0, 1], or labels that are no class.

    >>> from vitkit.evaluation import Gain, Suite
    >>> def model(images):  # is it bright?
    ...     mean = images.mean(dim=(1, 2, 3))
    ...     return torch.stack([0.5 - mean, mean - 0.5], dim=1)
    >>> images = torch.tensor([0.1, 0.3, 0.7, 0.9]).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    >>> loader = [(images, torch.tensor([0, 0, 1, 1]))]
    >>> results = evaluate(model, loader, Suite("mine", [Gain([0.5, 1.5])]))
    >>> results.clean.metrics["accuracy"].value, results.condition("brightness.gain/0.5").metrics["accuracy"].value
    (1.0, 0.5)
    """
    suite = suite if isinstance(suite, Suite) else Suite.load(suite)
    if chunk is not None and chunk < 1:
        raise UsageError(f"chunk {chunk}", "one image at least", "Leave it out, or use e.g. 64.")
    data_info = data_info or DataInfo()
    subject, stream = Subject(model, device), scan(loader)
    subject.check_fit(stream, data_info.classes)
    check_profiles(suite.profiles, stream)
    chunk = chunk or _default_chunk(stream)
    key, info = _describe(subject, stream, suite, data_info, seed, chunk)
    info |= {"command": command, "warnings": [*warnings, *info["warnings"]]}
    info["model"] |= {"name": name}
    with ExitStack() as stack:
        folder = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = RunFolder(folder, key, info)
        if not run.finished:
            stack.enter_context(subject.evaluating())
            context = replace(
                subject.context(stream.size[1:], seed, stream.size[0]), bank=cache(partial(make_bank, loader, seed))
            )
            over = _Pass(subject, loader, stream, chunk, data_info.classes, context)
            for order, (condition, severity) in enumerate(suite):
                identifier = condition.id(severity)
                picture = f"pictures/{slug(identifier)}.png" if out is not None else None
                if not run.has(identifier):
                    with run.part(identifier) as part:
                        shown: list[Tensor] = []
                        removed: list[Tensor] = []
                        for done, images, area in over.each(condition, severity, part):
                            if sum(map(len, shown)) < SHOWN:  # copies, so that the rest of the batch can go
                                shown.append(images[:SHOWN].clone())
                                removed += [] if area is None else [area[:SHOWN].clone()]
                            if progress is not None:
                                progress(order * stream.n + done, stream.n * len(suite), identifier)
                        if picture is not None and shown:
                            hidden = torch.cat(removed)[:SHOWN] if removed else None
                            save_strip(folder / picture, torch.cat(shown)[:SHOWN], hidden)
                        part.entry |= {"order": order, "picture": picture if shown else None}
                elif progress is not None:
                    progress((order + 1) * stream.n, stream.n * len(suite), identifier)
            write_profiles(folder, suite.profiles, subject, loader, stream)
            run.merge([condition.id(severity) for condition, severity in suite])
        run.clean()
        return summarise(folder)


@dataclass(frozen=True)
class _Pass:
    """All samples once through the model, under one condition."""

    subject: Subject
    loader: Iterable[Any]
    stream: Stream
    chunk: int
    classes: list[str]
    context: Context

    def each(self, condition: Condition, severity: float, part: PartWriter) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Write every sample's outcome; yield how many are done, with the last images and what of them was removed as tokens."""
        skipped = condition.obstacle_at(severity, self.context, self.stream.size[1:])
        name = (condition.suite, condition.name, severity)
        done, clipped, hidden = 0, 0.0, 0.0
        area = None
        for (images, labels, ids, real, groups), valid in chunks(self.loader, self.chunk, self.stream) if skipped is None else ():
            real = None if real is None else real.to(self.subject.device)
            context = replace(self.context, ids=ids, real=real)
            applied = condition.apply(images.to(self.subject.device), severity, context)
            logits = self.subject(applied.images, applied.keep, real)[:valid]
            self.subject.check_fit(self.stream, self.classes)  # its number of classes may be known only now
            whose = None if groups is None else groups[:valid]
            part.write(name, ids[:valid], labels[:valid], record(logits, labels[:valid]), logits, whose)
            done += valid
            if applied.clipped is not None:
                clipped += float(applied.clipped[:valid].double().sum())
            if applied.area is not None:
                hidden += float(applied.area[:valid].flatten(1).double().mean(1).sum())
                area = hidden / done
            yield done, applied.images[:valid], None if applied.keep is None or applied.area is None else applied.area[:valid]
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


def _default_chunk(stream: Stream) -> int:
    limit = min(256, max(1, 64 * 3 * 224**2 // torch.Size(stream.size).numel()))
    # As few chunks as that allows, all of one length, so that hardly a sample is there only to fill one up.
    return -(-stream.n // -(-stream.n // limit))


def _describe(
    subject: Subject, stream: Stream, suite: Suite, data: DataInfo, seed: int, chunk: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    preprocess = None if subject.preprocess is None else asdict(subject.preprocess)
    warnings = []
    if subject.random_weights:
        warnings.append("The model's weights are random: nothing was loaded into it.")
    if subject.preprocess is None:
        warnings.append("The model carries no preprocess: it was given images in [0, 1] as they are.")
    fingerprint = subject.fingerprint()
    config = suite.config()
    key = {
        "model": fingerprint,
        "data": stream.fingerprint,
        "preprocess": preprocess,
        "suite": config,
        "seed": seed,
        "chunk": chunk,
        "device": subject.device.type,
    }
    info = {
        "created": provenance.now(),
        "vitkit": __version__,
        "git": provenance.commit(),
        "seed": seed,
        "packages": provenance.packages(),
        "hardware": provenance.hardware(subject.device),
        "model": {"fingerprint": fingerprint, "parameters": subject.parameters, "random_weights": subject.random_weights},
        "data": asdict(replace(data, n=stream.n, fingerprint=data.fingerprint or stream.fingerprint)),
        "preprocess": preprocess,
        "suite": {"name": suite.name, "config": config},
        "warnings": warnings,
    }
    return key, info
