import math
import re
from functools import partial

import pytest
import torch
from timm.layers import Attention as TimmAttention
from timm.models.swin_transformer_v2 import WindowAttention
from torch import nn

from vitkit.attention import Additive, Attention, Bilinear, Cosine, ScaledDotProduct, attend
from vitkit.attention.scorers import hidden
from vitkit.bias import NoBias, TableBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Encoder
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build, recipe

GRID = Grid((3, 4))
MAKERS = {
    "dot product": lambda: ScaledDotProduct(temperature=0.5),
    "dot product, learned": lambda: ScaledDotProduct(learned=True, num_heads=2),
    "cosine": lambda: Cosine(2),
    "bilinear": lambda: Bilinear(2, 16, learned=True),
    "additive": lambda: Additive(2, 16, hidden_dim=8, norm=True),
}


def test_cosine_is_swin_v2s():
    oracle = WindowAttention(32, (3, 4), 2).double().eval()
    with torch.no_grad():
        oracle.logit_scale.copy_(torch.tensor([1.3, 5.0]).view(2, 1, 1))  # the second above log 100, where it is clamped
        oracle.cpb_mlp[2].weight.zero_()  # then its bias is 16 · ½ everywhere, which softmax does not notice
        oracle.q_bias.normal_()
        oracle.v_bias.normal_()
    ours = Attention(32, 2, scorer=Cosine(2)).double().eval()
    with torch.no_grad():
        ours.qkv.weight.copy_(oracle.qkv.weight)
        ours.qkv.bias.copy_(torch.cat([oracle.q_bias, oracle.k_bias, oracle.v_bias]))
        ours.scorer.log_temperature.copy_(-oracle.logit_scale.flatten())
        ours.proj.load_state_dict(oracle.proj.state_dict())
    x = torch.randn(3, 12, 32, dtype=torch.float64, requires_grad=True)
    found, wanted = ours(x, GRID), oracle(x)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    cotangent = torch.randn_like(found)
    pairs = [(ours.scorer.log_temperature, oracle.logit_scale), (ours.qkv.weight, oracle.qkv.weight), (x, x)]
    for index, (mine, other) in enumerate(pairs):
        [gradient] = torch.autograd.grad(found, [mine], cotangent, retain_graph=True)
        [theirs] = torch.autograd.grad(wanted, [other], cotangent, retain_graph=True)
        torch.testing.assert_close(gradient, (-theirs if index == 0 else theirs).view_as(gradient), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_weights_are_timms(qk_norm):
    oracle = TimmAttention(32, 4, qkv_bias=True, qk_norm=qk_norm, norm_layer=partial(nn.LayerNorm, eps=1e-6)).eval()
    ours = Attention(32, 4, qk_norm=qk_norm).eval()
    ours.load_state_dict(oracle.state_dict())
    x = torch.randn(2, 12, 32)
    torch.testing.assert_close(ours(x, GRID), oracle(x), rtol=1e-5, atol=1e-6)


def test_grouped_heads_are_repeated_keys_and_values():
    q, k, v = (torch.randn(2, heads, 12, 8, dtype=torch.float64) for heads in (6, 2, 2))
    wanted = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(attend(q, k, v, GRID), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["streamed", "chunked", "eager"])
def test_grouped_heads_gather_the_gradients_of_all_who_share_them(backend):
    bias = TableBias(6, GRID.shape, std=1.0).double()
    q, k, v = (torch.randn(2, heads, 12, 8, dtype=torch.float64, requires_grad=True) for heads in (6, 2, 2))
    found = attend(q, k, v, GRID, bias=bias, backend=backend)
    weights = (q @ k.repeat_interleave(3, 1).mT / 8**0.5 + bias(GRID)).softmax(-1)
    wanted = weights @ v.repeat_interleave(3, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    cotangent, variables = torch.randn_like(wanted), (q, k, v, bias.logits)
    for mine, other in zip(*(torch.autograd.grad(out, variables, cotangent) for out in (found, wanted)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shared_heads_save_weights(kv_heads):
    attention = Attention(32, 4, kv_heads=kv_heads, bias=TableBias(4, GRID.shape))
    assert attention.qkv.weight.shape == (32 + 2 * 8 * kv_heads, 32)
    assert attention(torch.randn(2, 12, 32), GRID).shape == (2, 12, 32)


@pytest.mark.parametrize("kv_heads", [0, 3, 8])
def test_shared_heads_that_do_not_divide_the_heads(kv_heads):
    with pytest.raises(UsageError, match=f"kv_heads={kv_heads} and num_heads=4"):
        Attention(32, 4, kv_heads=kv_heads)


def test_bilinear_begins_as_the_dot_product():
    q, k = torch.randn(2, 2, 5, 16), torch.randn(2, 2, 5, 16)
    assert torch.equal(Bilinear(2, 16)(q, k), ScaledDotProduct()(q, k))


def test_additive_scores_begin_with_unit_order():
    scores = Additive(8, 64)(torch.randn(4, 8, 32, 64), torch.randn(4, 8, 32, 64))
    assert 0.3 < scores.std() < 1


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_recipe_and_weights_make_it_again(maker):
    attention = Attention(32, 2, scorer=maker())
    with torch.no_grad():
        for parameter in attention.scorer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    again = build(recipe(attention))
    again.load_state_dict(attention.state_dict())
    x = torch.randn(2, 12, 32)
    assert torch.equal(again.eval()(x, GRID), attention.eval()(x, GRID))


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_without_positions_it_is_permutation_equivariant_and_deterministic(maker):
    attention = Attention(32, 2, scorer=maker(), dropout=0.5).double().eval()
    x, order = torch.randn(2, 12, 32, dtype=torch.float64), torch.randperm(12)
    torch.testing.assert_close(attention(x[:, order], GRID), attention(x, GRID)[:, order], rtol=1e-12, atol=1e-12)
    assert torch.equal(attention(x, GRID), attention(x, GRID))


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_one_token_takes_its_own_value(maker):
    q, k, v = (torch.randn(2, 2, 1, 16, requires_grad=True) for _ in range(3))
    out = attend(q, k, v, Grid((1, 1)), scorer=maker(), bias=TableBias(2, (1, 1)))
    torch.testing.assert_close(out, v)
    out.sum().backward()
    assert torch.equal(v.grad, torch.ones_like(v))
    assert not q.grad.any()
    assert not k.grad.any()


@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-9), (torch.float16, 2**-12)])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_autocast_stays_near(maker, dtype, unit):
    """Roundings of numbers of order one: at most eight on the way (qkv, scores, values, projection and what goes into each).

    The cosine's temperature of 0.1 makes ten of the scores'.
    """
    attention = Attention(32, 2, scorer=maker(), bias=TableBias(2, GRID.shape, std=1.0)).train()
    x = torch.randn(2, 12, 32)
    with torch.autocast("cpu", dtype=dtype):
        half = attention(x, GRID)
    assert half.dtype == dtype
    sharpness = 10 if isinstance(attention.scorer, Cosine) else 2
    torch.testing.assert_close(half.float(), attention(x, GRID), rtol=0, atol=8 * sharpness * unit)
    half.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_each_block_learns_its_own_scores():
    encoder = Encoder(PatchEmbed(2, 2, 1, 32), 2, 2, scorer=Additive(2, 16), kv_heads=1, qk_norm=True)
    first, second = (block.attn.scorer for block in encoder.blocks)
    assert not torch.equal(first.vector, second.vector)
    encoder.pool(encoder(torch.randn(2, 1, 8, 8))).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_defaults_add_nothing_to_a_state_dict():
    assert set(Attention(32, 2, NoBias()).state_dict()) == {"qkv.weight", "qkv.bias", "proj.weight", "proj.bias"}


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan, 1e-46, 1e300])
@pytest.mark.parametrize("maker", [ScaledDotProduct, partial(Cosine, 2), partial(Additive, 2, 4)])
def test_a_temperature_that_is_none(maker, temperature):
    with pytest.raises(UsageError, match=re.escape(f"temperature={temperature}")):
        maker(temperature=temperature)


def test_a_learned_temperature_of_no_heads():
    with pytest.raises(UsageError, match="a learned temperature in Cosine without num_heads"):
        Cosine()


def test_a_scorer_for_other_heads():
    with pytest.raises(UsageError, match="a Additive of num_heads=2 in an attention of num_heads=4"):
        Attention(32, 4, scorer=Additive(2, 8))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("tile", [1, 50, 10**6])
def test_tiles_of_hidden_units_are_the_naive_broadcast(monkeypatch, tile, norm):
    monkeypatch.setattr(hidden, "WHOLE", 0)
    monkeypatch.setattr(hidden, "TILE", tile)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 5, 4), (2, 3, 7, 4), (3, 4))]
    q, k, vector = inputs
    total = q[:, :, :, None] + k[:, :, None]
    if norm:
        total = (total - total.mean(-1, True)) / (total.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    wanted = (total.tanh() * vector[:, None, None]).sum(-1)
    found = hidden.hidden_scores(q, k, vector, norm)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(scores, inputs, cotangent) for scores in (found, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *tensors: hidden.hidden_scores(*tensors, norm), inputs, fast_mode=True)


def test_hidden_units_are_not_kept_for_the_backward_pass():
    scorer, q = Additive(2, 8, 64), torch.randn(1, 2, 300, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        scorer(q, q)
    assert sum(kept) < 2 * 300**2  # one number a pair, of 64


@pytest.mark.parametrize("count", [0, -1])
def test_no_hidden_units(count):
    with pytest.raises(UsageError, match=f"hidden_dim={count}"):
        Additive(2, 8, hidden_dim=count)
