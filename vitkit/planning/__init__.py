"""What a model takes, in memory and time, before anything runs."""

from vitkit.machine import format_memory, free_memory, parse_memory, total_memory
from vitkit.planning.calibration import Speed, calibrate
from vitkit.planning.describe import describe
from vitkit.planning.ledger import Ledger
from vitkit.planning.plan import Layer, Plan, Stage, plan
from vitkit.planning.suggest import Alternative, suggest

__all__ = [
    "Alternative",
    "Layer",
    "Ledger",
    "Plan",
    "Speed",
    "Stage",
    "calibrate",
    "describe",
    "format_memory",
    "free_memory",
    "parse_memory",
    "plan",
    "suggest",
    "total_memory",
]
