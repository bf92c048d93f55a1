"""What every corruption of scans is held to, whatever it does."""

from functools import partial

import pytest
import torch

from vitkit.corruptions import volume
from vitkit.errors import UsageError

EPS = torch.finfo(torch.float32).eps
WAYS = {name: getattr(volume, name) for name in volume.__all__} | {
    "window_shift": partial(volume.window_shift, width=400.0),
    "gamma brighter": partial(volume.gamma, direction="brighter"),
    "intensity_scaling brighter": partial(volume.intensity_scaling, direction="brighter"),
    "window_shift brighter": partial(volume.window_shift, width=400.0, direction="brighter"),
}
LEVELS = {name: 3 if name == "orientation_flip" else 5 for name in WAYS}
DRAWN = ("bias_field", "downsampling", "ghosting", "motion", "rician_noise", "rotation", "spikes")

every = pytest.mark.parametrize("name", WAYS)


def scans(*size: int, channels: int = 1, batch: int = 1) -> torch.Tensor:
    """Flat bodies with an organ off the middle, with edges of a thirtieth of the field of view, the same on any grid."""
    places = ((torch.arange(length) + 0.5) * (2 / length) - 1 for length in size)
    r, a, s = torch.meshgrid(*places, indexing="ij")
    out = []
    for index in range(batch * channels):
        body = torch.sigmoid(60 * (0.6 - (r**2 + 2 * a**2 + 0.8 * s**2).sqrt()))
        organ = torch.sigmoid(60 * (0.2 - ((r - 0.2) ** 2 + (a + 0.1) ** 2 + (s - 0.15 - 0.1 * index) ** 2).sqrt()))
        out.append(0.5 * body + 0.4 * organ)
    return torch.stack(out).view(batch, channels, *size)


def distance(changed: torch.Tensor, images: torch.Tensor) -> float:
    return float((changed - images).square().mean().sqrt())


@every
def test_nothing_happens_at_severity_0(name):
    images = scans(13, 16, 11, channels=2, batch=2)
    # Linear maps are of up to 16 terms that sum to 1, and a turn's grid is rounded by a few eps of a voxel.
    torch.testing.assert_close(WAYS[name](images, 0, [1, 2]), images, rtol=0, atol=32 * EPS)


@every
def test_each_severity_changes_more_than_the_one_before(name):
    images, seeds = scans(40, 40, 40), range(6)
    apart = [
        sum(distance(WAYS[name](images, severity, [seed]), images) for seed in seeds) for severity in range(1, LEVELS[name] + 1)
    ]
    assert apart[0] / len(seeds) > 0.003  # the first is no identity
    assert apart == sorted(apart)


@every
def test_an_image_depends_on_its_own_seed_alone(name):
    images, seeds = scans(13, 16, 11, channels=2, batch=3), [3, 2**63, 0]
    together = WAYS[name](images, LEVELS[name], seeds)
    for index, seed in enumerate(seeds):
        alone = WAYS[name](images[index : index + 1], LEVELS[name], [seed])
        assert torch.equal(alone[0], together[index])
    order = [2, 0, 1]
    assert torch.equal(WAYS[name](images[order], LEVELS[name], [seeds[index] for index in order]), together[order])


@pytest.mark.parametrize("name", DRAWN)
def test_seeds_differ(name):
    images = scans(16, 16, 16).expand(8, -1, -1, -1, -1)
    changed = WAYS[name](images, 3, range(8))
    assert len({row.numpy().tobytes() for row in changed}) > 1
    assert torch.equal(changed, WAYS[name](images, 3, range(8)))


@pytest.mark.parametrize("name", [name for name in WAYS if name not in DRAWN])
def test_where_nothing_is_drawn_all_seeds_agree(name):
    images = scans(9, 8, 7)
    assert torch.equal(WAYS[name](images, 2, [1]), WAYS[name](images, 2, [2]))


@every
@pytest.mark.parametrize("size", [(1, 2, 3), (5, 1, 7), (24, 9, 4)])
def test_any_size_and_type_stay(name, size):
    for images in (torch.rand(2, 3, *size), torch.rand(2, 3, *size, dtype=torch.float64)):
        kept = images.clone()
        changed = WAYS[name](images, LEVELS[name], [5, 6])
        assert changed.shape == images.shape
        assert changed.dtype == images.dtype
        assert changed.isfinite().all()
        assert torch.equal(images, kept)


@pytest.mark.parametrize("name", ["rotation", "smoothing", "thick_slices"])
def test_amounts_in_mm_follow_the_spacing(name):
    """The same body on a finer grid, with the mm told, changes alike; voxels taken for mm give more."""
    coarse, fine = scans(24, 24, 24), scans(48, 48, 48)
    on_coarse = WAYS[name](coarse, 3, [1], spacing=(2.0, 2.0, 2.0))
    on_fine = WAYS[name](fine, 3, [1], spacing=(1.0, 1.0, 1.0))
    assert torch.equal(on_fine, WAYS[name](fine, 3, [1]))
    met = torch.nn.functional.avg_pool3d(on_fine, 2)
    assert distance(met, on_coarse) < distance(on_coarse, coarse) / 2
    if name != "rotation":  # an angle is the same in any unit
        assert distance(WAYS[name](coarse, 3, [1]), coarse) > 1.1 * distance(on_coarse, coarse)


@every
@pytest.mark.parametrize("severity", [-1, 6])
def test_a_severity_outside_the_scale_is_refused(name, severity):
    with pytest.raises(UsageError, match=f"a severity of {severity}"):
        WAYS[name](scans(4, 4, 4), severity, [0])


def test_there_are_no_more_than_three_axes_to_mirror():
    with pytest.raises(UsageError, match="from 1 to 3"):
        volume.orientation_flip(scans(4, 4, 4), 4, [0])


@pytest.mark.parametrize("name", ["gamma", "intensity_scaling"])
def test_another_direction_is_refused(name, unchecked):
    with pytest.raises(UsageError, match="brighter or darker"):
        getattr(volume, name)(scans(4, 4, 4), 1, [0], direction="up")


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, float("nan"))])
def test_what_is_no_spacing_is_refused(spacing):
    with pytest.raises(UsageError, match="three positive numbers"):
        volume.smoothing(scans(4, 4, 4), 1, [0], spacing=spacing)


@pytest.mark.parametrize("width", [0.0, -400.0, float("nan"), float("inf")])
def test_what_is_no_window_is_refused(width):
    with pytest.raises(UsageError, match="the width of a window"):
        volume.window_shift(scans(4, 4, 4), 1, [0], width=width)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@every
def test_a_gpu_gives_the_same_images(name):
    images = scans(13, 16, 11, channels=2, batch=2)
    found = WAYS[name](images.cuda(), LEVELS[name], [1, 2])
    assert found.is_cuda
    # Products of up to 16 terms, in three axes or ten movements, each rounded to a few eps in another order.
    torch.testing.assert_close(found.cpu(), WAYS[name](images, LEVELS[name], [1, 2]), rtol=1e-4, atol=1e-5)
