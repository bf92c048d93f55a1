"""What every test starts from: no screen, one thread a process, no deadline for a property."""

import os

# Before torch and matplotlib are imported, and for the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis

hypothesis.settings.register_profile("vitkit", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("vitkit")
