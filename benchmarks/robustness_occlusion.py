"""timm's ViT-S/16 at 224, batch 8: the occlusion curve by removing tokens, ratios 0 to .9, against ten clean passes.

Both sides go through the conditions of a suite, so that choosing the patches counts; painting the same patches is shown beside.
"""

from functools import partial

import torch
from harness import Step, compare, options, write

from vitkit import backbones
from vitkit.evaluation import Context, RandomOcclusion
from vitkit.evaluation.subject import Subject

BATCH, SIZE = 8, 224
RATIOS = [index / 10 for index in range(10)]


def make(mode: str | None) -> Step:
    """Ten passes of a batch: clean, or at ten ratios of patches that are painted or removed."""
    torch.manual_seed(0)
    subject = Subject(backbones.load("timm:vit_small_patch16_224").eval())
    images = torch.rand(BATCH, 3, SIZE, SIZE)
    known = subject.context((SIZE, SIZE), seed=0)
    context = Context([str(index) for index in range(BATCH)], 0, known.grid, known.no_removal)
    condition = None if mode is None else RandomOcclusion(mode, RATIOS)

    @torch.no_grad()
    def step() -> None:
        for ratio in RATIOS:
            if condition is None:
                subject(images)
            else:
                applied = condition.apply(images, ratio, context)
                subject(applied.images, applied.keep)

    return step


def main() -> None:
    """Measure and write."""
    arguments = options("robustness_occlusion", __doc__).parse_args()
    candidates = {
        "ten clean passes": partial(make, None),
        "removed": partial(make, "removed"),
        "painted": partial(make, "painted"),
    }
    write(
        arguments.out,
        {"occlusion curve, ratios 0 to .9": compare(candidates, baseline="ten clean passes", rounds=7, warmup=1)},
    )


if __name__ == "__main__":
    main()
