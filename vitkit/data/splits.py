"""Stratified splits that are the same on every machine and in every version of every library."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from hashlib import sha256
from itertools import accumulate, pairwise
from math import floor, isclose

from vitkit.data.part import SPLITS, Part
from vitkit.errors import DataError, UsageError


def stratified(ids: Sequence[str], labels: Sequence[Hashable], fractions: Sequence[float], seed: int) -> list[list[int]]:
    """Indices of each part, such that every class is shared out in the same proportions.

    Within a class, samples are ordered by the hash of (seed, id); no random generator, and no order of the files, has a say.

    Args:
        ids: Name of each sample.
        labels: Class of each sample.
        fractions: Share of each part; they add up to 1.
        seed: Seed of the split, which is not the seed of training.

    Returns:
        One ascending list of indices per part: disjoint, and together all of them.

    Raises:
        UsageError: Fractions that are negative or do not add up to 1.
        DataError: A class with fewer samples than there are parts.

    >>> stratified(["a", "b", "c", "d"], [0, 0, 1, 1], (0.5, 0.5), seed=0)
    [[1, 2], [0, 3]]
    """
    if min(fractions, default=-1) < 0 or not isclose(sum(fractions), 1, abs_tol=1e-6):
        raise UsageError(f"fractions {tuple(fractions)}", "shares in [0, 1] that add up to 1", "Correct the data's fractions.")
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    parts: list[list[int]] = [[] for _ in fractions]
    for label, indices in members.items():
        counts = _counts(len(indices), fractions)
        if any(count < 1 for count, fraction in zip(counts, fractions, strict=True) if fraction):
            raise DataError(
                f"class {label} has {len(indices)} samples",
                f"at least one for each part of a split into {', '.join(f'{fraction:.3g}' for fraction in fractions)}",
                "Add samples to it, or leave the class out.",
            )
        indices.sort(key=lambda index: sha256(f"{seed}/{ids[index]}".encode()).digest())
        for part, (start, stop) in zip(parts, pairwise([0, *accumulate(counts)]), strict=True):
            part.extend(indices[start:stop])
    return [sorted(part) for part in parts]


def by_patient(patients: Sequence[str], labels: Sequence[Hashable], fractions: Sequence[float], seed: int) -> list[list[int]]:
    """Indices of each part, such that all that belongs to one patient is in one of them.

    Patients are split as :func:`stratified` splits samples, each as one of the class that most of its samples have; of classes
    that are equally frequent, the one that comes first in the order of their names.

    Args:
        patients: Whose each sample is.
        labels: Class of each sample.
        fractions: Share of the patients in each part; they add up to 1.
        seed: Seed of the split.

    Returns:
        One ascending list of indices per part: disjoint, and together all of them.

    Raises:
        UsageError: Fractions that are negative or do not add up to 1.
        DataError: A class with fewer patients than there are parts.

    >>> by_patient(["a", "b", "a", "c", "d"], [0, 0, 0, 1, 1], (0.5, 0.5), seed=0)
    [[1, 3], [0, 2, 4]]
    """
    members: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        members.setdefault(patient, []).append(index)
    counts = [Counter(labels[index] for index in indices) for indices in members.values()]
    classes = [min(count, key=lambda label: (-count[label], str(label))) for count in counts]
    groups = list(members.values())
    parts = stratified(list(members), classes, fractions, seed)
    return [sorted(index for group in part for index in groups[group]) for part in parts]


def _counts(total: int, fractions: Sequence[float]) -> list[int]:
    """Samples for each part: rounded shares, but one at least for each that is not zero, as far as there are enough."""
    ends = [floor(total * share + 0.5) for share in accumulate(fractions)]
    ends[-1] = total
    counts = [stop - start for start, stop in pairwise([0, *ends])]
    for index, fraction in enumerate(fractions):
        if fraction and not counts[index] and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
            counts[index] += 1
    return counts


def parts_of(
    given: Sequence[str],
    whole: Callable[[str], Part],
    share: Callable[[str, Sequence[float], int], Part],
    fractions: tuple[float, float, float],
) -> tuple[dict[str, Callable[[], Part]], str]:
    """How to load each split, and what a user should know of those that were made.

    Where the data name no splits, all three are shares of everything; without ``val``, training is divided.

    Args:
        given: The splits that the data name.
        whole: One of these, by its name.
        share: A share of one of these ("" for everything), with all the shares and its index.
        fractions: Shares of train, val and test.
    """
    parts: dict[str, Callable[[], Part]] = {split: partial(whole, split) for split in given}
    if not given:
        parts = {split: partial(share, "", fractions, index) for index, split in enumerate(SPLITS)}
        return parts, "no splits there, so data.fractions made them"
    if "train" in given and "val" not in given:
        train, val, _ = fractions
        shares = (train / (train + val), val / (train + val)) if train + val > 0 else (train, val)
        parts |= {split: partial(share, "train", shares, index) for index, split in enumerate(SPLITS[:2])}
        return parts, "no split val there, so data.fractions took it from train"
    return parts, ""
