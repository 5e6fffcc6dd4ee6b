"""Survival as a distribution over bins of time: multi-task logistic regression.

K cuts divide time into K + 1 bins; the first starts at 0, each holds its lower bound, and the last
follows the last cut.

Reference
---------
Yu CN, Greiner R, Lin HC, Baracos V. Learning patient-specific cancer survival distributions as a
sequence of dependent regressors. NeurIPS 24, 2011.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bin_of", "log_survival_of_bins", "mtlr_logits", "mtlr_loss"]


def mtlr_logits(outputs: Tensor) -> Tensor:
    """Logits of the bins from K outputs of a network: the sum of the outputs from a bin on.

    Parameters
    ----------
    outputs : Tensor of shape (n, K)

    Returns
    -------
    Tensor of shape (n, K + 1)
        ``outputs @ G`` with G of shape (K, K + 1), 1 on and below its diagonal; 0 for the last bin.
    """
    summed = outputs.flip(1).cumsum(dim=1).flip(1)
    return torch.cat([summed, torch.zeros_like(summed[:, :1])], dim=1)


def bin_of(time: Tensor, cuts: Tensor) -> Tensor:
    """Return the bin that holds each time, int64 (n,), from 0 to K.

    Parameters
    ----------
    time : Tensor of shape (n,)
    cuts : Tensor of shape (K,)
        Increasing.
    """
    return torch.searchsorted(cuts.contiguous(), time.contiguous(), right=True)


def mtlr_loss(
    logits: Tensor,
    time: Tensor,
    event: Tensor,
    cuts: Tensor,
    *,
    sample_weight: Tensor | None = None,
) -> Tensor:
    r"""Negative log-likelihood of a softmax over bins, averaged over the patients.

    With :math:`p = \mathrm{softmax}(\mathrm{logits})`, an event in bin :math:`j` contributes
    :math:`-\log p_j`, a patient censored in bin :math:`j` :math:`-\log \sum_{k \ge j} p_k`.

    Parameters
    ----------
    logits : Tensor of shape (n, K + 1)
    time : Tensor of shape (n,)
        Time to event or censoring, in the unit of `cuts`.
    event : Tensor of shape (n,)
        True or 1 where the event was observed.
    cuts : Tensor of shape (K,)
        Increasing, above 0.
    sample_weight : Tensor of shape (n,), optional
        Non-negative case weights; the average is over their sum.

    Returns
    -------
    Tensor, scalar
        A mean; the paper and torchmtlr use the sum. Zero for a batch without patients.

    Raises
    ------
    ValueError
        Shapes that do not fit.
    """
    if logits.shape != (len(time), len(cuts) + 1) or event.shape != time.shape:
        raise ValueError(
            f"logits must have shape (n patients, n cuts + 1) = ({len(time)}, {len(cuts) + 1}); "
            f"got {tuple(logits.shape)}."
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if not len(logits):
        return logits.sum()
    first = bin_of(time, cuts.to(time)).unsqueeze(1)
    bins = torch.arange(logits.shape[1], device=logits.device)
    possible = torch.where(event.bool().unsqueeze(1), bins == first, bins >= first)
    # A sum over log-probabilities of chosen bins would underflow where they are small.
    likelihood = logits.masked_fill(~possible, -torch.inf).logsumexp(dim=1)
    per_patient = logits.logsumexp(dim=1) - likelihood
    if sample_weight is None:
        return per_patient.mean()
    return (sample_weight * per_patient).sum() / sample_weight.sum()


def log_survival_of_bins(logits: Tensor) -> Tensor:
    """Logarithm of S at 0 and at the cuts, where S is the probability of the bins that follow.

    Parameters
    ----------
    logits : Tensor of shape (n, K + 1)

    Returns
    -------
    Tensor of shape (n, K + 1)
        0 at time 0, then falling.
    """
    tails = logits.log_softmax(dim=1).flip(1).logcumsumexp(dim=1).flip(1)
    return torch.cat([torch.zeros_like(tails[:, :1]), tails[:, 1:].clamp(max=0)], dim=1)
