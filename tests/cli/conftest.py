"""The command line leaves its traces in the environment; a test must not."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def environment(unchecked):
    """As a user's: shapes are not checked either, which the tests of each room do, and which takes a third of the time."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def conf():
    return Path(__file__).parents[1] / "conf"
