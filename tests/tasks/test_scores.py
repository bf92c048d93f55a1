import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from vitkit.tasks import Scores


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_scikit_learns(classes):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(200, classes, generator=generator)
    labels = torch.randint(classes, (200,), generator=generator)
    scores = Scores(classes)
    for part in range(0, 200, 64):
        scores.update(logits[part : part + 64], labels[part : part + 64])
    found = {name: float(value) for name, value in scores.compute().items()}
    probabilities = logits.softmax(-1)
    auroc = roc_auc_score(labels, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(-1)), abs=1e-6)
    assert found["accuracy_macro"] == pytest.approx(balanced_accuracy_score(labels, logits.argmax(-1)), abs=1e-6)
    assert found["auroc"] == pytest.approx(auroc, abs=1e-6)
    confidence, winner = probabilities.max(-1)
    bins = torch.clamp((confidence * 15).ceil().long() - 1, min=0)
    gaps = (winner == labels).float() - confidence
    ece = sum(gaps[bins == index].sum().abs() for index in bins.unique()) / 200
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)


def test_auroc_is_over_the_classes_that_are_there():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 3, generator=generator)
    labels = torch.randint(2, (60,), generator=generator)
    scores = Scores(3)
    scores.update(logits, labels)
    probabilities = logits.softmax(-1)
    expected = sum(roc_auc_score(labels == index, probabilities[:, index]) for index in range(2)) / 2
    assert float(scores.compute()["auroc"]) == pytest.approx(expected, abs=1e-6)


def test_auroc_is_left_out_where_there_is_one_class():
    scores = Scores(3)
    scores.update(torch.randn(4, 3), torch.ones(4, dtype=torch.long))
    assert set(scores.compute()) == {"accuracy", "accuracy_macro", "ece"}


def test_reset_forgets():
    scores = Scores(2)
    scores.update(torch.tensor([[0.0, 9.0]]), torch.tensor([0]))
    scores.compute()
    scores.reset()
    scores.update(torch.tensor([[0.0, 9.0]]), torch.tensor([1]))
    assert float(scores.compute()["accuracy"]) == 1.0


def test_scores_add_nothing_to_a_state_dict():
    assert not Scores(3).state_dict()
