"""Where a model fails: the samples that it errs on most, and their pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.evaluation.pictures import save_strip
from vitkit.evaluation.results import Results, Worst, WorstSample
from vitkit.evaluation.stream import Batch, batches

LISTED = 12  # samples of each list
COLUMNS = ["id", "label", "prediction", "confidence"]

Entry = dict[str, Any]
Predictions = Int[np.ndarray, " samples"]
Seen = Callable[[str, Batch], tuple[Tensor, Tensor | None]]


def find_worst(clean: pa.Table, measured: Sequence[tuple[Entry, Predictions]], folder: Path) -> Worst:
    """The samples that are right when clean and break most, and those that are wrong when clean and surest.

    How much a sample breaks is the share of severities at which it is wrong, averaged over the conditions. Where that is equal,
    what breaks earlier comes first, then what comes first in the data.

    Args:
        clean: The untouched samples, with :data:`COLUMNS`.
        measured: Entry and predictions of every condition at every severity that was measured, without the clean pass.
        folder: Of the run; pictures that are there are named.
    """
    data = {name: clean[name].to_numpy(zero_copy_only=False) for name in COLUMNS}
    labels, right = data["label"], data["prediction"] == data["label"]
    wrong = [predictions != labels for _, predictions in measured]
    entries = [entry for entry, _ in measured]
    share, reach, first = _shares(entries, wrong, len(labels)), *_first(entries, wrong, len(labels))
    rows = np.arange(len(labels))
    breaking = rows[right & (share > 0)]
    breaking = breaking[np.lexsort((breaking, reach[breaking], -share[breaking]))][:LISTED]
    sure = rows[~right]
    sure = sure[np.lexsort((sure, -data["confidence"][sure].astype(float)))][:LISTED]

    def sample(row: int, *, broken: bool) -> WorstSample:
        picture = picture_of(row)
        where = int(first[row])
        return WorstSample(
            row=row,
            id=str(data["id"][row]),
            label=int(labels[row]),
            prediction=int(data["prediction"][row]),
            confidence=float(data["confidence"][row]),
            share=float(share[row]) if measured else None,
            first=_identifier(entries[where]) if broken else None,
            mistaken_for=int(measured[where][1][row]) if broken else None,
            picture=picture if (folder / picture).is_file() else None,
        )

    return Worst([sample(int(row), broken=True) for row in breaking], [sample(int(row), broken=False) for row in sure])


def picture_of(row: int) -> str:
    """Where the picture of a sample is, relative to the run's folder."""
    return f"pictures/worst-{row}.png"


def with_pictures(folder: Path, results: Results, loader: Iterable[Any], seen: Seen) -> Results:
    """The results of a run with the pictures of its worst samples, which are written unless they are there.

    The data is gone through once more for that, and nothing of it is held but the batch at hand.

    Args:
        folder: Of the run.
        results: Of the run.
        loader: What it was run on.
        seen: Makes of a condition's id and a batch of one sample what the model saw, and what of it was removed as tokens.
    """
    if results.worst is None:
        return results
    lists = (results.worst.broken, results.worst.confident)
    missing = {sample.row: sample for found in lists for sample in found if sample.picture is None}
    if not missing:
        return results
    made, start = set(), 0
    for batch in batches(loader):
        for row in missing.keys() & set(range(start, start + len(batch.ids))):
            one = batch.part(slice(row - start, row - start + 1))
            images, hidden = one.images, torch.zeros_like(one.images[:, 0], dtype=torch.bool)
            first = missing[row].first
            changed, removed = (None, None) if first is None else seen(first, one)
            if changed is not None and changed.shape == images.shape:  # a condition of one's own may make others
                images = torch.cat([images, changed.to(images)])
                hidden = torch.cat([hidden, torch.zeros_like(hidden) if removed is None else removed.to(hidden)])
            save_strip(folder / picture_of(row), images, hidden)
            made.add(row)
        start += len(batch.ids)
        if len(made) == len(missing):
            break

    def drawn(sample: WorstSample) -> WorstSample:
        return replace(sample, picture=picture_of(sample.row)) if sample.row in made else sample

    results = replace(results, worst=Worst(*([drawn(sample) for sample in found] for found in lists)))
    results.save(folder)
    return results


def _identifier(entry: Entry) -> str:
    return str(entry["id"])


def _shares(entries: Sequence[Entry], wrong: Sequence[Bool[np.ndarray, " samples"]], n: int) -> Float[np.ndarray, " samples"]:
    """Of each sample, the share of severities at which it is wrong, a mean over conditions."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault((entry["suite"], entry["condition"]), []).append(index)
    total = np.zeros(n)
    for indices in groups.values():
        total += sum((wrong[index].astype(np.int64) for index in indices), np.zeros(n, np.int64)) / len(indices)
    return total / max(len(groups), 1)


def _first(
    entries: Sequence[Entry], wrong: Sequence[Bool[np.ndarray, " samples"]], n: int
) -> tuple[Float[np.ndarray, " samples"], Int[np.ndarray, " samples"]]:
    """Of each sample, how far a condition has to go for it to be wrong, and which condition that is, by number.

    How far is told as a share of the way from the condition's identity to the farthest severity on that side, so that severities
    of all units can be held against each other.
    """
    reach, first = np.full(n, np.inf), np.zeros(n, np.int64)
    sides = [(e["suite"], e["condition"], e["severity"] > e["identity"]) for e in entries]
    ways = [abs(e["severity"] - e["identity"]) for e in entries]
    farthest: dict[tuple[str, str, bool], float] = {}
    for side, way in zip(sides, ways, strict=True):
        farthest[side] = max(way, farthest.get(side, 0.0))
    for index, (side, way) in enumerate(zip(sides, ways, strict=True)):
        relative = way / farthest[side] if farthest[side] else 0.0
        nearer = wrong[index] & (relative < reach)
        reach[nearer], first[nearer] = relative, index
    return reach, first
