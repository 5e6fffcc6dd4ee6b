"""Cox's partial likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from survimg.losses import cox_loss
from survimg.losses.cox import Ties
from survimg.training.batches import Targets
from survimg.training.objective import SurvivalObjective

__all__ = ["Cox"]


@dataclass(kw_only=True, eq=False, repr=False)
class Cox(SurvivalObjective):
    """Negative log partial likelihood of the patients of a batch; one log-hazard ratio each.

    Parameters
    ----------
    ties : {"breslow", "efron", "sorted"}, default="breslow"
        Risk sets of tied times; ``"sorted"`` as in the published DeepMTS code (see
        `survimg.losses.cox_loss`).
    l2 : float, optional
        Weight of the sum of squares of the fully connected kernels; None leaves the term out.

    Notes
    -----
    The risk is a log-hazard ratio up to a constant; curves are Breslow's.
    """

    ties: Ties = "breslow"

    loss_name: ClassVar[str] = "cox"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "ties": [StrOptions({"breslow", "efron", "sorted"})],
        "l2": [Interval(Real, 0, None, closed="left"), None],
    }

    def loss(self, output: Any, targets: Targets) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return cox_loss(
            output.risk, targets.time, targets.event, ties=self.ties,
            sample_weight=targets.weight, n_events=targets.n_events,
        )  # fmt: skip

    def risk(self, output: Any) -> Tensor:
        """Return the log-hazard ratios, (b,)."""
        risk: Tensor = output.risk
        return risk
