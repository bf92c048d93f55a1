"""Training images laid over each other."""

import torch

from vitkit.tasks.mixing import Mixing


def padded(size=(6, 6, 6)):
    """Samples that are nowhere 0 where they are real, of which each but the first lacks another half."""
    torch.manual_seed(0)
    real = torch.ones(4, *size, dtype=torch.bool)
    real[1, :3], real[2, :, 3:], real[3, ..., :3] = False, False, False
    return (0.1 + torch.rand(4, 2, *size)) * real[:, None], torch.tensor([0, 1, 2, 0]), real


def test_what_is_real_goes_where_cutmix_puts_it():
    images, labels, real = padded()
    for _ in range(20):
        mixed, targets, found = Mixing(3, cutmix=1.0)(images, labels, real)
        assert torch.equal(found, (mixed > 0).all(1))
        assert torch.allclose(targets.sum(1), torch.ones(4))


def test_what_is_real_in_either_is_real_after_mixup():
    images, labels, real = padded()
    mixed, _, found = Mixing(3, mixup=1.0)(images, labels, real)
    assert torch.equal(found, real | real.roll(1, 0))
    assert mixed.shape == images.shape


def test_without_padding_there_is_none_and_one_sample_is_left():
    images, labels, real = padded()
    assert Mixing(3, mixup=1.0)(images, labels)[2] is None
    for left in (Mixing(3, mixup=1.0)(images[:1], labels[:1], real[:1]), Mixing(3)(images[:1], labels[:1], real[:1])):
        assert [torch.equal(a, b) for a, b in zip(left, (images[:1], labels[:1], real[:1]), strict=True)] == [True] * 3
