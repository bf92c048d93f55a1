"""Where a model fails: the samples that it errs on most, and their pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from vitkit.evaluation.pictures import save_strip
from vitkit.evaluation.results import Results, Worst, WorstSample
from vitkit.evaluation.stream import Batch, batches

LISTED = 12  # samples of each list
COLUMNS = ["id", "label", "prediction", "confidence"]

Entry = dict[str, Any]
Predictions = Int[np.ndarray, " samples"]
Seen = Callable[[str, Batch], tuple[Tensor, Tensor | None]]


class Failures:
    """How often, and where first, a model is wrong on each sample; a condition at a time, so that none need be held.

    Args:
        clean: The untouched samples, with :data:`COLUMNS`.
    """

    def __init__(self, clean: pa.Table) -> None:
        self._clean = clean
        self._labels, self._predictions = clean["label"].to_numpy(), clean["prediction"].to_numpy()
        n = len(clean)
        self._conditions, self._share = 0, np.zeros(n)
        self._reach, self._first, self._mistaken = np.full(n, np.inf), np.zeros(n, np.int32), np.zeros(n, np.int32)
        self._identifiers: dict[int, str] = {}

    def add(self, severities: Sequence[tuple[Entry, Predictions]]) -> None:
        """Take in entry and predictions of a condition at every severity that was measured."""
        times = np.zeros(len(self._labels), np.int64)
        for (entry, predictions), reach in zip(severities, _reaches([entry for entry, _ in severities]), strict=True):
            wrong = predictions != self._labels
            times += wrong
            order = entry["order"]
            nearer = wrong & ((reach < self._reach) | ((reach == self._reach) & (order < self._first)))
            self._reach[nearer], self._first[nearer] = reach, order
            self._mistaken[nearer] = predictions[nearer]
            self._identifiers[order] = str(entry["id"])
        self._share += times / len(severities)
        self._conditions += 1

    def worst(self, folder: Path) -> Worst:
        """The samples that are right when clean and break most, and those that are wrong when clean and surest.

        How much a sample breaks is the share of severities at which it is wrong, averaged over the conditions. Where that is
        equal, what breaks earlier comes first, then what comes first in the data.

        Args:
            folder: Of the run; pictures that are there are named.
        """
        right = self._predictions == self._labels
        breaking = np.flatnonzero(right & (self._share > 0))
        breaking = breaking[np.lexsort((breaking, self._reach[breaking], -self._share[breaking]))][:LISTED]
        sure = np.flatnonzero(~right)
        confidence = self._clean["confidence"].to_numpy()[sure].astype(float)
        sure = sure[np.lexsort((sure, -confidence))][:LISTED]
        broken = [self._sample(int(row), folder, broken=True) for row in breaking]
        return Worst(broken, [self._sample(int(row), folder, broken=False) for row in sure])

    def _sample(self, row: int, folder: Path, *, broken: bool) -> WorstSample:
        picture = picture_of(row)
        return WorstSample(
            row=row,
            id=self._clean["id"][row].as_py(),
            label=int(self._labels[row]),
            prediction=int(self._predictions[row]),
            confidence=self._clean["confidence"][row].as_py(),
            share=float(self._share[row]) / self._conditions if self._conditions else None,
            first=self._identifiers[self._first[row]] if broken else None,
            mistaken_for=int(self._mistaken[row]) if broken else None,
            picture=picture if (folder / picture).is_file() else None,
        )


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


def _reaches(entries: Sequence[Entry]) -> list[float]:
    """How far each severity of a condition goes, as a share of the way from the identity to the farthest one on that side.

    By this severities of all units can be held against each other.
    """
    ways = [entry["severity"] - entry["identity"] for entry in entries]
    farthest = [max(abs(other) for other in ways if (other > 0) == (way > 0)) for way in ways]
    return [abs(way) / most if most else 0.0 for way, most in zip(ways, farthest, strict=True)]
