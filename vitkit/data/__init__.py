"""Pictures and volumes with labels, in splits that are fixed and recorded."""

from vitkit.data.base import ImageData
from vitkit.data.digits import Digits
from vitkit.data.image_folder import ImageFolder
from vitkit.data.medmnist import MedMNIST
from vitkit.data.sample import Batch, Sample, collate
from vitkit.data.torchvision_set import TorchVision

__all__ = ["Batch", "Digits", "ImageData", "ImageFolder", "MedMNIST", "Sample", "TorchVision", "collate"]
