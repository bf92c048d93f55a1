"""What every test starts from: no screen, one thread a process, no deadline for a property."""

import os

# Before torch and matplotlib are imported, and for the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jaxtyping
import pytest

hypothesis.settings.register_profile("vitkit", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("vitkit")


@pytest.fixture
def unchecked(monkeypatch):
    """As a user runs vitkit: arguments are not held against their annotations, so vitkit's own errors have to speak."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
