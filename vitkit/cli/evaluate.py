"""``vitkit evaluate``: a robustness suite over any model, and a page about it."""

import argparse
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vitkit.cli.arguments import Parser
from vitkit.cli.fail_under import Requirement
from vitkit.cli.say import remark, say
from vitkit.errors import UsageError
from vitkit.files import require_writable

_EPILOG = """\
MODEL is the path of a checkpoint that `vitkit fit` wrote, or a backbone (see `vitkit ls backbones`).

examples:
  vitkit evaluate runs/digits/best.ckpt --suite quick --out runs/digits/robustness
  vitkit evaluate timm:vit_small_patch16_224 --weights my.safetensors --data configs/data/folder.yaml --data.root pictures
  vitkit evaluate torchvision:resnet50.IMAGENET1K_V1 --pretrained --data ImageFolder --data.root imagenet --limit 5000
  vitkit evaluate runs/digits/best.ckpt --fail-under clean.accuracy=0.9 occlusion.random.painted.auc=0.6
  torchrun --nproc-per-node 4 --no-python vitkit evaluate runs/digits/best.ckpt --suite full --out runs/digits/full

exit codes: 0 success, 1 failure, 2 usage, 3 a threshold of --fail-under missed
"""


def main(argv: list[str]) -> int:
    """Evaluate a model; returns the exit code."""
    arguments, overrides = _parse(argv)
    requirements = [Requirement.parse(text) for text in arguments.fail_under]
    for name, value, least in (("batch-size", arguments.batch_size, 1), ("num-workers", arguments.num_workers, 0)):
        if value is not None and value < least:
            raise UsageError(f"--{name} {value}", f"{least} at least", "Leave it out to take the data's own.")
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}", "one sample at least", "Leave it out to take all of them.")
    # Imported here, so that help and mistakes in the flags come at once.
    import torch

    from vitkit.cli.loading import check_colours, check_fit, load_model, make_data, make_loader
    from vitkit.cli.report import show
    from vitkit.evaluation import DataInfo, Suite, evaluate
    from vitkit.report import write_report

    suite = Suite.load(arguments.suite)
    conditions = [(c.suite, c.name, c.severities, c.identity) for c in suite.conditions]
    requirements = [named for requirement in requirements for named in requirement.named(conditions)]
    device = _device(arguments.device, torch.cuda.is_available())
    torch.manual_seed(arguments.seed)  # weights that stay random are the same in every run
    model = load_model(arguments.model, arguments.weights, arguments.pretrained, arguments.num_classes).eval()
    data = make_data(arguments.data, overrides, getattr(model, "data_config", None))
    data.preprocess = model.preprocess
    data.batch_size = arguments.batch_size or data.batch_size
    data.num_workers = data.num_workers if arguments.num_workers is None else arguments.num_workers
    data.split(arguments.split)  # first, since a folder that is no class counts as one until it is looked into
    check_fit(model, data)
    loader = make_loader(data, arguments.split, arguments.limit)
    if arguments.grey == "error":
        check_colours(model, data, loader.dataset)
    whole, chosen = len(data.split(arguments.split)), len(loader.dataset)  # type: ignore[arg-type]
    warnings = [f"Only {chosen} of the {whole} samples were evaluated, spread evenly over the split."] if chosen < whole else []
    if arguments.grey == "repeat" and model.preprocess.channels > 1:
        told = f"the model was given the grey in each of its {model.preprocess.channels} channels"
        warnings.append(f"Grey pictures were let pass: {told}.")
    if note := data.layout.note:
        warnings.append(f"{data.layout.source} has {note}: this is the split {arguments.split}, {whole} samples.")
        remark(f"warning: {warnings[-1]}")
    out = Path(arguments.out or Path("runs") / f"{_label(arguments.model)}-{suite.name}")
    require_writable(out)  # before the work, not after it
    if getattr(model, "random_weights", False):
        remark(f"warning: the weights of {arguments.model} are random; give --weights FILE or --pretrained")
    say(f"{arguments.model} on {chosen} samples of {data.name} ({arguments.split}): {len(suite)} passes into {out}{_there(out)}")
    with progress_on(Console(stderr=True)) as progress:
        results = evaluate(
            model,
            loader,
            suite,
            out,
            seed=arguments.seed,
            name=arguments.model,
            device=device,
            progress=progress,
            data_info=DataInfo(
                name=data.name,
                split=arguments.split,
                classes=list(data.classes),
                fingerprint=data.fingerprint(arguments.split, loader.dataset.indices),  # type: ignore[attr-defined]  # a subset
            ),
            command=shlex.join(["vitkit", "evaluate", *argv]),
            warnings=warnings,
            guard=not arguments.force,
        )
    for warning in results.warnings if arguments.force else []:
        remark(f"warning: {warning}")
    if _rank() > 0:  # one process of several tells
        return 0
    page = write_report(out)
    show(results, page)
    missed = [line for requirement in requirements if (line := requirement.missed(results)) is not None]
    for line in missed:
        remark(f"threshold missed: {line}")
    return 3 if missed else 0


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    description = "Run a robustness suite over a model, and write its results and a page about them."
    parser = Parser("vitkit evaluate", "MODEL [OPTIONS]", description, _EPILOG)
    parser.add_argument("model", metavar="MODEL", help="checkpoint, timm:NAME or torchvision:NAME")
    model = parser.add_argument_group("model")
    model.add_argument("--weights", metavar="FILE", help="weights of a backbone: .safetensors, or .pth with tensors alone")
    model.add_argument("--pretrained", action="store_true", help="let the backbone's library download its weights")
    model.add_argument("--num-classes", metavar="N", type=int, help="classes of a backbone; the library's default if not given")
    model.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it runs; cuda where there is one")
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="DATA", help="YAML file or class; what the checkpoint was trained on if not given")
    data.add_argument(
        "--data.ARG", metavar="VALUE", dest="_", help="an argument of the data's class, such as --data.root pictures"
    )
    data.add_argument("--split", choices=("train", "val", "test"), default="test", help="which part of it; test if not given")
    data.add_argument("--limit", metavar="N", type=int, help="so many samples, spread evenly over the split, and not all")
    data.add_argument(
        "--grey",
        choices=("error", "repeat"),
        default="error",
        help="what to do with grey pictures for a model of colours that was not trained on them: refuse, or repeat the grey",
    )
    data.add_argument("--batch-size", metavar="N", type=int, help="samples read at once; changes no result")
    data.add_argument("--num-workers", metavar="N", type=int, help="processes that read pictures; changes no result")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--suite", metavar="SUITE", default="quick", help="name (`vitkit ls suites`) or YAML file; quick if not given"
    )
    run.add_argument("--out", metavar="DIR", help="folder of the results; runs/MODEL-SUITE if not given")
    run.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of the random choices and of the intervals; 0 if not given"
    )
    run.add_argument(
        "--force",
        action="store_true",
        help="go on where a guard finds the model or the data wrong; the results say what it found",
    )
    run.add_argument(
        "--fail-under",
        metavar="METRIC=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="exit with 3 if a metric is below a value: clean.accuracy, SUITE.CONDITION.auc, SUITE.CONDITION.threshold, "
        "SUITE.CONDITION/SEVERITY.accuracy",
    )
    overrides, rest = _split(argv)
    return parser.parse_args(rest), overrides


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments of the data's class, which only it knows, and all others."""
    overrides, rest, words = [], [], iter(argv)
    for word in words:
        if not word.startswith("--data."):
            rest.append(word)
        elif "=" in word:
            overrides.append(word)
        elif (value := next(words, None)) is not None:
            overrides.append(f"{word}={value}")
        else:
            raise UsageError(f"{word} at the end", "a value after it", "Write, for example, --data.root pictures.")
    return overrides, rest


def _there(out: Path) -> str:
    """What of a run is in its folder already, in words."""
    if (out / "samples.parquet").exists():
        return ", which holds a finished run"
    parts = len(list((out / "parts").glob("[!.]*.parquet")))
    return f", which holds {parts} finished pass{'es' if parts > 1 else ''}" if parts else ""


def _device(choice: str, available: bool) -> str:
    if choice == "cuda" and not available:
        raise UsageError("--device cuda without such a device", "a GPU that torch can use", "Use --device cpu.")
    chosen = choice if choice != "auto" else "cuda" if available else "cpu"
    local = os.environ.get("LOCAL_RANK", "")  # of several processes each takes a GPU of its own
    return f"cuda:{local}" if chosen == "cuda" and local.isdecimal() else chosen


def _rank() -> int:
    """Which of the processes that were started together this is."""
    told = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return int(told) if told.isdecimal() else 0


def _label(model: str) -> str:
    """The model's name as part of a folder's: of a checkpoint, its own folder and its name."""
    path = Path(model)
    words = f"{path.resolve().parent.name}-{path.stem}" if path.is_file() else model
    return "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in words)


class Lines:
    """Progress as a line for each condition, for logs."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, done: int, total: int, name: str) -> None:
        """Print the condition's name once."""
        if name != self._last:
            self._last = name
            remark(f"{name} ({done * 100 // total} % done)")


@contextmanager
def progress_on(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, and a line for each condition elsewhere."""
    if not console.is_terminal:
        yield Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("clean/0", total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=name)
