import pytest
import torch

from vitkit.corruptions import shuffle
from vitkit.errors import UsageError


def patches(image, cells):
    """Its patches as rows, cut by unfolding."""
    for axis in range(1, image.ndim):
        image = image.unfold(axis, image.shape[axis] // cells, image.shape[axis] // cells)
    half = (image.ndim - 1) // 2
    return image.movedim(0, half).reshape(cells**half, -1)


@pytest.mark.parametrize("size", [(8,), (8, 12), (4, 8, 12)])
@pytest.mark.parametrize("cells", [2, 4])
def test_the_patches_are_all_there_in_another_order(size, cells):
    images = torch.rand(6, 2, *size, generator=torch.Generator().manual_seed(0))
    for image, moved in zip(images, shuffle(images, cells, range(6)), strict=True):
        before, after = (sorted(map(tuple, patches(x, cells).tolist())) for x in (image, moved))
        assert before == after
    assert not torch.equal(images, shuffle(images, cells, range(6)))


def test_one_patch_is_the_image_and_each_has_its_own_order():
    images = torch.rand(1, 1, 8, 8).expand(2, 1, 8, 8)
    assert torch.equal(shuffle(images, 1, [1, 2]), images)
    moved = shuffle(images, 4, [1, 2])
    assert not torch.equal(moved[0], moved[1])
    assert torch.equal(moved[1:], shuffle(images[1:], 4, [2]))


@pytest.mark.parametrize("cells", [0, 3, 16])
def test_unequal_patches_are_refused(cells):
    with pytest.raises(UsageError, match="divides every axis"):
        shuffle(torch.zeros(1, 1, 8, 8), cells, [0])
