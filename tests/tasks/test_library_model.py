"""Training models of other libraries."""

import pytest
import timm
import torch
from lightning.pytorch import Trainer

from vitkit.backbones import Backbone, LibraryModel
from vitkit.data import Digits
from vitkit.errors import UsageError
from vitkit.planning import plan
from vitkit.preprocess import Preprocess
from vitkit.recipe import build
from vitkit.tasks import AtomicCheckpointIO, ClassificationTask, load_checkpoint, parameter_groups

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:`isinstance.treespec, LeafSpec.` is deprecated"
)
VIT = LibraryModel(
    "timm:vit_tiny_patch16_224", arguments={"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
)
RESNET = LibraryModel("timm:resnet18", arguments={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})


def task(encoder, **options):
    return ClassificationTask(encoder, 10, Preprocess(size=(16, 16)), **options)


@pytest.mark.parametrize("encoder", [VIT, RESNET], ids=["vit", "resnet"])
def test_a_step_is_taken_and_the_checkpoint_is_enough(encoder, tmp_path):
    made, data = task(encoder, lr=0.01, mixup=0.2), Digits(batch_size=256)
    data.preprocess = made.preprocess
    before = {name: value.clone() for name, value in made.named_parameters()}
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=tmp_path,
    )
    trainer.fit(made, datamodule=data)
    assert any(not torch.equal(value, before[name]) for name, value in made.named_parameters())
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    again, images = load_checkpoint(tmp_path / "it.ckpt"), torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(images), made.eval()(images))
    assert again.classes == [str(digit) for digit in range(10)]


def test_a_checkpoint_asks_for_no_download(monkeypatch):
    asked, original = [], timm.create_model

    def create(name, pretrained, **arguments):
        asked.append(pretrained)
        return original(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    made = task(LibraryModel("timm:test_resnet", pretrained=True))
    build(made.description())
    assert asked == [True, False]


@torch.no_grad()
def test_a_file_of_weights_starts_it_with_a_fresh_head(tmp_path):
    other = VIT.make(3, Preprocess(size=(16, 16))).model
    torch.save(other.state_dict(), tmp_path / "other.pt")
    made = task(VIT, weights=str(tmp_path / "other.pt"))
    state = made.model.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items() if not name.startswith("head."))
    assert made.model.num_classes == 10
    assert "weights" not in made.description()["init_args"]


@torch.no_grad()
def test_tokens_are_removed_where_there_are_tokens():
    vit, resnet = task(VIT).eval(), task(RESNET).eval()
    images, keep = torch.rand(2, 1, 16, 16), torch.tensor([[0, 3, 5], [1, 2, 15]])
    assert vit.no_removal is None
    assert vit.grid((16, 16)).shape == (4, 4)
    everything = torch.arange(16).expand(2, 16)
    assert torch.allclose(vit(images, everything), vit(images), atol=1e-6)
    assert not torch.allclose(vit(images, keep), vit(images))
    assert "timm:resnet18 has no tokens" in resnet.no_removal
    with pytest.raises(UsageError, match="the grid of timm:resnet18"):
        resnet.grid((16, 16))
    with pytest.raises(UsageError, match="tokens to remove from timm:resnet18"):
        resnet(images, keep)
    with pytest.raises(UsageError, match="images with padding"):
        vit(images, real=images[:, 0] > 0.5)


@pytest.mark.parametrize("options", [{"layer_decay": 0.9}, {"background": 0.0}, {"amount": "also"}, {"distance": 4.0}])
@pytest.mark.usefixtures("unchecked")
def test_what_only_vitkits_encoder_has_is_refused(options):
    [(name, value)] = options.items()
    with pytest.raises(UsageError, match=rf"model.{name}={value} for timm:resnet18; .*Leave model.{name} out"):
        task(RESNET, **options)


def test_only_matrices_decay_and_not_what_the_library_says():
    for encoder in (VIT, RESNET):
        model = task(encoder).model
        assert isinstance(model, Backbone)
        groups = parameter_groups(model, lr=0.5, weight_decay=0.1)
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
        spared = {"model.cls_token", "model.pos_embed"}
        assert {group["lr"] for group in groups} == {0.5}
        for name, parameter in model.named_parameters():
            assert (id(parameter) in decayed) == (parameter.ndim > 1 and name not in spared), name


@pytest.mark.usefixtures("unchecked")
def test_a_plan_says_that_it_covers_vitkits_encoder_only():
    with pytest.raises(UsageError, match=r"a plan of timm:resnet18; expected vitkit's own encoder"):
        plan(task(RESNET), 4)


def test_data_of_other_channels_are_refused():
    class Coloured(Digits):
        channels = 3

    with pytest.raises(UsageError, match=r"images of 3 channels; expected 1.*model.preprocess.mean and preprocess.std"):
        task(RESNET).meet(Coloured(), "predict")
