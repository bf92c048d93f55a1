"""What a model looks at: its attention, or the gradient of its answer, on the clean image."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.evaluation.attending import Attended, attending
from vitkit.grid import Grid

METHODS = ("attention", "rollout", "gradient")
_REMEMBERED = 2**24  # numbers of all maps that are kept, 64 MiB, so that memory does not grow with the data
_LOOKED_AT = 64  # values of an image by which it is known again, beside its id

Weights = Float[Tensor, "batch tokens tokens"]


class Saliency:
    """Maps of what a model looks at, computed once for an image however many conditions ask.

    - ``attention``: what the last block's class token attends to, averaged over its heads; of a model that pools otherwise, what
      its tokens attend to on average.
    - ``rollout``: the same of the product over all blocks of (A + I) / 2, A being averaged over the heads (Abnar and Zuidema
      2020).
    - ``gradient``: the absolute gradient of the highest logit by the image, summed over the channels.

    Attention is read from vitkit's :class:`~vitkit.attention.Attention` and whatever else has its ``weights``, from torch's
    ``scaled_dot_product_attention`` and from ``nn.MultiheadAttention``: as the model calls them, without editing it.

    Args:
        model: ``model(images) -> logits``, with ``real`` if it takes it.
        grid: Its tokens for images of this size, or None if it tells of none.
        size: Shape of an image, ``(channels, *space)``.
        device: Where it runs.
    """

    def __init__(self, model: Callable[..., Any], grid: Grid | None, size: Sequence[int], device: torch.device) -> None:
        self.model, self.grid, self.size, self.device = model, grid, tuple(size), device
        self.module = model if isinstance(model, nn.Module) else None
        self._obstacles: dict[str, str | None] = {}
        self._maps: dict[tuple[str, str, bytes], Tensor] = {}
        self._held = 0

    def obstacle(self, method: str) -> str | None:
        """Why there is no such map of this model, or None; found by trying it on one grey image."""
        if method not in self._obstacles:
            grey = torch.full((1, *self.size), 0.5, device=self.device)
            try:
                self._compute(grey, method, None)
                self._obstacles[method] = None
            except UsageError as error:
                self._obstacles[method] = error.found
            except Exception as error:  # whatever a model of somebody else's raises
                self._obstacles[method] = f"no {method} of this model: {' '.join(str(error).split()) or type(error).__name__}"
        return self._obstacles[method]

    def __call__(
        self,
        images: Float[Tensor, "batch channels *size"],
        method: str,
        ids: Sequence[str],
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Float[Tensor, "batch *places"]:
        """Maps of the images in float32 on the CPU: one number a token for attention, one a pixel for the gradient.

        Args:
            images: Clean, in [0, 1].
            method: ``attention``, ``rollout`` or ``gradient``.
            ids: Id of each image.
            real: Which voxels are no padding; all if not given.

        Raises:
            UsageError: The model has no such map.
        """
        flat = images.flatten(1)
        seen = flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)].float().cpu().contiguous().numpy()
        keys = [(method, sample, row.tobytes()) for sample, row in zip(ids, seen, strict=True)]
        if any(key not in self._maps for key in keys):
            maps = self._compute(images, method, real).float().cpu()
            fresh = dict(zip(keys, maps, strict=True))
            for key, one in fresh.items():
                # The first that come are kept: what is forgotten is computed again in every pass, and as much of it.
                if key not in self._maps and self._held + one.numel() <= _REMEMBERED:
                    self._maps[key] = one.clone()
                    self._held += one.numel()
            return maps
        return torch.stack([self._maps[key] for key in keys])

    def _compute(self, images: Tensor, method: str, real: Tensor | None) -> Tensor:
        given = {} if real is None or not self._takes_real() else {"real": real}
        forward = partial(self.model, **given)
        if method == "gradient":
            return _gradient(forward, images)
        if self.grid is None:
            raise UsageError("the model has no grid of tokens to lay its attention on", "one", "Use gradient.")
        if self.module is None:
            raise UsageError("a function, whose attention cannot be seen", "a torch module", "Use gradient.")
        kept = _Last() if method == "attention" else _Rollout()
        tokens = len(self.grid)

        def take(seen: Attended) -> None:
            if seen.keep is not None or seen.queries == seen.keys >= tokens:
                kept.take(partial(_averaged, seen, tokens))

        with torch.no_grad(), attending(self.module.modules(), take):
            forward(images)
        with torch.no_grad():
            weights = kept.weights()
        if weights is None:
            raise UsageError("no attention among the tokens of the model's grid was seen", "one", "Use gradient.")
        prefix = weights.shape[-1] - len(self.grid)
        rows = weights[:, :1] if prefix and self._by_token() else weights[:, prefix:]
        return rows.mean(1)[:, prefix:].reshape(len(images), *self.grid.shape)

    def _takes_real(self) -> bool:
        return "real" in inspect.signature(self.model if self.module is None else self.module.forward).parameters

    def _by_token(self) -> bool:
        """Whether the model answers from a class token, as far as it says: timm's ``global_pool``, vitkit's ``pooling``."""
        assert self.module is not None
        for module in self.module.modules():
            for name in ("pooling", "global_pool"):
                if isinstance(pooling := getattr(module, name, None), str):
                    return pooling == "token"
        return True


def _gradient(forward: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    # Images that were made in inference mode, and what is made of them there, have no gradient.
    with torch.inference_mode(False), torch.enable_grad():
        variable = images.detach().clone().requires_grad_()
        logits = forward(variable)
        gradient = None
        if isinstance(logits, Tensor) and logits.requires_grad:
            [gradient] = torch.autograd.grad(logits.max(1).values.sum(), variable, allow_unused=True)
        if gradient is None:
            raise UsageError(
                "logits that have no gradient with respect to the image", "one", "Use attention, or maps of your own."
            )
    return gradient.abs().sum(1)


class _Last:
    """The attention of the last block."""

    def __init__(self) -> None:
        self._make: Callable[[], Tensor] | None = None

    def take(self, make: Callable[[], Tensor]) -> None:
        self._make = make

    def weights(self) -> Tensor | None:
        return None if self._make is None else self._make()


class _Rollout:
    """The product over the blocks."""

    def __init__(self) -> None:
        self._product: Tensor | None = None

    def take(self, make: Callable[[], Tensor]) -> None:
        weights = make()
        mixed = (weights + torch.eye(weights.shape[-1], device=weights.device)) / 2
        self._product = mixed if self._product is None else mixed @ self._product

    def weights(self) -> Tensor | None:
        return self._product


def _averaged(seen: Attended, tokens: int) -> Weights:
    """Attention averaged over its heads, in the places of all tokens: nobody attends to those that were left out."""
    weights = seen.weights(None).float().flatten(1, -3).mean(1)
    if (keep := seen.keep) is None:
        return weights
    prefix = weights.shape[1] - keep.shape[1]
    place = torch.cat([torch.arange(prefix, device=keep.device).expand(len(keep), -1), keep + prefix], dim=1)
    full = weights.new_zeros(len(weights), prefix + tokens, prefix + tokens)
    full[torch.arange(len(weights), device=keep.device)[:, None, None], place[:, :, None], place[:, None, :]] = weights
    return full
