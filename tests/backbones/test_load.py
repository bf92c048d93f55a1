"""The door: names, arguments, and what is said about a model."""

import pytest
import timm
import torch
import torchvision.models as library

from vitkit import backbones
from vitkit.errors import UsageError


def test_the_module_is_the_library_s_own():
    assert type(backbones.load("timm:test_resnet").model) is type(timm.create_model("test_resnet"))
    assert type(backbones.load("torchvision:resnet18").model) is library.ResNet


def test_the_state_dict_keeps_the_library_s_names():
    for name in ("timm:test_vit", "torchvision:vit_b_16"):
        backbone = backbones.load(name)
        stock = timm.create_model("test_vit") if name == "timm:test_vit" else library.get_model("vit_b_16")
        assert list(backbone.model.state_dict()) == list(stock.state_dict())


@torch.no_grad()
def test_images_are_normalised_once():
    backbone = backbones.load("timm:test_resnet").eval()
    images = torch.rand(2, 3, 160, 160)
    assert torch.equal(backbone(images), backbone.model((images - 0.5) / 0.5))


def test_random_weights_are_owned_up_to():
    assert backbones.load("timm:test_vit").random_weights
    assert backbones.load("torchvision:resnet18").random_weights


@pytest.mark.parametrize(("name", "length"), [("timm:test_vit", 4), ("torchvision:resnet18", 4)])
def test_num_classes(name, length):
    backbone = backbones.load(name, num_classes=length).eval()
    assert backbone.num_classes == length
    assert backbone(torch.rand(1, 3, *backbone.preprocess.size)).shape == (1, length)
    assert backbone.classes is None


def test_in_chans():
    backbone = backbones.load("timm:test_vit", in_chans=1, num_classes=2).eval()
    assert backbone.preprocess.channels == 1
    assert backbone(torch.rand(1, 1, 160, 160)).shape == (1, 2)


def test_pretrained_asks_the_library_and_knows_the_classes(monkeypatch):
    asked = {}

    def create(name, pretrained, **arguments):
        asked.update(name=name, pretrained=pretrained, **arguments)
        return original(name, pretrained=False, **arguments)

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    backbone = backbones.load("timm:test_vit", pretrained=True)
    assert asked == {"name": "test_vit", "pretrained": True}
    assert not backbone.random_weights
    assert backbone.classes[0] == "n01440764"
    assert len(backbone.classes) == 1000
    assert backbones.load("timm:test_vit", pretrained=True, num_classes=3).classes is None


def test_torchvision_s_tag_chooses_the_weights(monkeypatch):
    asked = []
    original = library.get_model

    def create(name, weights=None, **arguments):
        asked.append(weights)
        return original(name, **arguments)

    monkeypatch.setattr(library, "get_model", create)
    backbone = backbones.load("torchvision:resnet50.IMAGENET1K_V1", pretrained=True)
    assert asked == [library.ResNet50_Weights.IMAGENET1K_V1]
    assert backbone.preprocess.crop == 224 / 256
    assert backbone.classes[0] == "tench"
    assert backbones.load("torchvision:resnet50", pretrained=True).preprocess.crop == 224 / 232


@pytest.mark.parametrize(
    ("name", "module", "function"), [("timm:test_vit", timm, "create_model"), ("torchvision:resnet18", library, "get_model")]
)
def test_without_a_network_it_says_so(monkeypatch, name, module, function):
    def fail(*args, **kwargs):
        raise FileNotFoundError("cannot reach the hub")

    monkeypatch.setattr(module, function, fail)
    with pytest.raises(UsageError, match=r"could not be downloaded.*network connection.*give it as weights"):
        backbones.load(name, pretrained=True)


@pytest.mark.parametrize("name", ["timm:hf-hub:someone/model", "timm:hf_hub:someone/model"])
def test_hub_names_are_passed_on(monkeypatch, name):
    def create(given, **arguments):
        raise FileNotFoundError(given)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(UsageError) as caught:
        backbones.load(name)
    assert name.removeprefix("timm:") in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:vit_smal_patch16_224", "timm:vit_small_patch16_224"),
        ("torchvision:resnet5", "torchvision:resnet50"),
        ("resnet50", "Did you mean"),
        ("tim:resnet50", "timm:NAME or torchvision:NAME"),
        ("timm:", "timm:NAME"),
        ("monai:SwinUNETR", "later version"),
        ("timm:vit_tiny_patch16_224.nonsense", "augreg_in21k"),
        ("torchvision:resnet50.nonsense", "IMAGENET1K_V2"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_known(name, words):
    with pytest.raises(UsageError) as caught:
        backbones.load(name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "timm:test_vit", "weights": "a.pth", "pretrained": True},
        {"name": "torchvision:vit_b_16", "native": True},
        {"name": "timm:test_resnet", "native": True},
        {"name": "torchvision:resnet18", "in_chans": 1},
        {"name": "torchvision:resnet18", "pretrained": True, "num_classes": 3},
        {"name": "timm:test_vit", "num_classes": 0},
    ],
)
def test_arguments_that_cannot_be_met(arguments):
    with pytest.raises(UsageError):
        backbones.load(**arguments)


def test_every_name_says_its_library():
    every = backbones.names()
    assert {name.partition(":")[0] for name in every} == {"timm", "torchvision"}
    assert set(backbones.names("timm")) < set(every)
    assert "torchvision:fasterrcnn_resnet50_fpn" not in every
