"""Models of other libraries in a config's words."""

import pytest
import torch
import torchvision.models as library

from vitkit import backbones
from vitkit.backbones import LibraryModel, TokenBackbone
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import build, recipe

SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 1, "num_heads": 2}


def grey(*size):
    return Preprocess(size=size, mean=(0.3,), std=(0.4,))


@torch.no_grad()
def test_arguments_reach_the_library_and_the_preprocess_is_the_task_s():
    model = LibraryModel("timm:vit_tiny_patch16_224", arguments=SMALL).make(3, grey(16, 16))
    assert isinstance(model, TokenBackbone)
    assert model.grid((16, 16)).shape == (4, 4)
    assert model.model.embed_dim == 32
    assert model.training
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(model.eval()(images), model.model((images - 0.3) / 0.4))


def test_it_is_made_again_from_its_recipe():
    tree = recipe(LibraryModel("timm:vit_tiny_patch16_224", arguments=SMALL))
    assert tree["class_path"] == "vitkit.backbones.LibraryModel"
    assert recipe(build(tree)) == tree


@pytest.mark.parametrize(
    ("name", "arguments", "size", "words"),
    [
        ("timm:vit_tiny_patch16_224", {}, (16, 16), "img_size"),
        ("timm:vit_tiny_patch16_224", {"image_size": 16}, (16, 16), "image_size"),
        ("timm:resnet18", {"channels": [16, 32]}, (32, 32), "layer3"),
        ("timm:resnet18", {"num_classes": 3}, (32, 32), "num_classes among the arguments"),
        ("timm:resnet18", {}, (8, 8, 8), "two: pictures"),
        ("torchvision:resnet18", {}, (32, 32), "in_chans=1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_the_library_does_not_take_is_the_user_s_mistake(name, arguments, size, words):
    with pytest.raises(UsageError) as caught:
        LibraryModel(name, arguments=arguments).make(3, Preprocess(size=size))
    assert words in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_what_torchvision_refuses_is_told_in_its_words():
    with pytest.raises(UsageError, match=r"torchvision:vit_b_16 refuses image_size=20: .*indivisible"):
        backbones.load("torchvision:vit_b_16", arguments={"image_size": 20})


@pytest.mark.usefixtures("unchecked")
def test_one_class_is_too_few():
    with pytest.raises(UsageError, match="num_classes=1"):
        LibraryModel("timm:resnet18").make(1, grey(32, 32))


@pytest.mark.usefixtures("unchecked")
def test_further_outputs_in_training_are_refused():
    model = LibraryModel("torchvision:googlenet", arguments={"init_weights": False})
    model = model.make(3, Preprocess((32, 32), (0.5,) * 3, (1,) * 3))
    with pytest.raises(UsageError, match=r"GoogLeNetOutputs in training.*aux_logits"):
        model(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_torchvision_s_weights_start_a_model_of_other_classes(monkeypatch, name):
    original = library.get_model
    made = []

    def create(name, weights, **arguments):
        made.append(original(name, **arguments))
        return made[-1]

    monkeypatch.setattr(library, "get_model", create)
    model = backbones.load(f"torchvision:{name}", pretrained=True, num_classes=3).eval()
    stock = original(name).state_dict()
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert model.classes is None
    differing = [key for key, value in model.model.state_dict().items() if value.shape != stock[key].shape]
    assert differing == list(stock)[-2:] or {key.rpartition(".")[0] for key in differing} == {"classifier.1"}


def test_positions_and_class_tokens_are_told_apart():
    timms = LibraryModel("timm:vit_tiny_patch16_224", arguments=SMALL).make(3, grey(16, 16))
    assert timms.no_weight_decay() == {"model.cls_token", "model.pos_embed"}
    torchvisions = backbones.load("torchvision:vit_b_16", arguments={"image_size": 32})
    assert torchvisions.no_weight_decay() == {"model.class_token", "model.encoder.pos_embedding"}
    swin = backbones.load("timm:swin_tiny_patch4_window7_224", arguments={"img_size": 56, "depths": [1], "num_heads": [2]})
    assert swin.no_weight_decay() == {"model.layers.0.blocks.0.attn.relative_position_bias_table"}
