"""How well class probabilities agree with labels, over a whole data set."""

import warnings

from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassStatScores,
)


class Scores(nn.Module):
    """Accuracy, macro accuracy, AUROC and calibration error, gathered batch by batch.

    All are fractions in [0, 1]. ``accuracy`` is the share of right predictions, ``accuracy_macro`` the mean of the classes'
    recalls, ``auroc`` the mean over classes of the area under the one-against-rest curve, ``ece`` the expected calibration error
    of the winning class over 15 bins of equal width (Guo et al. 2017).

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "accuracy_macro": MulticlassAccuracy(num_classes, average="macro"),
                "auroc": MulticlassAUROC(num_classes, average="none"),
                "ece": MulticlassCalibrationError(num_classes, n_bins=15),
                "counts": MulticlassStatScores(num_classes, average="none"),
            },
            compute_groups=False,
        )

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Add a batch."""
        self.metrics.update(logits.float().softmax(dim=-1), labels)

    def compute(self) -> dict[str, Tensor]:
        """The scores so far; AUROC over the classes that have both positives and negatives, and left out where no class has."""
        with warnings.catch_warnings():
            # Classes without positives or without negatives are left out below.
            warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets")
            scores: dict[str, Tensor] = self.metrics.compute()
        auroc, support = scores.pop("auroc"), scores.pop("counts")[:, -1]
        defined = (support > 0) & (support < support.sum())
        if defined.any():
            scores["auroc"] = auroc[defined].mean()
        return scores

    def reset(self) -> None:
        """Forget all batches."""
        self.metrics.reset()
