import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d

from vitkit.corruptions import paint, random_masks
from vitkit.corruptions.occlusion.fills import blurred
from vitkit.errors import UsageError
from vitkit.grid import Grid

FILLS = ["zero", "mean", "noise", "blur", "image", 0.3]


def images(count=3, size=(6, 8)):
    return torch.rand(count, 2, *size, generator=torch.Generator().manual_seed(0))


def given(fill, count=3, size=(6, 8)):
    others = torch.rand(count, 2, *size, generator=torch.Generator().manual_seed(1))
    return {"fill": fill, "seeds": range(count), "others": others}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("size", [(6, 8), (4, 5, 6)])
def test_a_fill_changes_the_hidden_area_and_nothing_else(fill, size):
    area = random_masks([1, 2, 3], Grid(size), 0.5)
    painted = paint(images(size=size), area, **given(fill, size=size))
    hidden = area[:, None].expand_as(painted)
    assert torch.equal(painted[~hidden], images(size=size)[~hidden])
    assert (painted[hidden] != images(size=size)[hidden]).float().mean() > 0.99
    assert 0 <= painted.min() <= painted.max() <= 1


@pytest.mark.parametrize("fill", FILLS)
def test_a_fill_does_not_depend_on_the_company(fill):
    area = random_masks([1, 2, 3], Grid((6, 8)), 0.5)
    arguments = given(fill)
    together = paint(images(), area, **arguments)
    alone = paint(images()[1:2], area[1:2], fill, [1], arguments["others"][1:2])
    assert torch.equal(together[1:2], alone)


def test_noise_is_uniform_and_of_its_seed():
    area = torch.ones(2, 100, 100, dtype=torch.bool)
    first, second = paint(torch.zeros(2, 1, 100, 100), area, "noise", [5, 6])
    assert not torch.equal(first, second)
    # The mean of 10,000 uniform numbers has a standard deviation of 1 / (100 √12), and 5 hold but once in 1.7 million.
    assert abs(float(first.mean()) - 0.5) < 5 / (100 * 12**0.5)
    assert abs(float(first.var()) - 1 / 12) < 5 * (1 / 180 / 10_000) ** 0.5


def test_another_image_is_seen_in_the_same_place():
    area = random_masks([1, 2, 3], Grid((6, 8)), 0.5)
    arguments = given("image")
    hidden = area[:, None].expand(-1, 2, -1, -1)
    assert torch.equal(paint(images(), area, **arguments)[hidden], arguments["others"][hidden])


@pytest.mark.parametrize(("size", "radii"), [((128, 96), (8, 6)), ((9, 31), (1, 2)), ((16, 40, 24), (1, 2, 1))])
def test_the_blur_is_three_boxes_with_nothing_beyond_the_border(size, radii):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    wanted = image[0, 0].double().numpy()
    for axis, radius in enumerate(radii):
        for _ in range(3):
            inside = uniform_filter1d(np.ones(size), 2 * radius + 1, axis, mode="constant")
            wanted = uniform_filter1d(wanted, 2 * radius + 1, axis, mode="constant") / inside
        # r(r + 1) is the variance of three boxes, and that of a sixteenth of the axis is between those of r - 1/2 and r + 1/2.
        assert radius == 1 or (radius - 0.5) * (radius + 0.5) <= (size[axis] / 16) ** 2 <= (radius + 0.5) * (radius + 1.5)
    np.testing.assert_allclose(blurred(image)[0, 0].numpy(), wanted, rtol=0, atol=1e-6)  # rounded to float32 at the end


def test_what_is_missing_or_unknown_is_refused():
    area = torch.ones(2, 4, 4, dtype=torch.bool)
    with pytest.raises(UsageError, match="one seed for each"):
        paint(torch.zeros(2, 1, 4, 4), area, "noise", [1])
    with pytest.raises(UsageError, match="one other image for each"):
        paint(torch.zeros(2, 1, 4, 4), area, "image")
