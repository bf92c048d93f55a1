"""Functions are told apart by what they do, and not by their names."""

import functools
import types

import numpy as np
import pytest
import torch

from vitkit.errors import UsageError
from vitkit.evaluation import Applied, Condition, Corruption, Gain, Suite, evaluate
from vitkit.evaluation.code import fingerprint_of

FACTOR = 2.0
CALLED = "class A:\n def __call__(self, x): return"


def made(source, **names):
    """A function ``f`` that is defined anew, in a module of its own."""
    module = types.ModuleType("mine")
    vars(module).update(names)
    exec(source, vars(module))
    return module.f


def around(value):
    return lambda images: images * value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x: x.sin(), lambda x: x.cos()),
        (lambda x: x in {1, 2}, lambda x: x in {1, 3}),
        (around(1), around(-1)),
        (around([[1], [2]]), around([[1, 2], []])),
        (around(torch.zeros(3)), around(torch.tensor([0.0, 0.0, 1e-9]))),
        (around(np.zeros(3)), around(np.zeros(3, np.float32))),
        (functools.partial(pow, 2), functools.partial(pow, 3)),
        (made("def f(x, y=1): return x"), made("def f(x, y=2): return x")),
        (made("def f(x): return x * FACTOR", FACTOR=1), made("def f(x): return x * FACTOR", FACTOR=2)),
        (made("def g(x): return x\ndef f(x): return g(x)"), made("def g(x): return -x\ndef f(x): return g(x)")),
        (made("def f(x): return [y for y in x if y > 1]"), made("def f(x): return [y for y in x if y > 2]")),
        (made(f"{CALLED} x\nf = A()"), made(f"{CALLED} -x\nf = A()")),
    ],
)
def test_what_does_other_things_is_another(one, other):
    assert fingerprint_of(one) != fingerprint_of(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda x: x + FACTOR,
        lambda: around(torch.arange(3.0)),
        lambda: around({"a": [1, 2.5, None]}),
        lambda: functools.partial(around(2), images=torch.ones(2)),
        lambda: made("def f(x): return f(x - 1) if x else x"),
        lambda: (
            torch.nn.Linear(2, 2).requires_grad_(False).apply(lambda m: torch.nn.init.ones_(m.weight).sum() and m.bias.zero_())
        ),
        lambda: torch.relu,
        lambda: lambda x: x in {"a", "b", "c"},
        lambda: made(f"{CALLED} super().__repr__()\nf = A()"),
    ],
)
def test_what_is_written_twice_is_the_same(make):
    assert fingerprint_of(make()) == fingerprint_of(make())


def loader():
    torch.manual_seed(0)
    return [(torch.rand(16, 3, 4, 4), torch.arange(16) % 4)]


def logits(sign):
    weights = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    return lambda images: sign * images.flatten(1) @ weights


def test_another_function_does_not_go_on_with_the_results_of_the_first(tmp_path):
    suite = Suite("one", [Gain([0.5])])
    first = evaluate(logits(1), loader(), suite, tmp_path)
    assert evaluate(logits(1), loader(), suite, tmp_path) == first
    with pytest.raises(UsageError, match=r"run\.json is of another run: its model"):
        evaluate(logits(-1), loader(), suite, tmp_path)


def test_a_corruption_that_was_edited_is_another(tmp_path):
    source = "def darker(images, severity, seeds): return images * (1 - FACTOR * severity)\nf = darker"
    suites = [Suite("one", [Corruption(made(source, FACTOR=factor), [1, 2])]) for factor in (0.1, 0.1, 0.2)]
    first = evaluate(logits(1), loader(), suites[0], tmp_path)
    assert evaluate(logits(1), loader(), suites[1], tmp_path) == first
    with pytest.raises(UsageError, match=r"run\.json is of another run: its code"):
        evaluate(logits(1), loader(), suites[2], tmp_path)


def test_a_condition_that_was_edited_is_another():
    def condition(factor):
        class Mine(Condition):
            suite, name, title, unit, severities = "mine", "darker", "Darker", "share", (0.5,)

            def apply(self, images, severity, context):
                return Applied(images * (1 - factor * severity))

        return Mine()

    assert condition(0.1).code() == condition(0.1).code() != condition(0.2).code()
    assert Gain([0.5]).code() is None
