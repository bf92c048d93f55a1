"""A plan's peak beside the measured one: live bytes of tensors, the profiler's, and resident memory; in processes apart."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
from harness import _status, options, write
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from vitkit.attention import Axial, Pattern, Window
from vitkit.bias import Bias, NoBias, SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.planning import Ledger, plan
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks.optimiser import parameter_groups

DIM, HEADS, DEPTH, BATCH = 192, 3, 6, 4


def model(ndim: int, side: int, patch: int, bias: Bias = NoBias(), **more: Any) -> Classifier:
    """A small vision transformer."""
    encoder = Encoder(PatchEmbed(ndim, patch, 1, DIM), DEPTH, HEADS, bias=bias, **more)
    return Classifier(encoder, 10, Preprocess(size=(side,) * ndim))


def spectral(ndim: int) -> Bias:
    return SpectralBias(Exponential(HEADS, ndim, lengthscale=4.0))


def volume(pattern: Pattern, **more: Any) -> Classifier:
    """16³ tokens."""
    return model(3, 64, 4, spectral(3), pattern=pattern, **more)


MODELS: dict[str, Callable[[], Classifier]] = {
    "image, full": lambda: model(2, 128, 4),
    "image, spectral bias that learns": lambda: model(2, 128, 4, spectral(2), drop_path=0.1),
    "volume, full": lambda: model(3, 48, 4),
    "volume, window": lambda: volume(Window(4)),
    "volume, checkpointing": lambda: model(3, 48, 4, checkpointing=True),
    "volume, axial": lambda: volume(Axial(), class_token=False, pool="mean"),
}


def steps(net: Classifier, optimiser: torch.optim.Optimizer, count: int, start: Callable[[], object]) -> None:
    """Training steps in Lightning's order, of which the last is what is measured."""
    for index in range(count):
        if index == count - 1:
            start()
        images = torch.rand(BATCH, 1, *net.preprocess.size)
        loss = cross_entropy(net(images), torch.zeros(BATCH, dtype=torch.long))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def measure(name: str, way: str, threads: int, send: Any) -> None:
    """Peak of a training step with the optimiser's state and gradients in place, in bytes."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = MODELS[name]()
    optimiser = torch.optim.AdamW(parameter_groups(net, 1e-3, 0.05), lr=1e-3)
    held = sum(x.nbytes for x in net.parameters())
    if way == "live":
        with Ledger() as ledger:
            steps(net, optimiser, 2, ledger.start)
        send.send(held + ledger.peak)
    elif way == "profiler":
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            steps(net, optimiser, 2, lambda: None)
        events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
        live = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        send.send(held + peak)
    else:
        # The model is there already, and the libraries' own memory once one sample has gone through.
        net(torch.rand(1, 1, *net.preprocess.size)).sum().backward()
        optimiser.zero_grad()
        before = _status("VmRSS")
        steps(net, optimiser, 2, lambda: None)
        send.send(held + _status("VmHWM") - before)


def apart(name: str, way: str) -> int:
    """Measure in a fresh process."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, way, torch.get_num_threads(), send))
    process.start()
    send.close()
    try:
        return int(receive.recv())
    finally:
        process.join()


def row(name: str) -> dict[str, Any]:
    """Estimate, measured, ratio."""
    found = plan(MODELS[name](), BATCH)
    peaks = {way: apart(name, way) for way in ("live", "profiler", "resident")}
    line = {"backend": ", ".join(found.backends), "estimate_mib": round(found.training.peak / 2**20, 1)}
    for way, peak in peaks.items():
        line |= {f"{way}_mib": round(peak / 2**20, 1), f"{way}_ratio": round(found.training.peak / peak, 3)}
    return line


def main() -> None:
    """Measure and write."""
    parser = options("plan", __doc__)
    parser.add_argument("--only", default="", help="models whose name holds this")
    arguments = parser.parse_args()
    write(arguments.out, {name: row(name) for name in MODELS if arguments.only in name})


if __name__ == "__main__":
    main()
