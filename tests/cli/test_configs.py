"""The configs that come with vitkit can be used as they are."""

from pathlib import Path

import pytest
import yaml

from vitkit.cli.main import main

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("[iv]*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_understood_and_names_its_run(path, capsys):
    tree = yaml.safe_load(path.read_text())
    given = tree["data"].get("init_args", {})
    missing = [word for name in ("path", "root") if given.get(name, "") is None for word in (f"--data.{name}", "somewhere")]
    assert main(["fit", "--config", str(path), *missing, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == path.stem
    assert path.read_text().startswith("# ")


def test_digits_train_as_they_are(tmp_path, capsys):
    [digits] = [path for path in CONFIGS if path.stem == "digits"]
    quick = ["--trainer.fast_dev_run", "true", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(digits), *quick]) == 0
    assert "epoch 1/1: train/loss " in capsys.readouterr().err
