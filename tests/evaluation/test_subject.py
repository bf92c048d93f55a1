import pytest
import torch

from vitkit.errors import UsageError
from vitkit.evaluation.subject import Subject
from vitkit.grid import Grid


def test_the_fingerprint_is_of_weights_classes_and_arguments(model):
    same, other = type(model)(), type(model)(seed=1)
    assert Subject(model).fingerprint() == Subject(same).fingerprint() != Subject(other).fingerprint()
    with torch.no_grad():
        same.head.bias[0] += 1e-6
    assert Subject(model).fingerprint() != Subject(same).fingerprint()
    assert Subject(torch.nn.ReLU()).fingerprint() != Subject(torch.nn.GELU()).fingerprint()
    assert Subject(model.bfloat16()).fingerprint()


def test_functions_are_known_by_name():
    assert Subject(torch.sigmoid).fingerprint() != Subject(torch.tanh).fingerprint()


def test_what_can_be_removed_is_found_out(model):
    context = Subject(model).context((8, 8), seed=5)
    assert (context.grid, context.no_removal, context.seed) == (Grid((4, 4), (2.0, 2.0)), None, 5)

    class GridOnly(torch.nn.Module):
        def grid(self, size):
            return Grid((2, 2))

        def forward(self, images):
            return images

    context = Subject(GridOnly()).context((8, 8), 0)
    assert context.grid == Grid((2, 2))
    assert "does not take keep" in context.no_removal

    class Refuses(GridOnly):
        def grid(self, size):
            raise UsageError(f"size {size}", "another", "Resize.")

    context = Subject(Refuses()).context((8, 8), 0)
    assert context.grid is None
    assert "size (8, 8); expected another" in context.no_removal
    assert "no grid" in Subject(torch.nn.Identity()).context((8, 8), 0).no_removal


def test_logits_come_back_in_full_precision():
    logits = Subject(lambda images: images.flatten(1).bfloat16())(torch.rand(2, 1, 2, 2))
    assert logits.dtype == torch.float32
    assert Subject(lambda images: images.flatten(1).double())(torch.rand(2, 1, 2, 2)).dtype == torch.float64


def test_a_module_is_moved_to_the_device():
    assert Subject(torch.nn.Linear(2, 2), "meta").device.type == "meta"
    assert Subject(lambda images: images).device.type == "cpu"


def test_modes_come_back_whatever_happens(model):
    model.norm.eval()
    with Subject(model).evaluating():
        assert not model.training
    assert (model.training, model.norm.training) == (True, False)
    with pytest.raises(ZeroDivisionError), Subject(model).evaluating():
        model(1 / 0)
    assert (model.training, model.norm.training) == (True, False)
