"""Learning from segmentations beside the classes."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from vitkit.data.sample import Batch
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.tasks import ClassificationTask


def _task(**options) -> ClassificationTask:
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=2, in_chans=1, dim=12), 1, 2, class_token=False, pool="sum")
    task = ClassificationTask(encoder, 2, Preprocess(size=(4, 4, 6)), **{"amount": "also", **options})
    task.log = lambda *args, **kwargs: None
    return task


def _batch(real=True, mask=True) -> Batch:
    images = torch.rand(2, 1, 4, 4, 6)
    there = torch.rand(2, 4, 4, 6) > 0.3
    there[:, :, :, 4:] = False
    return Batch(
        images, torch.tensor([0, 1]), ["a", "b"], there if real else None, torch.rand(2, 4, 4, 6) > 0.5 if mask else None
    )


@pytest.mark.parametrize("real", [False, True])
def test_the_loss_is_the_cross_entropy_of_shares_over_real_tokens(real) -> None:
    task, batch = _task(), _batch(real)
    with_masks = task.training_step(batch, 0)
    task.mask_weight = 0.0
    without = task.training_step(batch, 0)
    tokens = task.model.encoder(task.preprocess.normalise(batch.image), real=batch.real)
    predicted = task.model.amount.shares(tokens).sigmoid()
    corners = [(i, j, k) for i in (0, 2) for j in (0, 2) for k in (0, 2, 4)]
    shares = [[mask[i : i + 2, j : j + 2, k : k + 2].float().mean() for i, j, k in corners] for mask in batch.mask]
    counted = torch.ones_like(predicted, dtype=torch.bool) if tokens.real is None else tokens.real
    expected = binary_cross_entropy(predicted[counted], torch.tensor(shares)[counted])
    torch.testing.assert_close(with_masks - without, expected)


def test_tokens_that_were_left_out_change_nothing() -> None:
    task, batch = _task(), _batch(real=True)
    batch.real[:, 2:] = False  # half of the tokens and more
    images = batch.image * batch.real[:, None]
    kept = task.training_step(batch, 0)
    task.model._occupied = lambda real: None
    torch.testing.assert_close(kept, task.training_step(batch._replace(image=images), 0))


def test_the_trained_model_needs_no_mask() -> None:
    batch = _batch(mask=False)
    assert _task()(batch.image, real=batch.real).shape == (2, 2)


def test_training_without_masks_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.masks"):
        _task().training_step(_batch(mask=False), 0)


def test_mixing_is_refused() -> None:
    with pytest.raises(UsageError, match="mixup"):
        _task(mixup=0.2)
