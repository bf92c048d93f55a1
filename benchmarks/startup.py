"""How long the command line takes to answer, each command in a fresh process."""

import statistics
import subprocess
import sys
import time

from harness import options, write

COMMANDS = (["--version"], ["ls", "suites"], ["fit", "--help"])
TARGETS = {"--version": 0.3, "ls suites": 0.6, "fit --help": 6.0}


def seconds(arguments: list[str]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vitkit.cli", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write: median of nine, against an interpreter that does nothing."""
    out, results = options("startup", __doc__).parse_args().out, {}
    for arguments in COMMANDS:
        times, bare = [], []
        for _ in range(9):
            times.append(seconds(arguments))
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", ""], check=True)
            bare.append(time.perf_counter() - start)
        name = " ".join(arguments)
        results[name] = {
            "seconds": round(statistics.median(times), 3),
            "target": TARGETS[name],
            "bare_interpreter": round(statistics.median(bare), 3),
        }
    write(out, results)


if __name__ == "__main__":
    main()
