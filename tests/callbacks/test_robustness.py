"""A suite during training: what it logs, and that the training does not notice it."""

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers.logger import DummyLogger

from vitkit.callbacks import RobustnessEvery
from vitkit.data import Digits
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.errors import UsageError
from vitkit.evaluation import AffineDrift, Gain, RandomOcclusion, SalientOcclusion, Suite, evaluate
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated",
)


def suite():
    occlusions = [RandomOcclusion(mode, [0.25, 0.5]) for mode in ("painted", "removed")]
    return Suite("small", [*occlusions, SalientOcclusion("painted", [0.5], by="gradient"), Gain([0.5, 2.0])])


class Watch(L.Callback):
    """The modes and the weights that were validated, and the weights that are trained."""

    def __init__(self):
        self.modes, self.weights, self.trained = set(), [], []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.modes |= {module.training for module in pl_module.modules()}
        self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_train_epoch_end(self, trainer, pl_module):
        self.trained.append({name: value.clone() for name, value in pl_module.state_dict().items()})


class Kept(DummyLogger):
    """What was logged after each validation."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        if any(name.startswith("val/") for name in metrics):
            self.rows.append(metrics)

    def areas(self):
        return [{name: value for name, value in row.items() if name.startswith("robust/")} for row in self.rows]

    def scores(self):
        return [{name: value for name, value in row.items() if name.startswith("val/")} for row in self.rows]


@pytest.fixture
def fit(tmp_path):
    def run(*callbacks, epochs=2, **options):
        torch.manual_seed(0)
        encoder = Encoder(PatchEmbed(2, 4, in_chans=1, dim=16), depth=1, num_heads=2, drop_path=0.5)
        task = ClassificationTask(encoder, 10, Preprocess(size=(8, 8)), lr=0.01, mixup=0.5)
        data, watch, kept = Digits(batch_size=512), Watch(), Kept()
        data.preprocess = task.preprocess
        trainer = L.Trainer(
            max_epochs=epochs, accelerator="cpu", default_root_dir=tmp_path, logger=kept, log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[*callbacks, watch], **options,
        )  # fmt: skip
        trainer.fit(task, datamodule=data)
        return task, watch, kept, data

    return run


def test_a_training_does_not_notice_it(fit):
    """No bit of the weights and scores differs: dropped paths, mixup and shuffling draw what they would have drawn."""
    plain, _, alone, _ = fit(EMAWeightAveraging(decay=0.9))
    watched, seen, kept, _ = fit(RobustnessEvery(suite(), every_n_epochs=2, limit=20), EMAWeightAveraging(decay=0.9))
    assert [bool(areas) for areas in kept.areas()] == [False, True]
    assert alone.scores() == kept.scores()
    assert seen.modes == {False}
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_what_is_logged_are_the_areas_of_the_validated_weights(fit):
    """Those of a run by hand over the same samples with the same weights, an average of them here."""
    task, seen, kept, data = fit(EMAWeightAveraging(decay=0.9), RobustnessEvery(suite(), every_n_epochs=1, limit=20), epochs=1)
    assert any(not torch.equal(value, seen.trained[-1][name]) for name, value in seen.weights[-1].items())
    task.load_state_dict(seen.weights[-1])
    val = data.val_dataloader()
    chosen = torch.utils.data.Subset(val.dataset, [index * len(val.dataset) // 20 for index in range(20)])
    results = evaluate(task, torch.utils.data.DataLoader(chosen, 20, collate_fn=val.collate_fn), suite(), guard=False)
    expected = {f"robust/{c.suite}.{c.condition}.auc": c.auc.value for c in results.curves}
    expected["robust/auc"] = sum(expected.values()) / len(expected)
    assert len(expected) == 5
    assert kept.areas()[-1] == pytest.approx(expected, abs=1e-6)  # logged in float32


def test_it_waits_for_an_epoch_that_is_validated(fit):
    few = Suite("few", [Gain([0.5])])
    _, _, kept, _ = fit(RobustnessEvery(few, every_n_epochs=3, limit=4), epochs=4, check_val_every_n_epoch=2)
    assert [bool(areas) for areas in kept.areas()] == [False, True]  # after epochs 2 and 4


@pytest.mark.parametrize(("epochs", "options", "said"), [(1, {}, True), (2, {}, False), (1, {"fast_dev_run": True}, False)])
def test_a_training_too_short_for_it_is_told_of(fit, caplog, epochs, options, said):
    fit(RobustnessEvery(Suite("one", [Gain([0.5])]), every_n_epochs=2), epochs=epochs, **options)
    assert ("every_n_epochs=2 never runs in 1 epochs" in caplog.text) == said


def test_profiles_are_left_out():
    callback = RobustnessEvery(Suite("drift", [Gain([0.5])], profiles=[AffineDrift(gain=0.5)]))
    assert callback.suite.profiles == []


@pytest.mark.parametrize("option", [{"every_n_epochs": 0}, {"limit": 0}])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(UsageError, match=f"{next(iter(option))}: 0; expected one at least"):
        RobustnessEvery("quick", **option)
