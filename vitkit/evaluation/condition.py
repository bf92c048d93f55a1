"""A condition: one operation on images, at each of a list of severities."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.corruptions import seed_for
from vitkit.errors import UsageError
from vitkit.evaluation.bank import Bank
from vitkit.evaluation.code import fingerprint_of, is_own
from vitkit.evaluation.saliency import Saliency
from vitkit.grid import Grid
from vitkit.recipe import Recorded


@dataclass(frozen=True)
class Context:
    """What a condition may know besides the images.

    Args:
        ids: Id of each image.
        seed: Seed of the run.
        grid: The model's tokens for images of this size, or None if it tells of none.
        spacing: Distance between voxels of the images along each axis in mm, if the model's grid is in mm; else None.
        no_removal: Why tokens cannot be removed from this model, or None if they can.
        real: Which voxels of the images are no padding; None if all are.
        saliency: Maps of what the model looks at on the clean images, if there is a model.
        bank: A few images of the data set and their ids, the same for every condition, made when asked for.
    """

    ids: Sequence[str] = ()
    seed: int = 0
    grid: Grid | None = None
    no_removal: str | None = None
    spacing: Sequence[float] | None = None
    real: Bool[Tensor, "batch *size"] | None = None
    saliency: Saliency | None = None
    bank: Callable[[], Bank] | None = None

    def seeds(self, suite: str, family: str, severity: float | None = None) -> list[int]:
        """A seed for each image, as :func:`vitkit.corruptions.seed_for` makes them."""
        return [seed_for(suite, family, severity, sample, self.seed) for sample in self.ids]


@dataclass(frozen=True)
class Applied:
    """What a condition made of a batch.

    Args:
        images: With values in [0, 1].
        keep: Grid tokens that the model is to keep, if it is to remove the others.
        clipped: Share of each image's values that were cut to [0, 1].
        area: Pixels that the model cannot see, painted over or in a token that is removed.
    """

    images: Float[Tensor, "batch channels *size"]
    keep: Int[Tensor, "batch kept"] | None = None
    clipped: Float[Tensor, " batch"] | None = None
    area: Bool[Tensor, "batch *size"] | None = None


class Condition(Recorded, ABC):
    """One operation at several severities; a suite of your own is a list of these, and a corruption of your own a subclass.

    >>> import torch
    >>> class Negative(Condition):
    ...     suite, name, title, unit, severities = "colour", "negative", "Negative", "on or off", [1.0]
    ...
    ...     def apply(self, images, severity, context):
    ...         return Applied(1 - images)
    >>> Negative().apply(torch.zeros(1, 1, 2, 2), 1.0, Context(["a"])).images.unique()
    tensor([1.])
    >>> Negative().id(1.0)
    'colour.negative/1'

    Attributes:
        suite: Group of conditions that it is shown with, e.g. "occlusion".
        name: Name in the group, e.g. "random.painted". Two that end in ".painted" and ".removed" are compared.
        title: What a reader sees.
        unit: Of the severities, in words.
        severities: What is run.
        identity: Severity at which nothing happens, where the curve meets the clean images.
    """

    suite: str
    name: str
    title: str
    unit: str
    severities: Sequence[float]
    identity: float = 0.0

    @abstractmethod
    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Images with values in [0, 1], on their own device, at a severity.

        What is random here draws from ``context.seeds`` alone, so that neither the batch nor its order can change a result.
        """

    def obstacle(self, context: Context) -> str | None:
        """Why it cannot be run on this model, or None; it is then recorded as skipped."""
        return None

    def obstacle_at(self, severity: float, context: Context, size: tuple[int, ...]) -> str | None:
        """Why it cannot be run at this severity on images of this size, without channels; :meth:`obstacle` unless overridden."""
        return self.obstacle(context)

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """What a reader of the results should know of the operation; ``size`` is that of the images, without channels."""
        return {}

    def reads(self) -> str | None:
        """A hash of the files that it reads besides the images, or None; with other files it is another run."""
        return None

    def code(self) -> str | None:
        """A hash of the code, if it is a user's own and not vitkit's; with other code it is another run."""
        return fingerprint_of(type(self)) if is_own(type(self)) else None

    def id(self, severity: float) -> str:
        """Identifier of the condition at a severity, unique in a suite."""
        group = self.suite if self.suite == self.name else f"{self.suite}.{self.name}"
        return f"{group}/{severity:g}"


class Clean(Condition):
    """The images as they are."""

    suite = name = "clean"
    title = "Clean"
    unit = ""
    severities = (0.0,)

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """The images."""
        return Applied(images)


def check_name(name: str) -> str:
    """The name itself, if it can stand in an id and a file name.

    Raises:
        UsageError: It cannot.
    """
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_.-]+", name)):
        raise UsageError(f"name {name!r}", "letters, digits, dots, dashes and underscores", "Use a name such as random.painted.")
    return name


def check_severities(key: str, values: Any) -> list[float]:
    """The values as a list of floats.

    Args:
        key: Name of the argument, for the error.
        values: Different finite numbers, at least one.

    Raises:
        UsageError: They are not.
    """
    if not isinstance(values, (list, tuple)) or not values:
        raise UsageError(f"{key}: {values!r}", "a list with at least one number", f"Write e.g. {key}: [0.25, 0.5].")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise UsageError(
                f"{key}[{index}]: {value!r}", "a finite number", "Write numbers such as 0.5, and 1.0e-3 for a thousandth."
            )
        if any(f"{value:g}" == f"{other:g}" for other in values[:index]):
            raise UsageError(f"{key}[{index}]: {value!r} for the second time", "different numbers", "Remove one of the two.")
    return [float(value) for value in values]
