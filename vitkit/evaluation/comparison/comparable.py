"""Whether runs can be compared, and what differs between them besides the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitkit.errors import UsageError
from vitkit.evaluation.results import Results
from vitkit.evaluation.storage.samples import read_samples
from vitkit.evaluation.tree import at, first_difference


@dataclass(frozen=True)
class Flag:
    """Something that differs between the runs, which a reader should know: its name, and its value in each run."""

    field: str
    values: list[str]


def check_comparable(results: Sequence[Results], keys: Sequence[Mapping[str, Any]], labels: Sequence[str], first: int) -> None:
    """Refuse runs of which a difference would say something else than of their models.

    The data is the same if it is stored alike, as on two machines, or if the models saw the same pixels. Both may differ where
    the models take images of other sizes; whether the samples are the same is then for :func:`check_same_samples` to see.

    Raises:
        UsageError: Another seed, suite or data; the message names the field.
    """
    against = results[first]
    for label, found, key in zip(labels, results, keys, strict=True):
        pair = f"{label} and {labels[first]}"
        if found.seed != against.seed:
            _refuse(pair, "seed", found.seed, against.seed, "one seed", "Evaluate one of them again with the other's --seed.")
        if (path := first_difference(found.suite.config, against.suite.config)) is not None:
            one, other = at(found.suite.config, path), at(against.suite.config, path)
            remedy = "Evaluate one of them again with the other's --suite."
            _refuse(pair, ".".join(["suite", *path]), one, other, "one suite", remedy)
        remedy = "Evaluate both on the same samples, with the same --data, --split and --limit."
        for field in ("split", "n", "classes"):
            one, other = getattr(found.data, field), getattr(against.data, field)
            if one not in ("", []) and other not in ("", []) and one != other:
                _refuse(pair, f"data.{field}", one, other, "one data set", remedy)
        # What is stored is the same on every machine, what the model saw in every way of reading it: one of the two is enough.
        other = found.data.fingerprint != against.data.fingerprint and key.get("data") != keys[first].get("data")
        if other and found.preprocess == against.preprocess:
            _refuse(pair, "data.fingerprint", found.data.fingerprint, against.data.fingerprint, "one data set", remedy)


def check_same_samples(paths: Sequence[Path], labels: Sequence[str], first: int) -> None:
    """Refuse runs of other samples.

    Raises:
        UsageError: An id or a label differs.
    """
    columns = ["id", "label", "group"]
    against = next(read_samples(paths[first], columns))[1]
    for path, label in zip(paths, labels, strict=True):
        table = next(read_samples(path, columns))[1]
        for column in columns:
            if table[column] == against[column]:
                continue
            ours, theirs = table[column].to_pylist(), against[column].to_pylist()
            place = next(index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
            _refuse(
                f"{label} and {labels[first]}", f"{column} of sample {place}", ours[place], theirs[place],
                "the same samples in the same order", "Evaluate both on the same samples.",
            )  # fmt: skip


def flags(results: Sequence[Results], keys: Sequence[Mapping[str, Any]]) -> list[Flag]:
    """What differs besides the model: software, machine, how images are prepared and batched, and what conditions did to them,
    such as which patches they hid where these are the model's own.

    Args:
        results: Of each run.
        keys: What each ``run.json`` calls its key.
    """
    trees = [
        {
            "vitkit": result.vitkit,
            "git": result.git,
            "hardware": result.hardware,
            "device": key.get("device"),
            "chunk": key.get("chunk"),
            "files": key.get("files"),
            "data.name": result.data.name,
            "data.fingerprint": result.data.fingerprint,
            "random weights": result.model.random_weights,
            **{f"preprocess.{name}": value for name, value in (result.preprocess or {"none": True}).items()},
            **{f"packages.{name}": value for name, value in result.packages.items()},
        }
        for result, key in zip(results, keys, strict=True)
    ]
    found = []
    for field in dict.fromkeys(field for tree in trees for field in tree):
        values = [tree.get(field) for tree in trees]
        if any(value != values[0] for value in values):
            found.append(Flag(field, ["none" if value is None else str(value) for value in values]))
    return found + _operations(results)


def _operations(results: Sequence[Results]) -> list[Flag]:
    """Parameters of conditions that differ between the runs; those that differ alike are one."""
    names: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    for group in zip(*(result.conditions for result in results), strict=True):
        if any(condition.skipped is not None for condition in group):
            continue
        for name in dict.fromkeys(name for condition in group for name in condition.params):
            values = [condition.params.get(name) for condition in group]
            if name != "area" and any(value != values[0] for value in values):
                told = tuple("none" if value is None else str(value) for value in values)
                names.setdefault((name, told), {})[f"{group[0].suite}.{group[0].condition}"] = None
    return [Flag(f"{name} of {', '.join(conditions)}", list(values)) for (name, values), conditions in names.items()]


def _refuse(pair: str, field: str, one: Any, other: Any, expected: str, remedy: str) -> None:
    raise UsageError(f"{pair} differ in {field}: {one!r:.80} and {other!r:.80}", f"{expected} in all that is compared", remedy)
