"""The corruptions of ImageNet-C (Hendrycks & Dietterich 2019), in batches, on the images' device, with a seed for each image.

Each is a function ``name(images, severity, seeds, constants="imagenet")`` from pictures in [0, 1] to pictures in [0, 1].
"""

from vitkit.corruptions.image.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from vitkit.corruptions.image.colour import brightness, contrast, saturate
from vitkit.corruptions.image.digital import elastic_transform, jpeg, jpeg_compression, pixelate
from vitkit.corruptions.image.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from vitkit.corruptions.image.saved import saved
from vitkit.corruptions.image.spatter import spatter
from vitkit.corruptions.image.weather import fog, frost, snow

# The fifteen that mCE is the mean of, and the four that the authors keep for validation, both in the authors' order.
COMMON = (
    gaussian_noise,
    shot_noise,
    impulse_noise,
    defocus_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
    snow,
    frost,
    fog,
    brightness,
    contrast,
    elastic_transform,
    pixelate,
    jpeg_compression,
)
EXTRA = (speckle_noise, gaussian_blur, spatter, saturate)

__all__ = [
    "COMMON",
    "EXTRA",
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "saved",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]
