import errno
import os
import pickle
import re
import resource
from pathlib import Path

import pytest
import torch

from vitkit.errors import CheckpointError, UsageError
from vitkit.tasks import AtomicCheckpointIO, ClassificationTask, load_checkpoint, read_checkpoint, restore


def saved(task, path):
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return path


class Code:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_checkpoint_alone_makes_the_model_again(task, tmp_path):
    source = task(num_classes=4, depth=1, mixup=0.2, class_weights=[1.0, 2.0, 3.0, 4.0])
    source.classes, source.data_name, source.data_config = list("abcd"), "Letters", {"class_path": "x.Y", "init_args": {}}
    loaded = load_checkpoint(saved(source, tmp_path / "a.ckpt"))
    images = torch.rand(2, 1, 8, 8)
    assert isinstance(loaded, ClassificationTask)
    assert torch.equal(loaded(images), source.eval()(images))
    assert (loaded.classes, loaded.data_name) == (list("abcd"), "Letters")
    assert loaded.data_config == {"class_path": "x.Y", "init_args": {}}
    assert loaded.preprocess == source.preprocess
    assert loaded.grid((8, 8)).shape == (2, 2)
    assert not loaded.training


def test_a_checkpoint_does_not_remember_where_it_warm_started(task, tmp_path):
    path = saved(task(), tmp_path / "a.ckpt")
    warm = saved(task(weights=str(path)), tmp_path / "b.ckpt")
    path.unlink()
    assert load_checkpoint(warm).num_classes == 10


def test_saving_replaces_and_leaves_nothing_else(tmp_path):
    io = AtomicCheckpointIO()
    for value in (1, 2):
        io.save_checkpoint({"state_dict": {}, "value": value}, tmp_path / "new" / "a.ckpt")
    assert io.load_checkpoint(tmp_path / "new" / "a.ckpt")["value"] == 2
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "a.ckpt"]
    io.remove_checkpoint(tmp_path / "new" / "a.ckpt")
    assert not list((tmp_path / "new").iterdir())


def refused_to_save(path, checkpoint):
    before = path.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    return str(caught.value)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, path)

    def full(checkpoint, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    message = refused_to_save(path, {"state_dict": {"weight": torch.zeros(3_000_000)}})
    assert message == (
        f"the checkpoint {path} could not be written (No space left on device); the one before it is intact; expected a "
        f"writable folder with about 12 MB free. Free some space or choose another folder, then resume with --ckpt_path {path}."
    )


def test_a_real_limit_on_the_file_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        message = refused_to_save(path, {"state_dict": {"weight": torch.zeros(1_000_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not be written (File too large); the one before it is intact" in message


@pytest.mark.parametrize("elements", [1, 1_000_000])  # the first fits into a buffer, and fails as it is closed
def test_where_there_is_no_room_for_the_first_checkpoint(tmp_path, elements):
    path = tmp_path / "run" / "best.ckpt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(CheckpointError) as caught:
            AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(elements)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"the checkpoint {path} could not be written (File too large); expected" in str(caught.value)
    assert str(caught.value).endswith("Free some space or choose another folder, then run the command again.")
    assert not list(path.parent.iterdir())


def test_what_torch_says_where_it_hides_what_the_system_said(tmp_path, monkeypatch):
    def hidden(checkpoint, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 0")

    monkeypatch.setattr(torch, "save", hidden)
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(CheckpointError) as caught:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "best.ckpt")
    assert "could not be written (no room on the disk); expected" in str(caught.value)
    assert str(caught.value).endswith(f"then resume with --ckpt_path {tmp_path / 'last.ckpt'}.")


@pytest.mark.parametrize("step", ["mkdir", "touch"])
def test_a_read_only_file_system_is_told_of(tmp_path, monkeypatch, step):
    def fail(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(CheckpointError, match=r"a\.ckpt could not be written \(Read-only file system\)"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "a.ckpt")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir(mode=0o500)
    with pytest.raises(CheckpointError, match="Permission denied"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, folder / "a.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(task, tmp_path, share):
    path = saved(task(), tmp_path / "a.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (read_checkpoint, load_checkpoint, AtomicCheckpointIO().load_checkpoint):
        with pytest.raises(CheckpointError, match=r"a.ckpt .*truncated"):
            read(path)


def test_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": Code(tmp_path / "ran")}, tmp_path / "zip.ckpt")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / f"plain{protocol}.ckpt").write_bytes(pickle.dumps({"state_dict": Code(tmp_path / "ran")}, protocol))
    for name in ("zip.ckpt", *(f"plain{protocol}.ckpt" for protocol in range(pickle.HIGHEST_PROTOCOL + 1))):
        with pytest.raises(CheckpointError, match=f"{name} is a pickle that wants to run"):
            AtomicCheckpointIO().load_checkpoint(tmp_path / name, weights_only=False)
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of a training run"):
        read_checkpoint(tmp_path / "weights.pt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match="does not say what its model is"):
        load_checkpoint(tmp_path / "foreign.ckpt")
    torch.save({"state_dict": {}, "vitkit": {"schema": 2, "version": "9.0"}}, tmp_path / "later.ckpt")
    with pytest.raises(CheckpointError, match=r"was written by vitkit 9\.0"):
        load_checkpoint(tmp_path / "later.ckpt")


def test_another_architecture_is_told_by_keys_and_shapes(task, tmp_path):
    checkpoint = read_checkpoint(saved(task(dim=16, depth=3), tmp_path / "a.ckpt"))
    target = task(dim=32, depth=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        restore(target, checkpoint, tmp_path / "a.ckpt")
    message = str(caught.value)
    assert "keys too many (model.encoder.blocks.2." in message
    assert "shapes that differ (model.encoder.prefix (1, 1, 16) instead of (1, 1, 32)" in message
    assert message.count("model.encoder.") < 20
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_another_number_of_classes_has_its_own_sentence(task, tmp_path):
    checkpoint = read_checkpoint(saved(task(num_classes=10), tmp_path / "a.ckpt"))
    message = "a.ckpt has a head for 10 classes; expected 3, the model's num_classes. Set num_classes to 10."
    with pytest.raises(CheckpointError, match=re.escape(message)):
        restore(task(num_classes=3), checkpoint, tmp_path / "a.ckpt")
