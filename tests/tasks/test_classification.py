import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from vitkit.bias import SpectralBias
from vitkit.data import Batch, Digits
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks import AtomicCheckpointIO, ClassificationTask, ReseedEpochs, load_checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated",
    "ignore:You requested to overfit",
)


@pytest.fixture
def fit(tmp_path):
    def run(task, data=None, callbacks=(), **options):
        data = data or Digits(batch_size=256)
        data.preprocess = task.preprocess
        settings = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "num_sanity_val_steps": 0} | options
        trainer = L.Trainer(
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            callbacks=[ReseedEpochs(0), *callbacks],
            plugins=[AtomicCheckpointIO()],
            **settings,
        )
        trainer.fit(task, datamodule=data)
        return trainer

    return run


def test_a_task_is_its_classifier(task):
    made = task()
    images, keep = torch.rand(2, 1, 8, 8), torch.tensor([[0, 3], [1, 2]])
    assert isinstance(made.model, Classifier)
    assert torch.equal(made(images, keep), made.model(images, keep))


def in_mm(spacing, lengthscale):
    torch.manual_seed(0)
    bias = SpectralBias(Exponential(num_heads=2, ndim=3, lengthscale=lengthscale))
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=4, in_chans=1, dim=16), 1, 2, bias=bias, pool="mean")
    return ClassificationTask(encoder, 2, Preprocess(size=(8, 8, 8), spacing=spacing)).eval()


def test_the_spacing_of_the_preprocess_is_the_models_unless_another_is_given():
    images = torch.rand(2, 1, 8, 8, 8)
    task = in_mm((2.0, 2.0, 2.0), lengthscale=12.0)
    assert task.grid((8, 8, 8)).spacing == (8.0, 8.0, 8.0)
    # Twice the distance in mm at twice the length of the bias is the same bias.
    torch.testing.assert_close(task(images), in_mm(None, lengthscale=6.0)(images))
    assert not torch.equal(task(images), in_mm(None, lengthscale=12.0)(images))
    assert torch.equal(task.model(images, spacing=(1.0, 1.0, 1.0)), in_mm(None, lengthscale=12.0)(images))
    assert task.model.grid((8, 8, 8), (1.0, 1.0, 1.0)).spacing == (4.0, 4.0, 4.0)


@pytest.mark.parametrize("step", ["training_step", "_score", "predict_step"])
def test_a_task_tells_its_model_which_voxels_are_real(task, monkeypatch, step):
    made, seen = task(num_classes=2, mixup=0.4), []

    class Model(torch.nn.Module):
        def forward(self, images, keep=None, real=None):
            seen.append(real)
            return torch.zeros(len(images), 2, requires_grad=True)

    made.model = Model()
    monkeypatch.setattr(made, "log", lambda *arguments, **options: None)
    real = torch.zeros(3, 8, 8, dtype=torch.bool)
    real[0, :4], real[1, 4:] = True, True
    for given in (real, None):
        batch = Batch(torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1]), ["a", "b", "c"], given)
        match step:
            case "_score":
                made._score("val", made.val_scores, batch)
            case _:
                getattr(made, step)(batch, 0)
    # Mixing lays each sample over the one before it, so what is real in either is real.
    expected = real | real[[2, 0, 1]] if step == "training_step" else real
    assert torch.equal(seen[0], expected)
    assert seen[1] is None


def test_all_scores_are_logged_and_classes_are_learnt_from_the_data(task, fit):
    made = task()
    made.classes = ["?"] * 10
    trainer = fit(made)
    names = {f"val/{name}" for name in ("accuracy", "accuracy_macro", "auroc", "ece", "loss")}
    assert names | {"train/loss"} <= set(trainer.callback_metrics)
    assert made.classes == [str(digit) for digit in range(10)]
    assert made.data_name == "Digits"


def test_training_fits_a_handful_of_digits(task, fit):
    torch.manual_seed(0)
    made = task(lr=5e-3)
    trainer = fit(made, Digits(batch_size=16), max_epochs=120, overfit_batches=1, limit_val_batches=0)
    assert trainer.callback_metrics["train/loss"] < 0.1


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_gives_soft_targets_that_sum_to_one(task, options, monkeypatch):
    seen = []

    def spy(logits, targets, **_):
        seen.append(targets)
        return logits.sum()

    monkeypatch.setattr("vitkit.tasks.classification.cross_entropy", spy)
    made = task(**options)
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    for seed in range(4):
        torch.manual_seed(seed)
        made.training_step((torch.rand(6, 1, 8, 8), torch.arange(6), []), 0)
    assert all(targets.shape == (6, 10) and torch.allclose(targets.sum(1), torch.ones(6)) for targets in seen)
    assert any(((targets > 0) & (targets < 1)).any() for targets in seen)


def test_class_weights_and_smoothing_reach_the_loss(task, monkeypatch):
    weights = [float(index + 1) for index in range(10)]
    made = task(class_weights=weights, label_smoothing=0.1)
    monkeypatch.setattr(made, "log", lambda *_, **__: None)
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    expected = torch.nn.CrossEntropyLoss(torch.tensor(weights), label_smoothing=0.1)(made(images), labels)
    assert torch.equal(made.training_step((images, labels, []), 0), expected)
    assert "class_weights" not in made.state_dict()


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_best_checkpoint_holds_the_averaged_weights(task, fit, tmp_path, decay):
    class Record(L.Callback):
        """The average as its definition has it, beside Lightning's."""

        def on_fit_start(self, trainer, pl_module):
            self.mean = None

        def on_train_batch_end(self, trainer, pl_module, *_):
            now = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
            before = self.mean or now
            self.mean = {name: decay * before[name] + (1 - decay) * now[name] for name in now}

    record = Record()
    keeper = ModelCheckpoint(tmp_path, "best", monitor="val/accuracy", mode="max", save_on_train_epoch_end=True)
    made = task(lr=5e-3)
    fit(made, callbacks=[record, EMAWeightAveraging(decay=decay), keeper])
    loaded = load_checkpoint(tmp_path / "best.ckpt").state_dict()
    for name, value in record.mean.items():
        torch.testing.assert_close(loaded[name], value, rtol=1e-5, atol=1e-6)
    last = torch.load(tmp_path / "best.ckpt", weights_only=True)["current_model_state"]
    assert any(not torch.equal(last[name], loaded[name]) for name in loaded)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lr", 0.0),
        ("weight_decay", -0.1),
        ("warmup_epochs", -1.0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.5),
        ("label_smoothing", 1.0),
        ("mixup", -1.0),
        ("cutmix", -1.0),
        ("class_weights", [1.0]),
        ("class_weights", [0.0] * 10),
        ("class_weights", [-1.0] + [1.0] * 9),
        ("num_classes", 1),
    ],
)
def test_options_out_of_range_are_named(task, option, value):
    with pytest.raises(UsageError, match=option):
        task(**{option: value})


def test_data_of_other_classes_is_refused(task, fit):
    with pytest.raises(UsageError, match=r"Digits has 10 classes: 0, .*; expected 7, .*set model\.num_classes to 10"):
        fit(task(num_classes=7))


def test_classes_of_other_names_are_refused_after_training(task, fit):
    made = task()
    trainer = fit(made)
    made.classes = [f"digit {index}" for index in range(10)]
    with pytest.raises(UsageError, match="expected those the model was trained for: digit 0"):
        trainer.test(made, datamodule=trainer.datamodule, verbose=False)


class Grey(torch.nn.Module):
    def forward(self, images):
        return 0.7 * images


class Segmented(torch.nn.Module):
    def forward(self, images):
        return images.round()


@pytest.mark.parametrize(("seen", "told"), [(Grey(), True), (Segmented(), False)])
def test_distances_in_grey_pictures_are_remarked_upon(task, fit, caplog, seen, told):
    fit(task(distance=2.0), Digits(batch_size=64, augment=[seen]), max_epochs=2, limit_train_batches=1, limit_val_batches=0)
    assert ("Leave it out" in caplog.text) == told
    assert caplog.text.count("Leave it out") <= 1


def test_an_endless_training_is_refused(task, fit):
    with pytest.raises(UsageError, match="without an end"):
        fit(task(), max_epochs=-1)


@pytest.mark.parametrize("epochs", [-1, 100])
def test_a_number_of_steps_does_not_change_how_long_an_epoch_is(task, fit, epochs):
    made = task(warmup_epochs=2.0)
    trainer = fit(made, Digits(batch_size=256), max_epochs=epochs, max_steps=15)
    batches = trainer.num_training_batches
    assert 1 < batches < 7
    schedule = trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0]
    assert schedule(2 * batches - 2) < schedule(2 * batches - 1) == 1 == schedule(2 * batches) > schedule(2 * batches + 1)
    assert schedule(15) == 0


def test_data_without_a_length_need_steps_and_no_warm_up(task):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield torch.rand(1, 8, 8), 0

    def train(**options):
        made = task(**options)
        quiet = {f"enable_{name}": False for name in ("progress_bar", "model_summary", "checkpointing")}
        trainer = L.Trainer(max_epochs=-1, max_steps=3, limit_val_batches=0, accelerator="cpu", logger=False, **quiet)
        loader = torch.utils.data.DataLoader(Endless(), batch_size=4)
        trainer.fit(made, loader, loader)
        return trainer

    with pytest.raises(UsageError, match=r"warmup_epochs=1\.0 for data without a length"):
        train()
    assert train(warmup_epochs=0.0).global_step == 3
