"""A trained model again, from its checkpoint alone."""

import os
from collections.abc import Mapping
from typing import Any

from vitkit.errors import CheckpointError
from vitkit.recipe import build
from vitkit.tasks.checkpoint import SCHEMA, read_checkpoint, require_fit
from vitkit.tasks.classification import ClassificationTask


def load_checkpoint(path: str | os.PathLike[str]) -> ClassificationTask:
    """The model of a checkpoint, made as the checkpoint says and with its weights, in evaluation mode.

    Raises:
        UsageError: No such file.
        CheckpointError: A file that cannot be read, that was not written by vitkit or by a later version of it, or whose weights
            do not fit its own description.
    """
    checkpoint = read_checkpoint(path)
    about = checkpoint.get("vitkit")
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        found = f"was written by vitkit {about.get('version')}" if isinstance(about, dict) else "does not say what its model is"
        raise CheckpointError(
            f"{path} {found}", f"a checkpoint of vitkit's, schema {SCHEMA}", "Use the version of vitkit that wrote it."
        )
    task: ClassificationTask = build(about["task"])
    restore(task, checkpoint, path)
    return task.eval()


def restore(task: ClassificationTask, checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Put a checkpoint's weights into a task, all or none.

    Raises:
        CheckpointError: Weights for another architecture or another number of classes; the message names what differs.
    """
    require_fit(task, task.num_classes, checkpoint, path)
    task.load_state_dict(checkpoint["state_dict"])
    task.recall(checkpoint)
