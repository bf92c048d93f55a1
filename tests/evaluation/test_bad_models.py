"""Models that are not what they should be: each refused by one line that says what to do, and nothing written."""

import pytest
import torch
from torch.nn import functional

from vitkit.errors import DataError, UsageError
from vitkit.evaluation import Corruption, Gain, Suite, evaluate

SUITE = Suite("one", [Gain([0.5])])


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        return self.norm(images).flatten(1)[:, :3]


class Trains(Base):
    def forward(self, images):
        self.train()
        return super().forward(images)


class NormStays(Base):
    """Batch normalisation that evaluation mode does not reach."""

    def forward(self, images):
        functional.batch_norm(images, self.norm.running_mean, self.norm.running_var, training=True)
        return super().forward(images)


class Dropped(Base):
    def forward(self, images):
        return functional.dropout(super().forward(images), 0.1, training=True)


class Counts(Base):
    def forward(self, images):
        self.calls += 1
        return super().forward(images)


class Prepares(Base):
    """Keeps what the first call makes, as models do with positions."""

    def forward(self, images):
        if self.calls == 0:
            self.calls += 1
        return super().forward(images)


def remembering():
    """A function whose answer depends on how often it was called."""
    seen = []

    def model(images):
        seen.append(0)
        return images.flatten(1)[:, :3] + 0.01 * len(seen)

    return model


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Trains(), r"goes into training mode when it is called: itself \(Trains\), norm \(BatchNorm2d\)"),
        (NormStays(), "a model whose norm.running_mean, norm.running_var changed when it was called"),
        (Dropped(), "other logits when called again"),
        (Counts(), "a model whose calls changed when it was called"),
        (remembering(), "other logits when called again, by up to"),
        (lambda images: images.flatten(1)[:, :3] + torch.rand(1), "other logits when called again"),
    ],
)
def test_a_model_that_changes_between_calls_is_refused(loader, tmp_path, bad, words):
    with pytest.raises(UsageError, match=rf"{words}.*--force"):
        evaluate(bad, loader, SUITE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_told_to_go_on_it_does_and_says_so(loader):
    assert any("other logits when called again" in line for line in evaluate(Dropped(), loader, SUITE, guard=False).warnings)


def test_a_model_that_prepares_itself_in_its_first_call_is_fine(loader):
    assert not any("guard" in line for line in evaluate(Prepares(), loader, SUITE).warnings)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()), r"fails on images of shape \(50, 1, 8, 8\)"),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(100, 3)), r"fails on images of shape \(50, 1, 8, 8\)"),
        (lambda images: {"logits": images}, "returns a dict"),
        (lambda images: (images,), "returns a tuple"),
        (lambda images: images.flatten(1)[:, :3] * float("nan"), "logits that are not finite"),
        (lambda images: images.flatten(1)[:, :2], "a label 2 for a model of 2 classes"),
        (Dropped, r"the class Dropped; expected a model that was made from it\. Call it first: Dropped\(\.\.\.\)"),
        ({"weight": torch.ones(3)}, "a dict as the model; expected a module or a function"),
        (
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).double(),
            r"weights are torch\.float64 .* model\.float\(\)",
        ),
    ],
    ids=["colour", "size", "dict", "tuple", "nan", "classes", "class", "state", "precision"],
)
@pytest.mark.parametrize("guard", [True, False])
def test_what_no_suite_can_run_on_is_refused_with_and_without_guards(loader, tmp_path, unchecked, bad, words, guard):
    with pytest.raises(UsageError, match=words):
        evaluate(bad, loader, SUITE, tmp_path / "out", guard=guard)
    assert not (tmp_path / "out").exists()


def test_a_data_set_in_place_of_its_loader(unchecked):
    images = torch.utils.data.TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8) % 2)
    with pytest.raises(UsageError, match=r"one image of shape \(1, 8, 8\) and its label; expected batches\. .*DataLoader\("):
        evaluate(lambda x: x.flatten(1)[:, :2], images, SUITE)


def test_a_head_of_another_length_than_the_model_says(loader, model, tmp_path):
    model.num_classes = 4
    with pytest.raises(UsageError, match=r"logits of shape \(50, 3\) for 50 images; expected \(50, 4\)"):
        evaluate(model, loader, SUITE, tmp_path / "out")


def test_a_condition_of_ones_own_that_errs_is_named():
    def broken(images, severity, seeds):
        return images / 0 * 0

    class Bare(Gain):
        def apply(self, images, severity, context):
            return images

    batch = (torch.rand(4, 1, 4, 4), torch.arange(4) % 2)
    for condition, words in (
        (Corruption(broken, [1.0]), r"corruptions\.broken/1: images that are not finite"),
        (Bare([0.5]), r"brightness\.gain/0\.5: apply returned Tensor; expected vitkit\.evaluation\.Applied"),
    ):
        with pytest.raises((DataError, UsageError), match=words):
            evaluate(lambda images: images.flatten(1)[:, :2], [batch], Suite("own", [condition]))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(lambda images, severity: images, None), (lambda images, severity, seeds: images, {"konstants": 1})],
)
def test_a_corruption_of_ones_own_that_takes_something_else_is_refused_at_once(function, arguments):
    with pytest.raises(UsageError, match=r"expected function\(images, severity, seeds, \*\*arguments\)"):
        Corruption(function, [1.0], name="own", arguments=arguments)


def test_a_corruption_of_ones_own_may_need_the_spacing():
    def thin(images, severity, seeds, spacing):
        return images if spacing is None else images * 0

    assert Corruption(thin, [1.0]).name == "thin"


@pytest.mark.usefixtures("unchecked")
def test_labels_and_suites_of_another_kind_are_refused():
    images = torch.rand(4, 1, 4, 4)
    with pytest.raises(UsageError, match=r"labels of type torch\.float32"):
        evaluate(lambda images: images.flatten(1)[:, :2], [(images, torch.zeros(4))], Suite("own", [Gain([0.5])]))
    with pytest.raises(UsageError, match="a suite of type list"):
        evaluate(lambda images: images.flatten(1)[:, :2], [(images, torch.zeros(4).long())], [Gain([0.5])])
