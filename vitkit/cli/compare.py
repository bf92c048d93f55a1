"""``vitkit compare``: finished evaluations against one another, on the same samples."""

import argparse
from pathlib import Path

from rich.console import Console

from vitkit.cli.arguments import Parser
from vitkit.cli.say import remark, say

_EPILOG = """\
The runs must be of the same samples, suite and seed; what else differs between them is listed on the page. Differences are the
run's minus the baseline's, paired by sample, with 95 % intervals and p-values adjusted for their number (Holm).

examples:
  vitkit compare runs/vit/robustness runs/resnet/robustness --out runs/comparison
  vitkit compare runs/a runs/b runs/c --baseline runs/c --out page
"""


def main(argv: list[str]) -> int:
    """Compare runs; returns the exit code."""
    arguments = _parse(argv)
    # Imported here, so that help comes at once.
    from vitkit.evaluation import compare
    from vitkit.report import comparison_table, write_comparison

    comparison, results = compare(arguments.folders, arguments.baseline)
    page = write_comparison(comparison, results, arguments.out)
    Console(soft_wrap=False).print(comparison_table(comparison, results))
    for flag in comparison.flags:
        remark(f"the runs differ in {flag.field}: {'; '.join(flag.values)}")
    for reason in comparison.left_out:
        remark(f"left out: {reason}")
    say(f"comparison: {page}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    description = "Compare evaluations on the same samples, and write a page, tables and figures about their differences."
    parser = Parser("vitkit compare", "FOLDER FOLDER [FOLDER ...] [OPTIONS]", description, _EPILOG)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="what `vitkit evaluate` was given as --out")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs/comparison"),
        help="folder of the page; runs/comparison if not given",
    )
    parser.add_argument(
        "--baseline", metavar="FOLDER", type=Path, help="the run the others are held against; the first if not given"
    )
    return parser.parse_args(argv)
