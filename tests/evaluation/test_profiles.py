"""Drift profiles and certificates, against a loop by hand, float64 and models that must fail."""

import copy
import json
from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn

from vitkit.attention import Axial, Window
from vitkit.bias import SpectralBias
from vitkit.corruptions import gamma
from vitkit.embedding import PatchEmbed, eps_drift, invariance_of
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import DataError, UsageError
from vitkit.evaluation import AffineDrift, Drift, Gain, GammaDrift, HSVValueDrift, Suite, certify, drift, evaluate, load_results
from vitkit.evaluation.profiles.layers import layers_of
from vitkit.evaluation.profiles.listener import ROWS, listening
from vitkit.preprocess import Preprocess
from vitkit.spectral import Gaussian

ALIKE, IMAGENET = ((0.5,) * 3, (0.25,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MOVES = {
    "gain": lambda x: 0.5 * x,
    "shift": lambda x: x - 0.25,
    "both": lambda x: 2 * x + 0.1,
    "channels": lambda x: x * x.new_tensor([0.5, 1.0, 2.0]).view(3, 1, 1) + x.new_tensor([0.1, 0.0, -0.2]).view(3, 1, 1),
}


def images(n=5, channels=3, size=(16, 16), dtype=torch.float32):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def vit(norm, normalisation=ALIKE, eps=1e-5, size=(16, 16), **arguments):
    mean, std = normalisation
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embed = PatchEmbed(len(size), 4, len(mean), 32, norm=norm, eps=eps)
        model = Classifier(Encoder(embed, depth=2, num_heads=2), 4, Preprocess(size, mean, std), **arguments)
    return model.eval()


# Without eps tokens are equal but for the rounding of float64, which a patch's norm and the blocks magnify less than 1000 times.
ROUNDING = 1e3 * torch.finfo(torch.float64).eps


@pytest.mark.parametrize(
    ("norm", "normalisation", "unmoved"),
    [
        ("none", ALIKE, set()),
        ("patch", ALIKE, {"gain", "shift", "both"}),
        ("patch", ((0.485, 0.456, 0.406), (0.225,) * 3), {"shift"}),  # a shared deviation is not enough for a gain
        ("patch", ((0.4, 0.6, 0.8), (0.2, 0.3, 0.4)), {"gain"}),  # and needless where it grows with the mean
        ("patch", IMAGENET, set()),
        ("channel", IMAGENET, {"gain", "shift", "both", "channels"}),
    ],
)
def test_tokens_are_invariant_to_what_is_claimed_and_to_nothing_else(norm, normalisation, unmoved):
    model = vit(norm, normalisation, eps=0.0).double()
    claim = model.brightness_certificate()
    claimed = {
        name
        for name, holds in (
            ("gain", claim.gain),
            ("shift", claim.shift),
            ("both", claim.gain and claim.shift),
            ("channels", claim.per_channel),
        )
        if holds
    }
    assert claimed == unmoved
    assert bool(claim.family) == bool(claim.given_up) == bool(unmoved)
    for name, move in MOVES.items():
        found = drift(model, images(dtype=torch.float64), move)
        highest = max(layer.features.q90 for layer in found.layers)
        assert highest < ROUNDING if name in unmoved else found.layers[0].features.median > 1e-3, name
        assert (found.enters is None) == (name in unmoved)


def test_a_background_that_counts_as_padding_moves_under_a_shift():
    given = images(dtype=torch.float64)
    given[:, :, :6] = 0.0
    model = vit("patch", eps=1e-20, background=0.0).double()  # a patch of nothing else has no variance
    assert model.brightness_certificate().family == "gain · x"
    assert drift(model, given, MOVES["gain"]).enters is None
    assert drift(model, given, MOVES["shift"]).enters is not None
    assert not vit("patch", background=0.5).brightness_certificate().family


def test_volumes_and_their_padding_are_invariant_too():
    model = vit("patch", ((0.2,), (0.1,)), eps=0.0, size=(8, 8, 6)).double()
    given = images(channels=1, size=(8, 8, 6), dtype=torch.float64)
    assert model.brightness_certificate().family == "gain · x + shift"
    assert max(layer.features.q90 for layer in drift(model, given, MOVES["both"]).layers) < ROUNDING


@pytest.mark.parametrize(("norm", "gain"), [("patch", [0.5]), ("channel", [0.5]), ("channel", [0.5, 1.0, 3.0])])
def test_eps_drift_is_what_the_tokens_do_in_fact(norm, gain):
    model = vit(norm, eps=1e-3).double()
    given = images(dtype=torch.float64)
    given[:, :, :8] = given[:, :, :8] * 0.01 + 0.5  # nearly flat
    factors = torch.tensor(gain, dtype=torch.float64).view(-1, 1, 1)
    before, after = (model.encoder.embed(model.preprocess.normalise(x))[0].flatten(1) for x in (given, factors * given))
    expected = (after - before).norm(dim=1) / before.norm(dim=1)
    assert expected.min() > 0.01
    torch.testing.assert_close(model.eps_drift(given, gain), expected)
    assert eps_drift(model.encoder.embed, given, [1.0]).max() == 0


def test_drift_is_that_of_a_loop_by_hand():
    model, given = vit("none").double(), images(dtype=torch.float64)
    found = drift(model, given, lambda x: gamma(x, 0.7)[0])
    by_layer: dict[str, list[float]] = {layer.layer: [] for layer in found.layers}
    with torch.no_grad():
        for image in given:
            states = []
            for x in (image[None], gamma(image[None], 0.7)[0]):
                z = model.preprocess.normalise(x)
                encoded = model.encoder.forward_intermediates(z)
                states.append([model.encoder.embed(z)[0], *encoded[1:], model(x)])
            for name, was, became in zip(by_layer, *states, strict=True):
                by_layer[name].append(float((became - was).norm() / was.norm()))
    assert list(by_layer) == ["embed", "blocks.0", "blocks.1", "logits"]
    assert [layer.kind for layer in found.layers] == ["embedding", "block", "block", "logits"]
    for name, values in by_layer.items():
        spread = found.layer(name).features
        expected = torch.quantile(torch.tensor(values, dtype=torch.float64), torch.tensor([0.5, 0.9], dtype=torch.float64))
        torch.testing.assert_close(torch.tensor([spread.median, spread.q90], dtype=torch.float64), expected)


def test_attention_is_the_total_variation_of_its_rows():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("test_vit", num_classes=4).eval().double()
    given = images(2, size=(160, 160), dtype=torch.float64)
    found = drift(model, given, MOVES["gain"])
    rows = []
    kept = {}
    block = model.blocks[0]
    handle = block.attn.register_forward_pre_hook(lambda module, inputs: kept.update(x=inputs[0]))
    with torch.no_grad():
        for x in (given, MOVES["gain"](given)):
            model(x)
            q, k, _ = block.attn.qkv(kept["x"]).unflatten(2, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
            rows.append((q @ k.transpose(-2, -1) * block.attn.scale).softmax(-1))
    handle.remove()
    expected = ((rows[1] - rows[0]).abs().sum(-1) / 2).mean((1, 2))
    spread = found.layer("blocks.0").attention
    assert spread.median == pytest.approx(float(expected.mean()), rel=1e-6)  # of two, which the median lies between
    assert found.layer("logits").attention is None


@pytest.mark.parametrize("kind", ["fused", "softmax", "torch"])
def test_every_way_to_attend_is_seen(kind):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            if kind == "torch":
                return x + self.mix(x, x, x, need_weights=False)[0]
            q = x.unflatten(2, (2, 4)).transpose(1, 2)
            if kind == "fused":
                out = nn.functional.scaled_dot_product_attention(q, q, q)
            else:
                out = (q @ q.transpose(-2, -1) * 0.5).softmax(dim=-1) @ q
            return x + out.transpose(1, 2).flatten(2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])

        def forward(self, x):
            x = x.flatten(2).transpose(1, 2)
            for block in self.blocks:
                x = block(x)
            return x.mean(1)

    torch.manual_seed(0)
    model, given = Model().eval(), images(2, channels=8, size=(17, 17))
    assert ROWS < 17 * 17
    with torch.no_grad(), listening(layers_of(model)) as heard:
        model(given)
    [weights] = heard.attention["blocks.1"]
    assert weights.shape == (2, 2, ROWS, 17 * 17)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, ROWS))
    found = drift(model, given, MOVES["gain"])
    assert 0 < found.layer("blocks.1").attention.median < 1
    assert found.layer("before blocks.0").kind == "embedding"


@pytest.mark.parametrize(
    "attention",
    [{"pattern": Axial()}, {"pattern": Window((3, 3))}, {"bias": SpectralBias(Gaussian(2, 2))}],
    ids=["axial", "window", "bias"],
)
def test_attention_that_torch_is_never_asked_for_is_seen_too(attention):
    torch.manual_seed(0)
    model = Classifier(
        Encoder(PatchEmbed(2, 4, 3, 32), depth=2, num_heads=2, **attention), 4, Preprocess((16, 16), *ALIKE)
    ).eval()
    given, entered = images(), []
    attends = model.encoder.blocks[1].attn
    handle = attends.register_forward_pre_hook(lambda module, args, kwargs: entered.append((args, kwargs)), with_kwargs=True)
    with torch.no_grad(), listening(layers_of(model)) as heard:
        model(given)
    handle.remove()
    [weights], [(args, kwargs)] = heard.attention["blocks.1"], entered
    assert weights.shape == (5, 2, 17, 17)
    torch.testing.assert_close(weights, attends.weights(*args, **kwargs))
    assert 0 < drift(model, given, MOVES["gain"]).layer("blocks.1").attention.median < 1


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: timm.create_model("test_vit", num_classes=4), ["patch_embed", *(f"blocks.{i}" for i in range(6)), "logits"]),
        (
            lambda: timm.create_model("test_resnet", num_classes=4),
            ["before layer1", *(f"layer{i}" for i in range(1, 5)), "logits"],
        ),
        (lambda: timm.create_model("test_convnext", num_classes=4), ["stem", *(f"stages.{i}" for i in range(4)), "logits"]),
        (
            lambda: torchvision.models.VisionTransformer(160, 32, 2, 2, 16, 32, num_classes=4),
            ["conv_proj", "encoder_layer_0", "encoder_layer_1", "logits"],
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(4)), None),
    ],
    ids=["timm-vit", "timm-resnet", "timm-convnext", "torchvision-vit", "sequential"],
)
def test_hooks_find_the_layers_of_any_model_and_leave_no_trace(make, names):
    torch.manual_seed(0)
    model, given = make(), images(3, size=(160, 160))
    model(given)
    model.train()
    before = copy.deepcopy(model.state_dict())
    found = drift(model, given, MOVES["both"])
    assert names is None or [layer.layer for layer in found.layers] == names
    assert found.enters == found.layers[0].layer
    assert all(layer.features.median > 1e-3 for layer in found.layers[:-1])
    assert all(part.training and not part._forward_hooks and not part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert not torch.overrides._get_current_function_mode_stack()
    # The untouched images again, in the same batch, are the same to the last bit.
    assert all(layer.features.q90 == 0 for layer in drift(model, given, lambda x: x).layers)


def test_nothing_is_left_after_an_error_either():
    model = vit("none")

    def fail(x):
        raise RuntimeError("no")

    model.encoder.blocks[1].register_forward_pre_hook(lambda module, inputs: fail(0))
    with pytest.raises(RuntimeError, match="no"):
        drift(model, images(), MOVES["gain"])
    assert sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()) == 1


def test_of_a_function_there_are_the_logits_alone():
    def model(x):
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)

    found = drift(model, images(), MOVES["gain"])
    assert [(layer.layer, layer.features.median, layer.attention) for layer in found.layers] == [("logits", 0.5, None)]
    assert certify(model, images()).verdict == "none"


def test_an_image_drifts_as_it_does_alone():
    model, given = vit("none"), images(12)
    alone = sorted(drift(model, image[None], MOVES["gain"]).layer("blocks.1").features.median for image in given)
    together = drift(model, given, MOVES["gain"]).layer("blocks.1").features
    assert together.median == pytest.approx((alone[5] + alone[6]) / 2, rel=1e-5)


def test_features_that_were_nothing_have_no_drift():
    class Dark(nn.Module):
        def forward(self, x):
            return torch.relu(x.mean((2, 3)) - 0.9)

    found = drift(Dark(), images(), lambda x: x + 1)
    assert (found.enters, found.layer("logits").features.median) == ("logits", None)


@pytest.mark.parametrize("transform", [lambda x: x[:, :1], lambda x: x / 0, lambda x: None])
def test_a_transformation_that_is_none_is_refused(transform):
    with pytest.raises(UsageError, match="a transformation that makes"):
        drift(vit("none"), images(), transform)
    with pytest.raises(UsageError, match="no image"):
        drift(vit("none"), images(0), MOVES["gain"])


def test_certificates_are_as_true_as_they_are_measured():
    given = images(12)
    exact = certify(vit("patch"), given)
    assert (exact.verdict, exact.family, exact.breaks_at) == ("exact", "gain · x + shift", None)
    assert exact.tokens.q90 == pytest.approx(exact.explained, rel=0.1)  # what is left is eps, and rounding
    assert certify(vit("channel", IMAGENET), given).family == "gain · x + shift for each channel"

    flat = given * 0.01 + 0.5
    near = certify(vit("patch"), flat)
    assert (near.verdict, near.breaks_at) == ("up to eps", "embed")
    assert near.explained == pytest.approx(near.tokens.q90, rel=0.01)

    for model, moved in ((vit("patch", IMAGENET), 1e-2), (vit("none"), 0.1)):
        none = certify(model, given)
        assert (none.verdict, none.family, none.given_up, none.breaks_at) == ("none", "", "", "embed")
        assert none.tokens.q90 > moved


def test_a_claim_that_is_not_true_is_broken():
    class Liar(Classifier):
        def brightness_certificate(self):
            return invariance_of(vit("patch").encoder.embed, *ALIKE)

    liar = vit("none")
    liar.__class__ = Liar
    found = certify(liar, images(12))
    assert (found.verdict, found.family, found.breaks_at) == ("broken", "gain · x + shift", "embed")

    class Leaky(nn.Module):
        """Honest tokens, but a head that looks at the pixels."""

        def __init__(self):
            super().__init__()
            self.inner = vit("patch")

        def forward(self, x):
            return self.inner(x) + x.mean((1, 2, 3))[:, None]

    found = certify(Leaky(), images(12))
    assert (found.verdict, found.breaks_at) == ("broken", "logits")


@pytest.fixture
def suite():
    profiles = [AffineDrift(0.8), AffineDrift(0.8, 0.1, images=7), GammaDrift(0.8), HSVValueDrift(0.1)]
    return Suite("mine", [Gain([0.5])], profiles=profiles)


def test_a_suite_with_profiles_leaves_them_in_its_results(loader, model, suite, tmp_path):
    evaluate(model, loader, suite, tmp_path / "a")
    results = load_results(tmp_path / "a")
    assert [(p.name, p.title, p.family, p.n) for p in results.profiles] == [
        ("gain_0.8", "Gain 0.8", True, 50),
        ("gain_0.8_shift_0.1", "Gain 0.8 and shift 0.1", True, 7),
        ("gamma_0.8", "Gamma 0.8", False, 50),
        ("hsv_value_0.1", "HSV value +0.1", False, 50),
    ]
    assert (results.certificate.verdict, results.certificate.n) == ("none", 50)
    # What is stored is what the function says, on the first images. These go through the model in another number, for which some
    # CPUs sum in another order: 33 terms of 32-bit floats, and a difference that is a tenth of what it is a difference of.
    given = torch.stack([sample.image for sample in loader.dataset])[:7]
    close = partial(pytest.approx, rel=10 * 33 * torch.finfo(torch.float32).eps)
    for stored, told in zip(results.profiles[1].layers, drift(model, given, AffineDrift(0.8, 0.1)).layers, strict=True):
        assert (stored.layer, stored.kind, stored.attention is None) == (told.layer, told.kind, told.attention is None)
        for one, other in ((stored.features, told.features), (stored.attention, told.attention)):
            if one is not None and other is not None:
                assert (one.median, one.q90) == (close(other.median), close(other.q90))
    # Again, with other batches, and of a run that was cut off behind its conditions.
    again = torch.utils.data.DataLoader(loader.dataset, batch_size=3)
    evaluate(model, again, suite, tmp_path / "b")
    assert (tmp_path / "a" / "profiles.json").read_bytes() == (tmp_path / "b" / "profiles.json").read_bytes()
    first = tmp_path / "a" / "results.json"
    assert json.loads(first.read_text())["profiles"] == json.loads((tmp_path / "b" / "results.json").read_text())["profiles"]


def test_profiles_that_cannot_be_read_are_named(loader, model, suite, tmp_path):
    evaluate(model, loader, suite, tmp_path)
    (tmp_path / "profiles.json").write_text("{")
    from vitkit.evaluation import summarise

    with pytest.raises(DataError, match=r"profiles\.json is no JSON"):
        summarise(tmp_path)


def test_profiles_of_other_channels_are_refused_before_anything_is_run(loader, model, tmp_path):
    with pytest.raises(UsageError, match="gain of 3 numbers for images of 1 channels"):
        evaluate(model, loader, Suite("mine", [Gain([0.5])], profiles=[AffineDrift([0.8, 1.0, 1.2])]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_suite_of_a_file_has_its_profiles(tmp_path):
    path = tmp_path / "mine.yaml"
    text = "name: mine\nconditions:\n- {class_path: vitkit.evaluation.Gain, init_args: {factors: [0.5]}}\n"
    path.write_text(text)
    assert "profiles" not in Suite.load(path).config()
    path.write_text(text + "profiles:\n- {class_path: vitkit.evaluation.AffineDrift, init_args: {gain: 0.8, images: 3}}\n")
    assert Suite.load(path).config()["profiles"] == [
        {"class_path": "vitkit.evaluation.AffineDrift", "init_args": {"gain": 0.8, "images": 3}}
    ]
    path.write_text(text + "profiles:\n- {class_path: vitkit.evaluation.Gain, init_args: {factors: [0.5]}}\n")
    with pytest.raises(UsageError, match=r"profiles\[0\]\.class_path: vitkit\.evaluation\.Gain"):
        Suite.load(path)
    path.write_text(text + "profiles: 3\n")
    with pytest.raises(UsageError, match="profiles: 3"):
        Suite.load(path)
    with pytest.raises(UsageError, match=r"gain_0\.8 for the second time"):
        Suite("mine", [Gain([0.5])], profiles=[AffineDrift(0.8), AffineDrift(0.8)])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AffineDrift(0.0), "gain: 0.0"),
        (lambda: AffineDrift([0.5, -1]), "gain: "),
        (lambda: AffineDrift(shift=float("nan")), "shift: nan"),
        (lambda: AffineDrift("a lot"), "gain: 'a lot'"),
        (lambda: AffineDrift(0.8, images=0), "images: 0"),
        (lambda: GammaDrift(-1.0), "exponent: -1.0"),
        (lambda: HSVValueDrift(2.0), "amount: 2.0"),
        (lambda: AffineDrift(0.8, name="a b"), "name 'a b'"),
        (lambda: Suite("mine", [Gain([0.5])], profiles=[Gain([0.5])]), r"profiles\[0\]: a Gain"),
    ],
)
def test_a_profile_that_is_none_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_every_drift_of_the_room_is_one():
    for profile in (AffineDrift(0.8), GammaDrift(0.8), HSVValueDrift(0.1)):
        assert isinstance(profile, Drift)
        assert profile(images(2)).shape == images(2).shape
    assert (AffineDrift().name, AffineDrift().title) == ("identity", "Identity")
