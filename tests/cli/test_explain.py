from pathlib import Path

import pytest

from vitkit.cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs" / "image"


def ask(capsys, *arguments):
    code = main(["explain", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_says_what_runs_and_why(capsys):
    code, out, _ = ask(capsys, "--config", str(CONFIGS / "digits.yaml"))
    assert code == 0
    assert out.startswith(
        "32 samples of 1 prefix tokens and 4 × 4 patches, float32 on cpu, a training step\nblocks 0 to 3: eager"
    )
    assert "not fused     on the CPU torch's fused kernel gives no gradient to a mask" in out


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        (["--size", "64", "64"], "streamed"),
        (["--size", "64", "64", "--inference"], "fused"),
        (["--size", "128", "128", "--inference"], "streamed"),
        (["--size", "64", "64", "--device", "cuda"], "fused"),
        (["--size", "64", "64", "--model.encoder.bias", "NoBias"], "fused"),
        (["--size", "64", "64", "--model.encoder.dropout", "0.1", "--batch", "64"], "chunked"),
    ],
)
def test_options_change_the_answer(capsys, options, backend):
    code, out, _ = ask(capsys, "--config", str(CONFIGS / "digits.yaml"), *options)
    assert code == 0
    assert f"blocks 0 to 3: {backend}: " in out


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_can_be_explained(capsys, path):
    code, out, err = ask(capsys, "--config", str(path), "--batch", "2")
    if "LibraryModel" in path.read_text():  # which computes its attention as its library does
        assert code == 2
        assert "expected vitkit's own encoder" in err
        return
    assert code == 0
    assert out.startswith("2 samples of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--config", str(CONFIGS / "digits.yaml"), "--nix"], "unrecognized arguments: --nix"),
        (["--config", str(CONFIGS / "digits.yaml"), "--model.encoder.bias", "Foo"], "model.encoder.bias is Foo"),
        ([], "--config"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, message):
    code, _, err = ask(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
