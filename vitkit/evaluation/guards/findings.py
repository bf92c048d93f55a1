"""What becomes of a finding."""

from collections.abc import Iterable

from vitkit.errors import UsageError


class Guards:
    """What to do with a finding.

    Args:
        refuse: Whether to refuse; otherwise findings are kept as ``warnings`` of the results.
    """

    def __init__(self, refuse: bool) -> None:
        self.refuse = refuse
        self.warnings: list[str] = []

    def __call__(self, findings: Iterable[UsageError]) -> None:
        """Take the findings.

        Raises:
            UsageError: There is one, and it is to be refused.
        """
        for finding in findings:
            if self.refuse:
                remedy = f"{finding.remedy} If it is meant so, --force (guard=False) goes on, and the results say it."
                raise UsageError(finding.found, finding.expected, remedy)
            self.warnings.append(f"A guard was told to go on. It found {finding.found}; expected {finding.expected}.")
