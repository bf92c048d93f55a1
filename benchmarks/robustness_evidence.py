"""Three models of equal size, trained and then broken: does attention withstand occlusion, and what does pixel LayerNorm buy?

A vision transformer, the same one with its patches' pixels standardised (``PatchEmbed.norm``), and a ResNet of timm's are trained
by `vitkit fit` on the configs in configs/robustness/, over several seeds, on scikit-learn's digits and, with --pneumonia, on the
chest X-rays of MedMNIST's pneumoniamnist.npz; each then goes through a suite of conditions. The number of epochs is fixed
and the last weights are taken, so nothing is chosen by a score. Digits are evaluated on their test split, the X-rays on their
validation split.

What is compared are areas under balanced accuracy over severity, and means of them; of occlusions only those that hide the
same pixels of every model. Balanced, since three of four X-rays show a pneumonia: a model that says so of every image has 0.5.
Differences are paired by seed and by sample. The interval over seeds is Student's; the interval over samples draws samples of all
seeds' mean. Trainings and evaluations that are done are not repeated: runs stay in --folder.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import options, save, write
from paired import difference

from vitkit.cli.loading import make_data, make_loader
from vitkit.cli.main import main as vitkit
from vitkit.evaluation import DataInfo, Results, Suite, evaluate, load_results
from vitkit.evaluation.results import CLEAN, Curve
from vitkit.evaluation.storage.samples import read_samples
from vitkit.metrics import area_weights, bootstrap_means, percentile_interval
from vitkit.tasks import load_checkpoint

CONFIGS = Path("configs/robustness")
MODELS = ("vit", "vit_pixelnorm", "resnet")
PAIRS = (("vit", "resnet"), ("vit_pixelnorm", "resnet"), ("vit_pixelnorm", "vit"))
SPLITS = {"digits": "test", "pneumonia": "val"}
SHARED_CELLS = ("random.grid", "random.pixels", "hole.pixels", "shuffled", "slices", "slab")
"""Occlusions whose cells do not depend on the model's tokens."""

Columns = dict[str, np.ndarray]
"""Name of a score to what each sample adds to it, in order of the samples' ids."""


@dataclass(frozen=True)
class Trained:
    """A model that has been trained and evaluated.

    Args:
        results: What its evaluation says.
        columns: Each score by sample; a score is their mean.
    """

    results: Results
    columns: Columns


def run(data: str, model: str, seed: int, given: argparse.Namespace) -> Trained:
    """Train and evaluate what has not been."""
    name = f"{data}_{model}-{seed}"
    folder: Path = given.folder / name
    source = ["--data.path", given.pneumonia] if data == "pneumonia" else []
    done = folder / "trained"
    if not done.exists():
        words = ["--config", str(CONFIGS / f"{data}_{model}.yaml"), "--name", name, "--seed_everything", str(seed), *source]
        words += ["--trainer.default_root_dir", str(given.folder), "--trainer.accelerator", "cpu"]
        words += ["--trainer.enable_progress_bar", "false"]
        if code := vitkit(["fit", *words]):
            raise SystemExit(code)
        done.touch()
    out = folder / Path(given.suite).stem
    if not (out / "results.json").exists():
        task = load_checkpoint(folder / "last.ckpt")
        images = make_data(None, [], task.data_config)
        images.preprocess, images.batch_size = task.preprocess, 128
        loader = make_loader(images, SPLITS[data], given.limit)
        # Not by the command line, which would also draw a page of every run.
        evaluate(
            task, loader, Suite.load(given.suite), out, name=name, device="cpu",
            data_info=DataInfo(name=images.name, split=SPLITS[data], classes=list(images.classes)),
        )  # fmt: skip
    results = load_results(out)
    return Trained(results, by_sample(out, results))


def by_sample(out: Path, results: Results) -> Columns:
    """The clean balanced accuracy, the area of every curve, and means of areas, each by sample."""
    correct: dict[str, np.ndarray] = {}
    for entry, table in read_samples(out, ["id", "label", "prediction"]):
        order = np.argsort(table["id"].to_numpy().astype(str))
        label = table["label"].to_numpy()
        _, index, counts = np.unique(label, return_inverse=True, return_counts=True)
        # The mean of these over all samples is the mean over classes of the shares that are right.
        weight = len(label) / (len(counts) * counts[index])
        correct[entry["id"]] = (weight * (label == table["prediction"].to_numpy()))[order]
    columns = {"clean": correct[CLEAN]}
    for curve in results.curves:
        rows = np.stack([correct[condition.id] for condition in results.at(curve)])
        columns[f"{curve.suite}.{curve.condition}"] = area_weights(np.array(curve.severities)) @ rows
    for name, members in means(results.curves).items():
        columns[name] = np.mean([columns[f"{curve.suite}.{curve.condition}"] for curve in members], axis=0)
    return columns


def means(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """What is averaged: occlusions that hide the same pixels of every model, brightness, and corruptions."""
    found = {
        "mean of occlusion on shared cells": [curve for curve in curves if curve.condition.startswith(SHARED_CELLS)],
        "mean of brightness": [curve for curve in curves if curve.suite == "brightness"],
        "mean of corruptions": [curve for curve in curves if curve.suite == "corruptions"],
    }
    return {name: members for name, members in found.items() if members}


def compare(first: Sequence[Trained], second: Sequence[Trained], seed: int = 0) -> dict[str, Any]:
    """Of every score that both models have, the mean difference with its interval over seeds, and over samples."""
    names = [name for name in first[0].columns if all(name in one.columns for one in (*first, *second))]
    apart = [np.stack([a.columns[name] - b.columns[name] for name in names], axis=1) for a, b in zip(first, second, strict=True)]
    whole = np.mean(apart, axis=0)
    low, high = percentile_interval(bootstrap_means(whole, seed=seed))
    return {
        name: difference([a.columns[name].mean() for a in first], [b.columns[name].mean() for b in second])
        | {"samples_low": float(low[index]), "samples_high": float(high[index])}
        for index, name in enumerate(names)
    }


def gather(trained: Mapping[str, Sequence[Trained]]) -> dict[str, Any]:
    """The summary of one data set."""
    any_model = next(iter(trained.values()))[0].results
    return {
        "means": {name: [f"{c.suite}.{c.condition}" for c in curves] for name, curves in means(any_model.curves).items()},
        "data": {"name": any_model.data.name, "split": any_model.data.split, "n": any_model.data.n},
        "models": {
            model: {
                "parameters": runs[0].results.model.parameters,
                "skipped": {c.condition: c.skipped for c in runs[0].results.conditions if c.skipped is not None},
                "scores": {
                    name: {"mean": statistics.fmean(values), "seeds": values}
                    for name in runs[0].columns
                    for values in [[float(one.columns[name].mean()) for one in runs]]
                },
            }
            for model, runs in trained.items()
        },
        "differences": {
            f"{one} minus {other}": compare(trained[one], trained[other])
            for one, other in PAIRS
            if one in trained and other in trained
        },
    }


def lines(name: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Plain text, in percent and percentage points."""
    data = summary["data"]
    yield f"{name}: balanced accuracy or area under it, %; {data['n']} images of the {data['split']} split"
    models = summary["models"]
    yield f"{'':34}" + "".join(f"{model:>15}" for model in models)
    for score in next(iter(models.values()))["scores"]:
        cells = [models[model]["scores"].get(score) for model in models]
        yield f"{score:34}" + "".join(f"{'-':>15}" if cell is None else f"{100 * cell['mean']:15.1f}" for cell in cells)
    for pair, found in summary["differences"].items():
        yield f"\n{name}, {pair}: difference [95 % over seeds] [95 % over samples], percentage points"
        for score, value in found.items():
            seeds = "[-, -]" if value["low"] is None else f"[{100 * value['low']:+.1f}, {100 * value['high']:+.1f}]"
            samples = f"[{100 * value['samples_low']:+.1f}, {100 * value['samples_high']:+.1f}]"
            yield f"{score:34}{100 * value['mean']:+7.1f} {seeds:18}{samples:18}"
    yield ""


def main() -> None:
    """Train, evaluate and write what came out."""
    parser = options("robustness_evidence", __doc__)
    parser.add_argument("--pneumonia", help="MedMNIST's pneumoniamnist.npz; without it only the digits run")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model")
    parser.add_argument("--limit", type=int, help="images that a model is evaluated on; all if not given")
    parser.add_argument("--suite", default="full", help="name or file of the suite")
    parser.add_argument("--folder", type=Path, default=Path("runs/robustness"), help="folder of all runs")
    parser.add_argument("--data", nargs="+", choices=sorted(SPLITS), default=sorted(SPLITS), help="which data to run on")
    given = parser.parse_args()
    results: dict[str, Any] = {"suite": given.suite, "seeds": given.seeds}
    text = []
    for data in given.data:
        if data == "digits" or given.pneumonia:
            trained: dict[str, list[Trained]] = {model: [] for model in MODELS}
            for seed in range(given.seeds):  # a seed at a time, so that what is cut short is still paired
                for model in MODELS:
                    trained[model].append(run(data, model, seed, given))
            results[data] = gather(trained)
            text += lines(data, results[data])
    write(given.out, results)
    save(given.out.with_suffix(".txt"), "\n".join(text) + "\n")


if __name__ == "__main__":
    main()
