"""Whether a model's classes are the data's in another order."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.guards.chance import unlikely

_CLASSES = 2000  # up to which the order of classes is looked at: counts of pairs are kept


class ClassOrder:
    """Whether the model's classes are the data's in another order, from the clean predictions.

    The samples are dealt into two halves. On the first, each class of the model is given the class of the data that makes most of
    them right; on the second, this is tried. A finding needs all of:

    - Of the samples of the second half that only one of the two orders gets right, so many are right in the new order that a fair
      coin does it with a probability below 1e-6. Since the order comes from other samples, a model that guesses is refused no
      more often than that, whatever its number of classes.
    - Of the classes that moved, on average at least half of the samples are right in the new order, and at most half as many in
      the order that was given. So a model that gives one answer only, or that mixes up a few classes now and then, is no finding.

    It takes at least 20 samples in the second half. A model that has learnt the opposite of what the labels say, as under a
    correlation that was turned around, is refused: there it looks the same. More than 2,000 classes are not looked at.
    """

    def __init__(self) -> None:
        self._counts: list[Int[np.ndarray, "labels predictions"]] = []
        self._seen = 0

    def add(self, labels: Int[Tensor, " samples"], logits: Float[Tensor, "samples classes"]) -> None:
        """Count predictions."""
        classes = logits.shape[1]
        if classes > _CLASSES:
            return
        if not self._counts:
            self._counts = [np.zeros((classes, classes), np.int64) for _ in range(2)]
        pairs = labels.numpy(), logits.argmax(1).numpy()
        for half, counts in enumerate(self._counts):
            which = (self._seen + np.arange(len(labels))) % 2 == half
            np.add.at(counts, (pairs[0][which], pairs[1][which]), 1)
        self._seen += len(labels)

    def findings(self) -> Iterator[UsageError]:
        """The finding, if there is one."""
        if not self._counts:
            return
        first, second = self._counts
        # A class that is as good in either place stays where it is.
        meant, said = linear_sum_assignment(-(first + 1e-6 * np.eye(len(first))))
        moved = meant != said
        here, there = second[said, said][moved], second[meant, said][moved]
        if not moved.any() or not unlikely(int(there.sum()), int(here.sum())):
            return
        totals = second.sum(1)
        present = [index for index in meant[moved] if totals[index]]
        label_of = dict(zip(meant.tolist(), said.tolist(), strict=True))
        given = np.mean([second[label, label] / totals[label] for label in present])
        new = np.mean([second[label, label_of[label]] / totals[label] for label in present])
        if new >= 0.5 and given <= new / 2:
            pairs = [f"{there} for {label}" for label, there in zip(meant[moved], said[moved], strict=True)]
            told = ", ".join(pairs[:5]) + (" ..." if len(pairs) > 5 else "")
            yield UsageError(
                f"a model that says {told} (class indices): right on {given:.0%} of these, and on {new:.0%} in that order",
                "the model's classes in the order of the labels",
                "Reorder the data's labels or the model's head.",
            )
