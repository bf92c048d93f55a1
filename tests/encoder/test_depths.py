"""Classifying shapes by how deep inside of them their voxels lie."""

import numpy as np
import pytest
import torch

from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Depths, Encoder, by_distance
from vitkit.encoder.depths import SHARES
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.recipe import build, recipe


def shapes(count=6, side=12, seed=0):
    """Blobs of their own size, each in the middle of its image."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linspace(-1, 1, side)
    radius = torch.stack(torch.meshgrid(axes, axes, axes, indexing="ij")).square().sum(0).sqrt()
    limits = 0.3 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    return (radius < limits).float()[:, None]


def test_the_numbers_are_those_of_the_voxels_of_each_shape():
    depths = by_distance(shapes(), 3.0)[:, 0]
    found = Depths(2).describe(depths)
    for shape, numbers in zip(depths.numpy(), found.numpy(), strict=True):
        inside = shape[shape > 0].astype(np.float64)
        expected = [inside.mean(), np.sqrt(np.square(inside).mean()), np.log(len(inside))]
        expected += [(inside > share).mean() for share in np.float32(SHARES)]
        np.testing.assert_allclose(numbers, expected, rtol=1e-5)  # sums of some hundred 32-bit floats


def test_where_a_shape_lies_and_how_large_its_image_is_make_no_difference():
    depths = by_distance(shapes(), 3.0)[:, 0]
    moved = torch.nn.functional.pad(depths, (3, 1, 0, 5, 2, 2)).flip(1).transpose(1, 3)
    torch.testing.assert_close(Depths(2).describe(moved), Depths(2).describe(depths))


def test_an_image_without_a_shape_has_numbers_too():
    assert Depths(2).describe(torch.zeros(1, 4, 4, 4)).tolist() == [[0.0] * (3 + len(SHARES))]


def test_numbers_are_standardised_by_what_they_were_in_training():
    torch.manual_seed(0)
    head = Depths(2).train()
    torch.nn.init.normal_(head.head.weight)
    batches = [by_distance(shapes(32, seed=seed), 3.0)[:, 0] for seed in range(40)]
    for batch in batches:
        head(batch)
    numbers = torch.cat([head.describe(batch) for batch in batches])
    # Over the last fifty batches of 32 or fewer the standard error of a mean is a thirtieth of the deviation.
    assert ((head.mean - numbers.mean(0)).abs() < 5 * numbers.std(0) / 30).all()
    head.eval()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    scores = 4 * (numbers - head.mean) / (head.variance + 1e-6).sqrt() @ head.head.weight.T + head.head.bias
    torch.testing.assert_close(torch.cat([head(batch) for batch in batches]), scores)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def model(**options):
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(ndim=3, patch_size=4, in_chans=1, dim=32), depth=1, num_heads=2)
    options = {"background": 0.0, "distance": 3.0, "depths": True} | options
    return Classifier(encoder, 2, Preprocess(size=(12, 12, 12), mean=(0.1,), std=(0.3,)), **options).eval()


def test_logits_are_those_of_the_tokens_and_of_the_depths_together():
    both = model()
    torch.nn.init.normal_(both.depths.head.weight)
    images = shapes()
    expected = both.classify(both.encode(images)) + both.depths(by_distance(images, 3.0)[:, 0])
    torch.testing.assert_close(both(images), expected)
    # One sample alone gives what it gives in a batch.
    torch.testing.assert_close(both(images[2:3]), both(images)[2:3])


def test_it_learns_what_is_thick():
    images = shapes(128, side=10)
    deepest, depths = by_distance(images, 12.0).flatten(1).amax(1), by_distance(images, 6.0)[:, 0]
    labels = (deepest > deepest.median()).long()
    head = Depths(2).train()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(depths), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    accuracy = (head.eval()(depths).argmax(1) == labels).float().mean()
    assert accuracy > 0.9


def test_a_description_makes_the_same_model_again():
    made = model()
    again = build(recipe(made))
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval()(shapes()), made(shapes()))


@pytest.mark.parametrize("options", [{"distance": None}, {"amount": "also"}])
def test_mistakes_are_refused(options):
    with pytest.raises(UsageError, match="depths with distance="):
        model(**options)
