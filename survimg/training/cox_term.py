"""The Cox loss of a batch, as its patients were drawn."""

from __future__ import annotations

from torch import Tensor

from survimg.losses import cox_loss
from survimg.losses.cox import Ties
from survimg.training.batches import Targets

__all__ = ["cox_term"]


def cox_term(risk: Tensor, targets: Targets, ties: Ties) -> Tensor:
    """Compute `survimg.losses.cox_loss` with the weights and expected events of the sampling.

    Parameters
    ----------
    risk : Tensor of shape (b,)
        Log-hazards; higher = earlier event.
    targets : Targets
    ties : {"breslow", "efron", "sorted"}

    Returns
    -------
    Tensor, scalar
    """
    return cox_loss(
        risk,
        targets.time,
        targets.event,
        ties=ties,
        sample_weight=targets.weight,
        n_events=targets.n_events,
    )
