"""The ranking of patients in DeepHit.

Reference
---------
Lee C, Zame WR, Yoon J, van der Schaar M. DeepHit: a deep learning approach to survival analysis
with competing risks. AAAI 32, 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from survimg.losses.bins import bin_of

__all__ = ["deephit_ranking_loss"]


def deephit_ranking_loss(
    logits: Tensor,
    time: Tensor,
    event: Tensor,
    cuts: Tensor,
    *,
    sigma: float = 0.1,
    sample_weight: Tensor | None = None,
) -> Tensor:
    r"""Penalty of patients whose cumulative incidence is low where they fail first.

    With :math:`F_i` the cumulative incidence of patient i at the end of a bin, and :math:`b_i` the
    bin of an event,

    .. math:: \frac{1}{n^2} \sum_{i: \text{event},\, j: t_j > t_i}
        \exp\Bigl(-\frac{F_i(b_i) - F_j(b_i)}{\sigma}\Bigr).

    A patient j who is censored at the time of the event counts as later. Events after the last cut,
    whose bin has no end, rank nobody.

    Parameters
    ----------
    logits : Tensor of shape (n, K + 1)
        Of the bins; the last one follows the last cut.
    time, event : Tensor of shape (n,)
    cuts : Tensor of shape (K,)
        Increasing, above 0.
    sigma : float, default=0.1
    sample_weight : Tensor of shape (n,), optional
        Case weights; a pair counts with the product of both.

    Returns
    -------
    Tensor, scalar
        Divided by the square of the batch size, as in pycox, not by the number of pairs. Zero for a
        batch without patients.
    """
    if not len(logits):
        return logits.sum()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    incidence = logits.softmax(dim=1).cumsum(dim=1)
    last, observed = bin_of(time, cuts.to(time)), event.bool()
    at_event = incidence[:, last]  # row j, column i: F_j(b_i)
    difference = at_event.diagonal().unsqueeze(0) - at_event
    earlier = time.unsqueeze(0) < time.unsqueeze(1)
    tied = (time.unsqueeze(0) == time.unsqueeze(1)) & ~observed.unsqueeze(1)
    ranked = (observed & (last < len(cuts))).unsqueeze(0) & (earlier | tied)
    penalty = torch.exp(-difference / sigma) * ranked
    if sample_weight is not None:
        penalty = penalty * sample_weight.unsqueeze(0) * sample_weight.unsqueeze(1)
    return penalty.mean()
