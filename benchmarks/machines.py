"""One command on machines that differ: what `vitkit evaluate --suite full` finds with other instructions, threads and versions.

A machine is made to look like another one by the variables that torch, oneDNN and MKL read; with ``--python`` another
environment, such as one of the lowest versions, is held against this one too. The same checkpoint is evaluated in a process of
its own each time.

A machine that truly is another one has no such checkpoint, and training gives it another one. So a model that needs none, the
nearest of the mean digits, goes through the suite as well, and what came out is kept for each condition. ``--against`` holds the
kept outcomes of another machine against this one's.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from harness import environment, options, write
from torch import Tensor

from vitkit.data import Digits
from vitkit.evaluation import evaluate, load_results
from vitkit.evaluation.storage.samples import read_samples

OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
MACHINES = {
    "two threads": {"OMP_NUM_THREADS": "2"},
    "no compiler": {"VITKIT_COMPILE": "0"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2", "VITKIT_COMPILE": "0"},
    "no vectors beyond SSE, no compiler": OLD | {"VITKIT_COMPILE": "0"},
}


def run(arguments: list[str], python: str = sys.executable, environment: Mapping[str, str] | None = None) -> None:
    """The ``vitkit`` command in a process of its own, with one thread unless told otherwise."""
    told = os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {})
    done = subprocess.run([python, "-m", "vitkit.cli", *arguments], capture_output=True, text=True, env=told, check=False)
    assert done.returncode == 0, done.stderr


def differences(here: Path, there: Path) -> dict[str, Any]:
    """What differs between two runs of one suite on the same samples."""
    one, other = (pq.read_table(folder / "samples.parquet") for folder in (here, there))
    for name in ("id", "label", "condition", "severity"):
        assert one[name] == other[name], name
    ours, theirs = (np.stack([table[name].to_numpy() for name in ("prediction", "confidence")]) for table in (one, other))
    apart = np.abs(ours[1] - theirs[1])
    pictures = [path.name for path in sorted((here / "pictures").glob("*_*.png"))]
    metrics = zip(load_results(here).conditions, load_results(there).conditions, strict=True)
    return {
        "outcomes": len(one),
        "other_predictions": int((ours[0] != theirs[0]).sum()),
        "largest_difference_of_a_confidence": float(f"{apart.max():.2g}"),
        "share_beyond_1e-5": float(f"{(apart > 1e-5).mean():.2g}"),
        "largest_difference_of_an_accuracy": max(
            abs(a.metrics["accuracy"].value - b.metrics["accuracy"].value) for a, b in metrics if a.metrics
        ),
        "pictures": len(pictures),
        "other_pictures": sum(
            (here / "pictures" / name).read_bytes() != (there / "pictures" / name).read_bytes() for name in pictures
        ),
    }


def outcomes(suite: str, out: Path) -> dict[str, str]:
    """Of every condition of a suite, by its id: digest of all predictions, accuracy, and mean confidence to 6 digits."""
    data = Digits(batch_size=2000)
    images, labels, *_ = next(iter(data.train_dataloader()))
    # In whole numbers, of which the digits' 17 levels are made, so that no order of summing shows.
    means = torch.stack([(images[labels == digit] * 16).round().long().sum(0) for digit in range(10)]).double()
    means = (means / 16 / labels.bincount().view(-1, 1, 1, 1)).float().flatten(1)

    def nearest(images: Tensor) -> Tensor:
        return -(images.flatten(1)[:, None] - means).square().sum(2)

    evaluate(nearest, data.test_dataloader(), suite, out)
    found = {}
    for entry, table in read_samples(out, ["label", "prediction", "confidence"]):
        labels, predictions, confidences = (table[name].to_numpy() for name in ("label", "prediction", "confidence"))
        if len(labels):  # of what this model cannot be shown, as tokens that are removed, there is nothing
            digest = sha256(predictions.astype(np.uint8).tobytes()).hexdigest()[:12]
            accuracy = float((predictions == labels).mean())
            found[entry["id"]] = f"{digest} {accuracy:.6f} {confidences.mean():.6f}"
    return found


def held_against(ours: Mapping[str, str], file: Path) -> dict[str, Any]:
    """How the outcomes of another machine differ from this one's."""
    tree = json.loads(file.read_text())
    theirs = tree["results"]["outcomes"]
    assert list(ours) == list(theirs), "another suite"
    pairs = {name: (one.split(), theirs[name].split()) for name, one in ours.items()}
    return {
        "processors": [environment()["processor"], tree["environment"]["processor"]],
        "torch": [environment()["torch"], tree["environment"]["torch"]],
        "conditions": len(pairs),
        "other_predictions": [name for name, (one, other) in pairs.items() if one[0] != other[0]],
        **{
            f"largest_difference_of_{what}": max(abs(float(one[index]) - float(other[index])) for one, other in pairs.values())
            for index, what in ((1, "an_accuracy"), (2, "a_mean_confidence"))
        },
    }


def main() -> None:
    """Train once, evaluate on every machine, and write what differs."""
    parser = options("machines", __doc__)
    parser.add_argument("--python", action="append", default=[], help="interpreter of another environment; may be given again")
    parser.add_argument("--suite", default="full")
    parser.add_argument("--against", type=Path, help="results of this benchmark that another machine has written")
    arguments = parser.parse_args()
    machines = [(name, sys.executable, environment) for name, environment in MACHINES.items()]
    for python in arguments.python:
        asked = "import torch, torchvision; print('torch', torch.__version__, 'and torchvision', torchvision.__version__)"
        name = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
        machines.append((name, python, {}))
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        kept: dict[str, Any] = {"suite": arguments.suite, "outcomes": outcomes(arguments.suite, root / "outcomes")}
        if arguments.against is not None:
            kept["against"] = held_against(kept["outcomes"], arguments.against)
            print(kept["against"])
        config = ["--config", "configs/image/digits.yaml", "--trainer.max_epochs", "10"]
        run(["fit", *config, "--trainer.default_root_dir", str(root), "--name", "digits"])
        evaluation = ["evaluate", str(root / "digits" / "best.ckpt"), "--suite", arguments.suite, "--out"]
        run([*evaluation, str(root / "here")])
        for index, (name, python, environment) in enumerate(machines):
            run([*evaluation, str(root / str(index))], python, environment)
            results[name] = differences(root / "here", root / str(index))
            print(name, results[name])
    write(arguments.out, kept | {"machines": results})


if __name__ == "__main__":
    main()
