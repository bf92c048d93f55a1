"""What ``vitkit plan`` takes from the options of ``vitkit fit``."""

from typing import Any

import torch

from vitkit.cli.memory import averages_weights
from vitkit.cli.training import TrainingCLI


class PlanningCLI(TrainingCLI):
    """The command line of ``vitkit fit``, which makes model and data, no trainer, and runs nothing."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """None: a trainer would look for the GPU that a plan may be made without."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass

    def facts(self, device: str | None) -> dict[str, Any]:
        """What of the trainer's options a plan depends on, as :func:`~vitkit.planning.plan` takes it.

        Args:
            device: Type of the device; the one that the trainer would take if not given.
        """
        config = self._get(self.config_init, "trainer")
        if device is None:
            accelerator = config["accelerator"]
            found = torch.cuda.is_available() if accelerator == "auto" else accelerator in ("gpu", "cuda")
            device = "cuda" if found else "cpu"
        callbacks = config["callbacks"] or []
        return {
            "precision": str(config["precision"] or "32-true"),
            "device": device,
            "average": averages_weights(callbacks if isinstance(callbacks, list) else [callbacks]),
            "accumulate": config["accumulate_grad_batches"],
        }
