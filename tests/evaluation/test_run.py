import dataclasses
import hashlib
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from vitkit.errors import DataError, UsageError
from vitkit.evaluation import (
    Applied,
    Condition,
    Corruption,
    DataInfo,
    Gain,
    RandomOcclusion,
    Shift,
    Suite,
    evaluate,
    load_results,
    summarise,
)
from vitkit.grid import Grid
from vitkit.metrics import record


def suite():
    return Suite(
        "small", [RandomOcclusion("painted", [0.25, 0.5, 0.75]), RandomOcclusion("removed", [0.25, 0.5, 0.75]), Gain([0.5, 2.0])]
    )


def content(folder):
    """Hash of every file but those that state the time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("run.json", "results.json")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def without_time(results):
    return dataclasses.replace(results, created="", command="")


@pytest.fixture
def unbroken(model, loader, tmp_path):
    evaluate(model, loader, suite(), tmp_path / "unbroken")
    return tmp_path / "unbroken"


def test_a_finished_run_holds_what_the_schema_says(unbroken):
    names = {path.name for path in unbroken.iterdir()}
    assert names == {"run.json", "results.json", "results.csv", "samples.parquet", "pictures"}
    results = load_results(unbroken)
    assert [condition.id for condition in results.conditions] == [condition.id(severity) for condition, severity in suite()]
    assert [condition.order for condition in results.conditions] == list(range(9))
    assert all((unbroken / condition.picture).is_file() for condition in results.conditions)
    assert {condition.n for condition in results.conditions} == {50} == {results.data.n}
    assert (results.model.num_classes, results.seed, results.suite.name) == (3, 0, "small")
    metrics = "accuracy nll brier ece adaptive_ece auroc aurc accuracy_at_80 accuracy_at_50"
    assert list(results.clean.metrics) == metrics.split()
    assert results.clean.metrics["accuracy"].value == 0.8
    samples = pq.read_table(unbroken / "samples.parquet")
    assert samples.num_rows == 9 * 50
    names = "suite condition severity id group label prediction confidence p_label rank loss entropy brier logits"
    assert samples.column_names == names.split()


def test_records_are_those_of_the_plain_model(model, loader, unbroken):
    samples = pq.read_table(unbroken / "samples.parquet", filters=[("suite", "=", "clean")])
    images = loader.dataset.images
    with torch.inference_mode():
        logits = model(images)
    assert samples["id"].to_pylist() == [f"scan/{index}.png" for index in range(50)]
    assert samples["label"].to_pylist() == loader.dataset.labels
    stored = np.stack(samples["logits"].to_pylist())
    np.testing.assert_allclose(stored, logits.numpy(), atol=1e-5)
    for name, values in record(torch.from_numpy(stored), torch.tensor(loader.dataset.labels)).items():
        np.testing.assert_allclose(samples[name].to_numpy(), values.numpy(), rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 0), (64, 0), (7, 2)])
def test_batch_size_and_workers_change_no_byte(model, loader, unbroken, tmp_path, batch_size, workers):
    other = DataLoader(loader.dataset, batch_size=batch_size, num_workers=workers)
    evaluate(model, other, suite(), tmp_path / "other")
    assert content(tmp_path / "other") == content(unbroken)


def test_every_call_of_the_model_has_the_same_shape(loader, tmp_path):
    """Products of matrices are rounded differently for another number of rows; here that is exaggerated."""

    def counting(seen):
        def model(images):
            seen.add(len(images))
            return images.flatten(1)[:, :3] * len(images)

        return model

    outs = [tmp_path / str(batch_size) for batch_size in (1, 7, 64)]
    for out, batch_size in zip(outs, (1, 7, 64), strict=True):
        seen = set()  # of each run its own: what a function holds on to tells it from another
        loader = DataLoader(loader.dataset, batch_size=batch_size)
        evaluate(counting(seen), loader, Suite("one", [Gain([0.5])]), out, chunk=20)
        assert seen == {20}
    assert content(outs[0]) == content(outs[1]) == content(outs[2])


class StoppedError(Exception):
    pass


class StopsAfter:
    """Passes everything on to a model, and stops once it has been called so many times."""

    def __init__(self, model, calls):
        self.model, self.calls = model, calls

    def __call__(self, module, arguments):
        self.calls -= 1
        if self.calls < 0:
            raise StoppedError


@pytest.mark.parametrize("calls", [1, 6, 12, 19])
def test_a_run_that_was_stopped_goes_on_and_ends_the_same(model, loader, unbroken, tmp_path, calls):
    out = tmp_path / "broken"
    reference = evaluate(model, loader, suite(), tmp_path / "reference", chunk=25)
    hook = model.register_forward_pre_hook(StopsAfter(model, calls))
    with pytest.raises(StoppedError):
        evaluate(model, loader, suite(), out, chunk=25)
    hook.remove()
    assert model.training, "the model's mode was not restored"
    finished = max(0, calls - 4) // 2  # four calls are the guards', and two chunks a condition
    assert len(list(out.glob("parts/*"))) == finished
    assert not (out / "samples.parquet").exists()
    seen = []
    resumed = evaluate(model, loader, suite(), out, chunk=25, progress=lambda done, total, what: seen.append((done, total, what)))
    assert content(out) == content(tmp_path / "reference")
    assert without_time(resumed) == without_time(reference)
    assert seen == sorted(seen, key=lambda item: item[0])
    assert seen[-1][:2] == (450, 450)
    assert len(seen) == finished + 2 * (9 - finished)


def test_a_cut_off_part_is_computed_again(model, loader, unbroken, tmp_path):
    out = tmp_path / "broken"
    hook = model.register_forward_pre_hook(StopsAfter(model, 5))
    with pytest.raises(StoppedError):
        evaluate(model, loader, suite(), out)
    hook.remove()
    part = sorted(out.glob("parts/*"))[1]
    part.write_bytes(part.read_bytes()[:-20])
    (out / "parts" / ".clean_0.parquet.1.tmp").write_bytes(b"left by a kill")
    evaluate(model, loader, suite(), out)
    assert content(out) == content(unbroken)


def test_a_finished_run_is_only_summarised(model, loader, unbroken):
    before, results = content(unbroken), load_results(unbroken)
    hook = model.register_forward_pre_hook(StopsAfter(model, 0))
    assert evaluate(model, loader, suite(), unbroken) == results
    hook.remove()
    assert content(unbroken) == before


def test_results_come_from_the_stored_samples_alone(unbroken):
    results, csv = load_results(unbroken), (unbroken / "results.csv").read_bytes()
    (unbroken / "results.json").unlink()
    (unbroken / "results.csv").unlink()
    assert summarise(unbroken) == results == load_results(unbroken)
    assert (unbroken / "results.csv").read_bytes() == csv


def test_another_run_in_the_folder_is_refused_and_left_alone(model, loader, unbroken):
    before = content(unbroken)
    other = type(model)(seed=1)
    labels = DataLoader(type(loader.dataset)(), batch_size=16)
    for field, arguments, options in [
        ("model", (other, loader, suite()), {}),
        ("data", (model, labels, suite()), {}),
        ("suite", (model, loader, Suite("small", [Gain([0.5])])), {}),
        ("seed", (model, loader, suite()), {"seed": 1}),
        ("chunk", (model, loader, suite()), {"chunk": 10}),
    ]:
        with pytest.raises(UsageError, match=f"run.json is of another run: its {field}[^ ]* is .* Choose another --out"):
            evaluate(*arguments, unbroken, **options)
    assert content(unbroken) == before


@pytest.mark.parametrize("name", ["results.json", "samples.parquet", "parts/x.parquet"])
def test_results_of_something_else_are_refused(model, loader, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="of something else; expected a folder without results"):
        evaluate(model, loader, suite(), tmp_path)
    assert path.read_text() == "mine"
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [path]


def test_a_folder_with_a_checkpoint_in_it_is_fine(model, loader, tmp_path):
    (tmp_path / "best.ckpt").write_text("weights")
    evaluate(model, loader, Suite("one", [Gain([0.5])]), tmp_path)
    assert (tmp_path / "best.ckpt").read_text() == "weights"


def test_a_file_in_place_of_the_folder_is_refused(model, loader, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file; expected a folder"):
        evaluate(model, loader, suite(), tmp_path / "out")


def test_without_a_folder_the_results_are_the_same(model, loader, unbroken):
    results = evaluate(model, loader, suite())
    assert {condition.picture for condition in results.conditions} == {None}
    stored = load_results(unbroken)
    bare = [dataclasses.replace(condition, picture=None) for condition in stored.conditions]
    broken, confident = (
        [dataclasses.replace(sample, picture=None) for sample in samples]
        for samples in (stored.worst.broken, stored.worst.confident)
    )
    worst = dataclasses.replace(stored.worst, broken=broken, confident=confident)
    assert without_time(results) == dataclasses.replace(without_time(stored), conditions=bare, worst=worst)


def test_tuples_get_running_numbers_as_ids(model, tmp_path):
    images, labels = torch.rand(10, 1, 8, 8), torch.arange(10) % 3
    pairs = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    evaluate(model, pairs, Suite("one", [Gain([0.5])]), tmp_path)
    samples = pq.read_table(tmp_path / "samples.parquet")
    assert samples["id"].to_pylist() == [str(index) for index in range(10)] * 2


def test_painted_and_removed_are_the_same_for_a_model_that_ignores_what_it_cannot_see(loader):
    """For a model that sees nothing of a black patch, painting black and removing are the same."""

    class Blind(torch.nn.Module):
        def grid(self, size):
            return Grid((4, 4), (2.0, 2.0))

        def forward(self, images, keep=None):
            tokens = torch.nn.functional.avg_pool2d(images, 2).flatten(1)
            if keep is not None:
                tokens = torch.zeros_like(tokens).scatter(1, keep, tokens.gather(1, keep))
            return torch.stack([tokens[:, index::3].sum(1) for index in range(3)], 1)

    ratios = [0.2, 0.5, 0.9]
    results = evaluate(
        Blind(), loader, Suite("pair", [RandomOcclusion("painted", ratios, fill="zero"), RandomOcclusion("removed", ratios)])
    )
    (bias,) = results.comparisons
    assert (bias.name, bias.minuend, bias.subtrahend) == ("missingness bias", "random.removed", "random.painted")
    assert [(point.severity, point.difference, point.ci_low, point.ci_high) for point in bias.points] == [
        (ratio, 0, 0, 0) for ratio in ratios
    ]
    assert dataclasses.astuple(bias.auc) == (0, 0, 0)
    assert {condition.params["area"] for condition in results.conditions[1:4]} == {3 / 16, 0.5, 14 / 16}


def test_removal_is_skipped_with_a_reason(model, loader, tmp_path):
    class Plain:
        grid = model.grid

        def __call__(self, images):
            return model(images)

    results = evaluate(Plain(), loader, suite(), tmp_path)
    skipped = [condition for condition in results.conditions if condition.skipped]
    assert [condition.id for condition in skipped] == [f"occlusion.random.removed/{ratio}" for ratio in (0.25, 0.5, 0.75)]
    assert {condition.skipped for condition in skipped} == {"the model cannot remove tokens: it does not take keep"}
    assert all((condition.n, condition.metrics, condition.picture) == (0, {}, None) for condition in skipped)
    assert [curve.condition for curve in results.curves] == ["random.painted", "gain"]
    assert results.comparisons == []
    assert any("no preprocess" in warning for warning in results.warnings)
    assert summarise(tmp_path) == results


def test_a_condition_of_ones_own(model, loader):
    class Mirror(Condition):
        suite, name, title, unit = "geometry", "mirror", "Mirrored", "on or off"
        severities = (1.0,)

        def apply(self, images, severity, context):
            return Applied(images.flip(-1))

    results = evaluate(lambda images: model(images.flip(-1)), loader, Suite("mine", [Mirror()]))
    mirrored = results.condition("geometry.mirror/1")
    with torch.inference_mode():
        right = model(loader.dataset.images).argmax(1) == torch.tensor(loader.dataset.labels)
    assert mirrored.metrics["accuracy"].value == right.double().mean().item()


def test_volumes_go_the_same_way(model, loader, tmp_path):
    volumes = DataLoader(type(loader.dataset)(20, (1, 8, 8, 8)), batch_size=8)
    results = evaluate(type(model)(ndim=3), volumes, suite(), tmp_path)
    assert results.condition("occlusion.random.removed/0.5").params["grid"] == [4, 4, 4]
    assert results.condition("occlusion.random.painted/0.25").params["area"] == 0.25
    assert results.comparisons


def test_provenance_and_warnings_are_kept(model, loader):
    model.random_weights = True
    info = DataInfo("Digits", "test", classes=["a", "b", "c"])
    results = evaluate(
        model.eval(),
        loader,
        Suite("one", [Gain([0.5])]),
        name="best.ckpt",
        data_info=info,
        command="vitkit evaluate",
        warnings=["mine"],
    )
    assert results.warnings == ["mine", "The model's weights are random: nothing was loaded into it."]
    assert (results.model.name, results.model.random_weights, results.command) == ("best.ckpt", True, "vitkit evaluate")
    assert results.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (results.data.name, results.data.split, results.data.n, results.data.classes) == (
        "Digits",
        "test",
        50,
        ["a", "b", "c"],
    )
    assert results.data.fingerprint.startswith("sha256:")
    assert results.packages["torch"] == torch.__version__.split("+")[0]
    assert results.preprocess == json.loads(json.dumps(dataclasses.asdict(model.preprocess)))


def test_the_model_is_evaluated_in_evaluation_mode_and_gets_its_modes_back(loader):
    seen = []

    class Watcher(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.live = torch.nn.Dropout().eval(), torch.nn.Dropout()

        def forward(self, images):
            seen.append((self.training, self.frozen.training, self.live.training, torch.is_grad_enabled()))
            return images.flatten(1)[:, :3]

    watcher = Watcher()
    evaluate(watcher, loader, Suite("one", [Gain([0.5])]))
    assert set(seen) == {(False, False, False, False)}
    assert (watcher.training, watcher.frozen.training, watcher.live.training) == (True, False, True)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: {"logits": x.flatten(1)[:, :3]}, "a model that returns a dict; expected a tensor of logits"),
        (lambda x: (x.flatten(1)[:, :3],), "a model that returns a tuple"),
        (lambda x: x.flatten(1).argmax(1), "a model that returns a tensor of torch.int64"),
        (lambda x: x.flatten(1)[:, 0], r"logits of shape \(50,\) for 50 images; expected \(50, classes\)"),
        (lambda x: x.flatten(1)[:, :1], r"logits of shape \(50, 1\) for 50 images"),
        (lambda x: x.flatten(1)[:1, :3], r"logits of shape \(1, 3\) for 50 images"),
        (lambda x: x.flatten(1)[:, :3] * float("nan"), "logits that are not finite"),
        (lambda x: x.flatten(1)[:, :2], "a label 2 for a model of 2 classes"),
    ],
)
def test_what_is_no_logits_is_refused_and_leaves_no_trace(loader, tmp_path, answer, message):
    with pytest.raises(UsageError, match=message):
        evaluate(answer, loader, suite(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_the_model_is_refused(model, loader, tmp_path):
    def run(**change):
        options = {"model": model, "loader": loader, "suite": suite(), "out": tmp_path / "out"} | change
        with pytest.raises(UsageError) as caught:
            evaluate(**options)
        return str(caught.value)

    colour = DataLoader(type(loader.dataset)(size=(3, 8, 8)), batch_size=16)
    assert "images of 3 channels; expected 1" in run(loader=colour)
    assert "data of 4 classes for a model of 3" in run(data_info=DataInfo(classes=["a", "b", "c", "d"]))
    assert "a label 2; expected less than the 2 classes" in run(data_info=DataInfo(classes=["a", "b"]))
    model.classes = ["a", "b", "c"]
    assert "expected the model's order, ['a', 'b', 'c']" in run(data_info=DataInfo(classes=["b", "a", "c"]))
    assert "chunk 0; expected one image at least" in run(chunk=0)
    assert "no samples" in run(loader=[])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images * 2 - 1, r"image scan/0.png with values from -.* expected finite values in \[0, 1\]"),
        (lambda images: images * 255, r"expected finite values in \[0, 1\]"),
        (lambda images: images.masked_fill(images < 0.001, float("nan")), "with values from nan to nan"),
        (lambda images: (images * 255).to(torch.uint8), "images of type torch.uint8"),
    ],
)
def test_images_that_no_model_should_see_are_refused(model, loader, tmp_path, change, message):
    loader.dataset.images = change(loader.dataset.images)
    with pytest.raises(DataError, match=message):
        evaluate(model, loader, suite(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_that_are_none_are_refused(model, loader):
    loader.dataset.labels[7] = -1
    with pytest.raises(DataError, match=r"image scan/7\.png with the label -1"):
        evaluate(model, loader, suite())


def test_a_loader_that_shuffles_or_runs_dry_is_refused(model, loader):
    shuffled = DataLoader(loader.dataset, batch_size=16, shuffle=True)
    with pytest.raises(UsageError, match="expected the same samples in every pass"):
        evaluate(model, shuffled, suite())
    with pytest.raises(UsageError, match="a loader of 50 samples in one pass, and of 0"):
        evaluate(model, iter(loader), suite())


def test_the_seed_decides_the_patches(model, loader, tmp_path):
    for seed in (0, 1):
        evaluate(model, loader, Suite("one", [RandomOcclusion("painted", [0.5]), Shift([0.1])]), tmp_path / str(seed), seed=seed)
    tables = [pq.read_table(tmp_path / str(seed) / "samples.parquet") for seed in (0, 1)]
    equal = [a == b for a, b in zip(*(table["logits"].to_pylist() for table in tables), strict=True)]
    assert all(equal[:50])
    assert not any(equal[50:100])
    assert all(equal[100:])


def test_more_than_a_hundred_classes_keep_no_logits(tmp_path):
    images, labels = torch.rand(20, 1, 8, 16), torch.arange(20)
    evaluate(lambda images: images.flatten(1), [(images, labels)], Suite("one", [Gain([0.5])]), tmp_path)
    assert pq.read_table(tmp_path / "samples.parquet")["logits"].null_count == 40
    assert json.loads((tmp_path / "results.json").read_text())["conditions"][0]["metrics"]["auroc"] == {
        "value": None, "ci_low": None, "ci_high": None,
    }  # fmt: skip


def test_damaged_files_are_named(unbroken, tmp_path):
    with pytest.raises(UsageError, match=r"no file .*run\.json"):
        summarise(tmp_path / "nothing")
    copy = tmp_path / "copy"
    shutil.copytree(unbroken, copy)
    samples = copy / "samples.parquet"
    samples.write_bytes(samples.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"samples\.parquet cannot be read"):
        summarise(copy)
    samples.unlink()
    with pytest.raises(UsageError, match=r"no file .*samples\.parquet; expected a finished run"):
        summarise(copy)
    (copy / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        summarise(copy)


def test_a_model_that_was_left_in_training_mode_is_told_of_and_is_so_again_afterwards(model, loader):
    told = evaluate(model.train(), loader, suite()).warnings
    assert "The model was in training mode: it was put into evaluation mode for this run." in told
    assert model.training
    assert not [warning for warning in evaluate(model.eval(), loader, suite()).warnings if "training mode" in warning]


def broken(images, severity, seeds):
    return {}["x"]


def unseeded(images, severity, seeds):
    return images * torch.rand(())


def doubled(images, severity, seeds):
    return images.double()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (broken, "corruptions.broken/1 fails: KeyError: 'x'; expected images"),
        (unseeded, "corruptions.unseeded/1 makes other images of the same ones when it is called again"),
        (doubled, "corruptions.doubled/1: images of torch.float64; expected torch.float32"),
    ],
)
def test_a_corruption_of_ones_own_that_goes_wrong_is_named(model, loader, function, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        evaluate(model, loader, Suite("one", [Corruption(function, [1])]))


def test_logits_that_are_not_finite_say_under_what(loader):
    def model(images):
        logits = images.flatten(1)[:, :3]
        return logits / (images.mean() > 0.2)

    with pytest.raises(UsageError, match=r"under brightness\.gain/0\.01: logits that are not finite"):
        evaluate(model, loader, Suite("one", [Gain([0.01])]))
