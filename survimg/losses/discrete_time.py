"""Discrete-time survival: conditional survival of intervals, its likelihood, its curve.

Reference
---------
Gensheimer MF, Narasimhan B. A scalable discrete-time survival model for neural networks.
PeerJ 7:e6257, 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "discrete_survival_curve",
    "discrete_time_labels",
    "discrete_time_loss",
    "interpolated_curve",
]


def discrete_time_loss(
    logits: Tensor,
    time: Tensor,
    event: Tensor,
    cuts: Tensor,
    *,
    sample_weight: Tensor | None = None,
) -> Tensor:
    r"""Negative log-likelihood of a discrete-time survival model, averaged over the patients.

    With :math:`p_j = \sigma(\mathrm{logit}_j)` the probability of surviving interval :math:`j`
    given survival up to its start, a patient who survived the intervals :math:`S` and, if the
    event was observed, failed in interval :math:`f`, contributes

    .. math:: -\sum_{j \in S} \log p_j - \log(1 - p_f).

    Parameters
    ----------
    logits : Tensor of shape (n, n_intervals)
        Log-odds of surviving each interval given survival up to its start.
    time : Tensor of shape (n,)
        Time to event or censoring, in the unit of `cuts`.
    event : Tensor of shape (n,)
        True or 1 where the event was observed.
    cuts : Tensor of shape (n_intervals,)
        Increasing upper bounds of the intervals; the first one starts at 0.
    sample_weight : Tensor of shape (n,), optional
        Non-negative case weights; the average is over their sum.

    Returns
    -------
    Tensor, scalar
        Sum over intervals, (weighted) mean over patients, as in the authors' Keras code; other
        codes also average over the intervals, which divides the loss by their number. Exactly
        zero, with a gradient of zero, for a batch without patients or of total weight zero.

    Raises
    ------
    ValueError
        Shapes that do not fit, values of `event` other than 0 and 1, cuts that do not increase from
        above 0, a negative weight.

    Notes
    -----
    Deviation: published codes clip p at 1e-7 or 1e-5; working on logits needs no clipping, so the
    gradient never vanishes for a confidently wrong prediction.
    """
    if logits.ndim != 2 or logits.shape[1] != len(cuts) or logits.shape[0] != len(time):
        raise ValueError(
            f"logits must have shape (n patients, n intervals) = ({len(time)}, {len(cuts)}); got "
            f"{tuple(logits.shape)}."
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    survived, failed = discrete_time_labels(time, event, cuts)
    survived, failed = survived.to(logits), failed.to(logits)
    # softplus(-x) = -log p and softplus(x) = -log(1 - p), exact for any x.
    per_patient = (
        survived * functional.softplus(-logits) + failed * functional.softplus(logits)
    ).sum(dim=1)
    if sample_weight is None:
        sample_weight = torch.ones_like(per_patient)
    if sample_weight.shape != per_patient.shape or not (sample_weight >= 0).all():
        raise ValueError(
            f"sample_weight must be non-negative and of shape {tuple(per_patient.shape)}; got "
            f"shape {tuple(sample_weight.shape)}."
        )
    weight = sample_weight.detach().to(logits)
    if not weight.any():
        return logits[:0].sum()
    return (weight * per_patient).sum() / weight.sum()


def discrete_time_labels(time: Tensor, event: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Which intervals each patient survived, and in which one the event fell.

    An interval holds its lower bound, not its upper one. A patient with an event survived every
    interval that ended by then; one who was censored survived every interval of which the patient
    lived through at least **half**. An event at or after the last cut counts as survival of all
    intervals.

    Parameters
    ----------
    time, event : Tensor of shape (n,)
    cuts : Tensor of shape (n_intervals,)
        Increasing upper bounds; the first interval starts at 0.

    Returns
    -------
    survived, failed : Tensor of shape (n, n_intervals), bool
        At most one interval per patient is failed, and only where the event was observed.

    Raises
    ------
    ValueError
        Shapes that do not fit, values of `event` other than 0 and 1, or cuts that do not increase
        from above 0.
    """
    if time.ndim != 1 or time.shape != event.shape:
        raise ValueError(
            "time and event must be one-dimensional and of equal length; got shapes "
            f"{tuple(time.shape)} and {tuple(event.shape)}."
        )
    if event.dtype != torch.bool and not ((event == 0) | (event == 1)).all():
        raise ValueError("event must be boolean, or 0 and 1; got other values (is it the time?).")
    lower = _lower_bounds(cuts)
    cuts, lower = cuts.to(time.device), lower.to(time.device)
    observed = event.bool().unsqueeze(1)
    reached = time.unsqueeze(1)
    survived = torch.where(observed, reached >= cuts, reached >= (lower + cuts) / 2)
    failed = observed & (reached >= lower) & (reached < cuts)
    return survived, failed


def discrete_survival_curve(logits: Tensor, cuts: Tensor, times: Tensor | None = None) -> Tensor:
    """Survival function of a discrete-time model.

    Parameters
    ----------
    logits : Tensor of shape (n, n_intervals)
        Log-odds of surviving each interval given survival up to its start.
    cuts : Tensor of shape (n_intervals,)
        Increasing upper bounds of the intervals.
    times : Tensor of shape (n_times,), optional
        Where to read the curve, between 0 and the last cut. Default: at 0 and at the cuts.

    Returns
    -------
    Tensor of shape (n, n_times) or (n, 1 + n_intervals)
        ``S(0) = 1``, ``S(cuts[k])`` the product of the first ``k + 1`` conditional survivals,
        linear in time in between (deviation: the authors' helper is constant before the first
        cut, where S is unknown to it; linear from ``S(0) = 1`` is the same rule everywhere).

    Raises
    ------
    ValueError
        Shapes that do not fit, cuts that do not increase from above 0, or times outside the range
        that the model describes.
    """
    if logits.ndim != 2 or logits.shape[1] != len(cuts):
        raise ValueError(
            f"logits must have shape (n patients, {len(cuts)} intervals); got "
            f"{tuple(logits.shape)}."
        )
    bounds = torch.cat([_lower_bounds(cuts), cuts[-1:]]).to(logits)
    survival = functional.logsigmoid(logits).cumsum(dim=1).exp()
    survival = torch.cat([torch.ones_like(survival[:, :1]), survival], dim=1)
    return survival if times is None else interpolated_curve(survival, bounds, times)


def interpolated_curve(survival: Tensor, bounds: Tensor, times: Tensor) -> Tensor:
    """Read survival curves at some times, linearly between the bounds of the intervals.

    Parameters
    ----------
    survival : Tensor of shape (n, n_intervals + 1)
        Values at `bounds`.
    bounds : Tensor of shape (n_intervals + 1,)
        0 and the cuts, increasing.
    times : Tensor of shape (n_times,)

    Returns
    -------
    Tensor of shape (n, n_times)

    Raises
    ------
    ValueError
        Times outside the range of `bounds`.
    """
    times = times.to(survival)
    if not ((times >= 0) & (times <= bounds[-1])).all():
        raise ValueError(
            f"The model describes the times from 0 to {bounds[-1].item():g}; got times from "
            f"{times.min().item():g} to {times.max().item():g}."
        )
    interval = (torch.searchsorted(bounds, times, right=True) - 1).clamp(max=len(bounds) - 2)
    share = (times - bounds[interval]) / (bounds[interval + 1] - bounds[interval])
    return torch.lerp(survival[:, interval], survival[:, interval + 1], share)


def _lower_bounds(cuts: Tensor) -> Tensor:
    if cuts.ndim != 1 or len(cuts) == 0:
        raise ValueError(f"cuts must hold at least one upper bound; got shape {tuple(cuts.shape)}.")
    lower = torch.cat([cuts.new_zeros(1), cuts[:-1]])
    if not (cuts > lower).all():
        raise ValueError(
            f"cuts are upper bounds of intervals and must increase from above 0; got "
            f"{cuts.tolist()}."
        )
    return lower
