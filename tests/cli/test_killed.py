"""A run that is killed and resumed gives what an unbroken one gives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vitkit.cli.main import main

CONF = Path(__file__).parents[1] / "conf"
KILL = """
import os, signal, sys
import lightning.pytorch as L

class Kill(L.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == 2 and trainer.global_step % 4 == 2:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    from vitkit.cli.main import main
    sys.exit(main(sys.argv[1:] + ["--trainer.callbacks+", "killing.Kill"]))
"""


def tensors(tree, name=""):
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if key != "callbacks":  # paths of the run folder are in its keys
                yield from tensors(value, f"{name}.{key}")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill like that")
def test_killed_and_resumed_equals_unbroken_bit_by_bit(tmp_path):
    configs = [word for name in ("tiny.yaml", "everything.yaml") for word in ("--config", str(CONF / name))]
    command = ["fit", *configs, "--trainer.max_epochs", "4"]
    (tmp_path / "killing.py").write_text(KILL)
    killed = subprocess.run(
        [sys.executable, "killing.py", *command, "--trainer.default_root_dir", "broken"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    broken, unbroken = tmp_path / "broken" / "tiny", tmp_path / "unbroken" / "tiny"
    assert not list(broken.glob(".*"))
    resume = ["--ckpt_path", str(broken / "last.ckpt"), "--trainer.default_root_dir", str(tmp_path / "broken")]
    assert torch.load(broken / "last.ckpt", weights_only=True)["epoch"] == 1
    assert main([*command, *resume]) == 0
    assert main([*command, "--trainer.default_root_dir", str(tmp_path / "unbroken")]) == 0
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (dict(tensors(torch.load(folder / name, weights_only=True))) for folder in (broken, unbroken))
        assert one.keys() == other.keys()
        assert len(one) > 100
        different = [key for key in one if not torch.equal(one[key], other[key])]
        assert not different, (name, different)
