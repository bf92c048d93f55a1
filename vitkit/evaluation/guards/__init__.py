"""Guards: what would make every number of a run wrong without anybody noticing, found before it is run.

Each guard yields findings, which :class:`Guards` refuses, or writes down where it was told to go on.
"""

from vitkit.evaluation.guards.class_order import ClassOrder
from vitkit.evaluation.guards.findings import Guards
from vitkit.evaluation.guards.normalisation import check_normalisation, clearly_better
from vitkit.evaluation.guards.probe import Probe
from vitkit.evaluation.guards.setup import check_setup
from vitkit.evaluation.guards.state import check_state

__all__ = ["ClassOrder", "Guards", "Probe", "check_normalisation", "check_setup", "check_state", "clearly_better"]
