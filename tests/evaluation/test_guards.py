"""Guards: each finds what it is for, refuses nothing else, and lets go on where it is told to."""

import json
from types import SimpleNamespace

import pytest
import torch

from vitkit.errors import DataError, UsageError
from vitkit.evaluation import DataInfo, Gain, Suite, evaluate
from vitkit.evaluation.guards import ClassOrder, Probe, clearly_better
from vitkit.evaluation.stream import Batch
from vitkit.preprocess import Preprocess

HALF = Preprocess(size=(4, 4), mean=(0.5,), std=(0.5,))
SUITE = Suite("one", [Gain([0.5])])


def bright(normalised):
    """Trained on normalised images: is it brighter than the mean?"""
    mean = normalised.mean((1, 2, 3))
    return torch.stack([-mean, mean], 1)


class Model(torch.nn.Module):
    """Says whether an image is bright, after what was done to it."""

    def __init__(self, change, **said):
        super().__init__()
        self.change = change
        for name, value in said.items():
            setattr(self, name, value)

    def forward(self, images):
        return bright(self.change(images))


@pytest.fixture
def loader():
    """Even images of every brightness, with the truth as labels, and those of one class after those of the other."""
    levels = torch.linspace(0.0, 1.0, 200).view(-1, 1, 1, 1)
    return [(levels.expand(-1, 1, 4, 4).contiguous(), (levels.flatten() > 0.5).long())]


class Named(torch.utils.data.TensorDataset):
    """Names its classes, as torchvision's sets do."""

    classes = ("a", "b")


def test_classes_are_those_that_the_loaders_data_set_names():
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
    loader = torch.utils.data.DataLoader(torch.utils.data.Subset(Named(images, labels), range(6)), batch_size=4)
    assert evaluate(bright, loader, SUITE, guard=False).data.classes == ["a", "b"]
    with pytest.raises(UsageError, match="data of 2 classes for a model of 16"):
        evaluate(lambda images: images.flatten(1), loader, SUITE)
    loader = torch.utils.data.DataLoader(Named(images, labels + 1), batch_size=4)  # as after a target_transform
    assert evaluate(lambda images: images.flatten(1), loader, SUITE).data.classes == []


def test_where_nobody_names_classes_more_of_them_than_labels_are_told_of():
    loader = [(torch.rand(8, 1, 4, 4), torch.arange(8) % 2)]
    told = "The model has 16 classes, and the highest label is 1."
    assert any(told in warning for warning in evaluate(lambda images: images.flatten(1), loader, SUITE).warnings)
    named = evaluate(lambda images: images.flatten(1), loader, SUITE, data_info=DataInfo(classes=list("abcdefghijklmnop")))
    assert not any("classes" in warning for warning in named.warnings)
    assert not any("classes" in warning for warning in evaluate(bright, loader, SUITE, guard=False).warnings)


def twice(images):
    return HALF.normalise(HALF.normalise(images))


def of_bytes(images):
    return images / 127.5 - 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model(lambda images: images, preprocess=HALF), "nothing normalises them"),
        (Model(lambda images: images), "nothing normalises them"),
        (Model(twice, preprocess=HALF), "normalised twice"),
        (Model(of_bytes, preprocess=HALF), "trained on values from 0 to 255"),
        (Model(of_bytes), "trained on values from 0 to 255"),
    ],
    ids=["missing", "missing in a plain module", "double", "bytes", "bytes in a plain module"],
)
def test_another_range_than_the_models_is_refused(model, words, loader, tmp_path):
    with pytest.raises(UsageError, match=rf"right on \d+% of 128 images in \[0, 1\], and on .*{words}.*--force \(guard=False\)"):
        evaluate(model, loader, SUITE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    results = evaluate(model, loader, SUITE, tmp_path / "out", guard=False)
    assert any(words in warning for warning in results.warnings)
    assert results.warnings == json.loads((tmp_path / "out" / "results.json").read_text())["warnings"]


def test_what_timm_says_of_its_module_is_tried():
    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    levels = torch.linspace(0.0, 1.0, 100).view(-1, 1, 1, 1)
    model = Model(lambda images: images)
    model.pretrained_cfg = {"mean": mean, "std": std}
    with pytest.raises(UsageError, match=r"normalised with mean \(0.48, 0.46, 0.41\) and std"):
        evaluate(model, [(levels.expand(-1, 3, 4, 4), (levels.flatten() > 0.45).long())], SUITE)


@pytest.mark.parametrize("model", [Model(HALF.normalise, preprocess=HALF), Model(HALF.normalise)])
def test_a_model_that_normalises_once_is_not_refused(model, loader):
    assert evaluate(model, loader, SUITE).clean.metrics["accuracy"].value == 1


def test_random_weights_are_right_by_chance_and_not_refused(loader):
    results = evaluate(Model(lambda images: images, preprocess=HALF, random_weights=True), loader, SUITE)
    assert results.clean.metrics["accuracy"].value == pytest.approx(0.5, abs=0.01)


def test_classes_in_another_order_are_refused_and_leave_no_trace(tmp_path):
    images = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(100) % 5
    images[:, 0, 0] = 0
    images[torch.arange(100), 0, 0, labels.clamp(max=3)] = (labels < 4).float()

    def model(images, order):
        logits = torch.cat([images[:, 0, 0], 1 - images[:, 0, 0].sum(1, keepdim=True)], 1)
        return 9 * logits[:, order]

    def right(images):
        return model(images, [0, 1, 2, 3, 4])

    def wrong(images):
        return model(images, [1, 2, 0, 3, 4])

    with pytest.raises(UsageError, match=r"says .* \(class indices\): right on 0% of these, and on 100% in that order"):
        evaluate(wrong, [(images, labels)], SUITE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "class indices" in " ".join(evaluate(wrong, [(images, labels)], SUITE, tmp_path / "out", guard=False).warnings)
    assert evaluate(right, [(images, labels)], SUITE).clean.metrics["accuracy"].value == 1


def drawn(generator, weights, n):
    return torch.multinomial(torch.tensor(weights), n, replacement=True, generator=generator)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [9.0, 1.0], [1.0] * 10, [50.0, *[1.0] * 20]])
def test_models_that_guess_are_never_refused(weights):
    """The rule lets a millionth of them be refused; here are models that know nothing, and often lean to a class."""
    generator = torch.Generator().manual_seed(0)
    for trial in range(200):
        labels = drawn(generator, weights, 128)
        leaning = torch.rand(len(weights), generator=generator) ** (1 + trial % 8)
        one, other = drawn(generator, leaning.tolist(), 128), drawn(generator, leaning.flip(0).tolist(), 128)
        assert not clearly_better(one == labels, other == labels, labels)
        order = ClassOrder()
        order.add(labels, torch.nn.functional.one_hot(one, len(weights)).float())
        assert not list(order.findings())


def test_answering_with_the_most_frequent_class_is_no_better():
    labels = torch.tensor([0] * 90 + [1] * 38)
    given = torch.cat([torch.arange(90) % 2 == 0, torch.arange(38) % 2 == 0])
    assert not clearly_better(torch.zeros(128, dtype=torch.bool), labels == 0, labels)
    assert not clearly_better(given, labels == 0, labels)
    assert clearly_better(given, torch.ones(128, dtype=torch.bool), labels)
    order = ClassOrder()
    order.add(labels, torch.tensor([[0.0, 1.0]]).expand(128, 2))
    assert not list(order.findings())


def test_a_finding_takes_twenty_samples():
    labels = torch.arange(20) % 5
    nothing, everything = torch.zeros(20, dtype=torch.bool), torch.ones(20, dtype=torch.bool)
    assert clearly_better(nothing, everything, labels)  # 2 ** -20 < 1e-6 < 2 ** -19
    assert not clearly_better(nothing[1:], everything[1:], labels[1:])


def test_the_probe_is_the_same_however_the_samples_come():
    images, labels, ids = torch.rand(300, 1, 2, 2), torch.arange(300) % 3, [str(index) for index in range(300)]

    def probe(length, order):
        found = Probe()
        for start in range(0, 300, length):
            rows = order[start : start + length]
            found.add(Batch(images[rows], labels[rows], [ids[row] for row in rows]))
        return found

    whole, parts = probe(300, list(range(300))), probe(7, list(range(300))[::-1])
    assert len(whole.labels) == 128
    assert torch.equal(whole.labels, parts.labels)
    assert len(set(whole.labels.tolist())) == 3
    for (one, _, valid), (other, _, _) in zip(whole.chunks(50), parts.chunks(50), strict=True):
        assert torch.equal(one, other)
        assert (len(one), valid) in ((50, 50), (50, 28))
    large = Probe()
    large.add(Batch(torch.rand(9, 1, 2**21), torch.zeros(9, dtype=torch.long), ids[:9]))
    assert len(large.labels) == 8


class Loader(list):
    """Batches, with a data set that was made in some way."""

    def __init__(self, batches, **made):
        super().__init__(batches)
        self.dataset = SimpleNamespace(dataset=SimpleNamespace(**made))


def steps(*named):
    made = [type(name, (), {"size": size})() for name, size in named]
    return SimpleNamespace(transforms=[made[0], SimpleNamespace(transforms=made[1:])])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"preprocess": Preprocess((4, 4), crop=0.9)}, r"data made with preprocess.crop 0.9; expected 1.0"),
        ({"preprocess": Preprocess((4, 4), interpolation="nearest")}, "preprocess.interpolation nearest; expected bicubic"),
        ({"preprocess": HALF}, None),
        ({"preprocess": Preprocess((4, 4), mean=(0.1,))}, None),
        (
            {"transform": steps(("Resize", 16), ("CenterCrop", (4, 4)))},
            r"resizes to 16 and crops 4, a share of 0.250; expected 1.0",
        ),
        ({"transform": steps(("Resize", 4), ("ToTensor", None))}, None),
        ({"transform": steps(("RandomHorizontalFlip", None))}, "the random transform RandomHorizontalFlip"),
        ({"augment": [torch.nn.Identity()]}, "the random transform Identity"),
    ],
)
def test_data_that_were_made_for_another_model_are_refused(loader, made, words):
    run = Loader(loader, **made)
    if words is None:
        assert evaluate(Model(HALF.normalise, preprocess=HALF).eval(), run, SUITE).warnings == []
        return
    with pytest.raises(UsageError, match=words):
        evaluate(Model(HALF.normalise, preprocess=HALF), run, SUITE)


def test_images_of_another_size_or_divided_twice_or_of_other_classes(loader):
    [(images, labels)] = loader
    model = Model(HALF.normalise, preprocess=HALF)
    with pytest.raises(UsageError, match=r"images of size \(2, 2\); expected \(4, 4\), as the model's preprocess says"):
        evaluate(model, [(images[..., :2, :2], labels)], SUITE)
    with pytest.raises(UsageError, match="divided by 255 twice"):
        evaluate(model, [(images / 255, labels)], SUITE)
    model.classes = ["dark", "bright"]
    with pytest.raises(UsageError, match=r"data with the classes dog, which the model does not name; expected .* dark, bright"):
        evaluate(model, loader, SUITE, data_info=DataInfo(classes=["dark", "dog"]))
    assert evaluate(model.eval(), loader, SUITE, data_info=DataInfo(classes=["n01", "n02"])).warnings == []
    model.data_name = "Pictures"
    with pytest.raises(UsageError, match="data with the classes n01, n02, which"):
        evaluate(model, loader, SUITE, data_info=DataInfo(classes=["n01", "n02"]))
    told = evaluate(model, [(images[..., :2, :2], labels)], SUITE, guard=False).warnings
    assert told == ["A guard was told to go on. It found images of size (2, 2); expected (4, 4), as the model's preprocess says."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images * 255, "as stored in a file: divide by 255"),
        (lambda images: (images - 0.45) / 0.22, r"normalised already \(mean .*, standard deviation .*\): take Normalize out"),
        (lambda images: images * 2 - 1, r"scaled to \[-1, 1\]"),
        (lambda images: images.masked_fill(images > 0.99, float("nan")), "Mend the file"),
        (lambda images: images * 1.5, "scaled to"),
    ],
)
def test_a_wrong_input_range_is_told_by_its_statistics(loader, change, words):
    with pytest.raises(DataError, match=rf"expected finite values in \[0, 1\].*{words}"):
        evaluate(Model(HALF.normalise), [(change(images), labels) for images, labels in loader], SUITE)


def test_probabilities_are_no_logits(loader):
    with pytest.raises(UsageError, match=r"add up to 1: probabilities; expected logits.*Return what goes into the softmax"):
        evaluate(lambda images: bright(images - 0.5).softmax(1), loader, SUITE)
    assert evaluate(lambda images: bright(images - 0.5).softmax(1).log(), loader, SUITE).clean.metrics["accuracy"].value == 1


def test_samples_that_a_loader_drops_are_told_of():
    data = torch.utils.data.TensorDataset(torch.rand(10, 1, 4, 4), torch.arange(10) % 2)
    with pytest.raises(UsageError, match="drop_last, which leaves out 2 of 10 samples"):
        evaluate(lambda images: bright(images), torch.utils.data.DataLoader(data, batch_size=4, drop_last=True), SUITE)
    whole = torch.utils.data.DataLoader(data, batch_size=5, drop_last=True)
    assert evaluate(lambda images: bright(images), whole, SUITE, guard=False).data.n == 10
