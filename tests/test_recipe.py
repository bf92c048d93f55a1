import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

from vitkit.bias import SpectralBias
from vitkit.errors import CheckpointError, UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import Recorded, build, recipe
from vitkit.spectral import Exponential


class Holder(nn.Module, Recorded):
    def __init__(self, *, parts, names=None, size=1):
        super().__init__()
        self.parts, self.names, self.size = parts, names, size


def test_a_tree_is_plain_and_makes_the_object_again():
    holder = Holder(parts=[Preprocess((4, 4)), SpectralBias(Exponential(2, ndim=2))], names={"a": (1, 2)}, size=3)
    tree = recipe(holder)
    assert tree["init_args"]["parts"][1] == {
        "class_path": "vitkit.bias.SpectralBias",
        "init_args": {"density": {"class_path": "vitkit.spectral.Exponential", "init_args": {"num_heads": 2, "ndim": 2}}},
    }
    again = build(tree)
    assert recipe(again) == tree
    assert again.parts[0] == holder.parts[0]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda obj: pickle.loads(pickle.dumps(obj))])
def test_a_copy_remembers(duplicate):
    bias = SpectralBias(Exponential(2, ndim=3))
    assert recipe(duplicate(bias)) == recipe(bias)


def test_an_argument_without_a_plain_form_is_named():
    with pytest.raises(UsageError, match=r"Holder.parts\[1\] is a torch.nn.modules.linear.Linear"):
        recipe(Holder(parts=[1, nn.Linear(1, 1)]))


@pytest.mark.parametrize(
    "path", ["os.system", "subprocess.Popen", "torch.nn.Linear", "vitkit.nowhere.Bias", "vitkit.grid.Grid", "Bias"]
)
def test_a_recipe_calls_nothing_but_recorded_classes(path):
    with pytest.raises(CheckpointError, match=path):
        build({"class_path": path, "init_args": {}})


def test_the_public_path_is_recorded_so_that_files_may_move():
    assert recipe(Exponential(1, 1))["class_path"] == "vitkit.spectral.Exponential"
    assert torch.equal(build(recipe(Exponential(1, 1))).outputscale, Exponential(1, 1).outputscale)


def test_help_shows_the_constructor_and_not_its_recorder():
    assert list(inspect.signature(Exponential).parameters) == [
        "num_heads",
        "ndim",
        "lengthscale",
        "outputscale",
        "spread",
        "rotation",
    ]
    assert next(iter(inspect.signature(Preprocess).parameters)) == "size"
    assert list(inspect.signature(SpectralBias(Exponential(1, 1)).forward).parameters) == ["grid", "prefix", "keep"]
