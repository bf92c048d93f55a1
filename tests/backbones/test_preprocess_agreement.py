"""What a picture goes through before a backbone is what its own library does with it."""

import pytest
import timm
import torch
import torchvision.models as library
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform, resolve_data_config, resolve_model_data_config
from timm.models import get_pretrained_cfg

from vitkit import backbones
from vitkit.backbones import from_timm, from_torchvision
from vitkit.errors import UsageError

# Both divide 8-bit values by 255 and by a standard deviation of at least 0.2, in an order that may differ: a few roundings of
# numbers up to 3, and nothing a resized pixel could hide in, since one grey level is 1/255.
ROUNDING = 8 * torch.finfo(torch.float32).eps


@pytest.fixture(scope="module", params=["china.jpg", "flower.jpg"])
def picture(request):
    picture = Image.fromarray(load_sample_image(request.param))
    return picture if request.param == "china.jpg" else picture.transpose(Image.Transpose.ROTATE_90)


def agree(preprocess, picture, theirs):
    ours = preprocess.normalise(preprocess(picture)[None])[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["test_vit", "resnet10t", "test_resnet"])
def test_a_timm_model_sees_what_timm_shows_it(name, picture):
    backbone = backbones.load(f"timm:{name}")
    transform = create_transform(**resolve_model_data_config(timm.create_model(name)), is_training=False)
    agree(backbone.preprocess, picture, transform(picture))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vit_base_patch16_clip_224.openai", {}),
        ("coat_lite_medium_384", {}),
        ("coat_lite_medium_384", {"input_size": (3, 512, 384)}),
    ],
    ids=["centre", "squash", "squash to another aspect"],
)
def test_every_way_to_crop(name, changes, picture):
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict() | changes)
    agree(from_timm.preprocess_of(config), picture, create_transform(**config, is_training=False)(picture))


@pytest.mark.parametrize(("name", "tag"), [("resnet50", "IMAGENET1K_V1"), ("resnet50", "IMAGENET1K_V2"), ("vit_b_16", "DEFAULT")])
def test_a_torchvision_model_sees_what_torchvision_shows_it(name, tag, picture):
    entry = library.get_model_weights(name)[tag]
    agree(from_torchvision.preprocess_of(entry), picture, entry.transforms()(picture))


def test_the_two_recipes_of_resnet50_are_told_apart():
    plain, later = (from_torchvision.preprocess_of(entry) for entry in library.ResNet50_Weights)
    assert (plain.size, later.size) == ((224, 224), (224, 224))
    assert (int(224 / plain.crop), int(224 / later.crop)) == (256, 232)


def test_no_torchvision_classifier_is_left_out():
    for name in from_torchvision.names():
        for entry in library.get_model_weights(name):
            [size], [resized] = entry.transforms().crop_size, entry.transforms().resize_size
            preprocess = from_torchvision.preprocess_of(entry)
            assert (preprocess.size[0], int(preprocess.size[0] / preprocess.crop)) == (size, resized)


def test_a_padded_picture_is_refused():
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg("volo_d5_512.sail_in1k").to_dict())
    with pytest.raises(UsageError, match=r"crop_pct=1\.15"):
        from_timm.preprocess_of(config)


def test_other_channels_take_the_mean_of_the_library_s():
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg("resnet10t").to_dict())
    preprocess = from_timm.preprocess_of(config, channels=1)
    assert preprocess.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])
    assert preprocess.std == pytest.approx([(0.229 + 0.224 + 0.225) / 3])
