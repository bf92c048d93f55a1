"""What goes wrong with scans, at five fixed strengths: batched, on the images' device, one seed an image.

Each function takes images (batch, channels, right, anterior, superior) in [0, 1], a severity from 1 to 5, where 0 would change
nothing, and a seed for each image, which decides directions, signs and axes but never how much. Amounts grow linearly with the
severity. An image's result depends on its own seed alone, not on its batch. Values may leave [0, 1]:
:class:`vitkit.evaluation.Corruption` cuts them, and reports how many there were.
"""

from vitkit.corruptions.volume.bias_field import bias_field
from vitkit.corruptions.volume.fourier import ghosting, gibbs_ringing, spikes
from vitkit.corruptions.volume.gamma import gamma
from vitkit.corruptions.volume.intensity import intensity_scaling, window_shift
from vitkit.corruptions.volume.motion import motion
from vitkit.corruptions.volume.rician_noise import rician_noise
from vitkit.corruptions.volume.rigid import orientation_flip, rotation
from vitkit.corruptions.volume.slices import downsampling, thick_slices
from vitkit.corruptions.volume.smoothing import smoothing

__all__ = [
    "bias_field",
    "downsampling",
    "gamma",
    "ghosting",
    "gibbs_ringing",
    "intensity_scaling",
    "motion",
    "orientation_flip",
    "rician_noise",
    "rotation",
    "smoothing",
    "spikes",
    "thick_slices",
    "window_shift",
]
