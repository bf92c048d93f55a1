import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitkit.errors import DataError, UsageError
from vitkit.evaluation.stream import batches, chunks, scan

IMAGES = torch.rand(13, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(13) % 3


def split(sizes):
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [(IMAGES[end - size : end], LABELS[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


@given(st.lists(st.integers(1, 13), min_size=1).filter(lambda sizes: sum(sizes) >= 13), st.integers(1, 20))
def test_chunks_are_the_same_however_the_samples_come(sizes, length):
    while sum(sizes) > 13:
        sizes = [*sizes[:-1], sizes[-1] - (sum(sizes) - 13)] if sum(sizes[:-1]) < 13 else sizes[:-1]
    stream = scan(split([13]))
    assert scan(split(sizes)) == stream
    whole, parts = list(chunks(split([13]), length, stream)), list(chunks(split(sizes), length, stream))
    assert [valid for _, valid in parts] == [valid for _, valid in whole]
    assert sum(valid for _, valid in parts) == 13
    for (one, _), (other, _) in zip(whole, parts, strict=True):
        assert len(one.images) == length
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.ids == other.ids


def test_the_last_chunk_is_filled_up_with_its_last_sample():
    *_, (batch, valid) = chunks(split([13]), 5, scan(split([13])))
    assert (valid, batch.ids) == (3, ["10", "11", "12", "12", "12"])
    assert torch.equal(batch.images[4], IMAGES[12])


@pytest.mark.parametrize("sizes", [[13], [1] * 13, [4, 4, 5]])
@pytest.mark.parametrize("length", [5, 13])
def test_padding_goes_with_its_samples_however_they_come(sizes, length):
    real = torch.ones(13, 4, 4, dtype=torch.bool)
    real[3, 2:] = False

    def loader(sizes):
        start = 0
        for size in sizes:
            mask = real[start : start + size]
            yield {
                "image": IMAGES[start : start + size],
                "label": LABELS[start : start + size],
                "real": None if mask.all() else mask,
            }
            start += size

    stream = scan(loader(sizes))
    assert stream == scan(loader([13])) != scan(split([13]))
    for batch, _ in chunks(loader(sizes), length, stream):
        expected = real[[int(name) for name in batch.ids]]
        assert batch.real is None if expected.all() else torch.equal(batch.real, expected)


def test_a_mask_of_padding_has_the_images_size():
    with pytest.raises(UsageError, match=r"real of type torch.bool and shape \(2, 4\)"):
        list(batches([{"image": IMAGES[:2], "label": LABELS[:2], "real": torch.ones(2, 4, dtype=torch.bool)}]))


def test_the_fingerprint_knows_order_labels_and_pixels():
    changed = IMAGES.clone()
    changed[7, 0, 2, 2] = 0.123
    others = [
        [(IMAGES.flip(0), LABELS)],
        [(IMAGES, LABELS.flip(0))],
        [(changed, LABELS)],
        [(IMAGES[:12], LABELS[:12])],
        [{"image": IMAGES, "label": LABELS, "id": [f"{index}.png" for index in range(13)]}],
    ]
    assert len({scan(loader).fingerprint for loader in [split([13]), *others]}) == 6


def test_batches_may_be_mappings_tuples_or_have_attributes():
    mapping = {"image": IMAGES, "label": LABELS.view(-1, 1), "id": list("abcdefghijklm")}
    (batch,) = batches([mapping])
    assert batch.ids[:2] == ["a", "b"]
    assert batch.labels.shape == (13,)
    (batch,) = batches([[IMAGES, LABELS.tolist(), "more"]])
    assert batch.ids[:2] == ["0", "1"]


@pytest.mark.parametrize("item", [IMAGES, (IMAGES,), {"image": IMAGES}, "text", ([1, 2], [0, 1])])
def test_what_is_no_batch_is_refused(item):
    with pytest.raises(UsageError, match="the loader yields"):
        scan([item])


def test_uneven_batches_and_shapes_are_refused():
    with pytest.raises(UsageError, match="13 images, 12 labels and 13 ids"):
        scan([(IMAGES, LABELS[:12])])
    with pytest.raises(DataError, match=r"shape \(1, 2, 2\) after \(1, 4, 4\)"):
        scan([(IMAGES, LABELS), (IMAGES[..., :2, :2], LABELS)])
    with pytest.raises(DataError, match=r"shape \(13, 4\)"):
        scan([(IMAGES[:, 0, 0], LABELS)])
