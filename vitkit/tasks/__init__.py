"""Lightning modules: how a model is trained and scored."""

from vitkit.tasks.check_data import check_classes
from vitkit.tasks.checkpoint import AtomicCheckpointIO, read_checkpoint, require_fit
from vitkit.tasks.classification import ClassificationTask
from vitkit.tasks.loading import load_checkpoint, restore
from vitkit.tasks.optimiser import parameter_groups, warmup_cosine
from vitkit.tasks.reseed import ReseedEpochs, reseed
from vitkit.tasks.scores import Scores
from vitkit.tasks.warm_start import warm_start

__all__ = [
    "AtomicCheckpointIO",
    "ClassificationTask",
    "ReseedEpochs",
    "Scores",
    "check_classes",
    "load_checkpoint",
    "parameter_groups",
    "read_checkpoint",
    "require_fit",
    "reseed",
    "restore",
    "warm_start",
    "warmup_cosine",
]
