"""An encoder with a linear head, for images that are not normalised yet."""

from collections.abc import Sequence
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitkit.attention import Full
from vitkit.embedding import Invariance, eps_drift, invariance_of
from vitkit.encoder.amount import Amount
from vitkit.encoder.depths import Depths
from vitkit.encoder.distance import by_distance
from vitkit.encoder.encoder import Encoder
from vitkit.encoder.tokens import Tokens
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.recipe import Recorded


class Classifier(nn.Module, Recorded):
    """Images in [0, 1] to logits: normalises, encodes, pools, and projects.

    Args:
        encoder: The encoder.
        num_classes: Number of classes.
        preprocess: Size and normalisation of the images; normalising happens here and nowhere else.
        background: Intensity in [0, 1] of voxels where there is nothing, as 0 in a segmentation or around a brain without its
            skull. They then count as padding: a patch of nothing else is no token, which is faster the emptier the images are.
            Every voxel counts if not given.
        amount: Whether the logits depend on how much there is of what a segmentation labels (:class:`~vitkit.encoder.Amount`):
            ``no``, ``also``, or on nothing else: ``alone``. Training then needs masks.
        distance: For segmented shapes: the distance to their surface, in mm or without a spacing in voxels, that becomes 1. Each
            voxel of a shape is seen as its distance to the surface, over this one (:func:`~vitkit.encoder.by_distance`); voxels
            are seen as they are if not given. It is measured on the whole shape, so what ``keep`` removes is not unseen.
        depths: Whether how these distances are distributed over the whole shape enters the logits, too
            (:class:`~vitkit.encoder.Depths`).

    Raises:
        UsageError: Fewer than two classes, or a preprocess whose channels or axes are not the encoder's, a background outside of
            [0, 1], or a distance that is not positive and finite, for more than one channel, or with a background but black.

    >>> import torch
    >>> from vitkit.embedding import PatchEmbed
    >>> encoder = Encoder(PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=32), depth=1, num_heads=2)
    >>> model = Classifier(encoder, num_classes=10, preprocess=Preprocess(size=(8, 8)))
    >>> model(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 10])
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        preprocess: Preprocess,
        background: float | None = None,
        amount: Literal["no", "also", "alone"] = "no",
        distance: float | None = None,
        depths: bool = False,
    ) -> None:
        super().__init__()
        if distance is not None and not (distance > 0 and isfinite(distance)):
            raise UsageError(f"distance={distance}", "a positive number of mm, or of voxels", "Use half of a shape's thickness.")
        if distance is not None and (preprocess.channels != 1 or background not in (None, 0)):
            found = f"distance={distance} for {preprocess.channels} channels and background={background}"
            raise UsageError(found, "one channel, a segmentation, and a background of 0 if any", "Leave distance out.")
        if depths and (distance is None or amount != "no"):
            raise UsageError(f"depths with distance={distance} and amount={amount}", "a distance, and no amount", "Set them so.")
        if background is not None and not 0 <= background <= 1:
            raise UsageError(f"background={background}", "an intensity in [0, 1]", "Use 0 for black.")
        if amount not in ("no", "also", "alone"):
            raise UsageError(f"amount={amount!r}", "no, also or alone", "Choose one of these.")
        if num_classes < 2:
            raise UsageError(f"num_classes={num_classes}", "at least two", "Give the number of classes of the data.")
        if preprocess.channels != encoder.embed.in_chans or len(preprocess.size) != encoder.embed.ndim:
            raise UsageError(
                f"a preprocess of {preprocess.channels} channels and {len(preprocess.size)} axes for an embedding of "
                f"{encoder.embed.in_chans} channels and {encoder.embed.ndim} axes",
                "the same in both",
                "Make preprocess.mean, preprocess.std and preprocess.size agree with the embedding's in_chans and ndim.",
            )
        self.encoder = encoder
        self.preprocess = preprocess
        self.num_classes = num_classes
        self.background = background
        self.distance = distance
        self.depths = Depths(num_classes) if depths else None
        self.amount = None if amount == "no" else Amount(encoder.dim, num_classes)
        self.head = None
        if amount != "alone":
            self.head = nn.Linear(encoder.dim, num_classes)
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def forward(
        self,
        images: Float[Tensor, "batch channels *size"],
        keep: Int[Tensor, "batch kept"] | None = None,
        spacing: Sequence[float] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits for images with values in [0, 1]; ``keep``, ``spacing`` and ``real`` are the encoder's.

        ``spacing`` is that of the preprocess if not given.
        """
        images = self._seen(images, self._spacing(spacing), real)
        logits = self.classify(self._encoded(images, keep, self._spacing(spacing), real))
        return logits if self.depths is None else logits + self.depths(images[:, 0])

    def encode(
        self,
        images: Float[Tensor, "batch channels *size"],
        keep: Int[Tensor, "batch kept"] | None = None,
        spacing: Sequence[float] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Tokens:
        """The encoder's tokens; those that hold nothing real may have been left out."""
        spacing = self._spacing(spacing)
        return self._encoded(self._seen(images, spacing, real), keep, spacing, real)

    def _encoded(self, images: Tensor, keep: Tensor | None, spacing: Sequence[float] | None, real: Tensor | None) -> Tokens:
        real = self._real(images, real)
        # A rehearsal on tensors without values, and a compiled graph, cannot look at which tokens these are.
        if type(real) is Tensor and keep is None and not torch.compiler.is_compiling():
            keep = self._occupied(real)
        return self.encoder(self.preprocess.normalise(images), spacing, keep, real)

    @property
    def no_removal(self) -> str | None:
        """Why removing tokens does not hide what they held, or None if it does."""
        return None if self.distance is None else "it sees distances to a surface, in which what is removed would still show"

    def grid(self, size: Sequence[int], spacing: Sequence[float] | None = None) -> Grid:
        """The grid of tokens for images of this size, which is what ``keep`` counts in.

        ``spacing`` is that of the preprocess if not given.
        """
        return self.encoder.embed.grid(size, self._spacing(spacing))

    def classify(self, tokens: Tokens) -> Float[Tensor, "batch classes"]:
        """Logits from encoded tokens."""
        parts: list[Tensor] = [] if self.head is None else [self.head(self.encoder.pool(tokens))]
        if self.amount is not None:
            parts.append(self.amount(tokens))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def brightness_certificate(self) -> Invariance:
        """What brightness cannot do to this model's tokens, and so to its logits; an evaluation measures whether it is true.

        >>> from vitkit.embedding import PatchEmbed
        >>> encoder = Encoder(PatchEmbed(ndim=2, patch_size=2, in_chans=1, dim=32, norm="patch"), depth=1, num_heads=2)
        >>> Classifier(encoder, num_classes=10, preprocess=Preprocess(size=(8, 8))).brightness_certificate().family
        'gain · x + shift'
        """
        if self.distance is not None:
            reason = "a shape is where the intensity is above one half, which a gain or a shift moves"
            return Invariance(False, False, False, reason, "")
        return invariance_of(self.encoder.embed, self.preprocess.mean, self.preprocess.std, self.background)

    def eps_drift(
        self,
        images: Float[Tensor, "batch channels *size"],
        gain: Sequence[float],
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Relative drift of each image's tokens under a gain that the ``eps`` of the embedding's norm alone makes.

        Args:
            images: In [0, 1].
            gain: One number, or one for each channel.
            real: As in :meth:`forward`.
        """
        images = self._seen(images, self._spacing(None), real)
        return eps_drift(self.encoder.embed, self.preprocess.normalise(images), gain, self._real(images, real))

    def _seen(self, images: Tensor, spacing: Sequence[float] | None, real: Tensor | None) -> Tensor:
        """The images, or where shapes are seen by their distances these; what is no real voxel is outside of every shape."""
        if self.distance is None:
            return images
        return by_distance(images if real is None else images * real[:, None], self.distance, spacing)

    def _real(self, images: Tensor, real: Tensor | None) -> Tensor | None:
        if self.background is None:
            return real
        something = (images != self.background).any(1)
        return something if real is None else real & something

    def _occupied(self, real: Bool[Tensor, "batch *size"]) -> Int[Tensor, "batch kept"] | None:
        """The tokens that hold something real, filled up to as many in every sample; None if leaving out others saves little.

        Nobody sees the tokens left out, so this changes no result; a pattern that needs the whole grid is given it.
        """
        patterns = [attention.pattern for block in self.encoder.blocks for attention in block.attentions]  # type: ignore[union-attr]
        if not all(isinstance(pattern, Full) for pattern in patterns):
            return None
        covered = self.encoder.embed.covered(real)
        most = max(int(covered.sum(1).max()), 1)
        if 2 * most > covered.shape[1]:
            return None
        return covered.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]

    def _spacing(self, given: Sequence[float] | None) -> Sequence[float] | None:
        return self.preprocess.spacing if given is None else given
