"""The order of training, from the seed and the epoch alone."""

from torch.utils.data import DistributedSampler

from vitkit.data.part import Images
from vitkit.data.sample import Sample
from vitkit.data.workers import Loader


class EpochOrder(DistributedSampler[Sample]):
    """A permutation for each (seed, epoch), which also tells the images which epoch it is.

    Lightning calls :meth:`set_epoch` before every epoch, and after a resume.
    """

    dataset: Images

    def set_epoch(self, epoch: int) -> None:
        """Choose the order, and the augmentation, of an epoch."""
        super().set_epoch(epoch)
        self.dataset.epoch = epoch


class EpochLoader(Loader):
    """A loader for training.

    That its workers start when the first batch is asked for matters: Lightning makes the iterator of a run's first epoch before
    it knows, on a resume, which epoch that is; workers started there would follow another epoch's order.
    """
