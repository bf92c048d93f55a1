"""Results as an evaluation leaves them, made by hand."""

from typing import NamedTuple

import pytest
import torch

from vitkit.evaluation.results import (
    Comparison,
    ConditionResult,
    Curve,
    DataInfo,
    Interval,
    ModelInfo,
    Point,
    Results,
    SuiteInfo,
    Threshold,
)
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess


def condition(suite: str, name: str, severity: float, accuracy: float, order: int) -> ConditionResult:
    return ConditionResult(
        id=f"{suite}.{name}/{severity:g}" if suite != name else f"{suite}/{severity:g}",
        suite=suite,
        condition=name,
        title=name.capitalize(),
        severity=severity,
        unit="share of area",
        order=order,
        params={"fill": "mean", "grid": [4, 4]},
        clipped=0.0,
        n=20,
        skipped=None,
        picture=None,
        metrics={
            "accuracy": Interval(accuracy, accuracy - 0.1, min(accuracy + 0.1, 1.0)),
            "auroc": Interval(None),
        },
    )


@pytest.fixture
def results() -> Results:
    curve = Curve(
        "occlusion",
        "random.painted",
        "Random patches painted",
        "share of area",
        0.0,
        [0.0, 0.5],
        Interval(0.8, 0.7, 0.9),
        Threshold(0.8, Interval(0.25, 0.1, None), never_below=False, share_below=0.9),
    )
    return Results(
        schema_version=1,
        created="2026-01-31T12:00:00+00:00",
        vitkit="0.1.0",
        git=None,
        command="vitkit evaluate best.ckpt",
        seed=0,
        packages={"torch": "2.6"},
        hardware="x86_64, 2 cores, cpu",
        model=ModelInfo("best.ckpt", "sha256:0", 123, 10),
        data=DataInfo("Digits", "test", 20, ["0", "1"], "sha256:1"),
        preprocess=None,
        suite=SuiteInfo("quick", {"name": "quick", "conditions": []}),
        warnings=[],
        conditions=[condition("clean", "clean", 0.0, 0.9, 0), condition("occlusion", "random.painted", 0.5, 0.7, 1)],
        curves=[curve],
        comparisons=[
            Comparison(
                "missingness bias",
                "occlusion",
                "random.removed",
                "random.painted",
                [Point(0.5, 0.1, 0.0, 0.2)],
                Interval(0.05, 0.0, 0.1),
            )
        ],
    )


class TokenModel(torch.nn.Module):
    """Four by four tokens of two pixels each, each through a small network, and the mean of those that are kept."""

    def __init__(self, channels=1, ndim=2, classes=3, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            width = channels * 2**ndim
            self.embed = torch.nn.Sequential(torch.nn.Linear(width, 33), torch.nn.GELU(), torch.nn.Linear(33, 33))
            self.position = torch.nn.Parameter(torch.randn(4**ndim, 33))
            self.norm, self.head = torch.nn.LayerNorm(33), torch.nn.Linear(33, classes)
        self.ndim, self.channels, self.num_classes = ndim, channels, classes
        self.preprocess = Preprocess((8,) * ndim, mean=(0.5,) * channels, std=(0.25,) * channels)

    def grid(self, size):
        return Grid(tuple(length // 2 for length in size), (2.0,) * self.ndim)

    def forward(self, images, keep=None):
        tokens = self.preprocess.normalise(images)
        for axis in range(self.ndim):
            tokens = tokens.unfold(2 + axis, 2, 2)
        tokens = tokens.movedim(1, self.ndim).reshape(len(images), 4**self.ndim, self.channels * 2**self.ndim)
        tokens = torch.tanh(self.embed(tokens) + self.position)
        if keep is not None:
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        return 20 * self.head(self.norm(tokens.mean(1)))


@pytest.fixture
def model():
    return TokenModel()


class Samples(torch.utils.data.Dataset):
    """Noise, with what the model says of it as the label, but for every fifth."""

    def __init__(self, n=50, size=(1, 8, 8), classes=3, model=None):
        self.images = torch.rand(n, *size, generator=torch.Generator().manual_seed(0))
        self.labels = (torch.arange(n) % classes).tolist()
        if model is not None:
            said = model(self.images).argmax(1)
            self.labels = torch.where(torch.arange(n) % 5 == 0, (said + 1) % classes, said).tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Sample(self.images[index], self.labels[index], f"scan/{index}.png")


class Sample(NamedTuple):
    image: torch.Tensor
    label: int
    id: str


@pytest.fixture
def loader(model):
    with torch.inference_mode():
        samples = Samples(model=model)
    return torch.utils.data.DataLoader(samples, batch_size=16)
