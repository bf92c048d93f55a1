"""Any corruption as a condition of a suite: a function of images, a severity and a seed for each image."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.evaluation.code import fingerprint_of, is_own
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities

_LEAST = {"vitkit.corruptions.image": 1, "vitkit.corruptions.volume": 0}  # severity; the highest is 5


class Corruption(Condition):
    """A function that corrupts images, at each of its severities.

    A function that takes ``spacing`` is told how many mm lie between voxels along each axis, or None if that is not known.
    Padding around a scan stays as it is.

    Args:
        function: ``function(images, severity, seeds, **arguments)`` from images ``(batch, channels, *size)`` in [0, 1] to images
            of that shape, which are cut to [0, 1]; what is random in it draws from ``seeds``, one whole number for each image. A
            callable, or where to import it from, such as ``vitkit.corruptions.image.fog``.
        severities: What the function takes; 0 stands for the untouched image.
        name: Name in the results, the function's own if not given.
        title: What a reader sees, the name in words if not given.
        suite: Group of conditions that it is shown with.
        arguments: More arguments of the function, by name.

    Raises:
        UsageError: No such function, or severities or a name that are none.

    >>> import torch
    >>> def negative(images, severity, seeds):
    ...     return (1 - severity) * images + severity * (1 - images)
    >>> Corruption(negative, [0.5, 1.0]).apply(torch.zeros(1, 1, 2, 2), 1.0, Context(["a"])).images.unique()
    tensor([1.])
    """

    unit = "severity"

    def __init__(
        self,
        function: str | Callable[..., Tensor],
        severities: Sequence[float | int] = (1, 2, 3, 4, 5),
        name: str | None = None,
        title: str | None = None,
        suite: str = "corruptions",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.function: Callable[..., Tensor] = _imported(function) if isinstance(function, str) else function
        # A function is written down by where it is found, so that a suite with one can be stored.
        if not isinstance(function, str):
            named = function if hasattr(function, "__qualname__") else type(function)
            self._recipe_arguments["function"] = f"{named.__module__}.{named.__qualname__}"
        self.severities = check_severities("severities", severities)
        # vitkit's own are told now, and not once other conditions have run; those of others may have any scale.
        home = str(getattr(self.function, "__module__", ""))
        least = next((least for room, least in _LEAST.items() if home.startswith(room)), None)
        for index, severity in enumerate(self.severities):
            if least is not None and severity not in range(least, 6):
                found = f"severities[{index}]: {severity:g}"
                raise UsageError(found, f"a whole number from {least} to 5", "Use some of 1, 2, 3, 4, 5.")
        self.name = check_name(name or str(getattr(self.function, "__name__", "")))
        self.suite = check_name(suite)
        self.title = title or self.name.replace("_", " ").capitalize()
        self.arguments = dict(arguments or {})
        takes = _parameters(self.function)
        self._in_mm = "spacing" in takes and "spacing" not in self.arguments
        if takes:  # it is not known of some functions that are not written in Python
            given = self.arguments | ({"spacing": None} if self._in_mm else {})
            try:
                inspect.Signature(list(takes.values())).bind(None, None, None, **given)
            except TypeError as error:
                remedy = "Correct the suite's arguments, or the function."
                raise UsageError(f"{self.name}: {error}", "function(images, severity, seeds, **arguments)", remedy) from error

    def obstacle_at(self, severity: float, context: Context, size: tuple[int, ...]) -> str | None:
        """A function whose annotation says how many axes its images have is for these alone."""
        hint = inspect.get_annotations(self.function).get("images") if callable(self.function) else None
        dims = getattr(hint, "dims", None)
        if dims is None or getattr(hint, "index_variadic", None) is not None or len(dims) == len(size) + 2:
            return self.obstacle(context)
        return f"{self.name} takes images of {len(dims) - 2} axes, and these have {len(size)}"

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The function and its arguments."""
        spacing = None if context.spacing is None else list(context.spacing)
        known = {"spacing": spacing} if self._in_mm else {}
        return {"function": self._recipe_arguments["function"], **self.arguments, **known}

    def code(self) -> str | None:
        """Of the function."""
        own = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return fingerprint_of(self.function) if is_own(own) else super().code()

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """The function's images, and what share of each was outside of [0, 1]."""
        given = int(severity) if severity == int(severity) else severity
        known = {"spacing": context.spacing} if self._in_mm else {}
        made = self.function(images, given, context.seeds(self.suite, self.name, severity), **self.arguments, **known)
        if not isinstance(made, Tensor) or made.shape != images.shape:
            found = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
            raise UsageError(
                f"{self.name} made {found}", f"images of shape {tuple(images.shape)}", "Return as many images, of the same size."
            )
        if context.real is not None:
            made = torch.where(context.real.unsqueeze(1).to(made.device), made, images)
        outside = ((made < 0) | (made > 1)).flatten(1).float().mean(1)
        return Applied(made.clamp(0, 1), clipped=outside)


def _parameters(function: Callable[..., Tensor]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions that are not written in Python
        return {}


def _imported(path: str) -> Callable[..., Tensor]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None) if module else None
    except ImportError:
        found = None
    if not callable(found):
        raise UsageError(
            f"function: {path}",
            "where to import a function from, such as vitkit.corruptions.image.fog",
            "See vitkit ls corruptions, and check that your own module can be imported from here.",
        )
    return found
