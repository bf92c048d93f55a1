"""One command on machines that differ: what `vitkit evaluate --suite full` finds with other instructions, threads and versions.

A machine is made to look like another one by the variables that torch, oneDNN and MKL read; with ``--python`` another
environment, such as one of the lowest versions, is held against this one too. The same checkpoint is evaluated in a process of
its own each time.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from harness import options, write

from vitkit.evaluation import load_results

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


def main() -> None:
    """Train once, evaluate on every machine, and write what differs."""
    parser = options("machines", __doc__)
    parser.add_argument("--python", action="append", default=[], help="interpreter of another environment; may be given again")
    parser.add_argument("--suite", default="full")
    arguments = parser.parse_args()
    machines = [(name, sys.executable, environment) for name, environment in MACHINES.items()]
    for python in arguments.python:
        asked = "import torch, torchvision; print('torch', torch.__version__, 'and torchvision', torchvision.__version__)"
        name = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
        machines.append((name, python, {}))
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        config = ["--config", "configs/image/digits.yaml", "--trainer.max_epochs", "10"]
        run(["fit", *config, "--trainer.default_root_dir", str(root), "--name", "digits"])
        evaluation = ["evaluate", str(root / "digits" / "best.ckpt"), "--suite", arguments.suite, "--out"]
        run([*evaluation, str(root / "here")])
        for index, (name, python, environment) in enumerate(machines):
            run([*evaluation, str(root / str(index))], python, environment)
            results[name] = differences(root / "here", root / str(index))
            print(name, results[name])
    write(arguments.out, {"suite": arguments.suite, "machines": results})


if __name__ == "__main__":
    main()
