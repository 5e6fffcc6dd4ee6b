"""Losses of the survival networks as plain torch functions, usable alone.

Every function returns a scalar to be minimised, works on any device and in any floating type, and
states the quantity it estimates together with its source.
"""

from survimg.losses.bins import log_survival_of_bins, mtlr_logits, mtlr_loss
from survimg.losses.cox import cox_loss
from survimg.losses.deephit import deephit_ranking_loss
from survimg.losses.dice import dice_loss
from survimg.losses.discrete_time import (
    discrete_survival_curve,
    discrete_time_labels,
    discrete_time_loss,
    interpolated_curve,
)

__all__ = [
    "cox_loss",
    "deephit_ranking_loss",
    "dice_loss",
    "discrete_survival_curve",
    "discrete_time_labels",
    "discrete_time_loss",
    "interpolated_curve",
    "log_survival_of_bins",
    "mtlr_logits",
    "mtlr_loss",
]
