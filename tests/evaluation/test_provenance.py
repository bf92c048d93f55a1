import subprocess
from datetime import datetime, timedelta

import torch

from vitkit.evaluation import provenance


def test_the_commit_is_that_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() is None
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *command], check=True)
    first = provenance.commit()
    assert len(first) >= 7
    (tmp_path / "file").write_text("1")
    subprocess.run(["git", "add", "file"], check=True)
    assert provenance.commit() == f"{first}-dirty"


def test_a_machine_without_git_is_fine(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None


def test_machine_and_time():
    assert provenance.hardware(torch.device("cpu")).endswith(" cores, cpu")
    assert datetime.fromisoformat(provenance.now()).utcoffset() == timedelta(0)
    assert {"python", "torch", "numpy"} <= set(provenance.packages())
