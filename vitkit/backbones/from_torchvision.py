"""Models of torchvision."""

import torchvision.models as library
from torch import nn
from torchvision.models import VisionTransformer, WeightsEnum
from torchvision.transforms._presets import ImageClassification

from vitkit.backbones.backbone import Backbone, Card, TokenBackbone
from vitkit.backbones.removal import TokenRemoval
from vitkit.backbones.request import Request
from vitkit.backbones.weights import load_weights
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess


def names() -> list[str]:
    """The classifiers of pictures of torchvision."""
    return list(library.list_models(module=library))


def knows(name: str) -> bool:
    """Whether torchvision can make it."""
    return name.partition(".")[0] in names()


def load(asked: Request) -> Backbone:
    """The model that torchvision makes, with the transforms of the weights that the tag names.

    Without a tag they are those of the library's default weights if these are loaded, and of its first, plainly trained weights
    otherwise. Loaded for other classes than the weights', the layers that give logits are random.
    """
    if asked.in_chans not in (None, 3):
        raise UsageError(f"in_chans={asked.in_chans} for {asked}", "3", "Use a model of timm.")
    architecture, _, tag = asked.name.partition(".")
    entry = _entry(architecture, tag or ("DEFAULT" if asked.pretrained else ""))
    own = len(entry.meta["categories"])
    length = asked.num_classes or own
    with asked.constructing():
        if asked.pretrained:
            model = library.get_model(architecture, weights=entry, **asked.arguments)
        else:
            model = library.get_model(architecture, num_classes=length, **asked.arguments)
    if asked.pretrained and length != own:
        _replace_heads(model, own, length)
    if asked.weights is not None:
        load_weights(model, asked.weights, length)
    classes = tuple(entry.meta["categories"]) if asked.pretrained and length == own else None
    loaded = asked.weights is not None or asked.pretrained
    card = Card(str(asked), preprocess_of(entry), length, classes, random_weights=not loaded)
    if not isinstance(model, VisionTransformer):
        return Backbone(model, card)
    removal = TokenRemoval(prefix=1)
    # The encoder's dropout follows the position embedding directly, and has no parameters whose names this would change.
    model.encoder.dropout = nn.Sequential(model.encoder.dropout, removal)
    return TokenBackbone(model, card, removal, (model.patch_size,) * 2, (model.image_size,) * 2)


def _replace_heads(model: nn.Module, own: int, length: int) -> None:
    """Put fresh layers where the logits come from: the products as wide as the weights' own classes are many."""
    for name, module in list(model.named_modules()):
        match module:
            case nn.Linear(out_features=width) if width == own:
                model.set_submodule(name, nn.Linear(module.in_features, length))
            case nn.Conv2d(out_channels=width) if width == own:  # SqueezeNet
                model.set_submodule(name, nn.Conv2d(module.in_channels, length, kernel_size=1))


def _entry(architecture: str, tag: str) -> WeightsEnum:
    entries = library.get_model_weights(architecture)
    if not tag:
        return next(iter(entries))
    if tag not in entries.__members__:
        raise UsageError(
            f"torchvision's {architecture} has no weights {tag!r}",
            f"one of {', '.join(entries.__members__)}",
            f"Write torchvision:{architecture}.{next(iter(entries.__members__))}.",
        )
    return entries[tag]


def preprocess_of(entry: WeightsEnum) -> Preprocess:
    """The transforms of a weights entry as a :class:`~vitkit.preprocess.Preprocess`."""
    transforms = entry.transforms()
    assert isinstance(transforms, ImageClassification)
    [size], [resized] = transforms.crop_size, transforms.resize_size
    return Preprocess(
        size=(size, size),
        mean=transforms.mean,
        std=transforms.std,
        interpolation=transforms.interpolation.value,
        crop=size / resized,
    )
