"""How far a transformation of the images moves each layer of a model."""

from collections.abc import Callable, Sequence
from math import isfinite, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.profiles.found import DriftProfile, LayerDrift, Spread
from vitkit.evaluation.profiles.layers import Layers, layers_of
from vitkit.evaluation.profiles.listener import Heard, listening
from vitkit.evaluation.subject import Subject

Transform = Callable[[Tensor], Tensor]

TOLERANCE = 1e-4
"""Relative drift up to which a layer counts as unmoved: well above the rounding of float32, well below what moves a decision."""


def drift(
    model: Callable[..., Any],
    images: Float[Tensor, "batch channels *size"],
    transform: Transform,
    tolerance: float = TOLERANCE,
) -> DriftProfile:
    r"""How far a transformation of the images moves each layer of a model: :math:`\|h(Tx) - h(x)\| / \|h(x)\|` for each image.

    A vision transformer of vitkit or timm shows its embedding, blocks and attention, a convolutional network its stem and stages,
    another module its longest ``ModuleList`` or ``Sequential``, and a plain function its logits alone.
    Nothing of this is left on the model, and no gradient is kept.

    Args:
        model: Images to logits, as for :func:`~vitkit.evaluation.evaluate`.
        images: In [0, 1], at the model's size.
        transform: Images to images of the same shape, each for itself. Nothing is cut to [0, 1].
        tolerance: Relative drift up to which a layer counts as unmoved.

    Raises:
        UsageError: A transformation that makes something else than finite images of the same shape, or no image at all.

    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Flatten(), nn.LayerNorm(16, elementwise_affine=False, eps=0), nn.Linear(16, 3))
    >>> found = drift(model.double(), torch.rand(4, 1, 4, 4, dtype=torch.float64), lambda x: 0.5 * x + 0.1)
    >>> found.enters, round(found.layers[1].features.median, 1), found.layer("logits").features.q90 < 1e-12
    ('before Flatten 0', 0.4, True)
    """
    if not len(images):
        raise UsageError("no image", "at least one", "Give a batch of images.")
    subject = Subject(model)
    profiler = Profiler(subject, [transform])
    with subject.evaluating():
        for part in images.to(subject.device).split(at_once(tuple(images.shape[1:]))):
            profiler.add(part)
    name = str(getattr(transform, "__name__", type(transform).__name__))
    return profiler.profile(0, name, name, family=False, tolerance=tolerance)


def at_once(size: Sequence[int]) -> int:
    """Images that go through the model at once, whose attention is held: 8 of 3 x 224 x 224, up to 32 of smaller ones."""
    return max(1, min(32, 8 * 3 * 224**2 // prod(size)))


class Profiler:
    """Collects the drift of each layer, image by image, for several transformations that share the untouched pass.

    Args:
        subject: The model.
        transforms: What is done to the images.
    """

    def __init__(self, subject: Subject, transforms: Sequence[Transform]) -> None:
        self.subject = subject
        self.transforms: list[Transform] = []
        self.layers = Layers(None, []) if subject.module is None else layers_of(subject.module)
        self.n = 0
        self._features: list[dict[str, list[Tensor]]] = []
        self._attention: list[dict[str, list[Tensor]]] = []
        self.extend(transforms)

    def extend(self, transforms: Sequence[Transform]) -> None:
        """More transformations, before the first image."""
        self.transforms += transforms
        self._features += [{} for _ in transforms]
        self._attention += [{} for _ in transforms]

    def add(
        self,
        images: Float[Tensor, "batch channels *size"],
        real: Bool[Tensor, "batch *size"] | None = None,
        valid: int | None = None,
    ) -> None:
        """Let a batch through, untouched and transformed.

        Args:
            images: On the model's device.
            real: Which voxels are no padding, for a model that takes it.
            valid: How many of them count, the first ones; all if not given.
        """
        valid = len(images) if valid is None else valid
        before = self._hear(images, real)
        for index, transform in enumerate(self.transforms):
            changed = transform(images)
            if not isinstance(changed, Tensor) or changed.shape != images.shape or not changed.isfinite().all():
                raise UsageError(
                    f"a transformation that makes {tuple(getattr(changed, 'shape', ()))} of {tuple(images.shape)}, or no numbers",
                    "finite images of the same shape",
                    "Return the images changed, without normalising or cropping them.",
                )
            after = self._hear(changed, real)
            for name, features in before.features.items():
                self._features[index].setdefault(name, []).append(_relative(features, after.features.get(name))[:valid])
            for name, attention in before.attention.items():
                if (moved := _variation(attention, after.attention.get(name, []), len(images))) is not None:
                    self._attention[index].setdefault(name, []).append(moved[:valid])
        self.n += valid

    def profile(self, index: int, name: str, title: str, *, family: bool, tolerance: float) -> DriftProfile:
        """What was found of a transformation so far."""
        features, attention = self._features[index], self._attention[index]
        names = [layer for layer, _ in self.layers.chain]
        found = []
        for layer, values in features.items():
            kind = "logits" if layer == "logits" else "block" if layer in names else "embedding"
            moved = attention.get(layer)
            found.append(LayerDrift(layer, kind, spread_of(values), None if moved is None else spread_of(moved)))
        enters = next((layer.layer for layer in found if layer.features.q90 is None or layer.features.q90 > tolerance), None)
        return DriftProfile(name, title, family, self.n, tolerance, enters, found)

    def _hear(self, images: Tensor, real: Tensor | None) -> Heard:
        with listening(self.layers) as heard:
            logits = self.subject(images, real=real)
        heard.features = {name: value for name, value in heard.features.items() if len(value) == len(images)}
        heard.features["logits"] = logits
        return heard


def _relative(before: Tensor, after: Tensor | None) -> Float[Tensor, " batch"]:
    """Of each image, in float64: 0 where nothing moved, infinite where there was nothing and is something, or other shapes."""
    if after is None or after.shape != before.shape:
        return torch.full((len(before),), torch.inf, dtype=torch.float64)
    was, moved = before.flatten(1).double(), (after.double() - before.double()).flatten(1)
    ratio = moved.norm(dim=1) / was.norm(dim=1)
    return torch.where(moved.any(1), ratio, 0.0).cpu()


def _variation(before: list[Tensor], after: list[Tensor], images: int) -> Float[Tensor, " batch"] | None:
    """Mean total variation of each image; None where the two passes cannot be told apart by image, or attended differently."""
    if [weights.shape for weights in before] != [weights.shape for weights in after]:
        return None
    if any(len(weights) % images for weights in before):  # windows and heads lie behind the image; else they are mixed
        return None
    moved = [(b.double() - a.double()).abs().sum(-1).reshape(images, -1) / 2 for b, a in zip(before, after, strict=True)]
    return torch.cat(moved, dim=1).mean(1).cpu()


def spread_of(values: list[Tensor]) -> Spread:
    """Median and 90 % quantile of one number for each image, in parts."""
    joined = torch.cat(values).numpy()
    # Without interpolation between an infinite value and others, which is not defined.
    method: Any = "linear" if np.isfinite(joined).all() else "inverted_cdf"
    low, high = (float(np.quantile(joined, share, method=method)) for share in (0.5, 0.9))
    return Spread(low if isfinite(low) else None, high if isfinite(high) else None)
