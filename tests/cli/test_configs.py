"""The configs that come with vitkit can be used as they are."""

from pathlib import Path

import pytest
import yaml

from vitkit.bias import DistanceBias, KeyBias, LogCPBBias, SpectralBias, TableBias
from vitkit.cli.main import main
from vitkit.recipe import build
from vitkit.spectral import Exponential, Gaussian, Matern, RationalQuadratic, SpectralMixture

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("[irv]*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_understood_and_names_its_run(path, capsys):
    tree = yaml.safe_load(path.read_text())
    given = tree["data"].get("init_args", {})
    missing = [word for name in ("path", "root") if given.get(name, "") is None for word in (f"--data.{name}", "somewhere")]
    assert main(["fit", "--config", str(path), *missing, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == path.stem
    assert path.read_text().startswith("# ")


def test_each_density_and_each_bias_has_one():
    trees = {path.stem: yaml.safe_load(path.read_text())["model"]["encoder"]["init_args"] for path in CONFIGS}
    made = {name: build(tree["bias"]) for name, tree in trees.items() if name.startswith(("density_", "bias_"))}
    densities = {name: bias.density for name, bias in made.items() if isinstance(bias, SpectralBias)}
    families = {Exponential, Gaussian, Matern, RationalQuadratic, SpectralMixture}
    others = {DistanceBias, KeyBias, LogCPBBias, TableBias}
    assert {type(density) for density in densities.values()} == families
    assert {type(bias) for bias in made.values()} == others | {SpectralBias}
    for name, thing in (made | densities).items():
        assert type(thing).__name__.lower().removesuffix("bias") == name.partition("_")[2].replace("_", "")


def test_digits_train_as_they_are(tmp_path, capsys):
    [digits] = [path for path in CONFIGS if path.stem == "digits"]
    quick = ["--trainer.fast_dev_run", "true", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(digits), *quick]) == 0
    assert "epoch 1/1: train/loss " in capsys.readouterr().err
