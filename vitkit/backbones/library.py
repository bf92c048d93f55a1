"""A model of another library, to be made and trained."""

from typing import Any

import torch

from vitkit.backbones.backbone import Backbone, TokenBackbone
from vitkit.backbones.load import load
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import Recorded


class LibraryModel(Recorded):
    """A classifier of timm or torchvision, which a config puts where the encoder stands; made once the classes are known.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``, as for :func:`~vitkit.backbones.load`.
        pretrained: Let the library download its weights and start from them, with a fresh head where the classes are others. A
            checkpoint needs no download: it holds the weights.
        arguments: What else the library's own constructor is given, such as ``{img_size: 64}`` for a vision transformer,
            ``{channels: [16, 32, 64, 128]}`` for a ResNet of timm's, or ``{drop_path_rate: 0.1}``.

    >>> model = LibraryModel("timm:test_resnet").make(10, Preprocess(size=(32, 32)))
    >>> model(torch.rand(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, name: str, pretrained: bool = False, arguments: dict[str, Any] | None = None) -> None:
        self.name, self.pretrained, self.arguments = name, pretrained, dict(arguments or {})

    def make(self, num_classes: int, preprocess: Preprocess) -> Backbone:
        """The model, for so many classes, with this preprocess instead of the library's own.

        Raises:
            UsageError: A name or arguments that the library does not take, fewer than two classes, or images of a size, of axes
                or of channels that the model does not take.
        """
        if num_classes < 2:
            raise UsageError(f"num_classes={num_classes}", "at least two", "Give the number of classes of the data.")
        if len(preprocess.size) != 2:
            found = f"a preprocess of {len(preprocess.size)} axes for {self.name}"
            raise UsageError(found, "two: pictures", "Give preprocess.size as [height, width], or train vitkit's own encoder.")
        model = load(
            self.name,
            pretrained=self.pretrained,
            num_classes=num_classes,
            in_chans=preprocess.channels,
            arguments=self.arguments,
        )
        model.preprocess = preprocess
        _try(model)
        return model


def _try(model: Backbone) -> None:
    """Run one black image through a model, whose library may check its size no earlier than that."""
    size, training = model.preprocess.size, model.training
    if isinstance(model, TokenBackbone):
        model.grid(size)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, model.preprocess.channels, *size))
    except UsageError:
        raise
    except Exception as error:  # libraries assert, and raise what they like
        raise UsageError(
            f"{model.name} fails on images of {model.preprocess.channels} channels and size {size}: "
            f"{' '.join(str(error).split()) or type(error).__name__}",
            "a size and arguments that the model takes",
            "Change preprocess.size or the arguments; some models are made for a size, given as arguments={img_size: ...}.",
        ) from error
    finally:
        model.train(training)
