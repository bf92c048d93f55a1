"""Classifying by how much there is."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from vitkit.embedding import PatchEmbed
from vitkit.encoder import Amount, Classifier, Encoder, Tokens
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess

GRID = Grid((2, 3))


def tokens(batch=4, keep=None, real=None, seed=0) -> Tokens:
    torch.manual_seed(seed)
    patches = torch.randn(batch, 6 if keep is None else keep.shape[1], 5)
    return Tokens(patches[:, :0], patches, GRID, keep, real)


def trained(batches=150) -> Amount:
    """A head whose running mean and deviation are those of random tokens."""
    torch.manual_seed(1)
    amount = Amount(5, 2)
    torch.nn.init.normal_(amount.head.weight)
    amount.train()
    for seed in range(batches):
        amount(tokens(16, seed=seed))
    return amount.eval()


def test_logits_are_linear_in_the_standardised_logarithm_of_the_sum() -> None:
    amount, real = trained(10), torch.rand(4, 6) > 0.3
    given = tokens(real=real)
    total = (amount.share(given.patches)[..., 0].sigmoid() * real).sum(1) / 6
    expected = 4 * ((total.log() - amount.mean) / (amount.variance + 1e-6).sqrt())[:, None] * amount.head.weight[:, 0]
    torch.testing.assert_close(amount(given), expected + amount.head.bias)


def test_the_running_mean_and_deviation_are_those_of_the_amounts() -> None:
    amount = trained()
    logs = torch.cat([amount.share(tokens(16, seed=seed).patches)[..., 0].sigmoid().mean(1).log() for seed in range(150)])
    # Over the last fifty batches of 16 the standard error of the mean is a thirtieth of the deviation.
    assert abs(amount.mean - logs.mean()) < 5 * logs.std() / 30
    assert 0.7 < amount.variance / logs.var() < 1.4


def test_a_sample_gives_the_same_in_any_batch() -> None:
    amount, given = trained(10), tokens()
    alone = Tokens(given.prefix[1:2], given.patches[1:2], GRID)
    torch.testing.assert_close(amount(given)[1:2], amount(alone))


def test_the_loss_counts_kept_and_real_tokens_alone() -> None:
    amount, shares = Amount(5, 2), torch.rand(4, 6)
    keep, real = torch.tensor([[0, 2, 5]] * 4), torch.tensor([[True, True, False]] * 4)
    given = tokens(keep=keep, real=real)
    predicted = amount.shares(given).sigmoid()[:, :2]
    torch.testing.assert_close(amount.loss(given, shares), binary_cross_entropy(predicted, shares[:, [0, 2]]))


@pytest.mark.parametrize("amount", ["no", "also", "alone"])
def test_logits_are_those_of_the_features_of_the_amount_or_of_both(amount) -> None:
    encoder = Encoder(PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=8), depth=1, num_heads=2)
    model = Classifier(encoder, 3, Preprocess(size=(4, 6)), amount=amount).eval()
    images = torch.rand(2, 1, 4, 6)
    encoded = model.encode(images)
    expected = torch.zeros(2, 3)
    if amount != "alone":
        expected = expected + model.head(encoder.pool(encoded))
    if amount != "no":
        torch.nn.init.normal_(model.amount.head.weight)
        expected = expected + model.amount(encoded)
    torch.testing.assert_close(model(images), expected)


def test_labels_move_no_share() -> None:
    amount, given = trained(10), tokens()
    grads = torch.autograd.grad(amount(given).sum(), [amount.head.weight, amount.share.weight], allow_unused=True)
    assert grads[0].abs().sum() > 0
    assert grads[1] is None


def test_it_adds_nothing_before_it_has_learnt() -> None:
    assert not Amount(5, 3)(tokens()).any()


def test_shares_of_half_precision_are_summed_at_full(monkeypatch) -> None:
    amount, given, seen = trained(10), tokens(64), []
    monkeypatch.setattr(amount, "standardised", lambda values: seen.append(values) or values)
    with torch.autocast("cpu", torch.bfloat16):
        amount(given)
        logits = amount.shares(given)
    torch.testing.assert_close(seen[0].double(), logits.double().sigmoid().mean(1).log(), rtol=1e-6, atol=1e-6)
