"""What is kept of every sample, so that no metric needs the model again."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def record(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> dict[str, Tensor]:
    r"""The outcome of each sample, computed in float64 on the CPU.

    With :math:`p = \mathrm{softmax}(\text{logits})` and the label :math:`y`:

    - ``prediction``: the first class of the highest logit; ``confidence``: its :math:`p`;
    - ``p_label``: :math:`p_y`; ``loss``: :math:`-\log p_y`, in nats;
    - ``rank``: how many classes come before the label, 0 where the prediction is right; of equal logits the first class comes
      first;
    - ``entropy``: :math:`-\sum_k p_k \log p_k`, in nats; ``brier``: :math:`\sum_k (p_k - [k = y])^2`, in [0, 2].

    Args:
        logits: Finite.
        labels: In [0, classes).

    Returns:
        Each of these, of shape (batch,).

    >>> outcome = record(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    >>> outcome["rank"].item(), outcome["brier"].item(), round(outcome["entropy"].item(), 4)
    (1, 0.5, 0.6931)
    """
    logits, labels = logits.detach().to("cpu", torch.float64), labels.to("cpu")
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    column = labels[:, None]
    own = logits.gather(1, column)
    before = torch.arange(logits.shape[1]) < column
    prediction = logits.argmax(1)
    return {
        "prediction": prediction,
        "confidence": p.amax(1),
        "p_label": p.gather(1, column)[:, 0],
        "rank": ((logits > own) | ((logits == own) & before)).sum(1),
        "loss": -log_p.gather(1, column)[:, 0],
        "entropy": -(p * log_p).sum(1),
        # p² - 2p + 1 at the label and p² elsewhere, which never becomes negative when written as a square.
        "brier": (p - torch.nn.functional.one_hot(labels, logits.shape[1])).square().sum(1),
    }
