"""Each pattern by its rule in plain Python, what the patterns have to do with each other, and what is refused."""

from pathlib import Path

import pytest
import torch
import yaml

from tests.attention.contract import SHAPES, PatternContract, pairs_of
from vitkit.attention import AlongAxis, Attention, Axial, Dilated, Full, Global, Neighbourhood, Pattern, Union, Window
from vitkit.attention.patterns import SparsePattern
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build


def mask(pattern: Pattern, shape: tuple[int, ...]) -> torch.Tensor:
    grid = Grid(shape)
    allowed = pattern.allowed(grid)
    return torch.ones(len(grid), len(grid), dtype=torch.bool) if allowed is None else allowed


class TestFull(PatternContract):
    sparse = False

    def make(self, shape):
        return Full()

    def rule(self, query, key, shape):
        return True


class TestWindow(PatternContract):
    def make(self, shape):
        return Window([min(3, length) for length in shape])

    def rule(self, query, key, shape):
        return all(i // min(3, n) == j // min(3, n) for i, j, n in zip(query, key, shape, strict=True))


class TestShiftedWindow(PatternContract):
    def make(self, shape):
        return Window([min(4, length) for length in shape], shift=[min(4, length) // 2 for length in shape])

    def rule(self, query, key, shape):
        def window(i, length):
            size = min(4, length)
            borders = [*range(size // 2, length, size)]
            return sum(border <= i for border in borders)

        return all(window(i, n) == window(j, n) for i, j, n in zip(query, key, shape, strict=True))


class TestOverlappingWindow(PatternContract):
    def make(self, shape):
        return Window([min(2, length) for length in shape], overlap=1)

    def rule(self, query, key, shape):
        def near(i, j, length):
            mates = [other for other in range(length) if other // min(2, length) == i // min(2, length)]
            return any(abs(mate - j) <= 1 for mate in mates)

        return all(near(*of_axis) for of_axis in zip(query, key, shape, strict=True))


class TestDilated(PatternContract):
    def make(self, shape):
        # Groups of at most three along an axis, so that they do not grow with the grid.
        return Dilated([-(-length // 3) for length in shape])

    def rule(self, query, key, shape):
        return all(i % -(-n // 3) == j % -(-n // 3) for i, j, n in zip(query, key, shape, strict=True))


class TestDilatedTwice(PatternContract):
    sparse = False

    def make(self, shape):
        return Dilated(2)

    def rule(self, query, key, shape):
        return all((i - j) in range(-100, 101, 2) for i, j in zip(query, key, strict=True))


class TestNeighbourhood(PatternContract):
    def make(self, shape):
        return Neighbourhood(1)

    def rule(self, query, key, shape):
        return max(abs(i - j) for i, j in zip(query, key, strict=True)) <= 1


class TestDilatedNeighbourhood(PatternContract):
    def make(self, shape):
        return Neighbourhood([2] + [1] * (len(shape) - 1), dilation=[2] + [3] * (len(shape) - 1))

    def rule(self, query, key, shape):
        steps = [[0, 2, 4]] + [[0, 3]] * (len(shape) - 1)
        return all(abs(i - j) in near for i, j, near in zip(query, key, steps, strict=True))


class TestGlobal(PatternContract):
    def make(self, shape):
        return Global([[0] * len(shape), [length // 2 for length in shape]])

    def rule(self, query, key, shape):
        chosen = ((0,) * len(shape), tuple(length // 2 for length in shape))
        return query in chosen or key in chosen


class TestStridedGlobal(PatternContract):
    sparse = False

    def make(self, shape):
        return Global(stride=3)

    def rule(self, query, key, shape):
        return not any(i % 3 for i in query) or not any(j % 3 for j in key)


class TestUnion(PatternContract):
    def make(self, shape):
        return Union([TestWindow().make(shape), Neighbourhood(1), TestGlobal().make(shape)])

    def rule(self, query, key, shape):
        return any(test().rule(query, key, shape) for test in (TestWindow, TestNeighbourhood, TestGlobal))


class TestAlongAxis(PatternContract):
    sparse = False  # a line is as long as its axis

    def make(self, shape):
        return AlongAxis(len(shape) // 2)

    def rule(self, query, key, shape):
        return all(i == j for axis, (i, j) in enumerate(zip(query, key, strict=True)) if axis != len(shape) // 2)


class TestPartsAlongAxis(PatternContract):
    def make(self, shape):
        return AlongAxis(0, window=4)

    def rule(self, query, key, shape):
        return query[0] // 4 == key[0] // 4 and query[1:] == key[1:]


class TestRow(PatternContract):
    """A pattern of a user's, of which nothing but the mask is known."""

    sparse = False

    class Row(Pattern):
        def allowed(self, grid):
            row = torch.arange(len(grid)) // grid.shape[-1]
            return row[:, None] == row

    def make(self, shape):
        return self.Row()

    def rule(self, query, key, shape):
        return query[:-1] == key[:-1]

    def test_it_can_be_made_again(self):
        """Classes within a class have no path of their own."""


LOCAL = [
    Window(2),
    Window(3, shift=1, overlap=2),
    Dilated(2),
    Neighbourhood(1),
    Neighbourhood(1, dilation=2),
    Global([[0, 0], [3, 2]]),
    Global(stride=2),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_there_are_many_ways_to_be_full(shape):
    longest = max(shape)
    for pattern in (Window(list(shape)), Dilated(1), Neighbourhood(longest - 1), Neighbourhood(longest), Global(stride=1)):
        assert mask(pattern, shape).all(), pattern
        assert (pairs_of(pattern, Grid(shape)) == 1).all(), pattern


@pytest.mark.parametrize("pattern", LOCAL)
def test_a_union_with_itself_or_with_everything(pattern):
    shape = (4, 5)
    assert torch.equal(mask(Union([pattern, pattern]), shape), mask(pattern, shape))
    twice = sum(blocks.entries for blocks in Union([pattern, pattern]).blocks(Grid(shape)))
    assert twice == sum(blocks.entries for blocks in pattern.blocks(Grid(shape)))
    assert Union([pattern, Full()]).allowed(Grid(shape)) is None
    assert Union([Full(), pattern]).allowed(Grid(shape)) is None


@pytest.mark.parametrize("one", LOCAL)
@pytest.mark.parametrize("other", LOCAL)
def test_a_union_is_commutative_and_takes_unions(one, other):
    shape = (4, 5)
    both = Union([one, other])
    assert torch.equal(mask(both, shape), mask(one, shape) | mask(other, shape))
    assert torch.equal(mask(both, shape), mask(Union([other, one]), shape))
    nested = Union([Union([one, other]), Union([other, Dilated(3)])])
    assert torch.equal(pairs_of(nested, Grid(shape)), (mask(both, shape) | mask(Dilated(3), shape)).long())


@pytest.mark.parametrize("pattern", LOCAL)
def test_who_sees_is_seen(pattern):
    if not (isinstance(pattern, Window) and pattern.overlap):
        assert torch.equal(mask(pattern, (5, 4)), mask(pattern, (5, 4)).T)


def test_a_neighbourhood_depends_on_the_displacement_alone():
    allowed = mask(Neighbourhood([1, 2]), (5, 6)).view(5, 6, 5, 6)
    assert torch.equal(allowed[:-1, :, :-1], allowed[1:, :, 1:])
    assert torch.equal(allowed[:, :-1, :, :-1], allowed[:, 1:, :, 1:])
    assert allowed[2, 2].sum() == 15
    assert allowed[0, 0].sum() == 6


def test_windows_at_the_border_are_smaller_and_nothing_wraps():
    rows = [row for blocks in Window(4, shift=1).blocks(Grid((10,))) for row in blocks.queries.tolist()]
    assert sorted(rows) == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert not mask(Window(4, shift=2), (8,))[0, 7]


def test_the_layers_of_an_attention_may_share_a_pattern():
    attention = Attention(16, 2, pattern=Union([Window(2), Neighbourhood(1)]))
    assert attention(torch.randn(1, 4, 4, 16)).shape == (1, 4, 4, 16)


def flatten(pattern):
    for one in pattern if isinstance(pattern, list) else [pattern]:
        yield from flatten(one) if isinstance(one, list) else [one]


def test_each_pattern_has_a_config():
    folder = Path(__file__).parents[2] / "configs" / "image"
    configs = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("pattern_*.yaml")}
    made = {name: build(config["model"]["encoder"]["init_args"]["pattern"]) for name, config in configs.items()}
    flat = {name: list(flatten(pattern)) for name, pattern in made.items()}
    assert {type(one) for pattern in flat.values() for one in pattern} == {
        AlongAxis, Axial, Window, Dilated, Neighbourhood, Global, Union,
    }  # fmt: skip
    for name, pattern in flat.items():
        assert configs[name]["name"] == name
        assert not any(mask(one, (4, 4)).all() for one in pattern)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Window(0), "the size of a Window of 0"),
        (lambda: Window([]), "the size of a Window of"),
        (lambda: Window(2.5), "the size of a Window of 2.5; expected at least 1 along every axis, in whole numbers"),
        (lambda: Window([2.5, 2]), r"the size of a Window of \[2.5, 2\]"),
        (lambda: Dilated("2"), "the dilation of Dilated of 2"),
        (lambda: Window(3, shift=-1), "the shift of a Window of -1"),
        (lambda: Window(3, overlap=-1), "the overlap of a Window of -1"),
        (lambda: Dilated(0), "the dilation of Dilated of 0; expected at least 1"),
        (lambda: Dilated([2, 0]), r"the dilation of Dilated of \[2, 0\]"),
        (lambda: Neighbourhood(-1), "the radius of a Neighbourhood of -1"),
        (lambda: Neighbourhood(1, dilation=0), "the dilation of a Neighbourhood of 0"),
        (lambda: Global(), "tokens=None and stride=None"),
        (lambda: Global([]), r"tokens=\[\] and stride=None"),
        (lambda: Global([[0]], stride=2), "one of the two"),
        (lambda: Global([0, 1]), r"tokens=\[0, 1\] in Global; expected for each token a list of its indices"),
        (lambda: Global(stride=0), "the stride of Global of 0"),
        (lambda: Union([]), "a Union of nothing"),
    ],
)
def test_arguments_that_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (Window(5), r"a Window of 5 tokens along axis 0 of a grid of \(4, 6\), which has 4.*at most 4"),
        (Window([4, 7]), r"a Window of 7 tokens along axis 1 of a grid of \(4, 6\), which has 6"),
        (Window(3, shift=4), "a Window of 3 tokens with a shift of 4.*Use 1"),
        (Window([2, 2, 2]), r"the size of a Window of \(2, 2, 2\), 3 axes, on a grid of 2"),
        (Dilated([2]), r"the dilation of Dilated of \(2,\), 1 axes, on a grid of 2, \(4, 6\)"),
        (Neighbourhood([1, 1, 1]), "the radius of a Neighbourhood"),
        (Global([[4, 0]]), r"the global token \(4, 0\) on a grid of \(4, 6\)"),
        (Global([[0]]), r"the global token \(0,\)"),
        (Union([Full(), Window(9)]), "a Window of 9"),
    ],
)
def test_grids_that_are_refused(pattern, words):
    assert isinstance(pattern, SparsePattern)
    with pytest.raises(UsageError, match=words):
        pattern.blocks(Grid((4, 6)))
    with pytest.raises(UsageError, match=words):
        pattern.allowed(Grid((4, 6)))


@pytest.mark.parametrize("shape", SHAPES)
def test_axial_reaches_the_cross_of_the_axes(shape):
    index = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"), -1).flatten(0, -2)
    differing = (index[:, None] != index).sum(-1)
    assert torch.equal(mask(Axial(), shape), differing <= 1)
    everything = mask(Axial(), shape).float().matrix_power(len(shape)) > 0
    assert everything.all()


def test_axes_that_are_not_there():
    with pytest.raises(UsageError, match=r"axis 2 of AlongAxis on a grid of 2 axes, \(3, 4\); expected an axis from 0 to 1"):
        AlongAxis(2).allowed(Grid((3, 4)))
    with pytest.raises(UsageError, match="gates for 3 axes on a grid of 2"):
        Axial(gates=3).terms(Grid((3, 4)))
    with pytest.raises(UsageError, match="the window of Axial of 0"):
        Axial(window=0)
    with pytest.raises(UsageError, match="gates=-1 in Axial"):
        Axial(gates=-1)
