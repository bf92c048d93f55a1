"""One device for the commands that go through the samples once."""

from typing import Any

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry

from vitkit.cli.say import remark


def first_device(devices: list[int] | str | int) -> list[int] | str | int:
    """One of the devices that ``trainer.devices`` asks for, by their number or by indices; what Lightning refuses stays as it is.

    >>> first_device("auto"), first_device(2), first_device([1, 3]), first_device("1,3")
    (1, 1, [1], '1,')
    """
    match devices:
        case list():
            return devices[:1]
        case str() if "," in devices:
            return devices.partition(",")[0] + ","
        case "auto" | "-1" | -1:
            return 1
        case str() if devices.isdecimal():
            return min(int(devices), 1)
        case int():
            return min(devices, 1)
    return devices


def on_one_device(config: dict[str, Any], command: str) -> dict[str, Any]:
    """The trainer's options for a command that goes through the samples once, told of if they ask for more than one device.

    Several processes would share the samples out. A distributed sampler repeats some so that each process has as many, and these
    would count twice in a score; and each process would write the file of predictions, of which the last would stay. The options
    may come from the config of a training on several devices, so they are no mistake.

    Args:
        config: Options of Lightning's trainer.
        command: Its name, for the remark.
    """
    devices, nodes, strategy = config["devices"], config["num_nodes"], config["strategy"]
    first = first_device(devices)
    several = [f"trainer.devices is {devices}"] if devices != "auto" and str(first) != str(devices) else []
    several += [f"trainer.num_nodes is {nodes}"] if nodes > 1 else []
    if (started := torchrun()) is not None and started.world_size() > 1:
        several.append(f"torchrun started {started.world_size()} processes")
    if several:
        remark(f"{command} runs on one device, though {' and '.join(several)}, so that each sample counts once")
    # A name that Lightning does not know is left for it to refuse.
    single = isinstance(strategy, SingleDeviceStrategy) or (
        isinstance(strategy, str) and strategy.lower() not in StrategyRegistry
    )
    return config | {"devices": first, "num_nodes": min(nodes, 1), "strategy": strategy if single else "auto"}


def torchrun() -> TorchElasticEnvironment | None:
    """What torchrun says of the processes it started, or None if it started none."""
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else None
