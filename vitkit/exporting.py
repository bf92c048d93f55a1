"""Whether a graph is being exported, whose sizes are yet unknown."""

from collections.abc import Callable

import torch


def is_exporting() -> bool:
    """Whether ``torch.export`` is tracing.

    Torch 2.6 cannot be asked. There it is taken for exporting when it traces without Dynamo, as with ``strict=False``.
    """
    asked: Callable[[], bool] | None = getattr(torch.compiler, "is_exporting", None)
    if asked is not None:
        return asked()
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
