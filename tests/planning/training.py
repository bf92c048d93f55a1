"""What a plan is held against: a real training, of which every live byte is counted."""

import torch
from torch.nn.functional import cross_entropy

from vitkit.attention import Axial, Pattern, Window
from vitkit.bias import DistanceBias, KeyBias, LogCPBBias, SpectralBias
from vitkit.embedding import LearnedPosition, PatchEmbed, SinCosPosition
from vitkit.encoder import Classifier, Encoder
from vitkit.planning import Ledger
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks.optimiser import parameter_groups

DIM, HEADS = 48, 3


def image(side=32, depth=3, **options):
    encoder = Encoder(PatchEmbed(2, 2, 1, DIM), depth, HEADS, **options)
    return Classifier(encoder, 10, Preprocess(size=(side, side)))


def volume(side=16, depth=3, patch=2, norm="none", **options):
    encoder = Encoder(PatchEmbed(3, patch, 1, DIM, norm), depth, HEADS, **options)
    return Classifier(encoder, 10, Preprocess(size=(side,) * 3))


class Band(Pattern):
    """Only what is near in the sequence."""

    def allowed(self, grid):
        index = torch.arange(len(grid))
        return (index[:, None] - index).abs() < 100


def spectral(ndim):
    return SpectralBias(Exponential(HEADS, ndim, lengthscale=4.0))


MODELS = {
    "image, full": image,
    "image, spectral bias that learns": lambda: image(bias=spectral(2), drop_path=0.1),
    "image, few tokens and a bias that learns": lambda: image(16, bias=spectral(2)),
    "image, fixed bias": lambda: image(bias=DistanceBias(HEADS)),
    "image, features": lambda: image(bias=KeyBias(HEADS, (16, 16))),
    "image, table of a network": lambda: image(bias=LogCPBBias(HEADS, 2)),
    "image, dropout": lambda: image(16, dropout=0.1),
    "image, norms after": lambda: image(norm_order="post", layer_scale=0.1, drop_path=0.2, registers=2),
    "image, shared keys": lambda: image(qk_norm=True, kv_heads=1, position=SinCosPosition()),
    "image, mean of patches": lambda: image(position=LearnedPosition(DIM, (16, 16)), pool="mean", mlp_ratio=2.0),
    "volume, full": volume,
    "volume, window": lambda: volume(pattern=Window(4), bias=spectral(3)),
    "volume, axial": lambda: volume(pattern=Axial(), bias=spectral(3), class_token=False, pool="mean"),
    "volume, checkpointing": lambda: volume(checkpointing=True, depth=5, layer_scale=1e-4),
    "volume, checkpointing and a bias that learns": lambda: volume(checkpointing=True, depth=5, bias=spectral(3)),
}


PADDED = {
    "full": volume,
    "full, no class token": lambda: volume(class_token=False, pool="mean"),
    "full, spectral bias that learns": lambda: volume(bias=spectral(3)),
    "full, frozen bias": lambda: volume(bias=DistanceBias(HEADS).requires_grad_(False)),
    "full, norms of patches": lambda: volume(norm="patch"),
    "full, dropout": lambda: volume(dropout=0.1),
    "full, checkpointing": lambda: volume(depth=5, checkpointing=True),
    "a pattern that is not sparse": lambda **options: volume(pattern=Band(), **options),
    "window": lambda: volume(pattern=Window(4), bias=spectral(3)),
    "axial": lambda: volume(pattern=Axial(gates=3), bias=spectral(3), class_token=False, pool="mean"),
}
"""The same with masks of what is real."""


def measured(model, batch, accumulate=1, padded=False):
    """Peaks of a training step, from the second on, and of a validation step after it, in bytes.

    Args:
        model: The classifier.
        batch: Samples.
        accumulate: Batches to a step.
        padded: Whether all but the first sample have a third of padding, which is too little for tokens to be left out.
    """
    held = sum(x.nbytes for x in (*model.parameters(), *model.buffers()))
    size = model.preprocess.size
    ledger = Ledger()
    with ledger:
        model.train()
        optimiser = torch.optim.AdamW(parameter_groups(model, 1e-3, 0.05), lr=1e-3)
        for _ in range(2):
            ledger.start()
            for part in range(accumulate):
                train(model, optimiser, torch.rand(batch, 1, *size), mask(batch, size) if padded else None, clear=part == 0)
                if part == accumulate - 1:
                    optimiser.step()
        training = ledger.peak
        model.eval()
        ledger.start()
        with torch.no_grad():
            images = torch.rand(batch, 1, *size)
            model(images, real=mask(batch, size) if padded else None).softmax(-1)
    return held + training, held + ledger.peak


def mask(batch, size):
    real = torch.ones(batch, *size, dtype=torch.bool)
    real[1:, 2 * size[0] // 3 :] = False
    return real


def train(model, optimiser, images, real, clear):
    """In Lightning's order: the last step's gradients are cleared between the two passes."""
    loss = cross_entropy(model(images, real=real), torch.zeros(len(images), dtype=torch.long))
    if clear:
        optimiser.zero_grad()
    loss.backward()
