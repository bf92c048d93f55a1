"""Training a classifier."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning.pytorch as L
import torch
from jaxtyping import Bool, Float, Int
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import cross_entropy

import vitkit
from vitkit.backbones import Backbone, LibraryModel, TokenBackbone
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.recipe import Recipe, Recorded, recipe
from vitkit.tasks.check_data import check_data
from vitkit.tasks.checkpoint import SCHEMA, require_fit
from vitkit.tasks.mixing import Mixing
from vitkit.tasks.optimiser import parameter_groups, step_counts, warmup_cosine
from vitkit.tasks.scores import Scores
from vitkit.tasks.warm_start import warm_start

log = logging.getLogger(__name__)

Batch = Sequence[Any]
"""Images in [0, 1], labels, the samples' names, and in a :class:`vitkit.data.Batch` which voxels are real, and segmentations."""

_GREY = 0.9
"""Share of voxels between 0 and 1 that segmentations, where only those at an edge are, do not reach."""


class ClassificationTask(L.LightningModule, Recorded):
    """Train a classifier with AdamW, a linear warm-up and a cosine decay; score it by accuracy, AUROC and calibration error.

    Called with images it gives logits, so a trained task is a model that can be evaluated.

    Args:
        encoder: The encoder, or a whole model of timm or torchvision in its place.
        num_classes: Number of classes.
        preprocess: Size and normalisation of the images; travels with the checkpoint.
        lr: Peak learning rate.
        weight_decay: AdamW's decay of matrices; norms, offsets, biases, positions and scales do not decay.
        warmup_epochs: Epochs over which the learning rate rises; need not be whole.
        layer_decay: Factor on the learning rate from one block to the one below it; 1 for one rate everywhere. Of vitkit's own
            encoder only, as are ``background``, ``amount``, ``distance`` and ``depths``.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        mixup: Alpha of the Beta distribution that mixup draws from; 0 for no mixup.
        cutmix: The same for cutmix. With both, a coin is tossed for every batch. In a volume the cut runs through its depth.
        class_weights: Weight of each class in the training loss; equal if not given.
        background: Intensity of voxels where there is nothing, which then count as padding; see
            :class:`~vitkit.encoder.Classifier`.
        amount: Whether the logits depend on how much there is of what a segmentation labels: ``no``, ``also``, or on nothing
            else: ``alone``. If so, each token learns, by a second training loss, what share of its voxels is labelled. Training
            then needs a segmentation of every volume (``data.masks``), and nothing else does.
        mask_weight: Weight of that second loss.
        distance: For volumes that are segmentations: the distance to the surface that becomes 1 where voxels are seen by how deep
            inside they lie; see :class:`~vitkit.encoder.Classifier`.
        depths: Whether how these distances are distributed over the whole shape enters the logits, too.
        weights: File of weights to start from, as far as they fit; a head for other classes is replaced.

    Raises:
        UsageError: An option outside its range, not one weight per class, or an option that a library's model does not have.
        CheckpointError: Weights to start from of which nothing fits.

    >>> from vitkit.embedding import PatchEmbed
    >>> encoder = Encoder(PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=32), depth=1, num_heads=2)
    >>> task = ClassificationTask(encoder, num_classes=10, preprocess=Preprocess(size=(8, 8)))
    >>> task(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        encoder: Encoder | LibraryModel,
        num_classes: int,
        preprocess: Preprocess,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_epochs: float = 1.0,
        layer_decay: float = 1.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        class_weights: list[float] | None = None,
        background: float | None = None,
        amount: Literal["no", "also", "alone"] = "no",
        distance: float | None = None,
        depths: bool = False,
        mask_weight: float = 1.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        _check_range("lr", lr, lr > 0, "a positive number")
        _check_range("weight_decay", weight_decay, weight_decay >= 0, "a number not below 0")
        _check_range("warmup_epochs", warmup_epochs, warmup_epochs >= 0, "a number not below 0")
        _check_range("layer_decay", layer_decay, 0 < layer_decay <= 1, "a factor in (0, 1]")
        _check_range("label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "a share in [0, 1)")
        _check_range("mixup", mixup, mixup >= 0, "a number not below 0")
        _check_range("cutmix", cutmix, cutmix >= 0, "a number not below 0")
        _check_range("mask_weight", mask_weight, mask_weight > 0, "a positive number")
        if (amount != "no" or distance is not None) and (mixup or cutmix):
            raise UsageError(
                f"model.{f'amount={amount}' if amount != 'no' else f'distance={distance}'} with mixup or cutmix",
                "one of the two",
                "Neither masks nor shapes can be mixed: set mixup and cutmix to 0.",
            )
        given = class_weights or []
        right = class_weights is None or (len(given) == num_classes and min(given) >= 0 and sum(given) > 0)
        _check_range("class_weights", class_weights, right, f"{num_classes} numbers not below 0, one per class")
        self.model: Classifier | Backbone
        self.mask_weight = mask_weight
        if isinstance(encoder, LibraryModel):
            for name, value, none in (
                ("layer_decay", layer_decay, 1.0),
                ("background", background, None),
                ("amount", amount, "no"),
                ("distance", distance, None),
                ("depths", depths, False),
            ):
                if value != none:
                    found = f"model.{name}={value} for {encoder.name}"
                    raise UsageError(found, f"{none}: only vitkit's own encoder has it", f"Leave model.{name} out.")
            self.model = encoder.make(num_classes, preprocess)
        else:
            self.model = Classifier(encoder, num_classes, preprocess, background, amount, distance, depths)
        self.lr, self.weight_decay, self.warmup_epochs, self.layer_decay = lr, weight_decay, warmup_epochs, layer_decay
        self.mixing = Mixing(num_classes, mixup, cutmix)
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights), persistent=False)
        self.val_scores, self.test_scores = Scores(num_classes), Scores(num_classes)
        self.classes = [str(index) for index in range(num_classes)]
        self.data_config: dict[str, Any] | None = None
        self.data_name: str | None = None
        self.overrides: list[str] = []
        if weights is not None:
            log.info("%s", warm_start(self.model.model if isinstance(self.model, Backbone) else self.model, weights))

    @property
    def num_classes(self) -> int:
        """Length of the logits."""
        return self.model.num_classes

    @property
    def preprocess(self) -> Preprocess:
        """What a picture goes through before the model may see it."""
        return self.model.preprocess

    def grid(self, size: Sequence[int]) -> Grid:
        """The grid of tokens for images of this size, which is what ``keep`` counts in.

        Raises:
            UsageError: A size that the model does not take, or a library's model without tokens that could be removed.
        """
        if isinstance(self.model, Classifier | TokenBackbone):
            return self.model.grid(size)
        raise UsageError(f"the grid of {self.model.name}", "a model with tokens", "Use a vision transformer.")

    @property
    def no_removal(self) -> str | None:
        """Why tokens cannot be removed from this model, or None if they can."""
        if isinstance(self.model, Classifier | TokenBackbone):
            return self.model.no_removal
        return f"{self.model.name} has no tokens that could be removed"

    def forward(
        self,
        images: Float[Tensor, "batch channels *size"],
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits for images with values in [0, 1], from all tokens or from those in ``keep``.

        Args:
            images: Pictures or volumes.
            keep: Row-major indices of the tokens to encode; the others are removed.
            real: False where a voxel is padding, which then counts nowhere; every voxel is real if not given.

        Raises:
            UsageError: ``keep`` or ``real`` for a library's model that cannot do without tokens.
        """
        if real is None:
            return self.model(images, keep)
        if isinstance(self.model, Backbone):
            raise UsageError(f"images with padding for {self.model.name}", "whole images", "Train vitkit's own encoder on them.")
        return self.model(images, keep, real=real)

    def setup(self, stage: str) -> None:
        """Meet the data, if they come as a data module of vitkit's."""
        data = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "num_classes"):
            self.meet(data, stage)

    def meet(self, data: Any, stage: str) -> None:
        """Check that the data are what the model takes, and in training remember what they are.

        Args:
            data: A data module of vitkit's, after its setup for the stage.
            stage: fit, validate, test or predict.

        Raises:
            UsageError: Another number of channels, axes or classes, or classes of other names.
        """
        check_data(self.model, self.classes if self.data_name is not None else None, data, stage)
        if stage == "fit":
            self.classes, self.data_name = [str(label) for label in data.classes], data.name

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Say so if what a model with a ``distance`` is shown first are no segmentations."""
        distance = self.model.distance if isinstance(self.model, Classifier) else None
        if distance is not None and self.global_step == 0:
            seen = batch[0][batch[0] > 0.1]
            if (grey := (seen < 0.9).float().mean()) > _GREY:
                found = f"{grey:.0%} of what is there in the first batch lies between"
                log.warning(
                    "model.distance=%g is for segmentations, of 0 and 1: %s. Leave it out for grey scans.", distance, found
                )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The training loss of a batch, after mixing."""
        images, labels, real = _parts(batch)
        images, targets, real = self.mixing(images, labels, real)
        own = self.model if isinstance(self.model, Classifier) else None
        if own is not None and own.amount is not None:
            tokens = own.encode(images, real=real)
            logits = own.classify(tokens).float()
        else:
            logits = self(images, real=real).float()
        loss = cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing)
        if own is not None and own.amount is not None:
            mask_loss = own.amount.loss(tokens, own.encoder.embed.shares(_mask(batch)))
            self.log("train/mask_loss", mask_loss, on_step=False, on_epoch=True, batch_size=len(images))
            loss = loss + self.mask_weight * mask_loss
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the scores of a batch."""
        self._score("val", self.val_scores, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather the scores of a batch."""
        self._score("test", self.test_scores, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores."""
        self._log_scores("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores."""
        self._log_scores("test", self.test_scores)

    def predict_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, "batch classes"]:
        """Class probabilities of a batch."""
        images, _, real = _parts(batch)
        return self(images, real=real).float().softmax(dim=-1)

    def _score(self, stage: str, scores: Scores, batch: Batch) -> None:
        images, labels, real = _parts(batch)
        logits = self(images, real=real).float()
        scores.update(logits, labels)
        loss = cross_entropy(logits, labels)
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)

    def _log_scores(self, stage: str, scores: Scores) -> None:
        for name, value in scores.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "accuracy")
        scores.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over :func:`parameter_groups`, with :func:`warmup_cosine` per step over :func:`step_counts`.

        Raises:
            UsageError: A training without an end, or epochs of warm-up on data without a length.
        """
        groups = parameter_groups(self.model, self.lr, self.weight_decay, self.layer_decay)
        optimiser = torch.optim.AdamW(groups, lr=self.lr)
        steps, warmup = step_counts(self.trainer, self.warmup_epochs)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_cosine(steps, warmup))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def description(self) -> Recipe:
        """What the model is, as :func:`~vitkit.recipe.build` takes it: without the weights it started from."""
        task = recipe(self)
        arguments = {name: value for name, value in task["init_args"].items() if name != "weights"}
        if isinstance(self.model, Backbone):
            encoder = arguments["encoder"]
            kept = {name: value for name, value in encoder["init_args"].items() if name != "pretrained"}
            arguments["encoder"] = encoder | {"init_args": kept}
        return task | {"init_args": arguments}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add ``checkpoint["vitkit"]``: what the model is, so that it can be made again from the file alone."""
        checkpoint["vitkit"] = {
            "schema": SCHEMA,
            "version": vitkit.__version__,
            "task": self.description(),
            "classes": list(self.classes),
            "data": {"name": self.data_name, "config": self.data_config},
            "overrides": list(self.overrides),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the classes' names, after checking that the weights fit.

        Raises:
            CheckpointError: Weights for another architecture or another number of classes.
        """
        require_fit(self, self.num_classes, checkpoint, self.trainer.ckpt_path or "the checkpoint")
        self.recall(checkpoint)

    def recall(self, checkpoint: Mapping[str, Any]) -> None:
        """Take from a checkpoint what the model was trained on: the classes' names, and the data."""
        about = checkpoint.get("vitkit", {})
        self.classes = list(about.get("classes", self.classes))
        data = about.get("data", {})
        self.data_name, self.data_config = data.get("name"), data.get("config")


def _parts(batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images, labels, and which voxels are real, or None if all are."""
    return batch[0], batch[1], getattr(batch, "real", None)


def _mask(batch: Batch) -> Tensor:
    mask = getattr(batch, "mask", None)
    if mask is None:
        raise UsageError(
            "model.amount for training data without masks", "a mask for every sample", "Set data.masks, or model.amount to no."
        )
    return mask


def _check_range(name: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise UsageError(f"model.{name}={value}", expected, f"Correct model.{name}.")
