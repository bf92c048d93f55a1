import torch

from vitkit.planning import calibrate, calibration


def test_a_machine_has_a_speed(monkeypatch):
    monkeypatch.setattr(calibration, "_SECONDS", 0.0)
    for dtype in (torch.float32, torch.float64):
        speed = calibrate("cpu", dtype)
        assert speed.flops > 0
        assert speed.bandwidth > 0
