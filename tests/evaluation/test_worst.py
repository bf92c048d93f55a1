"""Where a model fails, against a plain loop; and the pictures of it."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vitkit.evaluation import Applied, Condition, Context, Gain, RandomOcclusion, Shift, Suite, evaluate, load_results, summarise
from vitkit.evaluation.summary.worst import LISTED, Failures
from vitkit.grid import Grid


def suite():
    return Suite("small", [RandomOcclusion("painted", [0.25, 0.5, 0.75]), Gain([0.5, 2.0]), Shift([0.3])])


@pytest.fixture
def run(model, loader, tmp_path):
    evaluate(model, loader, suite(), tmp_path / "run")
    return tmp_path / "run"


def test_the_lists_are_those_of_a_plain_loop(run):
    found = load_results(run).worst
    samples = pq.read_table(run / "samples.parquet").to_pylist()
    reaches = {("random.painted", s): s / 0.75 for s in (0.25, 0.5, 0.75)}
    reaches |= {("gain", 0.5): 1.0, ("gain", 2.0): 1.0, ("shift", 0.3): 1.0}
    clean = [sample for sample in samples if sample["suite"] == "clean"]
    expected = []
    for row, sample in enumerate(clean):
        if sample["prediction"] != sample["label"]:
            continue
        own = [s for s in samples if s["id"] == sample["id"] and s["suite"] != "clean"]
        wrong = [s for s in own if s["prediction"] != s["label"]]
        shares = [
            np.mean([s["prediction"] != s["label"] for s in own if s["condition"] == condition])
            for condition in ("random.painted", "gain", "shift")
        ]
        if wrong:
            mildest = min(wrong, key=lambda s: reaches[s["condition"], s["severity"]])
            reach = reaches[mildest["condition"], mildest["severity"]]
            name = f"{mildest['suite']}.{mildest['condition']}/{mildest['severity']:g}"
            expected.append((-np.mean(shares), reach, row, sample["id"], name, mildest["prediction"]))
    expected.sort()
    assert len(expected) > LISTED
    assert [(-s.share, s.row, s.id, s.first, s.mistaken_for) for s in found.broken] == [
        (pytest.approx(share), row, name, first, prediction) for share, _, row, name, first, prediction in expected[:LISTED]
    ]
    wrong = [(-s["confidence"], row, s["id"]) for row, s in enumerate(clean) if s["prediction"] != s["label"]]
    assert [(-s.confidence, s.row, s.id) for s in found.confident] == sorted(wrong)[:LISTED]
    assert {sample.first for sample in found.confident} == {None}


def test_of_equal_shares_the_earlier_break_comes_first_then_the_earlier_sample():
    clean = pa.table({"id": list("abcd"), "label": [0] * 4, "prediction": [0, 0, 0, 1], "confidence": [0.9] * 4})
    entries = [
        {"suite": "s", "condition": "c", "identity": 0.0, "severity": s, "id": f"s.c/{s:g}", "order": int(s)} for s in (1.0, 2.0)
    ]
    failures = Failures(clean)
    nothing = failures.worst(Path("nowhere"))
    failures.add([(entries[0], np.array([0, 1, 0, 1])), (entries[1], np.array([1, 0, 1, 1]))])
    found = failures.worst(Path("nowhere"))
    assert [(s.id, s.share, s.first) for s in found.broken] == [("b", 0.5, "s.c/1"), ("a", 0.5, "s.c/2"), ("c", 0.5, "s.c/2")]
    assert [(s.id, s.share, s.prediction) for s in found.confident] == [("d", 1.0, 1)]
    assert (nothing.broken, nothing.confident[0].share) == ([], None)


def test_pictures_are_of_the_samples_and_of_what_broke_them(run, loader):
    found = load_results(run).worst
    listed = [*found.broken, *found.confident]
    assert {path.name for path in (run / "pictures").glob("worst-*")} == {f"worst-{s.row}.png" for s in listed}
    conditions = {condition.id(severity): (condition, severity) for condition, severity in suite()}
    for sample in listed:
        with Image.open(run / sample.picture) as opened:
            shown = np.asarray(opened.convert("L"))
        image = loader.dataset.images[sample.row : sample.row + 1]
        images = [image]
        if sample.first is not None:
            condition, severity = conditions[sample.first]
            images.append(condition.apply(image, severity, Context([sample.id], grid=Grid((4, 4), (2.0, 2.0)))).images)
        assert shown.shape == (64, 68 * len(images) - 4)
        for place, expected in enumerate(images):  # eight by eight pixels, each drawn as a square, and a gap
            tile = shown[::8, 68 * place :: 8][:, :8]
            np.testing.assert_array_equal(tile, (expected[0, 0] * 255).round().numpy())


def test_a_removed_token_is_no_pixel_of_its_picture(model, loader, tmp_path):
    """Where the broken samples are those that tokens were removed from, the right picture has the checks of removed tokens."""
    evaluate(model, loader, Suite("removed", [RandomOcclusion("removed", [0.75])]), tmp_path)
    found = load_results(tmp_path).worst
    assert found.broken
    for sample in found.broken:
        with Image.open(tmp_path / sample.picture) as opened:
            left, right = (np.asarray(opened.convert("L"))[:, start : start + 64] for start in (0, 68))
        checked = np.isin(right, (200, 235)) & (left != right)
        assert 0.5 < checked.mean() <= 0.75


class OneIterator:
    """Batches that can be gone through once at a time, as those of a DataLoader with persistent workers."""

    def __init__(self, loader):
        self.loader, self.left = loader, None

    def __iter__(self):
        self.left = iter(self.loader)
        return self

    def __next__(self):
        return next(self.left)


def test_a_condition_that_borrows_images_may_share_its_loader(model, loader, tmp_path):
    borrowing = Suite("borrowing", [RandomOcclusion("painted", [0.5, 0.75], fill="image")])
    evaluate(model, OneIterator(loader), borrowing, tmp_path, chunk=16)
    before = {path.name: path.read_bytes() for path in (tmp_path / "pictures").glob("worst-*")}
    for name in before:
        (tmp_path / "pictures" / name).unlink()
    found = evaluate(model, OneIterator(loader), borrowing, tmp_path, chunk=16).worst
    assert {path.name: path.read_bytes() for path in (tmp_path / "pictures").glob("worst-*")} == before
    assert {sample.picture for sample in [*found.broken, *found.confident]} == {f"pictures/{name}" for name in before}


class Halved(Condition):
    """Makes images of another size."""

    suite, name, title, unit, severities = "own", "halved", "Halved", "on or off", (1.0,)

    def apply(self, images, severity, context):
        return Applied(torch.nn.functional.avg_pool2d(images, 2))


def test_what_the_model_saw_is_left_out_where_it_has_another_size(loader, tmp_path):
    def model(images):
        bright = (images > 0.9).flatten(1).float().mean(1)
        return torch.stack([bright, 0.05 - bright, torch.zeros_like(bright)], dim=1)

    found = evaluate(model, loader, Suite("own", [Halved()]), tmp_path, guard=False).worst
    assert found.broken
    for sample in found.broken:
        with Image.open(tmp_path / sample.picture) as opened:
            assert opened.size == (64, 64)


def test_batches_and_missing_pictures_change_no_byte(model, loader, run, tmp_path):
    before = {path.name: path.read_bytes() for path in (run / "pictures").glob("worst-*")}
    results = load_results(run)
    evaluate(model, DataLoader(loader.dataset, batch_size=7), suite(), tmp_path / "other")
    assert {path.name: path.read_bytes() for path in (tmp_path / "other" / "pictures").glob("worst-*")} == before
    for name in list(before)[::2]:
        (run / "pictures" / name).unlink()
    assert None in {sample.picture for sample in summarise(run).worst.broken}
    assert evaluate(model, loader, suite(), run) == results
    assert {path.name: path.read_bytes() for path in (run / "pictures").glob("worst-*")} == before


def test_results_without_a_folder_name_no_picture(model, loader, run):
    found = evaluate(model, loader, suite()).worst
    stored = load_results(run).worst
    assert found.broken == [dataclasses.replace(sample, picture=None) for sample in stored.broken]
