"""What both columns compute with: Cox models, baseline hazards, curves; no torch, no pandas.

`risk_sets` holds the partial likelihood with its derivatives, `cox` maximises it, `breslow` turns
risks into curves, `curves` holds the functions of time that models return, and `standardisation`
says which columns are constant. `risk` brings the predictions of any estimator to one sign, and
`status` makes labels of outcomes, and outcomes of labels.
"""

from survimg.survival.breslow import BreslowBaseline
from survimg.survival.cox import CoxModel, CoxSolution, maximise_partial_likelihood
from survimg.survival.curves import (
    InterpolatedSurvival,
    StepFunction,
    from_zero,
    functions_from_zero,
    step_functions,
    survival_values,
)
from survimg.survival.risk import risk_of
from survimg.survival.risk_sets import RiskSets, RiskSetSums, Ties
from survimg.survival.standardisation import column_scale, is_constant
from survimg.survival.status import LABEL_HORIZON, labels_of, outcome_of_labels, status_at

__all__ = [
    "LABEL_HORIZON",
    "BreslowBaseline",
    "CoxModel",
    "CoxSolution",
    "InterpolatedSurvival",
    "RiskSetSums",
    "RiskSets",
    "StepFunction",
    "Ties",
    "column_scale",
    "from_zero",
    "functions_from_zero",
    "is_constant",
    "labels_of",
    "maximise_partial_likelihood",
    "outcome_of_labels",
    "risk_of",
    "status_at",
    "step_functions",
    "survival_values",
]
