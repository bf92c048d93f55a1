"""ViT-S/16 at 224, batch 8: vitkit's encoder against timm's model with the same weights, forward and training step."""

from functools import partial

import timm
import torch
from harness import Step, compare, options, write
from torch import nn

from vitkit.backbones.native import to_native
from vitkit.preprocess import Preprocess

BATCH, SIZE = 8, 224


def make(native: bool, train: bool) -> Step:
    """A forward pass or a training step (forward, backward, AdamW) of one of the two."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("vit_small_patch16_224")
    if native:
        # Normalising with mean 0 and std 1 is still work that the other side does not do.
        model = to_native(model, Preprocess((SIZE, SIZE), mean=(0.0,) * 3, std=(1.0,) * 3))
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(0, 1000, (BATCH,))
    if not train:
        return torch.inference_mode()(partial(model.eval(), images))
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    step()  # AdamW allocates its state in the first step
    return step


def main() -> None:
    """Measure and write."""
    arguments = options("encoder", __doc__).parse_args()
    write(
        arguments.out,
        {
            name: compare({"timm": partial(make, False, train), "vitkit": partial(make, True, train)}, baseline="timm")
            for name, train in (("forward", False), ("training step", True))
        },
    )


if __name__ == "__main__":
    main()
