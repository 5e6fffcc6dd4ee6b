"""How long patients were followed."""

from __future__ import annotations

import numpy.typing as npt

from survimg.evaluation.kaplan_meier import kaplan_meier
from survimg.target import check_outcome, make_outcome

__all__ = ["median_follow_up"]


def median_follow_up(y: npt.ArrayLike) -> float | None:
    """Median follow-up by the reverse Kaplan-Meier estimate.

    Censoring counts as the event, and an event as censoring: this estimates how long patients would
    have been followed without events. The median of the observed times would be too short.

    Parameters
    ----------
    y : structured array of shape (n,)

    Returns
    -------
    float or None
        In the time unit of `y`; None if fewer than half of the patients are estimated to be
        censored by the end, so that the median is not reached.

    References
    ----------
    .. [1] Schemper M, Smith TL. A note on quantifying follow-up in studies of failure time. Control
       Clin Trials 1996;17:343-346.
    """
    event, time = check_outcome(y)
    censoring = kaplan_meier(make_outcome(~event, time))
    return None if censoring.survival[-1] > 0.5 + 1e-12 else censoring.median
