"""Training images laid over each other, with their labels."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


class Mixing:
    """Mixup and cutmix of a batch with itself; a coin is tossed where there are both.

    Args:
        num_classes: Number of classes.
        mixup: Alpha of mixup's Beta distribution; 0 for no mixup.
        cutmix: The same for cutmix, which in a volume cuts through its depth.
    """

    def __init__(self, num_classes: int, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        mixes = [mix(alpha=alpha, num_classes=num_classes) for mix, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
        self.mix = v2.RandomChoice(mixes) if mixes else None

    def __call__(
        self,
        images: Float[Tensor, "batch channels *size"],
        labels: Int[Tensor, " batch"],
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> tuple[Tensor, Tensor, Bool[Tensor, "batch *size"] | None]:
        """Images, targets and which voxels are real: where something real was laid, of whichever sample. One sample is left."""
        if self.mix is None or len(images) < 2:
            return images, labels, real
        # What is real goes with the images as a channel of theirs.
        together = images if real is None else torch.cat([images, real[:, None].to(images)], dim=1)
        mixable = tv_tensors.Video(together) if images.ndim == 5 else together  # torchvision knows five axes as a video only
        mixed, targets = self.mix(mixable, labels)
        mixed = mixed.as_subclass(Tensor)
        return mixed[:, : images.shape[1]], targets, None if real is None else mixed[:, -1] > 0
