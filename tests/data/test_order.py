import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from vitkit.data import MedMNIST


class Recorder(L.LightningModule):
    """Learns nothing, and notes what it is shown in each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {}

    def training_step(self, batch, index):
        self.seen.setdefault(self.current_epoch, []).append((batch.id, batch.image))
        return self.weight * 0

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Noise(torch.nn.Module):
    def forward(self, image):
        return torch.rand_like(image)


def fit(path, folder, epochs, workers, save, resume=None):
    saves = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=save == "end")
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[saves],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    recorder = Recorder()
    trainer.fit(recorder, datamodule=MedMNIST(path, batch_size=5, num_workers=workers, augment=[Noise()]), ckpt_path=resume)
    return recorder.seen


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*logging interval", "ignore:Checkpoint directory")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec", "ignore:.*resuming from a checkpoint that ended before")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("save", ["end", "validation"])
def test_a_resumed_run_sees_what_an_unbroken_one_does(npz, tmp_path, workers, save):
    path = str(npz())
    whole = fit(path, tmp_path / "whole", 4, 0, save)
    assert len({str(batches) for batches in whole.values()}) == 4
    fit(path, tmp_path / "broken", 2, workers, save)
    resumed = fit(path, tmp_path / "broken", 4, workers, save, resume=tmp_path / "broken" / "epoch=1.ckpt")
    assert set(resumed) == {2, 3}
    for epoch, batches in resumed.items():
        for (names, images), (expected_names, expected_images) in zip(batches, whole[epoch], strict=True):
            assert names == expected_names
            assert torch.equal(images, expected_images)
