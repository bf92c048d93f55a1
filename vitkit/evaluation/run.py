"""Evaluating a model: every sample under every condition of a suite."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from vitkit import __version__
from vitkit.errors import UsageError
from vitkit.evaluation import provenance
from vitkit.evaluation.bank import BankMaker
from vitkit.evaluation.condition import Condition, Context
from vitkit.evaluation.guards import Guards, Probe, check_setup
from vitkit.evaluation.passes import Pass
from vitkit.evaluation.pictures import SHOWN, save_strip
from vitkit.evaluation.profiles.store import check_profiles, write_profiles
from vitkit.evaluation.results import DataInfo, Results, load_results
from vitkit.evaluation.storage.claims import Claims
from vitkit.evaluation.storage.folder import RunFolder, room, slug
from vitkit.evaluation.stream import Batch, Stream, classes_of, scan
from vitkit.evaluation.subject import Subject
from vitkit.evaluation.suite import Suite
from vitkit.evaluation.summary import summarise
from vitkit.evaluation.summary.worst import with_pictures
from vitkit.recipe import recipe

_PATIENCE = 0.2  # seconds between two looks at what other processes have done

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
    guard: bool = True,
    shared: bool | None = None,
) -> Results:
    """Run a suite over a model, and keep every sample's outcome.

    The same model, data, suite and seed give the same samples to the last byte on one kind of machine, whatever the loader's
    batch size and workers, and however often the run was interrupted: called again with the same ``out``, it goes on where it
    stopped. Several processes that are called with one ``out`` share the conditions, and all return the same results.

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
        data_info: Name, split and classes of the data, in the results. If it names no classes, those that the loader's data set
            has in ``classes`` are taken, as torchvision's have them.
        command: What was typed, in the results.
        warnings: What a reader of the results should be told.
        chunk: Images that go through the model at once. If not given, at most 256, with no more values than 64 colour pictures
            of 224 x 224 have. Part of what a run is: other shapes are other roundings.
        guard: Whether to refuse what makes all numbers wrong: double or missing normalisation, another crop or size, classes in
            another order, a model that leaves evaluation mode, into which it is put. If not, what is found is a warning of the
            results.
        shared: Whether other processes take conditions of this run at the same time, each with the same model and all of the
            data. If not given, where there is an ``out`` and ``WORLD_SIZE``, as torchrun and Lightning Fabric set it, is more
            than 1.

    Raises:
        UsageError: ``out`` holds another run, or the model does not return logits, or not of the data's classes, or a guard found
            something.
        DataError: Images that are not finite or not in [0, 1], labels that are no class, or a full disk.

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
    if not isinstance(suite, (Suite, str, os.PathLike)):
        raise UsageError(
            f"a suite of type {type(suite).__name__}", "a Suite, its name or its file", "Write Suite(name, conditions)."
        )
    suite = suite if isinstance(suite, Suite) else Suite.load(suite)
    if chunk is not None and chunk < 1:
        raise UsageError(f"chunk {chunk}", "one image at least", "Leave it out, or use e.g. 64.")
    data_info = data_info or DataInfo()
    probe, lender, guards = Probe(), BankMaker(seed), Guards(guard)
    subject, stream = Subject(model, device), scan(loader, probe.add, lender.add)
    if not data_info.classes:
        data_info = replace(data_info, classes=classes_of(loader, stream))
    subject.check_fit(stream, data_info.classes)
    check_profiles(suite.profiles, stream)
    guards(check_setup(subject, stream, loader, data_info.classes))
    chunk = chunk or _default_chunk(stream)
    key, info = _describe(subject, stream, suite, data_info, seed, chunk)
    info |= {"command": command, "warnings": [*warnings, *info["warnings"], *guards.warnings]}
    info["model"] |= {"name": name}
    with ExitStack() as stack:
        folder = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(room(folder))
        shared = out is not None and (_world_size() > 1 if shared is None else shared)
        parts = {condition.id(severity): recipe(condition) for condition, severity in suite}
        run = RunFolder(folder, key, info, parts, shared)
        if run.finished:
            run.check_finished()
        stack.enter_context(subject.evaluating())
        context = replace(subject.context(stream.size[1:], seed, stream.size[0]), bank=cache(lender.bank))
        if not run.finished:
            over = Pass(subject, loader, stream, chunk, data_info.classes, context, Guards(guard), probe)
            _Work(run, suite, over, out is not None, Claims(folder) if shared else None, progress).finish()
        pictures = partial(with_pictures, loader=loader, seen=partial(_seen, suite, context, subject.device))
        return _conclude(run, Claims(folder) if shared else None, None if out is None else pictures)


@dataclass(frozen=True)
class _Work:
    """The conditions of a run that are not there yet, alone or beside other processes."""

    run: RunFolder
    suite: Suite
    over: Pass
    pictures: bool
    claims: Claims | None
    progress: Progress | None

    def finish(self) -> None:
        """Do what nobody else does, wait for what others do, and merge."""
        conditions = list(enumerate(self.suite))
        # The clean pass first, by one process alone: what the guards refuse is refused before anything else is there.
        self._complete(conditions[:1])
        self._complete(conditions[1:])
        over = self.over
        while not self.run.finished:
            with _claim(self.claims, "merge") as mine:
                if mine and not self.run.finished:
                    write_profiles(self.run.path, self.suite.profiles, over.subject, over.loader, over.stream)
                    self.run.merge([condition.id(severity) for _, (condition, severity) in conditions])
            if not mine:
                time.sleep(_PATIENCE)

    def _complete(self, conditions: list[tuple[int, tuple[Condition, float]]]) -> None:
        while conditions and not (self.claims is not None and self.run.finished):
            left = [(order, pair) for order, pair in conditions if not self._settled(order, *pair)]
            if len(left) == len(conditions):
                time.sleep(_PATIENCE)
            conditions = left

    def _settled(self, order: int, condition: Condition, severity: float) -> bool:
        """Whether a condition is there, at the latest now, or another process is at it."""
        identifier = condition.id(severity)
        if not self.run.has(identifier):
            with _claim(self.claims, slug(identifier)) as mine:
                if not mine:
                    return False
                if not self.run.has(identifier):
                    self._one(order, condition, severity)
                    return True
        if self.progress is not None:
            n = self.over.stream.n
            self.progress((order + 1) * n, n * len(self.suite), identifier)
        return True

    def _one(self, order: int, condition: Condition, severity: float) -> None:
        identifier, n = condition.id(severity), self.over.stream.n
        picture = f"pictures/{slug(identifier)}.png" if self.pictures else None
        with self.run.part(identifier) as part:
            shown: list[Tensor] = []
            removed: list[Tensor] = []
            for done, images, area in self.over.each(condition, severity, part):
                if sum(map(len, shown)) < SHOWN:  # copies, so that the rest of the batch can go
                    shown.append(images[:SHOWN].clone())
                    removed += [] if area is None else [area[:SHOWN].clone()]
                if self.progress is not None:
                    self.progress(order * n + done, n * len(self.suite), identifier)
            if picture is not None and shown:
                hidden = torch.cat(removed)[:SHOWN] if removed else None
                save_strip(self.run.path / picture, torch.cat(shown)[:SHOWN], hidden)
            part.entry |= {"order": order, "picture": picture if shown else None}


def _seen(suite: Suite, context: Context, device: torch.device, identifier: str, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """What a condition makes of a batch, and what of it is removed as tokens."""
    condition, severity = next((condition, severity) for condition, severity in suite if condition.id(severity) == identifier)
    real = None if batch.real is None else batch.real.to(device)
    applied = condition.apply(batch.images.to(device), severity, replace(context, ids=batch.ids, real=real))
    return applied.images, None if applied.keep is None else applied.area


def _conclude(run: RunFolder, claims: Claims | None, pictures: Callable[[Path, Results], Results] | None) -> Results:
    """The results of a finished run, with pictures of the worst samples if something makes them; of several processes one makes
    them, and the others read them.
    """
    while True:
        with _claim(claims, "results") as mine:
            if mine:
                run.clean()
                made, samples = run.path / "results.json", run.path / "samples.parquet"
                known = claims is not None and made.exists() and made.stat().st_mtime_ns >= samples.stat().st_mtime_ns
                results = load_results(run.path) if known else summarise(run.path)
                return results if pictures is None else pictures(run.path, results)
        time.sleep(_PATIENCE)


def _claim(claims: Claims | None, name: str) -> AbstractContextManager[bool]:
    return nullcontext(True) if claims is None else claims.take(name)


def _world_size() -> int:
    """How many processes were started together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    told = os.environ.get("WORLD_SIZE", "1")
    return int(told) if told.isdecimal() else 1


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
    if subject.module is not None and subject.module.training:
        warnings.append("The model was in training mode: it was put into evaluation mode for this run.")
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
    if read := {f"{one.suite}.{one.name}": files for one in suite.conditions if (files := one.reads()) is not None}:
        key["files"] = read
    if code := {f"{one.suite}.{one.name}": found for one in suite.conditions if (found := one.code()) is not None}:
        key["code"] = code
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
