"""The model under evaluation: any callable from images in [0, 1] to logits."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.evaluation.code import fingerprint_of, is_own
from vitkit.evaluation.condition import Context
from vitkit.evaluation.saliency import Saliency
from vitkit.evaluation.stream import Stream
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess


class Subject:
    """A model with what an evaluation wants to know of it.

    Args:
        model: ``model(images) -> logits``. It may carry ``preprocess``, ``num_classes``, ``classes`` and ``random_weights``;
            tokens can be removed if it has ``grid(size)`` and takes ``keep``; which voxels are no padding is told to it if it
            takes ``real``.
        device: Where to run it; a module is moved there. If not given, a module stays where it is, and a function gets images on
            the CPU.

    Raises:
        UsageError: A class in place of a model made from it, or what cannot be called.
    """

    def __init__(self, model: Callable[..., Any], device: torch.device | str | None = None) -> None:
        if isinstance(model, type):
            raise UsageError(
                f"the class {model.__name__}", "a model that was made from it", f"Call it first: {model.__name__}(...)."
            )
        if not callable(model):
            raise UsageError(
                f"a {type(model).__name__} as the model",
                "a module or a function",
                "Load weights into the model that they are of.",
            )
        self.model = model
        self.module = model if isinstance(model, nn.Module) else None
        if self.module is not None and device is not None:
            self.module.to(device)
        tensors = [] if self.module is None else [*self.module.parameters(), *self.module.buffers()]
        self.device = torch.device(device or (tensors[0].device if tensors else "cpu"))
        preprocess = getattr(model, "preprocess", None)
        self.preprocess = preprocess if isinstance(preprocess, Preprocess) else None
        self.classes: list[str] | None = getattr(model, "classes", None)
        self.num_classes: int | None = getattr(model, "num_classes", None)
        self.random_weights = bool(getattr(model, "random_weights", False))
        self.parameters = 0 if self.module is None else sum(parameter.numel() for parameter in self.module.parameters())

    @cached_property
    def _takes(self) -> Mapping[str, inspect.Parameter]:
        """What the model can be called with, as far as it says."""
        try:
            return inspect.signature(self.model if self.module is None else self.module.forward).parameters
        except (TypeError, ValueError):  # some functions that are not written in Python
            return {}

    def check_fit(self, stream: Stream, classes: list[str]) -> None:
        """Refuse data that is not for this model.

        Args:
            stream: The data.
            classes: Its classes; empty if they have no names.

        Raises:
            UsageError: Other channels than the model's preprocess, other classes than the model's, or labels that are none.
        """
        remedy = "Evaluate on the data that the model is for."
        if self.preprocess is not None and self.preprocess.channels != stream.size[0]:
            raise UsageError(
                f"images of {stream.size[0]} channels", f"{self.preprocess.channels}, as the model's preprocess says", remedy
            )
        if classes and stream.classes > len(classes):
            raise UsageError(
                f"a label {stream.classes - 1}", f"less than the {len(classes)} classes of the data", "Mend the labels."
            )
        if classes and self.classes and self.classes != classes and sorted(self.classes) == sorted(classes):
            raise UsageError(
                f"classes in the order {classes}", f"the model's order, {self.classes}", "Reorder the data's classes."
            )
        if classes and self.num_classes and len(classes) != self.num_classes:
            raise UsageError(f"data of {len(classes)} classes for a model of {self.num_classes}", "the same number", remedy)
        if self.num_classes and stream.classes > self.num_classes:
            raise UsageError(
                f"a label {stream.classes - 1} for a model of {self.num_classes} classes", "labels below that", remedy
            )

    def context(self, size: tuple[int, ...], seed: int, channels: int | None = None) -> Context:
        """What conditions may know of the model, for images of a size without channels; three of these if not given."""
        grid: Grid | None = None
        # What a model says of itself comes first: it knows why.
        reason = getattr(self.model, "no_removal", None)
        if getattr(self.model, "grid", None) is None:
            reason = reason or "the model has no tokens that could be removed: no grid(size)"
        else:
            try:
                grid = self.model.grid(size)  # type: ignore[attr-defined]
            except UsageError as error:
                reason = reason or f"the model has no grid of tokens for this size: {error}"
        if reason is None and "keep" not in self._takes:
            reason = "the model cannot remove tokens: it does not take keep"
        spacing = None if self.preprocess is None else self.preprocess.spacing
        channels = channels or (3 if self.preprocess is None else self.preprocess.channels)
        saliency = Saliency(self.model, grid, (channels, *size), self.device)
        return Context(seed=seed, grid=grid, no_removal=reason, spacing=spacing, saliency=saliency)

    def fingerprint(self) -> str:
        """Hash of a module's classes, arguments and weights, or of a function's code and what it holds on to."""
        digest = sha256()
        if self.module is None:
            return fingerprint_of(self.model)
        for name, module in self.module.named_modules():
            arguments = json.dumps(getattr(module, "_recipe_arguments", None), default=lambda value: type(value).__qualname__)
            code = fingerprint_of(type(module)) if is_own(type(module)) else ""
            digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {arguments}{code}\n".encode())
        for name, value in self.module.state_dict().items():
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode and no gradients, and every module's own mode again afterwards."""
        modes = [] if self.module is None else [(module, module.training) for module in self.module.modules()]
        try:
            if self.module is not None:
                self.module.eval()
            # Not inference mode: what a model keeps from one call to the next could then never be differentiated again.
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training

    def __call__(
        self,
        images: Float[Tensor, "batch channels *size"],
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits in float32 or more, on the CPU; a model that does not take ``real`` sees padding as black.

        Raises:
            UsageError: Weights of another precision than the images, or the model returns anything but finite logits of shape
                (batch, classes), of as many classes as it says.
        """
        given = {"keep": keep, "real": real if "real" in self._takes else None}
        try:
            logits = self.model(images, **{name: value for name, value in given.items() if value is not None})
        except RuntimeError as error:
            weights = () if self.module is None else self.module.parameters()
            other = next(
                (weight.dtype for weight in weights if weight.is_floating_point() and weight.dtype != images.dtype), None
            )
            if other is None or not re.search("dtype|type", str(error)):
                raise
            remedy = "Call model.float() first, or wrap it in a function that converts the images."
            raise UsageError(f"a model whose weights are {other} ({error})", f"{images.dtype}, as images are", remedy) from error
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            kind = f"a tensor of {logits.dtype}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise UsageError(
                f"a model that returns {kind}", "a tensor of logits", "Wrap it in a function that returns the logits."
            )
        wanted = self.num_classes or (logits.shape[1] if logits.ndim == 2 else 2)
        if tuple(logits.shape) != (len(images), wanted) or wanted < 2:
            raise UsageError(
                f"logits of shape {tuple(logits.shape)} for {len(images)} images",
                f"({len(images)}, {wanted})" if self.num_classes else f"({len(images)}, classes), two or more",
                "Check the model's head; a binary model needs two logits.",
            )
        self.num_classes = wanted
        if not logits.isfinite().all():
            raise UsageError(
                "logits that are not finite", "numbers", "Check the weights, and whether the model overflows in half precision."
            )
        return logits.cpu() if logits.dtype == torch.float64 else logits.float().cpu()
