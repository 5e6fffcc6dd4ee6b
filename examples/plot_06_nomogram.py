"""
A nomogram and its calibration
==============================

A nomogram draws a Cox model so that its predictions can be read with a ruler. It looks the same
whether the model is good or not, so show its calibration as well.
"""

# %%
# Three covariates that anyone can measure: volume and mean SUV of the tumour, and the stage.
import matplotlib.pyplot as plt
import pandas as pd
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.evaluation import (
    Nomogram,
    calibration_groups,
    concordance_index,
    fit_cox,
    optimism_corrected_concordance,
)
from survimg.evaluation.plots import plot_calibration, plot_nomogram
from survimg.features import PETParameters


def measure(cohort: Cohort) -> pd.DataFrame:
    table = PETParameters().fit_transform(cohort)[["Volume", "SUVmean"]]
    for stage in (2, 3, 4):
        table[f"stage {stage}"] = (cohort.clinical["stage"] == stage).astype(float)
    return table


# ``normalise=False`` keeps PET in SUV and CT in HU.
settings = {"shape": (16, 16, 16), "normalise": False}
train = make_phantom_cohort(n=200, random_state=0, **settings).cohort
new = make_phantom_cohort(n=200, random_state=1, **settings).cohort
table = measure(train)
fit = fit_cox(train.outcome, table)

# %%
# Each covariate is an axis. Several columns can share an axis, which then has levels.
ranges = {
    "Volume": (2, 26),
    "SUVmean": (2, 9),
    "stage": {"I": {}, "II": {"stage 2": 1}, "III": {"stage 3": 1}, "IV": {"stage 4": 1}},
}
nomogram = Nomogram(fit, ranges, table, train.outcome)
figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
plot_nomogram(
    nomogram, ax, horizons=[12, 36], time_unit="months", labels={"Volume": "Volume (ml)"}
)

# %%
# Points and survival of new patients, with the interval of the survival.
unseen = measure(new)
predicted = nomogram.predict(unseen, time=36)
print(predicted.head(3).round(2).to_string())

# %%
# Discrimination: on the training patients, after the bootstrap correction for optimism, and on
# 200 new patients.
correction = optimism_corrected_concordance(
    CoxPHSurvivalAnalysis(), table, train.outcome, n_resamples=50, random_state=0
)
print(f"apparent C = {correction.apparent:.3f}, corrected {correction.corrected:.3f}")
print(f"new patients: C = {concordance_index(new.outcome, predicted['points']):.3f}")

# %%
# Calibration: of the new patients with a predicted 60 %, did 60 % remain free of the event?
groups = calibration_groups(new.outcome, predicted["survival"], 36)
figure, ax = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
plot_calibration(groups, ax)
plt.show()

# %%
# :func:`survimg.report.nomogram_page.write_nomogram_page` turns it into an interactive page.
