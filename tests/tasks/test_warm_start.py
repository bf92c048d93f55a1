import pytest
import torch
from safetensors.torch import save_file

from vitkit.errors import CheckpointError, UsageError
from vitkit.tasks import warm_start


def test_takes_all_of_an_equal_model(task, tmp_path):
    source, target = task(), task()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "a.ckpt")
    said = warm_start(target.model, tmp_path / "a.ckpt")
    assert all(torch.equal(one, other) for one, other in zip(source.parameters(), target.parameters(), strict=True))
    assert said == f"{len(target.state_dict())} of {len(target.state_dict())} tensors taken from {tmp_path / 'a.ckpt'}"


def test_leaves_a_head_for_other_classes_fresh_and_says_so(task, tmp_path):
    source, target = task(num_classes=10), task(num_classes=3)
    head = target.model.head.weight.clone()
    save_file(source.model.state_dict(), tmp_path / "a.safetensors")
    said = warm_start(target.model, tmp_path / "a.safetensors")
    assert torch.equal(target.model.head.weight, head)
    assert torch.equal(target.model.encoder.prefix, source.model.encoder.prefix)
    assert "2 left as initialised (head.weight (10, 16) instead of (3, 16), head.bias (10,) instead of (3,))" in said


def test_takes_an_encoder_alone(task, tmp_path):
    source, target = task(), task()
    save_file(source.model.encoder.state_dict(), tmp_path / "a.safetensors")
    said = warm_start(target.model, tmp_path / "a.safetensors")
    assert torch.equal(target.model.encoder.blocks[1].attn.qkv.weight, source.model.encoder.blocks[1].attn.qkv.weight)
    assert "2 left as initialised (head.weight, head.bias)" in said


def test_says_what_it_did_not_use(task, tmp_path):
    save_file(task(depth=3).model.state_dict(), tmp_path / "a.safetensors")
    said = warm_start(task(depth=2).model, tmp_path / "a.safetensors")
    assert "36 of 36 tensors taken" in said
    assert "14 of the file not used (encoder.blocks.2." in said


def test_refuses_a_file_of_which_nothing_fits(task, tmp_path):
    save_file({"foreign": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"nothing in .* fits the model: it holds foreign"):
        warm_start(task().model, tmp_path / "a.safetensors")


def test_refuses_a_file_that_is_not_there(task, tmp_path):
    with pytest.raises(UsageError, match="no weights file at"):
        task(weights=str(tmp_path / "none.ckpt"))
