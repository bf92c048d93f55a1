"""Whether a run is one that a mean corruption error means something for, and what it is."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from vitkit.metrics import ALEXNET

SEVERITIES = (1.0, 2.0, 3.0, 4.0, 5.0)
SUITE = "corruptions"

# The first and the last class, as folders are named and in words.
_ENDS = (("n01440764", "n15075141"), ("tench", "toilet tissue"))


def obstacle(classes: Sequence[str], num_classes: int, accuracy: Mapping[tuple[str, float], object]) -> str | None:
    """Why this run has no mean corruption error, or None.

    Args:
        classes: Names of the data's classes.
        num_classes: Length of the logits.
        accuracy: What was measured, by condition of the suite ``corruptions`` and severity.
    """
    if num_classes != 1000 or not _imagenet(classes):
        return (
            f"mCE is defined on ImageNet's 1,000 classes, by AlexNet's errors there; these are {num_classes:,} classes"
            + ("" if num_classes != 1000 else " of other names")
            + ". The curves and their areas say what there is to say."
        )
    missing = [f"{name}/{severity:g}" for name in ALEXNET for severity in SEVERITIES if (name, severity) not in accuracy]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        return f"mCE is the mean over 15 corruptions at 5 severities; not measured: {shown}."
    return None


def errors(
    accuracy: Mapping[tuple[str, float], Float[np.ndarray, " rows"]],
) -> dict[str, Float[np.ndarray, "rows severities"]]:
    """The error of each corruption at its severities."""
    return {name: 1 - np.stack([accuracy[name, severity] for severity in SEVERITIES], axis=-1) for name in ALEXNET}


def _imagenet(classes: Sequence[str]) -> bool:
    if len(classes) != 1000:
        return False
    ends = [re.split(r"[,_]", name.lower().replace("_", " "))[0].strip() for name in (classes[0], classes[-1])]
    return tuple(ends) in _ENDS
