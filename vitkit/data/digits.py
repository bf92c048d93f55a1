"""scikit-learn's digits."""

import torch
from torch import nn

from vitkit.data.base import ImageData
from vitkit.data.part import SPLITS, Layout, Part, array_part
from vitkit.data.splits import stratified


class Digits(ImageData):
    """1797 scanned handwritten digits of 8x8 pixels; they come with scikit-learn, so no file and no network is needed.

    A fixed stratified split: 60 % for training, 20 % for validation, 20 % for the test. Intensities 0 to 16 become [0, 1].
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Args:
        batch_size: Samples in a batch.
        num_workers: Processes that read pictures; 0 reads in the main one.
        augment: Transforms of training images (tensors in [0, 1]) that keep their shape.
        seed: Seed of the order and of the augmentation.

    >>> data = Digits()
    >>> image, label, *_ = data.split("test")[0]
    >>> image.shape, len(data.split("train")), data.num_classes
    (torch.Size([1, 8, 8]), 1078, 10)
    """

    name = "Digits"

    def __init__(self, batch_size: int = 64, num_workers: int = 0, augment: list[nn.Module] | None = None, seed: int = 0) -> None:
        super().__init__(batch_size, num_workers, augment, seed)

    def open(self) -> Layout:
        """Load the digits."""
        from sklearn.datasets import load_digits  # half a second that other data need not wait for

        digits = load_digits()
        images = torch.from_numpy(digits.images.astype("uint8"))[:, None]
        labels = digits.target.tolist()
        ids = [str(index) for index in range(len(labels))]

        def part(indices: list[int]) -> Part:
            return array_part(images[indices], [labels[index] for index in indices], [ids[index] for index in indices], full=16)

        chosen = stratified(ids, labels, (0.6, 0.2, 0.2), seed=0)
        parts = {name: lambda indices=indices: part(indices) for name, indices in zip(SPLITS, chosen, strict=True)}
        return Layout("Digits", [str(digit) for digit in range(10)], 1, 2, parts, "Choose one of these.")
