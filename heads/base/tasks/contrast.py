"""The loss of vectors: those of equal labels are drawn together, those of others pushed apart."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

__all__ = ["TEMPERATURE", "count_anchors", "supervised_contrastive"]

TEMPERATURE = 0.1
"""What cosines are divided by: the smaller, the more the nearest of the others count."""

_FAR_BELOW = -1e4
"""Below every score by so much that a softmax gives it nothing; finite, so that no gradient is a NaN."""


def supervised_contrastive(vectors_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Return the supervised contrastive loss (Khosla et al. 2020, L_out of equation 2) of a batch.

    Each vector is an anchor once. Its loss is the mean, over the others of its label, of how unlikely each is to be
    picked among all others by a softmax over cosines. What has no other of its label in the batch is no anchor.

    Args:
        vectors_ND: of any length; only their directions count.
        labels_N: equal numbers for equal labels.

    Returns:
        The mean over the anchors, a scalar; 0, with a gradient of 0, if there is none.

    >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> apart = supervised_contrastive(vectors, torch.tensor([0, 0, 1, 1]))
    >>> mixed = supervised_contrastive(vectors, torch.tensor([0, 1, 0, 1]))
    >>> bool(apart < mixed)
    True
    """
    vectors_ND = F.normalize(vectors_ND.float(), dim=-1)
    itself_NN = torch.eye(len(vectors_ND), dtype=torch.bool, device=vectors_ND.device)
    scores_NN = (vectors_ND @ vectors_ND.T / TEMPERATURE).masked_fill(itself_NN, _FAR_BELOW)
    alike_NN = _alike(labels_N)
    unlikely_N = -(scores_NN.log_softmax(dim=1) * alike_NN).sum(dim=1) / alike_NN.sum(dim=1).clamp(min=1)
    return unlikely_N.sum() / alike_NN.any(dim=1).sum().clamp(min=1)


def count_anchors(labels_N: Tensor) -> float:
    """Return how many vectors the loss of a batch is the mean of; at least 1."""
    return float(_alike(labels_N).any(dim=1).sum().clamp(min=1))


def _alike(labels_N: Tensor) -> Tensor:
    """Return whether two rows are different rows of one label, (N, N) bool."""
    alike_NN = labels_N[:, None] == labels_N[None, :]
    return alike_NN.fill_diagonal_(fill_value=False)
