"""Where the randomness of a suite comes from: one seed for each image, and none shared between images."""

from hashlib import blake2b

import numpy as np


def seed_for(suite: str, condition: str, severity: float | None, sample: str, seed: int = 0) -> int:
    """A seed in [0, 2⁶⁴) that depends on its arguments alone: not on the machine, the batch or what was drawn before.

    Args:
        suite: Group of conditions, e.g. "occlusion".
        condition: Family of conditions that are to share their draws, e.g. "random" for patches painted and removed.
        severity: Severity, or None for draws that all severities share, such as nested masks.
        sample: Id of the image.
        seed: Seed of the whole run.

    >>> seed_for("occlusion", "random", None, "test/7.png") == seed_for("occlusion", "random", None, "test/7.png")
    True
    >>> seed_for("occlusion", "random", None, "test/7.png") == seed_for("occlusion", "random", None, "test/8.png")
    False
    """
    # repr separates the parts unambiguously, and writes a float with all its digits.
    parts = repr((suite, condition, None if severity is None else float(severity), sample, int(seed)))
    return int.from_bytes(blake2b(parts.encode(), digest_size=8).digest(), "little")


def generator_for(seed: int) -> np.random.Generator:
    """A generator on the CPU, where a seed draws the same numbers for every device the images are on.

    numpy's and not torch's, whose generator on the CPU takes in the low 32 bits of a seed only, so that two of 100,000 images
    would probably share their draws. The raw stream of its bit generator is the same in every version of numpy and on every
    machine.
    """
    return np.random.Generator(np.random.PCG64(seed))
