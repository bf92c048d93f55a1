"""A model of another library together with what its images go through."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.backbones.removal import TokenRemoval
from vitkit.encoder import Classifier
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess

_UNDECAYED = ("cls_token", "class_token", "pos_embed", "pos_embedding", "reg_token", "relative_position_bias_table")


@dataclass(frozen=True)
class Card:
    """What is known about a backbone besides its module.

    Args:
        name: ``library:model``.
        preprocess: What its images go through.
        num_classes: Length of its logits.
        classes: Name of every class, where the library knows them.
        random_weights: Whether nothing has been loaded into it.
    """

    name: str
    preprocess: Preprocess
    num_classes: int
    classes: tuple[str, ...] | None = None
    random_weights: bool = True


class Backbone(nn.Module):
    """A library's own module, unchanged, that takes images in [0, 1] and normalises them once.

    Args:
        model: The library's module: normalised images (batch, channels, height, width) to logits.
        card: What is known about it; its entries are the attributes ``name``, ``preprocess``, ``num_classes``, ``classes`` and
            ``random_weights``.

    Attributes:
        no_removal: Why it cannot be run on a part of its tokens, or None if it can.
    """

    no_removal: str | None = None

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.name = card.name
        self.preprocess = card.preprocess
        self.num_classes = card.num_classes
        self.classes = list(card.classes) if card.classes is not None else None
        self.random_weights = card.random_weights

    def forward(
        self, images: Float[Tensor, "batch channels *size"], keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits for images with values in [0, 1].

        Raises:
            UsageError: ``keep`` is given: this architecture cannot be run on a part of its tokens.
        """
        if keep is not None:
            raise UsageError(
                f"tokens to remove from {self.name}",
                "a vision transformer whose blocks take any set of tokens",
                "Paint the patches over instead of removing them.",
            )
        logits = self.model(self.preprocess.normalise(images))
        if not isinstance(logits, Tensor):
            raise UsageError(
                f"{self.name}, which returns a {type(logits).__name__} {'in training' if self.training else 'for images'}",
                "a tensor of logits",
                "Turn its further outputs off, such as arguments={aux_logits: false}, or choose another model.",
            )
        return logits

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the library does not let decay, whatever their shape: positions and class tokens."""
        asked = getattr(self.model, "no_weight_decay", None)
        given = getattr(self.model, "no_weight_decay_keywords", None)
        names = set(_UNDECAYED if asked is None else asked())
        parts = set() if given is None else set(given())
        return {
            f"model.{name}"
            for name, _ in self.model.named_parameters()
            if name in names or name.rpartition(".")[2] in _UNDECAYED or any(part in name for part in parts)
        }


class TokenBackbone(Backbone):
    """A backbone that can be run on some of its tokens only, because nothing in its blocks depends on their number.

    Args:
        model: The library's module.
        card: What is known about it.
        removal: The module in its slot behind the position embedding.
        patch_size: Pixels of one token along each axis.
        size: The one input size it takes, in pixels; any that the patch divides if None.
    """

    def __init__(
        self, model: nn.Module, card: Card, removal: TokenRemoval, patch_size: tuple[int, int], size: tuple[int, int] | None
    ) -> None:
        super().__init__(model, card)
        self.removal, self.patch_size, self.size = removal, patch_size, size

    def grid(self, size: Sequence[int]) -> Grid:
        """The grid of tokens for images of this size (height, width), which is what ``keep`` counts in, row by row.

        Raises:
            UsageError: A size that the model does not take.
        """
        given = tuple(size)
        if self.size is not None and given != self.size:
            remedy = "Use the model's own preprocess, or make the model for this size (arguments={img_size: ...})."
            raise UsageError(f"images of size {given} for {self.name}", f"{self.size}", remedy)
        if len(given) != 2 or any(length % patch for length, patch in zip(given, self.patch_size, strict=True)):
            raise UsageError(
                f"images of size {given} for {self.name}", f"two axes that the patch {self.patch_size} divides", "Resize them."
            )
        shape = tuple(length // patch for length, patch in zip(given, self.patch_size, strict=True))
        return Grid(shape, tuple(float(length) for length in self.patch_size))

    def forward(
        self, images: Float[Tensor, "batch channels *size"], keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits for images with values in [0, 1].

        Args:
            images: Images (batch, channels, height, width).
            keep: Row-major indices of the grid tokens to keep, as many for every image. The others are taken away before the
                first block, as if they had never been there. All are kept if not given.

        Raises:
            UsageError: Indices that are not (batch, kept), or not on the grid.
        """
        if keep is not None:
            self._check(keep, images)
        with self.removal.keeping(keep):
            return super().forward(images)

    def _check(self, keep: Tensor, images: Tensor) -> None:
        tokens = len(self.grid(images.shape[2:]))
        on_grid = not keep.numel() or 0 <= int(keep.min()) <= int(keep.max()) < tokens
        if len(keep) != len(images) or not on_grid:
            raise UsageError(
                f"keep of shape {tuple(keep.shape)} for a batch of {len(images)} with {tokens} tokens each",
                f"indices of shape (batch, kept), from 0 to {tokens - 1}",
                "Give every image as many indices, counted row by row from 0.",
            )


class NativeBackbone(Backbone):
    """The same weights in vitkit's own encoder; ``model`` is a :class:`~vitkit.encoder.Classifier`, which normalises itself."""

    model: Classifier

    def grid(self, size: Sequence[int]) -> Grid:
        """The grid of tokens for images of this size, which is what ``keep`` counts in, row by row."""
        return self.model.grid(size)

    def forward(
        self, images: Float[Tensor, "batch channels *size"], keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits for images with values in [0, 1]; ``keep`` as in :class:`~vitkit.encoder.Encoder`."""
        logits: Tensor = self.model(images, keep=keep)
        return logits
