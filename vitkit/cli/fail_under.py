"""``--fail-under METRIC=VALUE``: numbers that a model must reach, for a continuous check."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

from vitkit.errors import UsageError
from vitkit.evaluation import Results

# Only what is better when higher can be failed by being under a value.
OF_A_CONDITION = ("accuracy", "auroc")
OF_A_CURVE = ("auc", "threshold")


@dataclass(frozen=True)
class Requirement:
    """A number to reach.

    Args:
        metric: ``clean.accuracy``, ``SUITE.CONDITION/SEVERITY.accuracy``, ``SUITE.CONDITION.auc``, or
            ``SUITE.CONDITION.threshold``, the severity at which accuracy falls below the suite's threshold.
        needed: The least that will do.

    >>> Requirement.parse("clean.accuracy=0.9")
    Requirement(metric='clean.accuracy', needed=0.9)
    """

    metric: str
    needed: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """From the command line.

        Raises:
            UsageError: Not of the form METRIC=VALUE.
        """
        metric, equals, value = text.rpartition("=")
        try:
            needed = float(value)
        except ValueError:
            needed = float("nan")
        if not equals or not metric or not isfinite(needed):
            raise UsageError(f"--fail-under {text}", "METRIC=VALUE", "Write, for example, clean.accuracy=0.9.")
        if needed > 1 and metric.endswith((".accuracy", ".auroc", ".auc")):
            raise UsageError(f"--fail-under {text}", "a share of 1 at most", f"Write {metric}={needed / 100:g} for {needed:g} %.")
        return cls(metric, needed)

    def named(self, conditions: Iterable[tuple[str, str, Sequence[float], float]]) -> list["Requirement"]:
        """What is required of a run of these (suite, condition, severities, identity), by full names.

        ``occlusion.random.auc`` stands for the areas of all conditions whose names begin so: painted and removed.

        Only a condition whose severities all lie above its identity has a ``threshold``: where they lie on both sides there is
        one for each, and where they lie below, a higher one is worse.

        Raises:
            UsageError: There is no such metric.
        """
        known = [f"clean.{metric}" for metric in OF_A_CONDITION]
        for suite, condition, severities, identity in conditions:
            known += [f"{suite}.{condition}.{metric}" for metric in OF_A_CURVE if metric == "auc" or min(severities) >= identity]
            known += [f"{suite}.{condition}/{severity:g}.{metric}" for severity in severities for metric in OF_A_CONDITION]
        name, _, metric = self.metric.rpartition(".")
        begun = [each for each in known if metric in OF_A_CURVE and each.startswith(f"{name}.") and each.endswith(f".{metric}")]
        if self.metric in known:
            return [self]
        if begun:
            return [Requirement(each, self.needed) for each in begun]
        close = get_close_matches(self.metric, known, n=3, cutoff=0.5) or known[:3]
        raise UsageError(
            f"--fail-under {self.metric}",
            "a metric that this suite measures and that is better when higher",
            f"Did you mean {' or '.join(close)}?",
        )

    def missed(self, results: Results) -> str | None:
        """One line with what was found and what was needed, or None if it was reached."""
        found, words = self._find(results)
        if found is not None and found >= self.needed:
            return None
        return f"{self.metric}: found {words}, needed at least {self.needed:g}"

    def _find(self, results: Results) -> tuple[float | None, str]:
        name, _, metric = self.metric.rpartition(".")
        if metric in OF_A_CONDITION:
            identifier = "clean/0" if name == "clean" else name
            [condition] = [condition for condition in results.conditions if condition.id == identifier]
            if condition.skipped is not None:
                return None, f"nothing ({condition.skipped})"
            return _described(condition.metrics[metric].value)
        curves = [curve for curve in results.curves if f"{curve.suite}.{curve.condition}" == name]
        if not curves:
            skipped = [c.skipped for c in results.conditions if f"{c.suite}.{c.condition}" == name and c.skipped]
            return None, f"nothing ({skipped[0]})" if skipped else "nothing"
        [curve] = curves
        if metric == "auc":
            return _described(curve.auc.value)
        if curve.threshold.never_below:
            return float("inf"), "never below"
        return _described(curve.threshold.severity.value)


def _described(value: float | None) -> tuple[float | None, str]:
    return value, "nothing (undefined for these samples)" if value is None else f"{value:.4g}"
