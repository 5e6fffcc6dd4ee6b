"""Negative log partial likelihood of Cox's proportional hazards model."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Ties", "cox_loss"]

Ties = Literal["breslow", "efron", "sorted"]


def cox_loss(
    risk: Tensor,
    time: Tensor,
    event: Tensor,
    *,
    ties: Ties = "breslow",
    sample_weight: Tensor | None = None,
    n_events: float | None = None,
) -> Tensor:
    r"""Negative log partial likelihood, averaged over the events.

    With log-hazards :math:`h`, events :math:`E` and risk sets
    :math:`R_i = \{j : t_j \ge t_i\}` (ties and the patient included), Breslow's form is

    .. math:: -\frac{1}{|E|} \sum_{i \in E} \Bigl(h_i - \log \sum_{j \in R_i} e^{h_j}\Bigr).

    Parameters
    ----------
    risk : Tensor of shape (n,)
        Predicted log-hazards; higher = earlier event. Adding a constant changes nothing.
    time : Tensor of shape (n,)
        Time to event or censoring, any unit; only the order counts.
    event : Tensor of shape (n,)
        True or 1 where the event was observed.
    ties : {"breslow", "efron", "sorted"}, default="breslow"
        How events at the same time are treated. ``"sorted"`` is the published DeepMTS code:
        patients are sorted by ascending time and the risk set is the rest of that list, so a tied
        patient who happens to stand earlier in the batch is missing from it. Without ties in
        `time` all three agree.
    sample_weight : Tensor of shape (n,), optional
        Non-negative case weights, as R's ``survival::coxph`` takes them: a weight of 2 counts a
        patient twice (with Breslow's ties), a weight of 0 removes the patient. The average is over
        the events' total weight.
    n_events : float, optional
        Divide by this instead. The mean over mini-batches that hold more or fewer events by chance
        is biased if each is divided by its own number; give the number that is expected.

    Returns
    -------
    Tensor, scalar
        Exactly zero, with a gradient of zero, if no event has a positive weight: such a batch
        says nothing about the hazards.

    Raises
    ------
    ValueError
        Shapes that differ, values of `event` other than 0 and 1, a negative weight, an `n_events`
        that is not positive, or an unknown `ties`.

    Notes
    -----
    Risk sets hold this batch only: a mean over small batches is not the loss of the full sample.
    Sums of exponentials stay in the log domain, so risks of several hundred neither overflow nor
    lose their gradient. The result has at least float32 precision.

    References
    ----------
    Cox, J R Stat Soc B 34:187-220, 1972. Breslow, Biometrics 30:89-99, 1974. Efron, J Am Stat
    Assoc 72:557-565, 1977. Meng et al., IEEE JBHI 26:4497-4507, 2022 (DeepMTS).
    """
    if ties not in ("breslow", "efron", "sorted"):
        raise ValueError(f"ties must be 'breslow', 'efron' or 'sorted'; got {ties!r}.")
    if risk.ndim != 1 or not risk.shape == time.shape == event.shape:
        raise ValueError(
            "risk, time and event must be one-dimensional and of equal length; got shapes "
            f"{tuple(risk.shape)}, {tuple(time.shape)} and {tuple(event.shape)}."
        )
    if event.dtype != torch.bool and not ((event == 0) | (event == 1)).all():
        raise ValueError("event must be boolean, or 0 and 1; got other values (is it the time?).")
    if n_events is not None and not n_events > 0:
        raise ValueError(f"n_events must be positive; got {n_events}.")
    risk = risk.to(torch.promote_types(risk.dtype, torch.float32))
    weight = _checked_weight(sample_weight, risk)
    positive = weight > 0
    if not (event.bool() & positive).any():
        return risk[:0].sum()
    # Descending and stable for the likelihood; "sorted" needs the reverse of an ascending sort.
    order = time[positive].argsort(stable=True).flip(0)
    risk, time, weight = (values[positive][order] for values in (risk, time, weight))
    event = event[positive][order].bool()

    log_weighted = risk + weight.log()
    log_at_risk = log_weighted.logcumsumexp(0)
    if ties != "sorted":
        _, group, size = time.unique_consecutive(return_inverse=True, return_counts=True)
        log_at_risk = log_at_risk[size.cumsum(0) - 1][group]
    log_at_risk, risk, weight = log_at_risk[event], risk[event], weight[event]
    denominator_weight = weight
    if ties == "efron":
        group = group[event]
        log_at_risk = log_at_risk + _efron_correction(log_weighted[event], log_at_risk, group)
        denominator_weight = _group_mean(weight, group)
    total = -(weight * risk - denominator_weight * log_at_risk).sum()
    return total / (weight.sum() if n_events is None else n_events)


def _checked_weight(sample_weight: Tensor | None, risk: Tensor) -> Tensor:
    if sample_weight is None:
        return torch.ones_like(risk)
    if sample_weight.shape != risk.shape:
        raise ValueError(
            f"sample_weight must have the shape of risk, {tuple(risk.shape)}; got "
            f"{tuple(sample_weight.shape)}."
        )
    if not (sample_weight >= 0).all():
        raise ValueError("sample_weight must be non-negative and not NaN.")
    return sample_weight.detach().to(risk)


def _efron_correction(log_weighted: Tensor, log_at_risk: Tensor, group: Tensor) -> Tensor:
    """Log of the share of the risk set that is left for the l-th of d tied events.

    The l-th denominator is ``R - (l / d) D`` with ``R`` the risk set's and ``D`` the tied events'
    sum of weighted exponentials, ``l = 0 .. d - 1``.
    """
    n_groups = int(group.max()) + 1
    shift = log_weighted.new_full((n_groups,), -torch.inf)
    shift = shift.scatter_reduce(0, group, log_weighted.detach(), "amax")[group]
    tied = log_weighted.new_zeros(n_groups).index_add(0, group, (log_weighted - shift).exp())
    log_tied = tied[group].log() + shift
    _, local, count = group.unique_consecutive(return_inverse=True, return_counts=True)
    first = (count.cumsum(0) - count)[local]
    rank = torch.arange(len(group), device=group.device) - first
    share = rank.to(log_weighted) / count[local]
    return torch.log1p(-share * (log_tied - log_at_risk).exp())


def _group_mean(values: Tensor, group: Tensor) -> Tensor:
    n_groups = int(group.max()) + 1
    total = values.new_zeros(n_groups).index_add(0, group, values)
    return (total / torch.bincount(group, minlength=n_groups).to(values))[group]
