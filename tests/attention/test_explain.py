"""What is said to run is what runs: twenty configurations against torch's profiler."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from vitkit.attention import Additive, Attention, Axial, Bilinear, Cosine, Full, Pattern, ScaledDotProduct, Window, explain
from vitkit.attention.backends import BACKENDS
from vitkit.bias import KeyBias, LogCPBBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential, Gaussian

SMALL, MIDDLE, LARGE = Grid((4, 6)), Grid((15, 16)), Grid((24, 24))
DIM, HEADS = 16, 2


class Band(Pattern):
    """Only what is near in the sequence."""

    def allowed(self, grid):
        index = torch.arange(len(grid))
        return (index[:, None] - index).abs() < 5


def spectral(ndim=2):
    return SpectralBias(Exponential(HEADS, ndim))


def squares():
    return SpectralBias(Gaussian(HEADS, 2, lengthscale=4.0), form="log")


# Grid, training, prefix, kept, what the attention is made of, and what then runs.
CASES = [
    (SMALL, True, 0, None, {}, "fused"),
    (LARGE, True, 1, None, {}, "fused"),
    (SMALL, True, 0, None, {"bias": spectral()}, "eager"),
    (SMALL, False, 1, None, {"bias": spectral()}, "fused"),
    (MIDDLE, True, 0, None, {"bias": spectral()}, "streamed"),
    (MIDDLE, True, 2, None, {"bias": spectral() + PrefixBias(HEADS)}, "streamed"),
    (MIDDLE, False, 0, None, {"bias": spectral()}, "fused"),
    (LARGE, False, 0, None, {"bias": spectral()}, "streamed"),
    (LARGE, True, 0, None, {"bias": TableBias(HEADS, LARGE.shape)}, "streamed"),
    (MIDDLE, True, 0, None, {"bias": LogCPBBias(HEADS, 2)}, "streamed"),
    (LARGE, True, 0, None, {"bias": KeyBias(HEADS, LARGE.shape)}, "features"),
    (LARGE, False, 1, None, {"bias": KeyBias(HEADS, LARGE.shape)}, "features"),
    (MIDDLE, True, 1, 220, {"bias": squares() + KeyBias(HEADS, MIDDLE.shape) + PrefixBias(HEADS)}, "features"),
    (MIDDLE, True, 0, None, {"bias": squares()}, "streamed"),
    (LARGE, True, 0, None, {"bias": KeyBias(HEADS, LARGE.shape) * spectral()}, "eager"),
    (Grid((48, 48)), True, 0, None, {"bias": KeyBias(HEADS, (48, 48)) * spectral()}, "chunked"),
    (MIDDLE, False, 0, None, {"bias": KeyBias(HEADS, MIDDLE.shape)}, "fused"),
    (LARGE, True, 0, None, {"bias": TableBias(HEADS, LARGE.shape).requires_grad_(False)}, "fused"),
    (MIDDLE, True, 1, 200, {"bias": spectral()}, "eager"),
    (MIDDLE, True, 0, None, {"scorer": Cosine(HEADS)}, "fused"),
    (MIDDLE, True, 0, None, {"scorer": Bilinear(HEADS, 8), "bias": spectral()}, "streamed"),
    (SMALL, True, 0, None, {"scorer": Additive(HEADS, 8)}, "eager"),
    (Grid((48, 48)), True, 0, None, {"scorer": Additive(HEADS, 8, 4)}, "chunked"),
    (MIDDLE, False, 0, None, {"scorer": Additive(HEADS, 8), "bias": spectral()}, "eager"),
    (MIDDLE, False, 0, None, {"pattern": Band()}, "fused"),
    (LARGE, True, 1, None, {"pattern": Window(4), "bias": spectral()}, "gathered"),
    (LARGE, False, 0, None, {"pattern": Window(4)}, "gathered"),
    (LARGE, True, 0, None, {"pattern": Axial(), "bias": spectral()}, "axial"),
    (SMALL, False, 0, None, {"pattern": Axial(window=2)}, "axial"),
    (LARGE, True, 1, None, {"pattern": Axial(), "bias": spectral()}, "summed"),
    (MIDDLE, True, 0, None, {"dropout": 0.1}, "eager"),
    (MIDDLE, True, 0, None, {"kv_heads": 1, "bias": spectral()}, "streamed"),
    (MIDDLE, True, 0, None, {"backend": "chunked"}, "chunked"),
]


def ran(attention, x, grid, prefix, keep, training):
    """Which backend left its traces in the profiler."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as trace, torch.set_grad_enabled(training):
        out = attention(x, grid, prefix, keep)
        if training:
            out.sum().backward()
    names = [event.name for event in trace.events()]
    kernel = "aten::_scaled_dot_product_flash_attention_for_cpu"
    if names.count("_Gathered") == len(attention.pattern.terms(grid)) > 1:
        return "summed"
    for function, backend in (("_Axial", "axial"), ("_Streamed", "streamed"), ("_Gathered", "gathered")):
        if function in names:
            return backend
    if kernel in names:
        [shapes] = {tuple(event.input_shapes[0]) for event in trace.events() if event.name == kernel}
        return "fused" if shapes[-1] == attention.head_dim else "features"
    assert "aten::_scaled_dot_product_attention_math" not in names
    return "chunked" if names.count("aten::_softmax") > 1 else "eager"


@pytest.mark.parametrize("index", range(len(CASES)))
def test_what_is_said_to_run_runs(index):
    grid, training, prefix, kept, options, wanted = CASES[index]
    attention = Attention(DIM, HEADS, **options).train(training)
    said = explain(attention, grid, batch=2, prefix=prefix, kept=kept)
    keep = None if kept is None else torch.arange(kept).expand(2, -1)
    x = torch.randn(2, prefix + (kept or len(grid)), DIM)
    assert said.backend == ran(attention, x, grid, prefix, keep, training)
    assert said.backend == wanted
    assert set(said.others) == set(BACKENDS) - {wanted}


def test_on_another_device_no_cpu_kernel_is_chosen():
    attention = Attention(DIM, HEADS, bias=spectral())
    said = explain(attention, LARGE, device="cuda")
    assert said.backend == "fused"
    assert said.others["streamed"] == "it is made for the CPU"


def test_it_reads_well():
    text = str(explain(Attention(DIM, HEADS, bias=spectral()), LARGE, batch=4))
    assert text.startswith("streamed: torch's fused kernel on tiles of queries")
    assert "not fused     on the CPU torch's fused kernel gives no gradient to a mask" in text
    assert "not eager     would serve, and take" in text


def test_a_backend_that_cannot_serve_is_refused_with_the_reason():
    attention = Attention(DIM, HEADS, scorer=Additive(HEADS, 8), backend="fused")
    with pytest.raises(UsageError, match=r"Additive scores are no dot product; expected one that serves: chunked, eager"):
        explain(attention, SMALL)


def test_costs_grow_as_they_should():
    def cost(backend, side):
        return explain(Attention(DIM, HEADS, backend=backend, bias=spectral()), Grid((side, side)), batch=2).cost

    assert cost("eager", 64).memory == 16 * cost("eager", 32).memory
    assert cost("streamed", 128).memory < 2 * cost("streamed", 64).memory
    assert cost("streamed", 64).flops == 16 * cost("streamed", 32).flops


def test_scorers_and_patterns_have_defaults_that_serve_everything():
    assert explain(Attention(DIM, HEADS, NoBias(), Full(), scorer=ScaledDotProduct()), SMALL).why == "it is the first that serves"


def test_what_an_attention_refuses_is_not_explained():
    attention = Attention(DIM, HEADS, bias=SpectralBias(Exponential(HEADS, 3)))
    for use in (lambda: explain(attention, Grid((4, 4))), lambda: attention(torch.zeros(1, 4, 4, DIM))):
        with pytest.raises(UsageError, match="a density of 3 axes on a grid of 2"):
            use()
