from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from vitkit.data import ImageData

CONFIGS = Path(__file__).parents[2] / "configs" / "data"


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_a_config_makes_its_data(name):
    text = (CONFIGS / name).read_text()
    assert text.startswith("# ")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=ImageData)
    data = parser.instantiate(parser.parse_object({"data": yaml.safe_load(text)})).data
    assert isinstance(data, ImageData)
    assert data.batch_size == yaml.safe_load(text)["init_args"]["batch_size"]


def test_a_config_can_name_transforms():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=ImageData)
    augment = [{"class_path": "torchvision.transforms.v2.RandomAffine", "init_args": {"degrees": 10}}]
    config = {
        "data": {"class_path": "vitkit.data.ImageFolder", "init_args": {"root": "x", "augment": augment, "fractions": [1, 0, 0]}}
    }
    data = parser.instantiate(parser.parse_object(config)).data
    assert type(data.augment[0]).__name__ == "RandomAffine"
    assert data.fractions == (1, 0, 0)


def test_the_digits_config_runs_as_it_is():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=ImageData)
    data = parser.instantiate(parser.parse_object({"data": yaml.safe_load((CONFIGS / "digits.yaml").read_text())})).data
    data.setup("test")
    assert next(iter(data.test_dataloader())).image.shape == (64, 1, 8, 8)
