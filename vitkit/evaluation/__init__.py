"""Model, data and suite in; results in one documented schema out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitkit.evaluation.bundled import bundled_suites
    from vitkit.evaluation.comparison import RunComparison, compare
    from vitkit.evaluation.condition import Applied, Condition, Context
    from vitkit.evaluation.conditions.brightness import Contrast, Gain, Gamma, HSVValue, Shift
    from vitkit.evaluation.conditions.corruption import Corruption
    from vitkit.evaluation.conditions.occlusion import (
        BorderOcclusion,
        CheckerboardOcclusion,
        HoleOcclusion,
        MissingSlab,
        MissingSlices,
        RandomOcclusion,
        SalientOcclusion,
        ShuffledPatches,
    )
    from vitkit.evaluation.profiles.certificate import certify
    from vitkit.evaluation.profiles.kinds import AffineDrift, Drift, GammaDrift, HSVValueDrift
    from vitkit.evaluation.profiles.measure import drift
    from vitkit.evaluation.results import DataInfo, Results, load_results
    from vitkit.evaluation.run import evaluate
    from vitkit.evaluation.suite import Suite
    from vitkit.evaluation.summary import summarise

# Imported when asked for: results and the names of suites are wanted within milliseconds, without torch.
_HOMES = {
    "AffineDrift": "profiles.kinds",
    "Applied": "condition",
    "BorderOcclusion": "conditions.occlusion",
    "CheckerboardOcclusion": "conditions.occlusion",
    "Condition": "condition",
    "Context": "condition",
    "Contrast": "conditions.brightness",
    "Corruption": "conditions.corruption",
    "DataInfo": "results",
    "Drift": "profiles.kinds",
    "Gain": "conditions.brightness",
    "Gamma": "conditions.brightness",
    "GammaDrift": "profiles.kinds",
    "HSVValue": "conditions.brightness",
    "HSVValueDrift": "profiles.kinds",
    "HoleOcclusion": "conditions.occlusion",
    "MissingSlab": "conditions.occlusion",
    "MissingSlices": "conditions.occlusion",
    "RandomOcclusion": "conditions.occlusion",
    "Results": "results",
    "RunComparison": "comparison",
    "SalientOcclusion": "conditions.occlusion",
    "Shift": "conditions.brightness",
    "ShuffledPatches": "conditions.occlusion",
    "Suite": "suite",
    "bundled_suites": "bundled",
    "compare": "comparison",
    "certify": "profiles.certificate",
    "drift": "profiles.measure",
    "evaluate": "run",
    "load_results": "results",
    "summarise": "summary",
}

__all__ = [
    "AffineDrift",
    "Applied",
    "BorderOcclusion",
    "CheckerboardOcclusion",
    "Condition",
    "Context",
    "Contrast",
    "Corruption",
    "DataInfo",
    "Drift",
    "Gain",
    "Gamma",
    "GammaDrift",
    "HSVValue",
    "HSVValueDrift",
    "HoleOcclusion",
    "MissingSlab",
    "MissingSlices",
    "RandomOcclusion",
    "Results",
    "RunComparison",
    "SalientOcclusion",
    "Shift",
    "ShuffledPatches",
    "Suite",
    "bundled_suites",
    "certify",
    "compare",
    "drift",
    "evaluate",
    "load_results",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
