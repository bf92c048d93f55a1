"""A plan as a table."""

from collections.abc import Iterator

from vitkit.machine import format_memory
from vitkit.planning.calibration import Speed
from vitkit.planning.plan import Plan, Stage

_HELD = {
    "parameters": "parameters",
    "optimiser": "AdamW's moments",
    "average": "averaged weights",
    "gradients": "gradients",
    "batch": "batch",
    "activations": "activations",
    "temporary": "largest temporary",
}
_MOMENTS = {"forward": "in the forward pass", "backward": "in the backward pass", "optimiser": "in the optimiser's step"}


def describe(plan: Plan, speed: Speed | None = None) -> Iterator[str]:
    """Lines for a terminal.

    Args:
        plan: The plan.
        speed: The machine's, for rough times.
    """
    tokens = " × ".join(map(str, plan.grid))
    size = " × ".join(map(str, plan.size))
    where = f"{plan.precision} on {plan.device}"
    yield f"{plan.batch_size} samples of {size}: {plan.prefix} prefix tokens and {tokens} patches, {where}"
    yield f"{plan.parameter_count:,} parameters; attention: {', '.join(plan.backends)} in training, " + (
        f"{', '.join(plan.evaluation_backends)} without gradients"
    )
    yield ""
    yield "memory of a training step"
    for name, words in _HELD.items():
        if size_of := getattr(plan, name):
            yield f"  {words:28}{format_memory(size_of):>12}" + (f"  {_MOMENTS[plan.moment]}" if name == "temporary" else "")
    yield ""
    yield "activations by layer, all blocks together"
    for layer in sorted(plan.layers, key=lambda layer: -layer.kept):
        if layer.kept > plan.activations // 1000:
            yield f"  {layer.name:28}{format_memory(layer.kept):>12}{layer.kept / plan.activations:>7.0%}"
    yield ""
    yield f"{'':30}{'peak':>12}{'GFLOP':>12}" + ("  rough time" if speed else "")
    for words, stage in (("training step", plan.training), ("validation step", plan.validation), ("inference", plan.inference)):
        yield f"{words:30}{format_memory(stage.peak):>12} {stage.flops / 1e9:>11,.2f}" + _time(stage, speed)


def _time(stage: Stage, speed: Speed | None) -> str:
    if speed is None:
        return ""
    seconds = stage.seconds(speed)
    return f"  {seconds:>8,.1f} s" if seconds >= 1 else f"  {1e3 * seconds:>7,.1f} ms"
