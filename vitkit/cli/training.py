"""``vitkit fit``, ``validate``, ``test`` and ``predict``: Lightning's command line, with vitkit's models, data and run folder."""

import inspect
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

import vitkit.cli.parsing  # noqa: F401  # tells the parser of numbers
from vitkit import __version__
from vitkit.cli.commands import TRAINING
from vitkit.cli.config_file import read_config
from vitkit.cli.memory import require_memory
from vitkit.cli.one_device import on_one_device, torchrun
from vitkit.cli.predictions import PredictionsFile
from vitkit.cli.progress import progress
from vitkit.cli.quiet import quiet
from vitkit.cli.reasons import explain, refuse_nulls
from vitkit.cli.recall import Recalled, config_files, differences, model_overrides
from vitkit.cli.run_folder import RunFolder, alone, no_empty_logs
from vitkit.cli.say import remark, say
from vitkit.data import ImageData
from vitkit.errors import UsageError, VitkitError
from vitkit.tasks import AtomicCheckpointIO, ClassificationTask, ReseedEpochs, require_fit, restore

Monitor = Literal["val/accuracy", "val/accuracy_macro", "val/auroc", "val/ece", "val/loss"]
LOWER_IS_BETTER = ("val/ece", "val/loss")

_EXAMPLES = {
    "fit": "vitkit fit --config configs/image/digits.yaml --trainer.max_epochs 20 --model.encoder.bias NoBias",
    "validate": "vitkit validate --config configs/image/digits.yaml --ckpt_path runs/digits/best.ckpt",
    "test": "vitkit test --config configs/image/digits.yaml --ckpt_path runs/digits/best.ckpt",
    "predict": "vitkit predict --config configs/image/digits.yaml --ckpt_path runs/digits/best.ckpt --out predictions.csv",
}


def main(command: str, arguments: list[str]) -> int:
    """Run one of the four commands; returns the exit code."""
    if command != "fit" and (started := torchrun()) is not None and started.global_rank() > 0:
        return 0  # the first process does it all
    with quiet():
        recalled = Recalled.from_arguments(arguments)
        if recalled is None and command != "fit" and not _asks(arguments):
            raise UsageError(f"vitkit {command} without --ckpt_path", "a checkpoint", "Give the one that `vitkit fit` named.")
        TrainingCLI(command, arguments, recalled)
    return 0


def _asks(arguments: list[str]) -> bool:
    """Whether this only prints something."""
    return any(word.partition("=")[0] in ("-h", "--help", "--print_config") or word.endswith(".help") for word in arguments)


class TrainingCLI(LightningCLI):
    """Lightning's command line for one command, with vitkit's defaults.

    Args:
        command: fit, validate, test or predict.
        arguments: What follows it.
        recalled: The checkpoint they name, if any.
    """

    def __init__(self, command: str, arguments: list[str], recalled: Recalled | None) -> None:
        self.command, self.recalled = command, recalled
        self.logs: Path | None = None
        self.overrides = [*(recalled.overrides if recalled else []), *model_overrides(arguments)]
        kwargs: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
        usage = f"vitkit {command} --config FILE [--config FILE ...] [--KEY VALUE ...]\n\nexample: {_EXAMPLES[command]}"
        super().__init__(
            ClassificationTask,
            ImageData,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={
                "default_root_dir": "runs",
                "max_epochs": 100,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
            },
            parser_kwargs={
                "prog": "vitkit",
                **kwargs,
                command: {
                    **kwargs,
                    "usage": usage,
                    "description": TRAINING[command].capitalize() + ".",
                    "dump_header": [f"vitkit=={__version__}"],
                },
            },
            args=[command, *(recalled.arguments if recalled else arguments)],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks the instance as well
        """The one command, so that no parser is made for nothing."""
        return {self.command: self.skipped(self.command)}

    @staticmethod
    def skipped(command: str) -> set[str]:
        """Arguments of the trainer's method that are no options: vitkit gives them."""
        return {name for name in inspect.signature(getattr(L.Trainer, command)).parameters if name not in ("self", "ckpt_path")}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Model and data first, since they are what help is asked for."""
        parser.add_lightning_class_args(ClassificationTask, "model")
        parser.add_lightning_class_args(ImageData, "data", subclass_mode=True)
        parser.add_lightning_class_args(L.Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What vitkit adds."""
        parser.add_argument(
            "--name", type=str, default="run", help="Name of the run; its folder is trainer.default_root_dir/name."
        )
        parser.add_argument(
            "--monitor", type=Monitor, default="val/accuracy", help="Score that decides which checkpoint is best."
        )
        if self.command == "predict":
            parser.add_argument(
                "--out", type=str | None, default=None, help="The CSV file; predictions.csv beside the checkpoint if not given."
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say in one line what is wrong."""
        for path in config_files(args):
            read_config(path)  # the parser does not name a file that is no YAML
        try:
            self.config: Namespace = parser.parse_args(args)
        except ArgumentError as error:
            known = self._subcommand_parsers[self.command].get_defaults(skip_validation=True).keys()
            roots = {"model": ClassificationTask, "data": ImageData, "trainer": L.Trainer}
            raise explain(error, roots, known) from error

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the checkpoint's hyperparameters beat the command line here."""

    def before_instantiate_classes(self) -> None:
        """Keep resuming apart from a warm start, and let the seed of the run be that of the data."""
        config = self.config[self.command]
        refuse_nulls(config.model.as_dict(), "model", ClassificationTask)
        if self.recalled is not None and config.model.weights is not None:
            if self.command == "fit":
                remark(f"resuming from {self.recalled.path}; model.weights is not read again")
            config.model.weights = None
        encoder = config.model.encoder.init_args
        if self.recalled is not None and encoder.get("pretrained"):  # the checkpoint holds the weights
            encoder.pretrained = False
        settings = config.data.init_args
        if settings.get("seed") == 0:  # the default, which follows the run
            settings.seed = config.seed_everything

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; a constructor's own error is told as it is, not as the parser wraps it."""
        try:
            super().instantiate_classes()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, VitkitError):
                cause = cause.__cause__ or cause.__context__
            if cause is None or cause is error:
                raise
            raise cause from error

    @property
    def folder(self) -> Path:
        """The run's folder."""
        config = self.config[self.command]
        return Path(config.trainer.default_root_dir) / config.name

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        config = dict(config) if self.command == "fit" else on_one_device(config, self.command)
        given = config["callbacks"]
        own = [*given] if isinstance(given, list) else [given] if given else []
        own += callbacks
        if config["enable_progress_bar"] is not False and not any(isinstance(item, ProgressBar) for item in own):
            own.append(progress())
        if self.command == "fit":
            own.append(ReseedEpochs(self.config[self.command].seed_everything))
            if not config["fast_dev_run"] and config["enable_checkpointing"] is not False:
                own += self._keepers()
        elif self.command == "predict":
            own.append(PredictionsFile(self._out))
        config["callbacks"] = own
        if config["logger"] in (None, True):
            config["logger"] = self._loggers() if self.command == "fit" and not config["fast_dev_run"] else False
        plugins = config["plugins"] or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins = [*plugins, AtomicCheckpointIO()]
        return L.Trainer(**config | {"plugins": plugins})

    @property
    def _out(self) -> Path:
        """Where predictions go."""
        out: str | None = self.config[self.command].out
        if out is None and self.recalled is not None:
            return self.recalled.path.with_name("predictions.csv")
        return Path(out or "predictions.csv")

    def _keepers(self) -> list[L.Callback]:
        """What keeps checkpoints and the run's papers. Best goes before last, so that last knows of it."""
        config = self.config[self.command]
        shared: dict[str, Any] = {
            "dirpath": self.folder,
            "save_on_train_epoch_end": True,
            "auto_insert_metric_name": False,
            "enable_version_counter": False,
        }
        mode = "min" if config.monitor in LOWER_IS_BETTER else "max"
        best = ModelCheckpoint(filename="best", monitor=config.monitor, mode=mode, **shared)
        last = ModelCheckpoint(filename="last", **shared)
        written = config.clone()
        written.ckpt_path = None
        text = self._subcommand_parsers[self.command].dump(written, skip_none=False)
        return [RunFolder(self.folder, text, best), best, last]

    def _loggers(self) -> list[Logger]:
        csv = CSVLogger(self.folder, name="logs")
        self.logs = Path(csv.log_dir)
        if find_spec("tensorboard") is None:
            return [csv]
        return [csv, TensorBoardLogger(self.folder, name="logs", version=csv.version, default_hp_metric=False)]

    def _run_subcommand(self, subcommand: str) -> None:
        self.datamodule.preprocess = self.model.preprocess
        if self.recalled is not None:
            self._compare(self.recalled)
        # Before the loggers make their folders, so that data which do not fit leave no trace.
        self.datamodule.setup(subcommand)
        self.model.meet(self.datamodule, subcommand)
        if subcommand == "fit":
            if note := self.datamodule.layout.note:
                counts = ", ".join(f"{len(ids)} {name}" for name, ids in self.datamodule.splits().items())
                remark(f"{self.datamodule.layout.source} has {note}: {counts}")
            self._dump_config()
            self.model.data_config = self.config_dump["data"]
            self.model.overrides = self.overrides
            path = None if self.recalled is None else self.recalled.path
            require_memory(self.model, self.datamodule.batch_size, self.trainer)
            first = self.trainer.is_global_zero
            with alone(self.folder) if first else nullcontext(), no_empty_logs(self.logs if first else None):
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=path)
            self._report()
            return
        assert self.recalled is not None
        restore(self.model, self.recalled.checkpoint, self.recalled.path)
        if subcommand == "predict":
            self.trainer.predict(self.model, datamodule=self.datamodule, return_predictions=False)
            self._report()
            return
        run = self.trainer.test if subcommand == "test" else self.trainer.validate
        [scores] = run(self.model, datamodule=self.datamodule, verbose=False)
        for name, value in sorted(scores.items()):
            say(f"{name:20}{value:.4f}")

    def _report(self) -> None:
        if self.trainer.is_global_zero:
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it from elsewhere
                if isinstance(callback, RunFolder | PredictionsFile):
                    callback.report()

    def _compare(self, recalled: Recalled) -> None:
        """Refuse weights that do not fit, and say where the model is not the checkpoint's even so."""
        require_fit(self.model, self.model.num_classes, recalled.checkpoint, recalled.path)
        theirs = recalled.checkpoint.get("vitkit", {}).get("task", {}).get("init_args", {})
        ours = self.model.description()["init_args"]
        architecture = ("encoder", "preprocess")
        found = [
            line for name in architecture if name in theirs for line in differences(ours[name], theirs[name], f"model.{name}")
        ]
        if found:
            remark(f"the model is not quite the checkpoint's: {'; '.join(found)}")
