"""What both columns compute with: Cox models, baseline hazards, curves; no torch, no pandas.

`risk_sets` holds the partial likelihood with its derivatives, `cox` maximises it, `breslow` turns
risks into curves, `curves` holds the functions of time that models return, and `standardisation`
says which columns are constant. `risk` brings the predictions of any estimator to one sign.
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

__all__ = [
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
    "maximise_partial_likelihood",
    "risk_of",
    "step_functions",
    "survival_values",
]
