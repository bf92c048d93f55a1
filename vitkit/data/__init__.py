"""Pictures and volumes with labels, in splits that are fixed and recorded."""

from vitkit.data.base import ImageData
from vitkit.data.digits import Digits
from vitkit.data.image_folder import ImageFolder
from vitkit.data.medmnist import MedMNIST
from vitkit.data.sample import Batch, Sample, collate
from vitkit.data.scans import Scans
from vitkit.data.torchvision_set import TorchVision
from vitkit.data.workers import Loader

__all__ = ["Batch", "Digits", "ImageData", "ImageFolder", "Loader", "MedMNIST", "Sample", "Scans", "TorchVision", "collate"]
