"""``vitkit plan``: memory and time of a config's training, validation and inference, before anything runs."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitkit.cli.arguments import Parser
from vitkit.cli.say import say


def main(argv: list[str]) -> int:
    """Plan; returns 0 if training fits, otherwise 1."""
    examples = (
        "examples:\n  vitkit plan --config configs/image/digits.yaml\n"
        "  vitkit plan --config configs/image/digits.yaml --data.batch_size 4096 --memory 2GiB"
    )
    usage = "--config FILE [--config FILE ...] [--memory SIZE] [--json FILE] [--KEY VALUE ...]"
    parser = Parser("vitkit plan", usage, "Say what a training takes, in memory and time.", examples)
    parser.add_argument("--config", metavar="FILE", type=Path, action="append", required=True, help="a config, as for fit")
    parser.add_argument("--memory", metavar="SIZE", help="what there is, such as 8GiB; what is free now if not given")
    parser.add_argument("--size", metavar="LENGTH", type=int, nargs="+", help="pixels or voxels per axis, if not the config's")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where it is to run; where fit would if not given")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the plan to this file")
    parser.add_argument("--no-time", action="store_true", help="measure nothing, and estimate no time")
    arguments, rest = parser.parse_known_args(argv)
    given = [word for path in arguments.config for word in ("--config", str(path))]
    return _plan(arguments, [*given, *rest])


def _plan(arguments: Any, words: list[str]) -> int:
    # Imported here, so that help comes at once.
    from vitkit.cli.planning_cli import PlanningCLI
    from vitkit.cli.quiet import quiet
    from vitkit.files import replacing
    from vitkit.planning import calibrate, describe, format_memory, free_memory, parse_memory, plan, suggest
    from vitkit.planning.plan import PRECISIONS

    limit = None if arguments.memory is None else parse_memory(arguments.memory)
    with quiet():
        cli = PlanningCLI("fit", words, None)
    facts = cli.facts(arguments.device)
    batch, size = cli.datamodule.batch_size, arguments.size
    found = plan(cli.model, batch, size, **facts)
    speed = None
    if not arguments.no_time and found.device == _here():
        dtype, autocast = PRECISIONS[found.precision]
        speed = calibrate(found.device, autocast or dtype)
    for line in describe(found, speed):
        say(line)
    if getattr(cli.model.model, "background", None) is not None:
        say("all tokens are planned for; where half of them or more are background alone, they are left out, and it takes less")
    if speed is not None:
        rates = f"{speed.flops / 1e9:,.0f} GFLOP/s and {speed.bandwidth / 1e9:,.1f} GB/s"
        say(f"times are rough, from {rates} that were measured just now")
    if limit is None and found.device == "cuda" and found.device != _here():
        say("\nno GPU is here; --memory says how much one has")
        limit = found.peak
    limit = free_memory(found.device) if limit is None else limit
    fits = found.peak <= limit
    say(f"\n{'it fits' if fits else 'it does not fit'}: {format_memory(found.peak)} of {format_memory(limit)}")
    others = [] if fits else suggest(cli.model, batch, limit, size, **facts)
    for line in _others(others):
        say(line)
    if arguments.json is not None:
        tree = asdict(found) | {
            "limit": limit,
            "fits": fits,
            "seconds": None
            if speed is None
            else {name: getattr(found, name).seconds(speed) for name in ("training", "validation", "inference")},
            "alternatives": [
                {"name": item.name, "options": item.options, "peak": item.plan.peak, "fits": item.fits} for item in others
            ],
        }
        with replacing(arguments.json) as part:
            part.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    return 0 if fits else 1


def _others(others: list[Any]) -> Iterator[str]:
    from vitkit.planning import format_memory

    if not others:
        return
    width = max(len(item.name) for item in others)
    for item in others:
        verdict = "fits" if item.fits else "does not fit"
        yield f"  {item.name:{width}}  {format_memory(item.plan.peak):>12}  {verdict:12}  {item.options}"


def _here() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
