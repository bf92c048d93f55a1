"""``vitkit make-phantoms``: a small data set of generated scans."""

from pathlib import Path

from vitkit.cli.arguments import Parser
from vitkit.cli.say import say


def main(argv: list[str]) -> int:
    """Write the data set; returns the exit code."""
    description = (
        "Write a small data set of generated NIfTI scans with masks: two classes that differ in the volume of an\n"
        "ellipsoid, oblique and flipped affines, two spacings, and manifest.csv. Nothing is overwritten."
    )
    examples = "examples:\n  vitkit make-phantoms phantoms\n  vitkit make-phantoms phantoms --count 200 --seed 1"
    parser = Parser("vitkit make-phantoms", "OUT [--count N] [--seed S]", description, examples)
    parser.add_argument("out", metavar="OUT", type=Path, help="a new or empty folder")
    parser.add_argument("--count", metavar="N", type=int, default=80, help="scans, two of each patient; 80 if not given")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="the same seed gives the same files; 0 if not given")
    arguments = parser.parse_args(argv)
    # Imported here, so that help comes at once.
    from vitkit.volumes import make_phantoms

    manifest = make_phantoms(arguments.out, arguments.count, arguments.seed)
    say(f"{arguments.count} scans with masks: {manifest}")
    return 0
