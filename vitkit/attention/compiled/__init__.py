"""Axial attention on a CPU in C++, compiled for that CPU when it is first needed.

Where there is no compiler, or ``VITKIT_COMPILE=0`` says so, :mod:`vitkit.attention.tiles` does the same in torch.
"""

from vitkit.attention.compiled.axial import LONGEST, backward, forward, serves

__all__ = ["LONGEST", "backward", "forward", "serves"]
