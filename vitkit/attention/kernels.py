"""Torch's fused kernels, around the faults that those for CUDA have had with a mask."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from vitkit.exporting import is_exporting

_WITHOUT_CUDNN = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def fused_attention(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    mask: Float[Tensor, "#batch #heads #queries keys"] | None,
    scale: float,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Torch's ``scaled_dot_product_attention``, with a mask of logits if there is one."""
    if mask is None:
        return scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
    mask = mask.to(q.dtype)  # cuDNN read any other as if it were of this type (pytorch/pytorch#191612)
    if mask.requires_grad and not (q.requires_grad or k.requires_grad or v.requires_grad):
        # The forward pass made the log-sum-exp for these alone, and the backward pass read it for the mask, too
        # (pytorch/pytorch#148476, mended by #188302).
        v = v.detach().requires_grad_()
    # With so many keys cuDNN's gradient of queries whose logits are all below -88 was NaN (pytorch/pytorch#196678). An exported
    # graph, whose size is yet unknown, has no gradients.
    if torch.is_grad_enabled() and not is_exporting() and k.shape[-2] % 128 == 64:
        with sdpa_kernel(_WITHOUT_CUDNN):
            return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
