"""Weights files: read back exactly, or refused with what is wrong with them."""

import argparse

import pytest
import timm
import torch
from safetensors.torch import save_file

from vitkit import backbones
from vitkit.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def stock():
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=5).eval()


def reloaded(path, **arguments):
    return backbones.load("timm:test_resnet", weights=path, num_classes=5, **arguments).eval()


def agree(backbone, stock):
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(backbone(images), stock(backbone.preprocess.normalise(images)))
    assert not backbone.random_weights


def test_safetensors(stock, tmp_path):
    save_file(stock.state_dict(), tmp_path / "w.safetensors")
    agree(reloaded(tmp_path / "w.safetensors"), stock)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
def test_torch_files(stock, tmp_path, suffix):
    torch.save(stock.state_dict(), tmp_path / f"w{suffix}")
    agree(reloaded(tmp_path / f"w{suffix}"), stock)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module.", "_orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_wrappers_and_prefixes(stock, tmp_path, prefix, wrapper):
    state = {prefix + key: value for key, value in stock.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pth")
    agree(reloaded(tmp_path / "w.pth"), stock)


def test_a_backbone_s_own_state_dict(tmp_path):
    first = backbones.load("timm:test_vit", num_classes=5).eval()
    torch.save(first.state_dict(), tmp_path / "w.pth")
    second = backbones.load("timm:test_vit", weights=tmp_path / "w.pth", num_classes=5).eval()
    images = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(first(images), second(images))


def test_native_is_the_same_function(tmp_path):
    stock = timm.create_model("vit_tiny_patch16_224", num_classes=5)
    save_file(stock.state_dict(), tmp_path / "w.safetensors")
    plain, native = (
        backbones.load("timm:vit_tiny_patch16_224", weights=tmp_path / "w.safetensors", num_classes=5, native=native).eval()
        for native in (False, True)
    )
    images = torch.rand(1, 3, 224, 224)
    keep = torch.arange(0, 196, 3)[None]
    with torch.no_grad():
        torch.testing.assert_close(native(images), plain(images), rtol=0, atol=1e-5)
        torch.testing.assert_close(native(images, keep=keep), plain(images, keep=keep), rtol=0, atol=1e-5)
    assert native.grid((224, 224)) == plain.grid((224, 224))


def refused(path, *words, name="timm:test_resnet", num_classes=5):
    with pytest.raises(CheckpointError) as caught:
        backbones.load(name, weights=path, num_classes=num_classes)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_another_number_of_classes(stock, tmp_path):
    torch.save(stock.state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "a head for 5 classes", "expected 9", "Set num_classes to 5", num_classes=9)


def test_another_architecture(stock, tmp_path):
    torch.save(stock.state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "keys missing (cls_token", "keys too many (conv1.0.weight", name="timm:test_vit")


def test_other_shapes_are_named(stock, tmp_path):
    state = stock.state_dict() | {"conv1.0.weight": torch.zeros(1, 3, 3, 3)}
    torch.save(state, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "1 shapes that differ (conv1.0.weight (1, 3, 3, 3) instead of")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated(stock, tmp_path, suffix, share):
    path = tmp_path / f"w{suffix}"
    save_file(stock.state_dict(), path) if suffix == ".safetensors" else torch.save(stock.state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "truncated")


def test_a_text_file(tmp_path):
    (tmp_path / "w.pth").write_text("these are not weights")
    refused(tmp_path / "w.pth", "no weights file")


class Bomb:
    fired = False

    def __reduce__(self):
        return setattr, (Bomb, "fired", True)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Bomb()}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "w.pth", "wants to run", "setattr")
    assert not Bomb.fired


def test_a_class_among_the_weights_is_named(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "argparse.Namespace", "safetensors")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(3)])
def test_no_state_dict_in_it(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "state dict")


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="no weights file"):
        backbones.load("timm:test_resnet", weights=tmp_path / "none.pth")


def test_a_refused_file_changes_nothing(stock, tmp_path):
    state = dict(list(stock.state_dict().items())[:-1])
    torch.save(state, tmp_path / "w.pth")
    model = timm.create_model("test_resnet", num_classes=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="1 keys missing"):
        backbones.load_weights(model, tmp_path / "w.pth", num_classes=5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
