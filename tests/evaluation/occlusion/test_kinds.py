from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from vitkit.corruptions import kept
from vitkit.errors import DataError, UsageError
from vitkit.evaluation import (
    BorderOcclusion,
    CheckerboardOcclusion,
    Context,
    HoleOcclusion,
    MissingSlab,
    MissingSlices,
    RandomOcclusion,
    SalientOcclusion,
    ShuffledPatches,
    Suite,
    bundled_suites,
    evaluate,
)
from vitkit.evaluation.bank import Bank, BankMaker
from vitkit.evaluation.stream import batches
from vitkit.grid import Grid
from vitkit.recipe import recipe

IDS = ["a", "b", "c"]
TOKENS = Context(IDS, seed=3, grid=Grid((4, 4), (2.0, 2.0)))
SCAN = Context(IDS, seed=3, spacing=(1.0, 1.0, 2.5), no_removal="no tokens")


def images(*size):
    return torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))


def steep(images, ids):
    """A map that falls row by row."""
    return torch.arange(images.shape[2], 0, -1.0).view(1, -1, 1).expand(len(images), *images.shape[2:])


KINDS = {
    "random": lambda mode, ratios: RandomOcclusion(mode, ratios),
    "salient": lambda mode, ratios: SalientOcclusion(mode, ratios, by="map", maps=steep),
    "hole": lambda mode, ratios: HoleOcclusion(mode, ratios, place="random"),
    "border": lambda mode, ratios: BorderOcclusion(mode, ratios),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_painted_and_removed_hide_the_same_tokens(kind, ratio):
    painted, removed = (KINDS[kind](mode, [ratio]).apply(images(8, 8), ratio, TOKENS) for mode in ("painted", "removed"))
    assert torch.equal(painted.area, removed.area)
    cells = torch.nn.functional.avg_pool2d(painted.area.float(), 2)
    assert torch.equal(kept(cells > 0.5), removed.keep)
    assert set(cells.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_ratio_hides_what_a_lower_one_hides(kind):
    areas = [KINDS[kind]("painted", [0.1]).apply(images(8, 8), ratio, TOKENS).area for ratio in (0.0, 0.2, 0.5, 0.6, 0.9)]
    assert all(not (low & ~high).any() for low, high in pairwise(areas))
    assert areas[0].sum() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", ["zero", "noise", "blur", "image"])
def test_nothing_depends_on_the_company(kind, fill):
    condition = KINDS[kind]("painted", [0.5])
    condition.fill = fill
    bank = Bank(torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(1)), ["a", "d", "e", "f"])
    together = condition.apply(images(8, 8), 0.5, Context(IDS, 3, TOKENS.grid, bank=lambda: bank)).images
    alone = condition.apply(images(8, 8)[1:2], 0.5, Context(["b"], 3, TOKENS.grid, bank=lambda: bank)).images
    assert torch.equal(alone[0], together[1])


def test_a_given_map_is_obeyed():
    for order, rows in (("salient", [1, 1, 0, 0]), ("nonsalient", [0, 0, 1, 1])):
        condition = SalientOcclusion("painted", [0.5], order, "map", steep)
        area = condition.apply(images(8, 8), 0.5, TOKENS).area
        assert area[:, ::2, ::2].float().mean(2).tolist() == [rows] * 3
    assert condition.name == "nonsalient.map.painted"
    assert recipe(condition)["init_args"]["maps"].endswith(".steep")
    tokens = SalientOcclusion("removed", [0.25], by="map", maps=lambda images, ids: torch.eye(4).expand(3, 4, 4))
    assert tokens.apply(images(8, 8), 0.25, TOKENS).keep[0].tolist() == [i for i in range(16) if i % 5]


def test_what_a_model_looks_at_is_asked_of_it_on_the_clean_image():
    class Asked:
        def obstacle(self, method):
            return None if method == "rollout" else "blind"

        def __call__(self, given, method, ids, real):
            assert (method, ids, real) == ("rollout", IDS, None)
            assert torch.equal(given, images(8, 8))
            return torch.eye(4).expand(3, 4, 4)

    context = Context(IDS, 3, TOKENS.grid)
    object.__setattr__(context, "saliency", Asked())
    condition = SalientOcclusion("painted", [0.25], by="rollout")
    assert condition.obstacle(context) is None
    assert SalientOcclusion("painted", [0.25], by="gradient").obstacle(context) == "blind"
    assert condition.apply(images(8, 8), 0.25, context).area[0, ::2, ::2].equal(torch.eye(4).bool())
    # On pixels of its own each cell has the score of the token it lies in.
    fine = SalientOcclusion("painted", [0.25], by="rollout", patch=1, unit="pixels")
    assert (
        fine.apply(images(8, 8), 0.25, context).area[0].equal(torch.eye(4).bool().repeat_interleave(2, 0).repeat_interleave(2, 1))
    )


@pytest.mark.parametrize("ending", [".npy", ".png"])
def test_maps_of_a_folder_are_found_by_the_samples_id(tmp_path, ending):
    (tmp_path / "cats").mkdir()
    for index, name in enumerate(["cats/1", "cats/2.jpg", "3"]):
        mask = np.zeros((8, 8), np.uint8)
        mask[:, 2 * index : 2 * index + 2] = 255
        np.save(tmp_path / f"{name}.npy", mask) if ending == ".npy" else Image.fromarray(mask).save(tmp_path / f"{name}.png")
    condition = SalientOcclusion("painted", [0.25], by="map", maps=str(tmp_path))
    context = Context(["cats/1.jpg", "cats/2.jpg", "3"], 0, TOKENS.grid)
    for index, area in enumerate(condition.apply(images(8, 8), 0.25, context).area):
        assert area[0].nonzero().flatten().tolist() == [2 * index, 2 * index + 1]
    with pytest.raises(DataError, match=r"no map of sample cats/4\.jpg"):
        condition.apply(images(8, 8), 0.25, Context(["cats/1.jpg", "cats/4.jpg", "3"], 0, TOKENS.grid))


def test_other_maps_are_another_run(tmp_path):
    maps, out = tmp_path / "maps", tmp_path / "run"
    maps.mkdir()
    for name in "ab":
        np.save(maps / f"{name}.npy", np.eye(8))
    suite = Suite("maps", [SalientOcclusion("painted", [0.25], by="map", maps=str(maps))])
    loader = [{"image": images(8, 8)[:2], "label": torch.tensor([0, 1]), "id": ["a", "b"]}]

    def run():
        return evaluate(lambda x: x.mean((2, 3)), loader, suite, out)

    assert run() == run()
    np.save(maps / "b.npy", np.ones((8, 8)))
    with pytest.raises(UsageError, match="files"):
        run()


def test_maps_that_do_not_fit_are_refused(tmp_path, unchecked):
    np.save(tmp_path / "a.npy", np.zeros((8, 8)))
    np.save(tmp_path / "b.npy", np.zeros((8, 9)))
    (tmp_path / "c.npy").write_bytes(b"no array")
    condition = SalientOcclusion("painted", [0.5], by="map", maps=str(tmp_path))
    with pytest.raises(DataError, match=r"map of b .* has the shape \(8, 9\)"):
        condition.apply(images(8, 8)[:2], 0.5, Context(["a", "b"], 0, TOKENS.grid))
    with pytest.raises(DataError, match="map of sample c"):
        condition.apply(images(8, 8)[:1], 0.5, Context(["c"], 0, TOKENS.grid))
    with pytest.raises(UsageError, match=r"maps of shape \(8, 9\) for images of size \(8, 8\)"):
        condition.apply(images(8, 8)[:1], 0.5, Context(["b"], 0, TOKENS.grid))
    for made in (None, torch.zeros(1, 8, 8)):
        with pytest.raises(UsageError, match="a map for each"):
            SalientOcclusion("painted", [0.5], by="map", maps=lambda x, ids, made=made: made).apply(images(8, 8), 0.5, TOKENS)


def test_cells_in_mm_are_as_large_in_every_direction():
    condition = RandomOcclusion("painted", [0.25], patch=5, unit="mm")
    assert condition.params(SCAN, (20, 10, 8)) == {
        "mode": "painted",
        "fill": "mean",
        "grid": [4, 2, 4],
        "patch": 5,
        "unit": "mm",
    }
    area = condition.apply(images(20, 10, 8), 0.25, SCAN).area
    assert (area.flatten(1).float().mean(1) == 0.25).all()
    cells = torch.nn.functional.avg_pool3d(area.float(), (5, 5, 2))
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    assert "spacing" in condition.obstacle(TOKENS)


def test_half_a_patch_is_half_a_token():
    condition = RandomOcclusion("painted", [0.5], offset=0.5)
    assert condition.params(TOKENS, (8, 8)) == {
        "mode": "painted",
        "fill": "mean",
        "grid": [5, 5],
        "offset": 0.5,
        "unit": "patches",
    }
    area = condition.apply(images(8, 8), 0.5, TOKENS).area
    inner = torch.nn.functional.avg_pool2d(area[:, 1:7, 1:7].float(), 2)
    assert set(inner.unique().tolist()) == {0.0, 1.0}
    assert ((area.flatten(1).float().mean(1) - 0.5).abs() <= 4 / 64).all()


def test_a_checkerboard_hides_half_and_keeps_half():
    removed = CheckerboardOcclusion("removed").apply(images(8, 8), 0.5, TOKENS)
    assert removed.keep.shape == (3, 8)
    painted = CheckerboardOcclusion("painted", grid=8, fill="zero").apply(images(8, 8), 0.5, TOKENS)
    assert (painted.images == 0).float().mean() == 0.5
    assert painted.area[0, 0].tolist() == [False, True] * 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_missing_from_border_to_border(axis):
    condition = MissingSlices([0.5], axis=axis)
    area = condition.apply(images(8, 6, 4), 0.5, SCAN).area
    across = area.movedim(1 + axis, 1).flatten(2)
    assert torch.equal(across.all(2), across.any(2))
    assert (across.all(2).float().mean(1) == 0.5).all()
    assert not torch.equal(area[0], area[1])


def test_a_slab_is_as_thick_as_it_says_in_mm_and_in_voxels():
    for unit, length, count in (("mm", 5.0, 2), ("voxels", 3, 3), ("share", 0.25, 2)):
        condition = MissingSlab([length], axis=2, unit=unit, place="random")
        assert condition.obstacle_at(float(length), SCAN, (4, 4, 8)) is None
        rows = condition.apply(images(4, 4, 8), float(length), SCAN).area[:, 0, 0]
        assert rows.sum(1).tolist() == [count] * 3
        assert (rows.int().diff(dim=1).abs().sum(1) <= 2).all()
    thick = MissingSlab([20.0], axis=2, unit="mm")
    assert "leaves nothing of the 8" in thick.obstacle_at(20.0, SCAN, (4, 4, 8))
    assert "spacing" in thick.obstacle_at(20.0, TOKENS, (4, 4, 80))
    assert "no axis 2" in thick.obstacle_at(20.0, SCAN, (4, 4))


def test_shuffled_patches_are_skipped_where_they_do_not_divide():
    condition = ShuffledPatches([2, 3])
    assert condition.obstacle_at(2.0, TOKENS, (8, 8)) is None
    assert "3 patches do not divide" in condition.obstacle_at(3.0, TOKENS, (8, 8))
    moved = condition.apply(images(8, 8), 2.0, TOKENS)
    assert moved.area is None
    assert torch.equal(moved.images.flatten(1).sort().values, images(8, 8).flatten(1).sort().values)


def test_a_bank_is_of_the_data_and_never_lends_an_image_to_itself():
    every = torch.rand(30, 1, 4, 4)
    ids = [str(index) for index in range(30)]
    batch = [{"image": every, "label": torch.zeros(30).long(), "id": ids}]
    order = torch.randperm(30)
    turned = [{"image": every[part], "label": part, "id": [ids[i] for i in part]} for part in order.split(7)]

    def made(loader, seed):
        maker = BankMaker(seed)
        for batch in batches(loader):
            maker.add(batch)
        return maker.bank()

    first, second = made(batch, 0), made(turned, 0)
    assert (first.ids, len(first.ids)) == (second.ids, 8)
    assert torch.equal(first.images, second.images)
    assert made(batch, 1).ids != first.ids
    lent = first.others(first.ids, range(2**60, 2**64, 2**61))
    assert not any(torch.equal(a, b) for a, b in zip(lent, first.images, strict=True))
    with pytest.raises(DataError, match="two images at least"):
        Bank(every[:1], ["0"]).others(["0"], [1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SalientOcclusion("painted", [0.5], by="magic"), "by: 'magic'"),
        (lambda: SalientOcclusion("painted", [0.5], order="first"), "order: 'first'"),
        (lambda: SalientOcclusion("painted", [0.5], by="map"), "maps: None"),
        (lambda: SalientOcclusion("painted", [0.5], maps="here"), "maps: 'here' with by: attention"),
        (lambda: SalientOcclusion("painted", [0.5], by="map", maps="no/where"), "maps: no/where"),
        (lambda: RandomOcclusion("painted", [0.5], fill="red"), "fill 'red'"),
        (lambda: RandomOcclusion("painted", [0.5], grid=4, patch=2), "together with a grid"),
        (lambda: RandomOcclusion("painted", [0.5], patch=0), "patch: 0"),
        (lambda: RandomOcclusion("painted", [0.5], offset=-1), "offset: -1"),
        (lambda: RandomOcclusion("painted", [0.5], patch=1, unit="cm"), "unit: 'cm'"),
        (lambda: RandomOcclusion("removed", [0.5], offset=1), "removed with a grid"),
        (lambda: HoleOcclusion("painted", [0.5], place="left"), "place: 'left'"),
        (lambda: BorderOcclusion("painted", [1.0]), r"ratios\[0\]: 1.0"),
        (lambda: ShuffledPatches([1]), r"patches\[0\]: 1"),
        (lambda: MissingSlab([1.5]), r"lengths\[0\]: 1.5"),
        (lambda: MissingSlab([3], unit="rows"), "unit: 'rows'"),
        (lambda: MissingSlices([0.5], axis=-1), "axis: -1"),
        (lambda: RandomOcclusion("painted", [0.5], grid=9).apply(images(8, 8), 0.5, TOKENS), "9 cells on an axis of 8 pixels"),
        (lambda: RandomOcclusion("painted", [0.5], grid=[2, 2, 2]).apply(images(8, 8), 0.5, TOKENS), "as many axes"),
        (lambda: RandomOcclusion("painted", [0.5], patch=[1, 1, 1]).apply(images(8, 8), 0.5, TOKENS), "as many axes"),
        (lambda: RandomOcclusion("painted", [0.5], fill="image").apply(images(8, 8), 0.5, TOKENS), "without a bank"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def shortened():
    """The bundled suite, each condition at one severity."""
    suite = Suite.load(bundled_suites()["occlusion"])
    for condition in suite.conditions:
        condition.severities = condition.severities[len(condition.severities) // 4 :][:1]
    return suite


def test_the_bundled_suite_runs_over_a_model_with_tokens(model, loader):
    found = evaluate(model, loader, shortened())
    skipped = {condition.id: condition.skipped for condition in found.conditions if condition.skipped}
    assert all("attention" in reason for reason in skipped.values())
    assert {item.minuend for item in found.comparisons} == {
        "random.removed",
        "hole.removed",
        "border.removed",
        "checkerboard.removed",
    }
    assert {item.name for item in found.comparisons} == {"missingness bias"}
    for condition in found.conditions:
        if condition.unit in ("share of area", "share of patches") and not condition.skipped:
            # A row of the coarsest cells, of which there are four, is what is missing at most.
            assert condition.severity - 1 / 4 < condition.params["area"] <= condition.severity + 1e-6


def test_the_bundled_suite_runs_over_a_plain_function(model, loader):
    found = evaluate(lambda images: model(images), loader, shortened())
    reasons = {condition.condition: condition.skipped for condition in found.conditions}
    assert "no tokens" in reasons["random.removed"]
    assert "no grid of tokens" in reasons["salient.attention.painted"]
    assert reasons["salient.gradient.painted"] is None


def test_cells_in_mm_are_not_measured_where_the_model_says_no_spacing():
    context = Context(["a"], grid=Grid((4, 4), (2.0, 2.0)))
    condition = RandomOcclusion("painted", [0.5], patch=4.0, unit="mm")
    assert "spacing" in condition.obstacle_at(0.5, context, (8, 8))
    assert condition.params(context, (8, 8))["unit"] == "mm"
