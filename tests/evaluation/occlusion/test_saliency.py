"""What a model looks at, against its own attention computed by hand."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from vitkit import backbones
from vitkit.attention import Attention, Window
from vitkit.bias import SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.evaluation.saliency import Saliency
from vitkit.evaluation.subject import Subject
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential

IDS = ["a", "b", "c"]


def images(*size, count=3):
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(0))


def saliency(model, size):
    return Subject(model).context(size[1:], 0, size[0]).saliency


@pytest.fixture
def plain():
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(2, 4, 1, 16), depth=2, num_heads=2, bias=SpectralBias(Exponential(2, 2)), pattern=Window((3, 3)))
    return Classifier(encoder, 3, Preprocess((16, 16), mean=(0.5,), std=(0.5,))).eval()


def weights_of(block, tokens):
    """timm's attention of a block by its own projection, averaged over the heads."""
    attention = block.attn
    qkv = attention.qkv(block.norm1(tokens)).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = attention.q_norm(qkv[0]), attention.k_norm(qkv[1])
    return (q @ k.transpose(-2, -1) * attention.scale).softmax(-1).mean(1)


@torch.no_grad()
def test_a_stock_transformer_s_attention_is_its_own():
    torch.manual_seed(0)
    backbone = backbones.load("timm:test_vit", num_classes=3).eval()
    model, x = backbone.model, images(3, 160, 160)
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(backbone.preprocess.normalise(x))))
    every = []
    for block in model.blocks:
        every.append(weights_of(block, tokens))
        tokens = block(tokens)
    found = saliency(backbone, (3, 160, 160))
    torch.testing.assert_close(found(x, "attention", IDS), every[-1][:, 0, 1:].unflatten(1, (10, 10)))
    rollout = torch.eye(101).expand(3, -1, -1)
    for weights in every:
        rollout = (weights + torch.eye(101)) / 2 @ rollout
    torch.testing.assert_close(found(x, "rollout", IDS), rollout[:, 0, 1:].unflatten(1, (10, 10)))


class Tokens(torchvision.models.VisionTransformer):
    """Four by four patches of eight pixels, in one layer of torch's own multi-head attention."""

    def __init__(self):
        super().__init__(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=3)

    def grid(self, size):
        return Grid((4, 4), (8.0, 8.0))


@torch.no_grad()
def test_torch_s_multi_head_attention_is_heard():
    torch.manual_seed(0)
    model, x = Tokens().eval(), images(3, 32, 32)
    seen = []
    attention = model.encoder.layers[0].self_attention
    attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    found = saliency(model, (3, 32, 32))(x, "attention", IDS)
    expected = attention(*seen[-1], need_weights=True)[1]
    torch.testing.assert_close(found, expected[:, 0, 1:].unflatten(1, (4, 4)))


@torch.no_grad()
def test_vitkit_s_attention_has_its_bias_and_pattern(plain):
    seen = []
    attention = plain.encoder.blocks[-1].attn
    attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    found = saliency(plain, (1, 16, 16))(images(1, 16, 16), "attention", IDS)
    tokens, grid, prefix, *_ = seen[0]
    q, k, _ = attention._project(tokens)
    logits = q @ k.transpose(-2, -1) * 8**-0.5
    logits[..., prefix:, prefix:] += attention.bias(grid)
    logits[..., prefix:, prefix:].masked_fill_(~attention.pattern.allowed(grid), float("-inf"))
    torch.testing.assert_close(found, logits.softmax(-1).mean(1)[:, 0, 1:].unflatten(1, (4, 4)))


@pytest.mark.parametrize("method", ["attention", "rollout", "gradient"])
def test_a_map_depends_on_its_image_alone(plain, method):
    x = images(1, 16, 16)
    together = saliency(plain, (1, 16, 16))(x, method, IDS)
    alone = saliency(plain, (1, 16, 16))(x[1:2], method, ["b"])
    torch.testing.assert_close(alone[0], together[1])
    assert not torch.allclose(together[0], together[1])


def test_the_gradient_is_that_of_the_highest_logit(plain):
    x = images(1, 16, 16).requires_grad_()
    plain(x).max(1).values.sum().backward()
    expected = x.grad.abs().sum(1)
    plain.zero_grad()
    with torch.inference_mode():
        found = saliency(plain, (1, 16, 16))(x.detach().clone(), "gradient", IDS)
    torch.testing.assert_close(found, expected)
    assert all(parameter.grad is None for parameter in plain.parameters())


def test_a_gradient_can_be_had_after_an_evaluation(plain):
    """What a model keeps between calls must not be bound to a mode without gradients."""
    subject = Subject(plain)
    with subject.evaluating():
        plain(images(1, 16, 16))
        assert subject.context((16, 16), 0, 1).saliency.obstacle("gradient") is None


def test_a_map_is_computed_once(plain):
    calls = []
    plain.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    found = saliency(plain, (1, 16, 16))
    first = found(images(1, 16, 16), "attention", IDS)
    assert torch.equal(found(images(1, 16, 16), "attention", IDS), first)
    assert torch.equal(found(images(1, 16, 16)[1:], "attention", IDS[1:]), first[1:])
    assert calls == [3]
    found(1 - images(1, 16, 16), "attention", IDS)  # other images of the same names
    assert calls == [3, 3]


@torch.no_grad()
def test_tokens_that_were_left_out_are_attended_to_by_nobody(plain):
    x = images(1, 16, 16)
    real = torch.ones(3, 16, 16, dtype=torch.bool)
    real[:, 8:] = False
    found = saliency(plain, (1, 16, 16))(x, "attention", IDS, real)
    assert not found[:, 2:].any()
    assert (found[:, :2] > 0).all()


@torch.no_grad()
def test_a_model_that_pools_its_patches_looks_where_they_look():
    torch.manual_seed(0)
    encoder = Encoder(PatchEmbed(2, 4, 1, 16), depth=1, num_heads=2, class_token=False, registers=1, pool="mean")
    model = Classifier(encoder, 3, Preprocess((16, 16), mean=(0.5,), std=(0.5,))).eval()
    seen = []
    attention = model.encoder.blocks[-1].attn
    attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    found = saliency(model, (1, 16, 16))(images(1, 16, 16), "attention", IDS)
    expected = attention.weights(*seen[0]).mean(1)[:, 1:].mean(1)[:, 1:]
    torch.testing.assert_close(found.flatten(1), expected)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@torch.no_grad()
def test_weights_times_values_is_attention(backend):
    torch.manual_seed(0)
    attention = Attention(12, 4, bias=SpectralBias(Exponential(4, 2)), kv_heads=2, backend=backend)
    x, grid = torch.randn(2, 2 + 20, 12), Grid((4, 5))
    _, _, v = attention._project(x)
    made = attention.weights(x, grid, prefix=2) @ v.repeat_interleave(2, dim=1)
    torch.testing.assert_close(attention.proj(made.transpose(1, 2).flatten(2)), attention(x, grid, prefix=2))


class Detached(nn.Module):
    def forward(self, x):
        return x.detach().mean((2, 3))


def test_what_cannot_be_seen_is_said_with_the_reason():
    resnet = saliency(torchvision.models.resnet18(num_classes=3).eval(), (3, 64, 64))
    assert "no grid of tokens" in resnet.obstacle("attention")
    assert resnet.obstacle("gradient") is None
    assert "no gradient" in saliency(Detached(), (3, 8, 8)).obstacle("gradient")
    blind = Saliency(nn.Identity(), Grid((2, 2)), (1, 4, 4), torch.device("cpu"))
    assert "no attention among the tokens" in blind.obstacle("rollout")
    function = Saliency(lambda x: x.mean(-1)[:, 0], Grid((2, 2)), (1, 4, 4), torch.device("cpu"))
    assert "a function" in function.obstacle("attention")
    assert function.obstacle("gradient") is None
    broken = saliency(timm.create_model("test_vit", num_classes=3).eval(), (3, 33, 33))
    assert broken.obstacle("gradient").startswith("no gradient of this model")
    with pytest.raises(UsageError, match="no grid"):
        resnet(images(3, 64, 64), "attention", IDS)
