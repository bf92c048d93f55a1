import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vitkit.data.splits import stratified
from vitkit.errors import DataError, UsageError

THREE = (0.6, 0.2, 0.2)


@st.composite
def samples(draw):
    sizes = draw(st.lists(st.integers(3, 40), min_size=1, max_size=5))
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return [f"{index}.png" for index in range(len(labels))], labels


@given(samples(), st.integers(0, 99))
def test_parts_are_disjoint_and_together_everything(data, seed):
    ids, labels = data
    parts = stratified(ids, labels, THREE, seed)
    assert sorted(index for part in parts for index in part) == list(range(len(ids)))
    assert all(part == sorted(part) for part in parts)


@given(samples(), st.integers(0, 99))
def test_every_class_is_shared_out_alike(data, seed):
    ids, labels = data
    parts = stratified(ids, labels, THREE, seed)
    for label in set(labels):
        for part, fraction in zip(parts, THREE, strict=True):
            count = sum(labels[index] == label for index in part)
            # The difference of two rounded numbers is off by less than one, and one more may move to a part that had none.
            assert count >= 1
            assert abs(count - fraction * labels.count(label)) < 2


@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_the_files_has_no_say(data, random):
    ids, labels = data
    order = list(range(len(ids)))
    random.shuffle(order)
    shuffled = stratified([ids[i] for i in order], [labels[i] for i in order], THREE, seed=1)
    again = [{ids[order[index]] for index in part} for part in shuffled]
    assert again == [{ids[index] for index in part} for part in stratified(ids, labels, THREE, seed=1)]


def test_another_seed_gives_another_split():
    ids = [str(index) for index in range(100)]
    assert stratified(ids, [0] * 100, THREE, 0) != stratified(ids, [0] * 100, THREE, 1)


@given(samples())
def test_a_share_of_zero_gets_nothing(data):
    ids, labels = data
    assert stratified(ids, labels, (0.75, 0.25, 0.0), 0)[2] == []


@pytest.mark.parametrize("fractions", [(0.5, 0.2), (1.2, -0.2), ()])
def test_fractions_that_are_none(fractions):
    with pytest.raises(UsageError, match="add up to 1"):
        stratified(["a", "b"], [0, 0], fractions, 0)


def test_a_class_too_small_to_share_out():
    with pytest.raises(DataError, match="class rare has 2 samples"):
        stratified(["a", "b", "c", "d", "e"], ["common", "rare", "rare", "common", "common"], THREE, 0)


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_two_parts_of_one_class(count, share):
    assume(count > 1)
    train, val = stratified([str(i) for i in range(count)], [0] * count, (1 - share, share), 0)
    assert train
    assert val
