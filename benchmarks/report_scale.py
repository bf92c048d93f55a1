"""Time and peak memory of `vitkit report` on a run of 50,000 samples under 100 conditions, in a process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from harness import options, write

from vitkit.cli.main import main as vitkit
from vitkit.evaluation.storage.samples import KEPT_LOGITS, SCHEMA, PartWriter
from vitkit.metrics import record

SAMPLES, CURVES, SEVERITIES = 50_000, 20, 5
CLASSES = (1000, 10)  # of more than 100 classes no logits are kept


def outcomes(labels: torch.Tensor, classes: int, skill: float, generator: torch.Generator) -> tuple[dict, torch.Tensor]:
    """What is recorded of samples that a model of some skill has seen, and its logits, which only few classes need."""
    n = len(labels)
    if classes <= KEPT_LOGITS:
        logits = torch.randn(n, classes, generator=generator)
        logits[torch.arange(n), labels] += skill
        return record(logits, labels), logits
    noise, luck, share = torch.rand(3, n, generator=generator)
    confidence = torch.sigmoid(skill - 1 + 3 * (noise - 0.5))
    right = luck < confidence
    p = torch.where(right, confidence, share * (1 - confidence)).double()
    found = {
        "prediction": torch.where(right, labels, (labels + 1) % classes), "confidence": confidence, "p_label": p,
        "rank": (~right).int(), "loss": -p.log(), "entropy": 1 - confidence, "brier": (1 - p) ** 2,
    }  # fmt: skip
    return found, torch.zeros(1).expand(n, classes)


def make(folder: Path, classes: int, samples: int) -> None:
    """A run whose answers get worse with the severity, with the columns and row groups that an evaluation leaves."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % classes
    ids = [f"{index % classes:04}/{index:08}.JPEG" for index in range(samples)]
    names = [("clean", "clean", 0.0)]
    names += [("corruptions", f"made_{curve:02}", severity + 1.0) for curve in range(CURVES) for severity in range(SEVERITIES)]
    entries = [
        {
            "id": f"{suite}.{name}/{severity:g}" if severity else "clean/0", "suite": suite, "condition": name, "title": name,
            "severity": severity, "unit": "severity", "identity": 0.0, "params": {}, "clipped": 0.0, "n": samples,
            "classes": classes, "skipped": None, "picture": None, "order": order,
        }
        for order, (suite, name, severity) in enumerate(names)
    ]  # fmt: skip
    with pq.ParquetWriter(folder / "samples.parquet", SCHEMA, compression="zstd", version="2.6") as file:
        for order, name in enumerate(names):
            writer = PartWriter(file)
            for start in range(0, samples, 2048):
                part = slice(start, start + 2048)
                found, logits = outcomes(labels[part], classes, 4 - 0.4 * name[2] - 0.01 * order, generator)
                writer.write(name, ids[part], labels[part], found, logits)
            writer.finish()
        file.add_key_value_metadata({b"vitkit": json.dumps(entries)})
    info = {
        "created": "2026-01-01T00:00:00+00:00", "vitkit": "0.1.0", "git": None, "command": "", "seed": 0, "packages": {},
        "hardware": "", "warnings": [], "preprocess": None,
        "model": {"name": "made", "fingerprint": "", "parameters": 0, "random_weights": False},
        "data": {"name": "made", "split": "test", "n": samples, "classes": [], "fingerprint": ""},
        "suite": {"name": "made", "config": {"name": "made", "threshold": 0.8, "conditions": []}},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps({"key": {}, "info": info}))


def main() -> None:
    """Make each run, report on it in a process of its own, and write time and memory."""
    parser = options("report_scale", __doc__)
    parser.add_argument("--report", metavar="FOLDER", help="report on this folder, and print seconds and MiB")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--make", metavar="FOLDER", help="only make the runs, in this folder, for --folder")
    parser.add_argument("--folder", type=Path, help="take the runs that are there")
    arguments = parser.parse_args()
    if arguments.report:
        start = time.perf_counter()
        code = vitkit(["report", arguments.report])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"code": code, "seconds": round(time.perf_counter() - start, 1), "peak_mib": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(arguments.make or arguments.folder or temporary)
        if arguments.folder is None:
            for classes in CLASSES:
                (root / str(classes)).mkdir(parents=True)
                make(root / str(classes), classes, arguments.samples)
        if arguments.make:
            return
        results: dict[str, Any] = {"samples": arguments.samples, "conditions": CURVES * SEVERITIES}
        for classes in CLASSES:
            command = [sys.executable, __file__, "--report", str(root / str(classes))]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            found = json.loads(said)
            assert found.pop("code") == 0, said
            results[f"{classes} classes"] = found
    write(arguments.out, results)


if __name__ == "__main__":
    main()
