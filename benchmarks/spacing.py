"""One small transformer of scans, trained at 1 mm with each source of positions, and tested at 1, 1.5 and 2 mm along one axis.

The same scans are resampled along that axis alone, as a scanner with thicker slices would give them. A model sees the same tissue
at every spacing: the size in voxels shrinks as the spacing grows, the patch keeps its voxels, so the grid of tokens gets shorter.
Padding around a scan is shown as 0 and not masked: a mean over real tokens alone would not tell how many there are, and with them
how large something is. No model is trained at another spacing than the first, and no weight changes after that. What changes is
what its positions are told, in up to two ways, each of them tested with the very same weights:

- "in mm": the spectral bias gets the scan's spacing. Absolute positions and the table are spread over the same mm, by linear
  interpolation (sin-cos by its formula), which they can be as all the grids cover the same box. vitkit refuses to resample a
  table; this is done here.
- "in tokens": a step from token to token counts as in training; for the spectral bias that is a wrong constant spacing.

Schemes share everything else: initial weights, order of the data and augmentation depend on the seed alone, so that their
differences are paired by seed. The number of epochs is fixed, and no training is stopped or chosen by a score. An interval is
Student's, over seeds: it says how sure a mean over trainings is on these very scans, not on others, and is not corrected for the
number of schemes.

--data names folders that vitkit.data.Scans reads. "generated" stands for scans made here: two balls, near each other or far apart
along the axis, anywhere, so that nothing but their distance in mm tells the classes apart. Every finished training is a line in
--jobs, and is not repeated.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accuracy import finished
from harness import options, save, write
from paired import summarise, table
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

import vitkit
from vitkit.bias import Bias, NoBias, SpectralBias, TableBias
from vitkit.data import Scans
from vitkit.data.sample import collate
from vitkit.embedding import LearnedPosition, NoPosition, PatchEmbed, Position, SinCosPosition
from vitkit.encoder import Classifier, Encoder
from vitkit.metrics import macro_auroc
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks.optimiser import parameter_groups, warmup_cosine
from vitkit.volumes import Volume
from vitkit.volumes.volume import placed
from vitkit.volumes.write import save as save_volume

SPACINGS = (1.0, 1.5, 2.0)
"""In mm along the axis; the first is trained at, and is that of the other axes always."""
REFERENCES = ("spectral, in mm", "none")
GENERATED = "generated"
BOX = (48, 48, 48)
Way = Literal["in mm", "in tokens"]


@dataclass(frozen=True)
class Settings:
    """Model, training, and what is seen."""

    extent: tuple[int, int, int]
    """Box about the middle of a scan that the model sees, in mm along right, front and head; smaller scans are padded."""
    axis: int = 2
    """The one that is resampled."""
    epochs: int = 24
    patch: int = 8
    dim: int = 48
    heads: int = 3
    depth: int = 2
    lengthscale: float = 16.0
    """Initial length scale of the spectral biases, in mm."""
    batch: int = 8
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 2
    label_smoothing: float = 0.1
    shift: int = 3
    """Largest shift of a training scan along each axis, in voxels."""

    def spacing(self, along: float) -> tuple[float, ...]:
        """Of a voxel, in mm, with this one along the axis."""
        return tuple(along if axis == self.axis else SPACINGS[0] for axis in range(3))

    def size(self, along: float) -> tuple[int, ...]:
        """Voxels of the same box at another spacing along the axis."""
        return tuple(round(length / step) for length, step in zip(self.extent, self.spacing(along), strict=True))

    def grid(self, along: float) -> tuple[int, ...]:
        """Tokens along each axis."""
        return tuple(length // self.patch for length in self.size(along))

    def even(self) -> bool:
        """Whether the box is a whole number of patches at every spacing, so that the same tissue is seen."""
        return all(
            patches * self.patch * step == length
            for along in SPACINGS
            for patches, step, length in zip(self.grid(along), self.spacing(along), self.extent, strict=True)
        )


SCHEMES: dict[str, tuple[Callable[[Settings], Bias | Position], tuple[Way, ...]]] = {
    "none": (lambda of: NoBias(), ("in mm",)),
    "spectral": (lambda of: SpectralBias(Exponential(of.heads, 3, of.lengthscale)), ("in mm", "in tokens")),
    "spectral, log": (lambda of: SpectralBias(Exponential(of.heads, 3, of.lengthscale), "log"), ("in mm", "in tokens")),
    "table": (lambda of: TableBias(of.heads, of.grid(SPACINGS[0])), ("in mm", "in tokens")),
    "learned": (lambda of: LearnedPosition(of.dim, of.grid(SPACINGS[0])), ("in mm",)),
    "sin-cos": (lambda of: SinCosPosition(of.grid(SPACINGS[0])), ("in mm", "in tokens")),
}
"""Each is the model's only source of position, and meets another spacing in these ways."""


def called(scheme: str, way: Way) -> str:
    """A row of the tables."""
    return scheme if scheme == "none" else f"{scheme}, {way}"


def classifier(scheme: str, settings: Settings, classes: int, preprocess: Preprocess, seed: int) -> Classifier:
    """A model whose initial weights, but for those of the scheme, depend on the seed alone."""

    def build(part: Bias | Position) -> Classifier:
        torch.manual_seed(seed)
        encoder = Encoder(
            PatchEmbed(3, settings.patch, preprocess.channels, settings.dim),
            depth=settings.depth,
            num_heads=settings.heads,
            position=part if isinstance(part, Position) else NoPosition(),
            bias=part if isinstance(part, Bias) else NoBias(),
            mlp_ratio=2,
            class_token=False,
            pool="mean",
        )
        return Classifier(encoder, classes, preprocess)

    torch.manual_seed(seed)
    model = build(SCHEMES[scheme][0](settings))
    # Biases draw initial values of their own, and with them move what is drawn after.
    _, unexpected = model.load_state_dict(build(NoBias()).state_dict(), strict=False)
    assert not unexpected
    return model


def at(model: Classifier, settings: Settings, along: float, way: Way) -> Classifier:
    """A copy of the model for scans of another spacing, with the same weights."""
    model, grid = deepcopy(model), settings.grid(along)
    told = settings.spacing(along if way == "in mm" else SPACINGS[0])
    model.preprocess = replace(model.preprocess, size=settings.size(along), spacing=told)
    if way == "in tokens" and isinstance(model.encoder.position, SinCosPosition):
        model.encoder.position.shape = None
    for block in model.encoder.blocks:
        attention = block.attn
        if isinstance(attention.bias, TableBias):
            logits, attention.bias = attention.bias.logits.detach(), TableBias(settings.heads, grid)
            for axis, (before, now) in enumerate(zip(settings.grid(SPACINGS[0]), grid, strict=True)):
                step = before / now if way == "in mm" else 1.0
                logits = interpolated(logits, 1 + axis, torch.arange(1 - now, now) * step + before - 1)
            attention.bias.logits.data = logits
    return model


def interpolated(table: Tensor, axis: int, where: Tensor) -> Tensor:
    """Linear interpolation along an axis, at places counted in its entries."""
    low = where.floor().long().clamp(0, max(table.shape[axis] - 2, 0))
    high = (low + 1).clamp(max=table.shape[axis] - 1)
    share = (where - low).to(table.dtype).view([-1 if other == axis else 1 for other in range(table.ndim)])
    return table.index_select(axis, low) * (1 - share) + table.index_select(axis, high) * share


@dataclass(frozen=True)
class Split:
    """Scans in memory, at one spacing."""

    images: Tensor
    """(scans, 1, R, A, S), in [0, 1]."""
    labels: Tensor


@dataclass(frozen=True)
class Data:
    """Scans to train with, and those to test with at each spacing."""

    name: str
    train: Split
    tests: dict[str, dict[float, Split]]
    """Split to spacing along the axis to scans."""
    classes: int
    fingerprints: dict[str, str]
    preprocess: Preprocess


def load(source: Scans, name: str, settings: Settings) -> Data:
    """Read every scan once at every spacing that it is needed at."""
    splits = [split for split in ("train", "val", "test") if split in source.layout.parts]

    def split(which: str, along: float) -> Split:
        source.preprocess = Preprocess(settings.size(along), spacing=settings.spacing(along))
        batch = collate(list(source.split(which)))
        return Split(batch.image, batch.label)

    train = split("train", SPACINGS[0])
    tests = {which: {along: split(which, along) for along in SPACINGS} for which in splits[1:]}
    mean, std = round(train.images.mean().item(), 3), round(train.images.std().item(), 3)
    preprocess = Preprocess(settings.size(SPACINGS[0]), [mean], [std], spacing=settings.spacing(SPACINGS[0]))
    return Data(name, train, tests, source.num_classes, {which: source.fingerprint(which) for which in splits}, preprocess)


def train(model: Classifier, data: Split, settings: Settings, seed: int) -> float:
    """A fixed number of epochs of AdamW, with a warm-up and a cosine; returns the loss of the last epoch."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(data.labels) // settings.batch
    optimiser = torch.optim.AdamW(parameter_groups(model, settings.lr, settings.weight_decay), lr=settings.lr)
    factor = warmup_cosine(settings.epochs * per_epoch, settings.warmup_epochs * per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    losses: list[float] = []
    model.train()
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(data.labels), generator=generator)[: per_epoch * settings.batch].split(settings.batch):
            steps = torch.randint(-settings.shift, settings.shift + 1, (len(chosen), 3), generator=generator).tolist()
            logits = model(shifted(data.images[chosen], steps))
            loss = cross_entropy(logits, data.labels[chosen], label_smoothing=settings.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    model.eval()
    return statistics.fmean(losses[-per_epoch:])


def shifted(scans: Tensor, steps: Sequence[Sequence[int]]) -> Tensor:
    """Each scan moved by whole voxels along each axis."""
    return torch.stack([placed(scan, step, scan.shape[1:], 0)[0] for scan, step in zip(scans, steps, strict=True)])


@torch.inference_mode()
def test(model: Classifier, data: Split) -> dict[str, float]:
    """AUROC and accuracy."""
    logits = torch.cat([model(images) for images in data.images.split(32)]).double()
    found = macro_auroc(logits.numpy(), data.labels.numpy())
    assert found is not None, "a split lacks a class"
    return {"AUROC": found[0], "accuracy": (logits.argmax(1) == data.labels).double().mean().item()}


def run(scheme: str, seed: int, data: Data, settings: Settings) -> dict[str, Any]:
    """Train once, and test at every spacing in every way."""
    model = classifier(scheme, settings, data.classes, data.preprocess, seed)
    start = time.process_time()
    loss = train(model, data.train, settings, seed)
    spent = time.process_time() - start
    scores = {
        which: {
            f"{along:g} mm": {called(scheme, way): test(at(model, settings, along, way), split) for way in SCHEMES[scheme][1]}
            for along, split in splits.items()
        }
        for which, splits in data.tests.items()
    }
    return {
        "key": key(scheme, seed, data, settings),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "core_seconds": round(spent, 1),
        "training loss": loss,
        "scores": scores,
    }


def key(scheme: str, seed: int, data: Data, settings: Settings) -> dict[str, Any]:
    """All that a result depends on, as JSON has it."""
    about = {
        "data": data.name,
        "scheme": scheme,
        "seed": seed,
        "settings": asdict(settings),
        "fingerprints": data.fingerprints,
        "vitkit": vitkit.__version__,
        "torch": torch.__version__,
    }
    found: dict[str, Any] = json.loads(json.dumps(about))
    return found


def run_all(schemes: Sequence[str], seeds: int, data: Data, settings: Settings, path: Path) -> dict[str, list[dict[str, Any]]]:
    """The result of every training: what is in the file, and what is not yet, appended as it comes."""
    known = {json.dumps(record["key"], sort_keys=True): record for record in finished(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {scheme: [] for scheme in schemes}
    for seed in range(seeds):  # a seed after the other, so that what a killed run leaves is paired
        for scheme in schemes:
            record = known.get(json.dumps(key(scheme, seed, data, settings), sort_keys=True))
            if record is None:
                record = run(scheme, seed, data, settings)
                with path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                told = [round(next(iter(found.values()))["AUROC"], 3) for found in first(record["scores"]).values()]
                about = f"loss {record['training loss']:.3f}, {record['core_seconds']} s"
                print(f"{scheme}, seed {seed}: AUROC {told}, {about}", file=sys.stderr, flush=True)
            results[scheme].append(record)
    return results


def first(scores: dict[str, Any]) -> dict[str, Any]:
    """Those of the test split, or of the validation split where there is none."""
    return scores.get("test") or scores["val"]


def gather(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Split to condition to metric to row: what the seeds gave."""
    some = next(iter(records.values()))[0]["scores"]
    return {
        which: {
            condition: {
                metric: summarise(
                    {
                        row: [record["scores"][which][condition][row][metric] for record in found]
                        for found in records.values()
                        for row in found[0]["scores"][which][condition]
                    },
                    REFERENCES,
                )
                for metric in ("AUROC", "accuracy")
            }
            for condition in conditions
        }
        for which, conditions in some.items()
    }


def make_pairs(out: Path, axis: int, train: int = 192, test: int = 80, seed: int = 0) -> None:
    """Generated scans: two balls of 4 mm radius, 14 to 18 mm apart or 26 to 30, within 15 degrees of the axis."""
    rows = [["image", "label", "split"]]
    for index in range(train + test):
        random = np.random.default_rng([seed, index])
        far = index % 2
        apart = random.uniform(26, 30) if far else random.uniform(14, 18)
        direction = random.uniform(-0.18, 0.18, 3)
        direction[axis] = 1
        direction *= apart / 2 / np.linalg.norm(direction)
        room = 23.5 - 4.5 - np.abs(direction)  # both balls are inside
        middle = random.uniform(-room, room)
        where = np.moveaxis(np.indices((48, 48, 48)), 0, -1) - 23.5
        nearest = np.minimum(*(np.linalg.norm(where - middle - side * direction, axis=-1) for side in (-1, 1)))
        values = 0.2 + 0.7 * (4.5 - nearest).clip(0, 1) + random.normal(0, 0.04, where.shape[:3])
        affine = np.eye(4)
        affine[:3, 3] = -23.5
        name = f"images/{index:03}.nii.gz"
        save_volume(Volume(torch.from_numpy(np.rint(1000 * values).astype(np.int32))[None], affine, name), out / name)
        rows.append([name, ("near", "far")[far], "train" if index < train else "test"])
    with (out / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = options("spacing", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", nargs="+", default=[GENERATED], help=f'folders of scans, or manifests; or "{GENERATED}"')
    parser.add_argument("--label", help="column of the classes")
    parser.add_argument("--extent", type=int, nargs=3, default=BOX, help="box that is seen of scans, in mm along R, A and S")
    parser.add_argument("--axis", choices=list("RAS"), default="S", help="the one that is resampled")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--schemes", nargs="+", choices=list(SCHEMES), default=list(SCHEMES))
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each scheme")
    parser.add_argument("--jobs", type=Path, default=Path("runs/bench/spacing.jsonl"), help="file of the finished trainings")
    arguments = parser.parse_args()
    arguments.settings = {
        name: Settings(BOX if name == GENERATED else tuple(arguments.extent), "RAS".index(arguments.axis), arguments.epochs)
        for name in arguments.data
    }
    if not all(settings.even() for settings in arguments.settings.values()):
        parser.error(f"--extent {arguments.extent} is no whole number of patches at {SPACINGS} mm, as 48 mm are")
    if arguments.seeds < 1 or arguments.epochs < 1:
        parser.error("nothing to train")
    return arguments


def load_all(arguments: argparse.Namespace) -> list[tuple[Data, Settings]]:
    """Every data set in memory."""
    loaded = []
    for name, settings in arguments.settings.items():
        if name == GENERATED:
            with tempfile.TemporaryDirectory() as temporary:
                make_pairs(Path(temporary), settings.axis)
                loaded.append((load(Scans(temporary), name, settings), settings))
        else:
            source = Scans(name, label=arguments.label, oversize="crop")
            loaded.append((load(source, Path(name).stem, settings), settings))
    return loaded


def report(data: Data, settings: Settings, records: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Any], list[str]]:
    """The results of a data set, and their tables as text."""
    scores, seeds = gather(records), len(next(iter(records.values())))
    results = {
        "settings": asdict(settings),
        "sizes": {f"{along:g} mm": {"voxels": settings.size(along), "tokens": settings.grid(along)} for along in SPACINGS},
        "scans": {"train": len(data.train.labels)}
        | {split: len(found[SPACINGS[0]].labels) for split, found in data.tests.items()},
        "fingerprints": data.fingerprints,
        "seeds": seeds,
        "parameters": {scheme: found[0]["parameters"] for scheme, found in records.items()},
        "core-seconds of a training": {
            scheme: statistics.median(record["core_seconds"] for record in found) for scheme, found in records.items()
        },
        "training loss": {
            scheme: round(statistics.fmean(record["training loss"] for record in found), 4) for scheme, found in records.items()
        },
        "scores": scores,
    }
    tested, count = ("test" if "test" in scores else "val"), len(first(data.tests)[SPACINGS[0]].labels)
    text = []
    if tested == "val":
        text.append(f"{data.name}: there is no test split; this is the validation split.\n")
    for condition, metrics in scores[tested].items():
        for metric, summary in metrics.items():
            where = f"trained at {SPACINGS[0]:g} mm, tested at {condition} along {'RAS'[settings.axis]}"
            about = f"{count} scans of the {tested} split, n = {seeds} seeds"
            text += [f"{data.name}, {metric} in %, {where}: {about}", *table(summary, REFERENCES), ""]
    return results, text


def main() -> None:
    """Train what is missing, then write and print everything."""
    arguments = parse()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    text: list[str] = []
    for data, settings in load_all(arguments):
        records = run_all(arguments.schemes, arguments.seeds, data, settings, arguments.jobs)
        results[data.name], told = report(data, settings, records)
        text += told
    write(arguments.out, results)
    save(arguments.out.with_suffix(".txt"), "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
