"""What goes on while a model is trained, and does not touch its training."""

from vitkit.callbacks.robustness import RobustnessEvery

__all__ = ["RobustnessEvery"]
