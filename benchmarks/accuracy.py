"""One small vision transformer, trained with each position scheme on digits and on chest X-rays, over several seeds.

Schemes share everything else: initial weights, order of the data and augmentation depend on the seed alone, so that their
differences are paired by seed. The number of epochs is fixed, and nothing is chosen by a score. A model is tested on images as it
was trained on, in another resolution, and with a wider field of view; the latter two by two rules: positions count per token, or
per image, as in training. The X-rays are MedMNIST's pneumoniamnist.npz, which --data names; without it only the digits run.

Every finished training is a line in --jobs, and is not repeated. An interval is Student's, over seeds: it says how sure a mean
over trainings is on these very images, not on others, and is not corrected for the number of schemes.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from harness import options, save, write
from paired import summarise, table
from positions import RULES, SCHEMES, Rule, Shape, classifier, on_grid
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate, pad

import vitkit
from vitkit.data import Digits, ImageData, MedMNIST
from vitkit.encoder import Classifier
from vitkit.metrics import macro_auroc
from vitkit.preprocess import Preprocess
from vitkit.tasks.optimiser import parameter_groups, warmup_cosine

Scores = dict[str, dict[str, float]]
"""Condition to metric to value."""


@dataclass(frozen=True)
class Settings:
    """How a data set is trained on and tested; the model and the rate are such that the training loss falls in so few steps."""

    shape: Shape
    epochs: int
    batch: int
    shift: int
    """Largest shift of a training image along each axis, in pixels."""
    flip: bool
    fill: str
    """What comes in at the border of a shifted or padded image, as torch's pad has it."""
    resized: int
    """Side of the test images in another resolution, in pixels."""
    margin: int
    """Patches around the test images in a wider field of view."""
    lr: float = 4e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 2
    label_smoothing: float = 0.1


SETTINGS = {
    "digits": Settings(
        Shape(grid=(4, 4), patch=2),
        epochs=60, batch=64, shift=1, flip=False, fill="constant", resized=16, margin=1,
    ),
    "xrays": Settings(
        Shape(grid=(7, 7), patch=4),
        epochs=10, batch=128, shift=2, flip=True, fill="replicate", resized=56, margin=2,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Images in [0, 1] and labels of each split, and the fingerprint of each."""

    splits: dict[str, tuple[Tensor, Tensor]]
    fingerprints: dict[str, str]
    classes: int

    @property
    def scored(self) -> str:
        """The split that is printed: the test split, or the validation split of a file without one."""
        return "test" if "test" in self.splits else "val"


@cache
def load(name: str, path: str | None) -> Data:
    """A data set in vitkit's own splits."""
    source: ImageData = Digits() if path is None or name == "digits" else MedMNIST(path)
    splits, fingerprints = {}, {}
    for split in ("train", "val", "test"):
        if split in source.layout.parts:
            samples = source.split(split)
            images = torch.stack([samples[index].image for index in range(len(samples))])
            splits[split] = images, torch.tensor(samples.labels)
            fingerprints[split] = source.fingerprint(split)
    return Data(splits, fingerprints, source.num_classes)


def train(model: Classifier, images: Tensor, labels: Tensor, settings: Settings, seed: int) -> None:
    """A fixed number of epochs of AdamW, with a warm-up and a cosine."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(images) // settings.batch
    optimiser = torch.optim.AdamW(parameter_groups(model, settings.lr, settings.weight_decay), lr=settings.lr)
    factor = warmup_cosine(settings.epochs * per_epoch, settings.warmup_epochs * per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    model.train()
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(images), generator=generator)[: per_epoch * settings.batch].split(settings.batch):
            logits = model(augmented(images[chosen], settings, generator))
            optimiser.zero_grad()
            cross_entropy(logits, labels[chosen], label_smoothing=settings.label_smoothing).backward()
            optimiser.step()
            schedule.step()
    model.eval()


def augmented(images: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    """Each image shifted by a few pixels, and maybe flipped."""
    count, _, height, width = images.shape
    down, right = torch.randint(2 * settings.shift + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    if settings.flip:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = pad(images, (settings.shift,) * 4, mode=settings.fill)
    return padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None]].movedim(-1, 1)


def conditions(images: Tensor, settings: Settings) -> Iterator[tuple[str, Tensor, Rule, int]]:
    """What a trained model is tested on, and how many tokens at the border are not pooled.

    It is images as in training, in another resolution, and with a wider field of view. There the tokens of the narrower one are
    pooled, which attend to all: a mean over as many empty ones would move the scores more than any position does.
    """
    yield name(images), images, RULES[0], 0
    size, margin = (settings.resized,) * 2, (settings.margin * settings.shape.patch,) * 4
    resized = interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    padded = pad(images, margin, mode=settings.fill)
    for what, changed, border in (("resized", resized, 0), ("padded", padded, settings.margin)):
        for rule in RULES:
            yield f"{what} to {name(changed)}, {rule}", changed, rule, border


def name(images: Tensor) -> str:
    """The images' size."""
    return "×".join(map(str, images.shape[2:]))


@torch.inference_mode()
def test(model: Classifier, images: Tensor, labels: Tensor, settings: Settings) -> Scores:
    """Accuracy, and of two classes the AUROC too, in every condition."""
    scores: Scores = {}
    for condition, changed, rule, border in conditions(images, settings):
        grid = model.grid(changed.shape[2:]).shape
        assert [length * settings.shape.patch for length in grid] == list(changed.shape[2:])  # no patch is cut
        ready, spacing = on_grid(model, settings.shape, (grid[0], grid[1]), rule)
        logits = torch.cat([classify(ready, part, spacing, border) for part in changed.split(256)]).double()
        scores[condition] = {"accuracy": (logits.argmax(1) == labels).double().mean().item()}
        if logits.shape[1] == 2 and (found := macro_auroc(logits.numpy(), labels.numpy())):
            scores[condition]["AUROC"] = found[0]
    return scores


def classify(model: Classifier, images: Tensor, spacing: tuple[float, float], border: int) -> Tensor:
    """Logits from the mean of all tokens but those at the border."""
    tokens = model.encoder(model.preprocess.normalise(images), spacing).spatial()
    height, width = tokens.shape[2:]
    return model.head(tokens[..., border : height - border, border : width - border].mean((-2, -1)))


Job = tuple[str, str, int, str | None]
"""Data set, scheme, seed, and the file of the X-rays."""


def run(job: Job) -> dict[str, Any]:
    """Train and test once; in a process of its own."""
    data_set, scheme, seed, path = job
    torch.set_num_threads(1)
    data, settings = load(data_set, path), SETTINGS[data_set]
    images, labels = data.splits["train"]
    preprocess = Preprocess(images.shape[2:], [round(images.mean().item(), 3)], [round(images.std().item(), 3)])
    model = classifier(scheme, settings.shape, data.classes, preprocess, seed)
    start = time.process_time()
    train(model, images, labels, settings, seed)
    trained = time.process_time()
    scores = {split: test(model, *data.splits[split], settings) for split in data.splits if split != "train"}
    return {
        "key": key(job),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "core_seconds": {"training": round(trained - start, 1), "tests": round(time.process_time() - trained, 1)},
        "scores": scores,
    }


def key(job: Job) -> dict[str, Any]:
    """All that a result depends on, as JSON has it."""
    data_set, scheme, seed, path = job
    about = {
        "data": data_set,
        "scheme": scheme,
        "seed": seed,
        "settings": asdict(SETTINGS[data_set]),
        "fingerprints": load(data_set, path).fingerprints,
        "vitkit": vitkit.__version__,
        "torch": torch.__version__,
    }
    found: dict[str, Any] = json.loads(json.dumps(about))
    return found


def finished(path: Path) -> list[dict[str, Any]]:
    """The trainings in a file of jobs, which is left without the half line of a killed run."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    save(path, "".join(lines))
    return [json.loads(line) for line in lines]


def run_all(jobs: Sequence[Job], path: Path, workers: int) -> dict[Job, dict[str, Any]]:
    """The result of every job: what is in the file, and what is not yet, appended as it comes."""
    known = {json.dumps(record["key"], sort_keys=True): record for record in finished(path)}
    results = {job: known.get(json.dumps(key(job), sort_keys=True)) for job in jobs}
    missing = [job for job, record in results.items() if record is None]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} trainings are in {path}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool, path.open("a") as file:
        futures = {pool.submit(run, job): job for job in missing}
        for count, future in enumerate(as_completed(futures), start=1):
            job, record = futures[future], future.result()
            results[job] = record
            file.write(json.dumps(record) + "\n")
            file.flush()
            score = next(iter(record["scores"][load(job[0], job[3]).scored].values()))
            told = ", ".join(f"{metric} {value:.4f}" for metric, value in score.items())
            print(f"{count}/{len(missing)} {job[0]}, {job[1]}, seed {job[2]}: {told}, {record['core_seconds']}", file=sys.stderr)
    return {job: record for job, record in results.items() if record is not None}


def gather(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Split to condition to metric to scheme: what the seeds gave."""
    first = next(iter(records.values()))[0]["scores"]
    return {
        split: {
            condition: {
                metric: summarise(
                    {scheme: [row["scores"][split][condition][metric] for row in rows] for scheme, rows in records.items()}
                )
                for metric in metrics
            }
            for condition, metrics in tested.items()
        }
        for split, tested in first.items()
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = options("accuracy", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", help="pneumoniamnist.npz, for the X-rays")
    parser.add_argument("--data-sets", nargs="+", choices=list(SETTINGS), help="all that there is a file for, if not given")
    parser.add_argument("--only", nargs="+", default=[""], help="schemes whose name holds one of these")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each scheme")
    parser.add_argument("--workers", type=int, default=2, help="processes, each of one thread")
    parser.add_argument("--jobs", type=Path, default=Path("runs/bench/accuracy.jsonl"), help="file of the finished trainings")
    arguments = parser.parse_args()
    arguments.data_sets = arguments.data_sets or [data_set for data_set in SETTINGS if arguments.data or data_set == "digits"]
    if "xrays" in arguments.data_sets and not arguments.data:
        parser.error("the X-rays need --data PATH of pneumoniamnist.npz")
    arguments.schemes = [scheme for scheme in SCHEMES if any(part in scheme for part in arguments.only)]
    if not arguments.schemes or arguments.seeds < 1:
        parser.error(f"nothing to train; the schemes are: {'; '.join(SCHEMES)}")
    return arguments


def main() -> None:
    """Train what is missing, then write and print everything."""
    arguments = parse()
    torch.set_num_threads(1)
    # A seed after the other, so that what a killed run leaves is paired.
    jobs: list[Job] = [
        (data_set, scheme, seed, arguments.data if data_set == "xrays" else None)
        for seed in range(arguments.seeds)
        for data_set in arguments.data_sets
        for scheme in arguments.schemes
    ]
    records = run_all(jobs, arguments.jobs, arguments.workers)
    results: dict[str, Any] = {}
    text: list[str] = []
    for data_set in arguments.data_sets:
        data = load(data_set, arguments.data)
        rows = {scheme: [records[job] for job in jobs if job[:2] == (data_set, scheme)] for scheme in arguments.schemes}
        spent = {scheme: statistics.median(row["core_seconds"]["training"] for row in found) for scheme, found in rows.items()}
        scores = gather(rows)
        results[data_set] = {
            "settings": asdict(SETTINGS[data_set]),
            "images": {split: len(labels) for split, (_, labels) in data.splits.items()},
            "fingerprints": data.fingerprints,
            "seeds": arguments.seeds,
            "parameters": {scheme: found[0]["parameters"] for scheme, found in rows.items()},
            "core-seconds of a training": spent,
            "scores": scores,
        }
        about = f"{len(data.splits[data.scored][1])} images of the {data.scored} split, n = {arguments.seeds} seeds"
        if data.scored != "test":
            text.append(f"{data_set}: there is no test split; this is the validation split, by which nothing was chosen.\n")
        for condition, metrics in scores[data.scored].items():
            for metric, summary in metrics.items():
                text += [f"{data_set}, {metric} in %, {condition}: {about}", *table(summary), ""]
    write(arguments.out, results)
    save(arguments.out.with_suffix(".txt"), "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
