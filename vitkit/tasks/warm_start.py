"""Start from weights that fit only partly."""

from pathlib import Path

from torch import nn

from vitkit.backbones import read_weights, strip_prefixes
from vitkit.errors import CheckpointError

_SHOWN = 4


def warm_start(model: nn.Module, path: str | Path) -> str:
    """Load what fits of a file's weights, and leave the rest as it was initialised.

    The head stays fresh where the file has another number of classes. The file may hold a whole model or an encoder alone.

    Args:
        model: The model that is to start from them.
        path: A checkpoint of vitkit's, or a file of weights: .ckpt, .pt, .pth, .bin, .safetensors.

    Returns:
        A sentence that says what was taken and what was not.

    Raises:
        UsageError: No such file.
        CheckpointError: A file that cannot be read, or of which nothing fits.
    """
    wanted = model.state_dict()
    state = read_weights(path)
    nested = {f"encoder.{name}": value for name, value in state.items()}
    candidates = [strip_prefixes(state, wanted), nested]
    state = max(candidates, key=lambda candidate: sum(name in wanted for name in candidate))
    fitting = {name: value for name, value in state.items() if name in wanted and value.shape == wanted[name].shape}
    if not fitting:
        raise CheckpointError(
            f"nothing in {path} fits the model: it holds {_list(list(state))}",
            f"weights such as {_list(list(wanted))}",
            "Give weights that were trained with the same encoder.",
        )
    model.load_state_dict(fitting, strict=False)
    fresh = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}" if name in state else name
        for name in wanted
        if name not in fitting
    ]
    unused = [name for name in state if name not in wanted]
    parts = [f"{len(fitting)} of {len(wanted)} tensors taken from {path}"]
    if fresh:
        parts.append(f"{len(fresh)} left as initialised ({_list(fresh)})")
    if unused:
        parts.append(f"{len(unused)} of the file not used ({_list(unused)})")
    return "; ".join(parts)


def _list(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
