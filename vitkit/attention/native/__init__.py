"""Axial attention on a CPU in C++, compiled for that CPU when it is first needed.

Where there is no compiler, or ``VITKIT_NATIVE=0`` says so, :mod:`vitkit.attention.tiles` does the same in torch.
"""

from vitkit.attention.native.axial import LONGEST, backward, forward, serves

__all__ = ["LONGEST", "backward", "forward", "serves"]
