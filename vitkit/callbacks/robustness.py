"""A robustness suite during training, every few epochs."""

import logging
from math import fsum

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader, Subset

from vitkit.errors import UsageError
from vitkit.evaluation import Results, Suite, evaluate

log = logging.getLogger(__name__)


class RobustnessEvery(L.Callback):
    """Run a suite every few epochs on the validation data, and log the area under each of its curves.

    Logged are ``robust/SUITE.CONDITION.auc``, such as ``robust/occlusion.random.painted.auc``, the mean accuracy over the tested
    range, and ``robust/auc``, the mean of these. A condition that the model cannot take is left out. The suite runs with the
    weights that are validated, so with averaged ones where an average is kept, in every process of a run alike, and in the
    precision of validation. Weights, modes, random states and validation scores stay what they would be without it.

    Args:
        suite: A suite, the name of one that comes with vitkit, or its YAML file. Its profiles are left out.
        every_n_epochs: Epochs from one run to the next; where an epoch is not validated, the next validation runs it.
        limit: Samples, spread evenly over the validation data; all of them if None.
        seed: Of the suite's random choices.

    Raises:
        UsageError: No such suite, or numbers below one.

    >>> callback = RobustnessEvery("quick", every_n_epochs=10, limit=256)
    >>> len(callback.suite)
    43
    """

    def __init__(self, suite: Suite | str, every_n_epochs: int = 5, limit: int | None = 512, seed: int = 0) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("limit", limit)):
            if value is not None and value < 1:
                raise UsageError(f"{name}: {value}", "one at least", f"Use e.g. {name}: 5, or leave it out.")
        given = suite if isinstance(suite, Suite) else Suite.load(suite)
        self.suite = Suite(given.name, given.conditions, given.threshold)
        self.every_n_epochs, self.limit, self.seed = every_n_epochs, limit, seed
        self._areas: dict[str, float] = {}
        self._epoch = -1

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say so if the training will be over before the first run."""
        if not getattr(trainer, "fast_dev_run", False) and 0 <= (trainer.max_epochs or 0) < self.every_n_epochs:
            log.warning(
                "RobustnessEvery with every_n_epochs=%d never runs in %s epochs; use a smaller number or train for longer",
                self.every_n_epochs,
                trainer.max_epochs,
            )

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Run the suite before the first batch of a validation that is due."""
        # Not at the start of the epoch: by now an average of the weights has been put in, whatever the order of callbacks.
        if batch_idx == dataloader_idx == 0 and self._due(trainer):
            self._epoch = trainer.current_epoch
            self._areas = areas(self._run(trainer, pl_module))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log what was found."""
        # Every process finds the same.
        pl_module.log_dict({f"robust/{name}": value for name, value in self._areas.items()}, rank_zero_only=True)
        self._areas = {}

    def _due(self, trainer: L.Trainer) -> bool:
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING or trainer.current_epoch == self._epoch:
            return False
        now = trainer.current_epoch + 1
        before = now - (trainer.check_val_every_n_epoch or 1)
        return now // self.every_n_epochs > before // self.every_n_epochs

    def _run(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Results:
        # Saliency needs gradients, which inference mode has none of. Guards are for models that are trained already.
        with isolate_rng(), torch.inference_mode(mode=False), trainer.precision_plugin.forward_context():
            return evaluate(pl_module, self._loader(trainer), self.suite, seed=self.seed, guard=False)

    def _loader(self, trainer: L.Trainer) -> DataLoader[object]:
        """The validation data in a loader of its own: that of the validation is being read from right now."""
        loaders = trainer.val_dataloaders
        given = loaders[0] if isinstance(loaders, (list, tuple)) else loaders
        if not isinstance(given, DataLoader):
            raise UsageError(f"validation data in a {type(given).__name__}", "a DataLoader", "Leave RobustnessEvery out.")
        data = given.dataset
        count = len(data) if self.limit is None else min(self.limit, len(data))  # type: ignore[arg-type]
        chosen = Subset(data, [index * len(data) // count for index in range(count)])  # type: ignore[arg-type]
        return DataLoader(
            chosen,
            batch_size=given.batch_size or 32,  # none where another sampler makes the batches; it changes no result
            num_workers=given.num_workers,
            collate_fn=given.collate_fn,
            persistent_workers=given.num_workers > 0,  # for all passes of a suite
        )


def areas(results: Results) -> dict[str, float]:
    """The area under each curve, and ``auc``, their mean."""
    found = {f"{c.suite}.{c.condition}.auc": c.auc.value for c in results.curves if c.auc.value is not None}
    return found | {"auc": fsum(found.values()) / len(found)} if found else {}
