"""The committed results of the benchmarks, as the tables of docs/benchmarks.md and docs/robustness.md."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def insert(app: Any, name: str, source: list[str]) -> None:
    """Replace each line "%% NAME" of the page by the results of that name; Sphinx calls it for every page that it reads."""
    if name in ("benchmarks", "robustness"):
        source[0] = "\n".join(show(line[3:]) if line.startswith("%% ") else line for line in source[0].splitlines())


def show(name: str) -> str:
    """One results file: what it was measured on, and its tables."""
    found = json.loads((RESULTS / f"{name}.json").read_text())
    about = found["environment"]
    machine = f"{about['processor']}, {about['cores']} cores, {about['gpu'] or 'no GPU'}"
    where = f"{machine}, Python {about['python']}, torch {about['torch']}"
    kinds = {
        "accuracy": accuracy,
        "plan": estimates,
        "robustness_volume": beside_peers,
        "spacing": spacing,
        "robustness_image": corruptions,
        "robustness_evidence": evidence,
        "report_scale": reports,
        "robustness_full": whole_suite,
        "evaluate_memory": memory,
        "machines": machines,
    }
    return "\n".join([f"`{about['command']}`, on {where}:", "", *kinds.get(name, costs)(found["results"])])


def costs(results: dict[str, Any]) -> Iterable[str]:
    """Time and memory, each beside its ratio to the first of the row."""
    yield from ("| what | | ms | of the first | MiB | of the first |", "| --- | --- | ---: | ---: | ---: | ---: |")
    for row, candidates in results.items():
        label = row
        for name, cost in candidates.items():
            if isinstance(cost, dict):
                cells = (cost["milliseconds"], cost["time_ratio"], cost["peak_mib"], cost["memory_ratio"])
                yield f"| {label} | {name} | {cells[0]:,.1f} | {cells[1]:.2f} | {cells[2]:,.1f} | {cells[3]:.2f} |"
            else:
                yield f"| {label} | {name} | {cost} | | | |"
            label = ""


def beside_peers(results: dict[str, Any]) -> Iterable[str]:
    """Milliseconds of vitkit and of each peer that has the like, and the share of the fastest peer's."""
    yield "| corruption | vitkit, ms | TorchIO, ms | MONAI, ms | of the fastest peer |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, row in results.items():
        if isinstance(row, dict):
            cells = [f"{row[who]:,.1f}" if who in row else "" for who in ("vitkit", "TorchIO", "MONAI")]
            yield f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {row['of the fastest peer']:.2f} |"
        else:
            yield f"| {name} | | | | {row:.2f} |"


def reports(results: dict[str, Any]) -> Iterable[str]:
    """Seconds and peak memory of a report on a large run."""
    yield f"| {results['samples']:,} samples, {results['conditions']} conditions | seconds | peak, MiB |"
    yield "| --- | ---: | ---: |"
    for name, row in results.items():
        if isinstance(row, dict):
            yield f"| {name} | {row['seconds']:.1f} | {row['peak_mib']:,} |"


def whole_suite(results: dict[str, Any]) -> Iterable[str]:
    """Time inside and outside of the model."""
    yield "| | pictures | conditions | seconds | in the model | share outside | pictures per second | of the model alone |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, row in results.items():
        seconds = f"{row['seconds']:,.0f} | {row['seconds_in_the_model']:,.0f} | {row['share_outside_the_model']:.3f}"
        rates = f"{row['pictures_per_second']:,.1f} | {row['of_the_model_alone']:.2f}"
        yield f"| {name} | {row['pictures']} | {row['conditions']} | {seconds} | {rates} |"


def memory(results: dict[str, Any]) -> Iterable[str]:
    """Peak of the process."""
    yield "| | peak, MiB |"
    yield "| --- | ---: |"
    for name, value in results.items():
        if name.startswith("peak_mib_of_"):
            yield f"| 1,000 samples, {name.split('_')[3]} conditions | {value:,.0f} |"
        elif name.startswith("peak_mib_"):
            yield f"| {int(name.split('_')[2]):,} samples, 5 conditions | {value:,.0f} |"


def machines(results: dict[str, Any]) -> Iterable[str]:
    """What a run on another machine finds otherwise."""
    yield "| beside the first run | other predictions | largest difference of a confidence | of an accuracy | other pictures |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, row in results["machines"].items():
        others = f"{row['other_predictions']:,} of {row['outcomes']:,}"
        largest = f"{row['largest_difference_of_a_confidence']:.1g} | {row['largest_difference_of_an_accuracy']:.1g}"
        yield f"| {name} | {others} | {largest} | {row['other_pictures']} of {row['pictures']} |"


def corruptions(results: dict[str, Any]) -> Iterable[str]:
    """Time of each corruption beside the package's, and over all of them."""
    found, again = results["image"], results["image, batch after batch"]
    for words, each in (("Alternating with the package", found), ("Batch after batch", again)):
        yield f"{words}: {each['geometric_mean']:.1f} times as fast in the geometric mean, {each['slowest']:.2f} at least.\n"
    yield from (
        "| corruption | images | imagecorruptions, ms | vitkit, ms | times as fast | batch after batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    )
    for name, row in found["corruptions"].items():
        times = f"{row['imagecorruptions_ms']:,.1f} | {row['vitkit_ms']:,.1f} | {row['times_as_fast']:,.1f}"
        yield f"| `{name}` | {row['images']} | {times} | {again['corruptions'][name]['times_as_fast']:,.1f} |"


def estimates(results: dict[str, Any]) -> Iterable[str]:
    """A plan's peak of a training step, and how much of each measured one it is."""
    yield "| model | attention | estimate, MiB | live bytes | of it | resident | of it |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for name, row in results.items():
        measured = " | ".join(f"{row[f'{way}_mib']:,.1f} | {row[f'{way}_ratio']:.2f}" for way in ("live", "resident"))
        yield f"| {name} | {row['backend']} | {row['estimate_mib']:,.1f} | {measured} |"


def accuracy(results: dict[str, Any]) -> Iterable[str]:
    """Mean and spread over the seeds, and the differences within a seed, for each condition."""
    for data_set, found in results.items():
        split = "test" if "test" in found["scores"] else "val"
        metric = "AUROC" if "AUROC" in next(iter(found["scores"][split].values())) else "accuracy"
        images = f"{found['images'][split]} images ({split})"
        for condition, metrics in found["scores"][split].items():
            yield f"**{data_set}, {condition}**: {metric} in %, {images}, {found['seeds']} seeds\n"
            yield from differences(metrics[metric], ("table", "none"))


def spacing(results: dict[str, Any]) -> Iterable[str]:
    """The same at each spacing, by both metrics."""
    for data_set, found in results.items():
        split = "test" if "test" in found["scores"] else "val"
        scans = f"{found['scans'][split]} scans ({split})"
        for condition, metrics in found["scores"][split].items():
            for metric, rows in metrics.items():
                yield f"**{data_set}, {condition}**: {metric} in %, {scans}, {found['seeds']} seeds\n"
                yield from differences(rows, ("spectral, in mm", "none"))


def differences(rows: dict[str, Any], references: tuple[str, ...]) -> Iterable[str]:
    """Mean and spread of each source of positions, and how far it is from the references."""
    yield "| positions | mean | sd | " + " | ".join(f"minus {other} [95 %]" for other in references) + " |"
    yield "| --- | ---: | ---: |" + " ---: |" * len(references)
    for scheme, row in rows.items():
        apart = " | ".join(interval(row.get(f"minus {other}")) for other in references)
        yield f"| {scheme} | {100 * row['mean']:.2f} | {100 * row['sd']:.2f} | {apart} |"
    yield ""


SHOWN = ("clean", "mean of occlusion on shared cells", "mean of brightness", "mean of corruptions")


def evidence(results: dict[str, Any]) -> Iterable[str]:
    """The clean score and the means of areas: of each model with every seed, and of each pair."""
    for data_set in ("digits", "pneumonia"):
        found = results[data_set]
        models, pairs = found["models"], found["differences"]
        yield f"**{data_set}**, {found['data']['n']} images of the {found['data']['split']} split: mean, and each seed, in %\n"
        yield "| | " + " | ".join(f"`{name}`, {model['parameters']:,} parameters" for name, model in models.items()) + " |"
        yield "| --- |" + " --- |" * len(models)
        for score in SHOWN:
            rows = [model["scores"][score] for model in models.values()]
            cells = [f"{100 * row['mean']:.1f} ({', '.join(f'{100 * seed:.1f}' for seed in row['seeds'])})" for row in rows]
            yield f"| {score} | {' | '.join(cells)} |"
        yield f"\n**{data_set}**: difference [95 % over seeds] [95 % over samples], in percentage points\n"
        yield "| | " + " | ".join(f"`{pair.replace(' minus ', '` minus `')}`" for pair in pairs) + " |"
        yield "| --- |" + " --- |" * len(pairs)
        for score in SHOWN:
            cells = []
            for scores in pairs.values():
                row = scores[score]
                samples = {"mean": row["mean"], "low": row["samples_low"], "high": row["samples_high"]}
                cells.append(f"{interval(row)} {interval(samples).partition(' ')[2]}")
            yield f"| {score} | {' | '.join(cells)} |"
        yield ""


def interval(found: dict[str, float] | None) -> str:
    """A difference in percentage points."""
    return "" if found is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * found[key] for key in ("mean", "low", "high")))
