"""What every test starts from: no screen, one thread a process, no deadline for a property."""

import importlib.util
import os
from pathlib import Path

# Before torch and matplotlib are imported, and for the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jaxtyping
import pytest

# While jaxtyping imports a module of vitkit's, Python looks for the bytecode of whatever that module imports under the names of
# jaxtyping's too, finds none, and compiles torch and the like anew in each process: here only vitkit's has these names.
_named_by_jaxtyping = jaxtyping._import_hook._optimized_cache_from_source
_ours = str(Path(importlib.util.find_spec("vitkit").origin).parent)


def _cache_from_source(tag, /, path, debug_override=None):
    own = os.fspath(path).startswith(_ours)
    return _named_by_jaxtyping(tag, path, debug_override) if own else importlib.util.cache_from_source(path, debug_override)


jaxtyping._import_hook._optimized_cache_from_source = _cache_from_source

hypothesis.settings.register_profile("vitkit", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("vitkit")


@pytest.fixture
def unchecked(monkeypatch):
    """As a user runs vitkit: arguments are not held against their annotations, so vitkit's own errors have to speak."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
