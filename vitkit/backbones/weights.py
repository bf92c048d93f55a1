"""Weights files: read without running any code, unwrapped, and compared with the model before anything is loaded."""

import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vitkit.errors import CheckpointError, UsageError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net")
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.")
_SHOWN = 4


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth, .pt, .bin or .ckpt file, on the CPU, out of whatever dicts they are wrapped in.

    Raises:
        UsageError: No such file.
        CheckpointError: A file that is truncated, holds code, or holds no named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weights file at {path}", "a .safetensors, .pth, .pt, .bin or .ckpt file", "Check the path.")
    content = read_file(path)
    while isinstance(content, Mapping) and not _is_state(content):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not (isinstance(content, Mapping) and _is_state(content)):
        keys = ", ".join(map(str, list(content)[:_SHOWN])) if isinstance(content, Mapping) else ""
        raise CheckpointError(
            f"{path} holds a {type(content).__name__} of {keys or 'no names'}",
            "a state dict of tensors",
            "Save model.state_dict() and give that file.",
        )
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _is_state(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in content.values())


def read_file(path: Path) -> Any:
    """What a weights file holds, on the CPU, as it is.

    Raises:
        CheckpointError: A file that is truncated, or that is a pickle with code in it.
    """
    broken = CheckpointError(
        f"{path} cannot be read: it is truncated, or no weights file", "a whole file of weights", "Copy or download it again."
    )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise broken from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch raises for a damaged file depends on where it is damaged; only code is told apart.
        code = _code_in(path, str(error))
        if not code:
            raise broken from error
        raise CheckpointError(
            f"{path} is a pickle that wants to run {', '.join(code[:_SHOWN])}",
            "tensors and plain values alone, since a weights file must not be able to run code",
            "Save model.state_dict() by itself, or convert the file to .safetensors where you trust it.",
        ) from error


def _code_in(path: Path, message: str) -> list[str]:
    """Names of what the pickle would call; of a file in the old format, which cannot be listed, the first that torch refused."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return re.findall(r"GLOBAL (\S+)", message)[:1] or _names_in_pickle(path)


def _names_in_pickle(path: Path) -> list[str]:
    """What a bare pickle names besides tensors, found by reading its operations without carrying them out."""
    found: list[str] = []
    strings: list[str] = []
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    found.append(str(argument).replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    found.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except Exception:
        return []  # no pickle
    return sorted({name for name in found if not name.startswith(("torch.", "collections."))})


def load_weights(model: nn.Module, path: str | Path, num_classes: int) -> None:
    """Load a file into a model, all of it or nothing.

    Prefixes that wrappers leave on every key (``module.``, ``model.``, ``_orig_mod.`` ...) are taken off.

    Raises:
        UsageError: No such file.
        CheckpointError: A file that cannot be read, with a head for another number of classes, or whose keys or shapes are not
            the model's; the message names them, and the model is left as it was.
    """
    state = strip_prefixes(read_weights(path), model.state_dict())
    check_fit(state, model.state_dict(), path, num_classes)
    model.load_state_dict(state)


def check_fit(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: str | Path,
    num_classes: int,
    remedy: str = "Give the name of the model that these weights belong to.",
) -> None:
    """Compare the weights of a file with those that a model of so many classes wants.

    Raises:
        CheckpointError: A head for another number of classes, or other keys or shapes; the message names them.
    """
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    differing = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if differing and not missing and not unexpected:
        _refuse_other_head(path, state, wanted, differing, num_classes)
    if missing or unexpected or differing:
        shapes = [f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}" for key in differing]
        parts = [
            f"{len(found)} {what} ({', '.join(found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''})"
            for found, what in ((missing, "keys missing"), (unexpected, "keys too many"), (shapes, "shapes that differ"))
            if found
        ]
        raise CheckpointError(
            f"{path} does not fit the model: {'; '.join(parts)}",
            "the model's own keys and shapes",
            remedy,
        )


def strip_prefixes(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off a prefix as long as doing so makes more keys fit."""
    while True:
        fitting = sum(key in wanted for key in state)
        for prefix in _PREFIXES:
            shorter = {key.removeprefix(prefix): value for key, value in state.items()}
            if len(shorter) == len(state) and (
                sum(key in wanted for key in shorter) > fitting or (not fitting and all(key.startswith(prefix) for key in state))
            ):
                state = shorter
                break
        else:
            return state


def _refuse_other_head(
    path: str | Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], differing: list[str], num_classes: int
) -> None:
    """A clear sentence where all that differs is the length of the logits."""
    lengths = {tuple(state[key].shape[:1]) for key in differing}
    ours = all(wanted[key].shape[:1] == (num_classes,) and wanted[key].shape[1:] == state[key].shape[1:] for key in differing)
    if ours and len(lengths) == 1 and all(lengths):
        [(found,)] = lengths
        raise CheckpointError(
            f"{path} has a head for {found} classes", f"{num_classes}, the model's num_classes", f"Set num_classes to {found}."
        )
