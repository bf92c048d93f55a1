"""Peak memory of an evaluation of 1,000 to 180,000 samples, and of 5, 50 and 150 conditions; it should level off.

Each is measured in a process of its own.
"""

import resource
import subprocess
import sys
import tempfile

import torch
from harness import options, write

from vitkit.evaluation import Gain, RandomOcclusion, Suite, evaluate

SIZES = (1_000, 20_000, 60_000, 180_000)
CONDITIONS = (5, 50, 150)  # the clean pass among them


class Noise(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Pictures of 3 x 32 x 32 that are made when asked for."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= self.n:
            raise IndexError(index)
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index)), index % 10


def measure(n: int, conditions: int) -> int:
    """Peak resident memory of this process after an evaluation of n samples under so many conditions, in KiB."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 4, 4), torch.nn.GELU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 10)
    )
    gains = [0.5 + index / conditions for index in range(conditions - 3)]
    suite = Suite("memory", [RandomOcclusion("painted", [0.25, 0.5]), Gain(gains)])
    with tempfile.TemporaryDirectory() as out:
        evaluate(model, torch.utils.data.DataLoader(Noise(n), batch_size=64), suite, out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure each size in a process of its own, and write the ratio."""
    parser = options("evaluate_memory", __doc__)
    parser.add_argument(
        "--measure",
        type=int,
        nargs=2,
        metavar=("SAMPLES", "CONDITIONS"),
        help="print the peak of one run, in KiB, and nothing else",
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(measure(*arguments.measure))
        return
    peaks = {}
    for key in [*((n, CONDITIONS[0]) for n in SIZES), *((SIZES[0], count) for count in CONDITIONS[1:])]:
        command = [sys.executable, __file__, "--measure", *map(str, key)]
        peaks[key] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    first = (SIZES[0], CONDITIONS[0])
    results = {f"peak_mib_{n}": round(peaks[n, CONDITIONS[0]] / 1024, 1) for n in SIZES}
    results |= {f"ratio_{n}_to_{SIZES[0]}": round(peaks[n, CONDITIONS[0]] / peaks[first], 4) for n in SIZES[1:]}
    results |= {f"peak_mib_of_{count}_conditions": round(peaks[SIZES[0], count] / 1024, 1) for count in CONDITIONS}
    results |= {
        f"ratio_of_{n}_to_{CONDITIONS[0]}_conditions": round(peaks[SIZES[0], n] / peaks[first], 4) for n in CONDITIONS[1:]
    }
    write(arguments.out, results)


if __name__ == "__main__":
    main()
