"""Configs as files: what is no YAML, and what is no config, is told with its name."""

from pathlib import Path
from typing import Any

import yaml

from vitkit.errors import UsageError


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        UsageError: No such file, or one that is no YAML; the message names it and the place.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}", "a YAML file", "Check the path.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", "a YAML file", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8", "a YAML file", "Save it as UTF-8, or give another file.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UsageError(f"{path} is no YAML ({_problem(error)})", "a YAML file", "Mend the file.") from error


def read_config(path: Path) -> dict[str, Any]:
    """The options that a config holds.

    Raises:
        UsageError: No such file, or one that is no YAML or holds something else.
    """
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else "is a list" if isinstance(tree, list) else "has no keys"
        remedy = "Give another file, or write one like configs/image/digits.yaml."
        raise UsageError(f"{path} {what}", "a config with keys such as model, data and trainer", remedy)
    return tree


def _problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem or error.context}"
    return " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
