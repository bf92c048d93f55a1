"""``vitkit report``: metrics and page of a finished evaluation made again from its samples, without the model."""

from pathlib import Path

from rich.console import Console

from vitkit.cli.arguments import Parser
from vitkit.cli.say import say
from vitkit.evaluation import Results


def main(argv: list[str]) -> int:
    """Make a folder's results and page again; returns the exit code."""
    description = "Compute the metrics of a finished evaluation again from its stored samples, and draw its page."
    parser = Parser("vitkit report", "FOLDER", description, "example:\n  vitkit report runs/digits/robustness")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what `vitkit evaluate` was given as --out")
    folder: Path = parser.parse_args(argv).folder
    # Imported here, so that help comes at once.
    from vitkit.evaluation import summarise
    from vitkit.report import write_report

    results = summarise(folder)
    show(results, write_report(folder))
    return 0


def show(results: Results, page: Path) -> None:
    """Print the table, the first answer in a sentence, and where the page is."""
    from vitkit.report import table
    from vitkit.report.drift import certified
    from vitkit.report.track import tracks
    from vitkit.report.words import answers

    Console(soft_wrap=False).print(table(results))
    for answer in answers(results, tracks(results))[:1]:
        say(f"{answer.title}: {' '.join(map(str, answer.sentences))}")
    if results.certificate is not None:
        say(str(certified(results.certificate)))
    say(f"report: {page}")
