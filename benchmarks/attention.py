"""Attention with a learned bias, the bias itself, additive scores, and a whole encoder, each beside a peer."""

from collections.abc import Callable
from functools import partial

import timm
import torch
from harness import Make, Step, compare, options, write
from timm.layers import RelPosBias, RelPosMlp
from torch import Tensor, nn

from vitkit.attention import Additive, attend
from vitkit.bias import Bias, NoBias, SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential

BATCH, HEADS, HEAD_DIM = 4, 6, 64
IMAGES, SIZE = 8, 224


def tokens(batch: int, heads: int, count: int) -> list[Tensor]:
    """Queries, keys and values."""
    return [torch.randn(batch, heads, count, HEAD_DIM, requires_grad=True) for _ in range(3)]


def attention_step(bias: Callable[[], Bias], side: int, backend: str = "auto") -> Step:
    """Forward and backward of attention alone."""
    inputs, module, grid = tokens(BATCH, HEADS, side * side), bias(), Grid((side, side))
    return lambda: attend(*inputs, grid, bias=module, backend=backend).sum().backward()


def spectral() -> Bias:
    """The learned bias that is measured."""
    return SpectralBias(Exponential(HEADS, 2))


def bias_step(name: str, side: int = 32, heads: int = 12) -> Step:
    """Forward and backward of the logits of every pair."""
    grid = Grid((side, side))
    modules: dict[str, Callable[[], nn.Module]] = {
        "vitkit SpectralBias": lambda: SpectralBias(Exponential(heads, 2)),
        "timm RelPosBias": lambda: RelPosBias((side, side), heads),
        "timm RelPosMlp": lambda: RelPosMlp((side, side), heads),
    }
    module = modules[name]()
    build = partial(module, grid) if isinstance(module, Bias) else module.get_bias
    cotangent = torch.randn(heads, side * side, side * side)
    return lambda: build().view_as(cotangent).backward(cotangent)


def additive_step(naive: bool, count: int = 1024, batch: int = 1, heads: int = 2, hidden: int = 64) -> Step:
    """Forward and backward of attention with additive scores."""
    (q, k, v), scorer, grid = tokens(batch, heads, count), Additive(heads, HEAD_DIM, hidden), Grid((count,))

    def broadcast() -> None:
        queries, keys = q @ scorer.weight_q + scorer.offset[:, None], k @ scorer.weight_k
        scores = ((queries[:, :, :, None] + keys[:, :, None]).tanh() * scorer.vector[:, None, None]).sum(-1)
        (scores.softmax(-1) @ v).sum().backward()

    return broadcast if naive else lambda: attend(q, k, v, grid, scorer=scorer).sum().backward()


def model_step(native: bool, train: bool) -> Step:
    """ViT-S/16 with a relative position bias, mean pooling and no class token: a training step, or inference."""
    torch.manual_seed(0)
    model: nn.Module
    if native:
        encoder = Encoder(
            PatchEmbed(2, 16, 3, 384),
            depth=12,
            num_heads=6,
            bias=SpectralBias(Exponential(6, 2, lengthscale=32.0)),
            class_token=False,
            pool="mean",
            layer_scale=1e-5,
        )
        model = Classifier(encoder, 1000, Preprocess((SIZE, SIZE), mean=(0.0,) * 3, std=(1.0,) * 3))
    else:
        model = timm.create_model("vit_relpos_small_patch16_224")
    images, labels = torch.rand(IMAGES, 3, SIZE, SIZE), torch.randint(0, 1000, (IMAGES,))
    if not train:
        return torch.inference_mode()(partial(model.eval(), images))
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    step()  # AdamW allocates its state in the first step
    return step


def rows() -> dict[str, tuple[dict[str, Make], str]]:
    """What is compared, and the baseline of each."""
    plain = "fused, no bias"
    attention = {
        f"training step, N={side * side}": (
            {
                plain: partial(attention_step, NoBias, side),
                "learned spectral bias": partial(attention_step, spectral, side),
                "learned spectral bias, plain products": partial(attention_step, spectral, side, "eager"),
            },
            plain,
        )
        for side in (32, 48)
    }
    biases = ("timm RelPosBias", "timm RelPosMlp", "vitkit SpectralBias")
    models = {
        f"ViT-S/16 with a bias, {name}": (
            {"timm": partial(model_step, False, train), "vitkit": partial(model_step, True, train)},
            "timm",
        )
        for name, train in (("training step", True), ("inference", False))
    }
    return {
        **attention,
        "bias, 32×32 tokens, 12 heads": ({name: partial(bias_step, name) for name in biases}, "timm RelPosBias"),
        "additive, N=1024": ({"naive": partial(additive_step, True), "vitkit": partial(additive_step, False)}, "naive"),
        **models,
    }


def main() -> None:
    """Measure and write."""
    parser = options("attention", __doc__)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    write(
        arguments.out,
        {
            name: compare(candidates, baseline, rounds=arguments.rounds, warmup=min(arguments.rounds, 3))
            for name, (candidates, baseline) in rows().items()
            if arguments.only in name
        },
    )


if __name__ == "__main__":
    main()
