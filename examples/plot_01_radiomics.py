"""
Radiomics and Lasso-Cox in cross_val_score
==========================================

1456 features and 60 patients: whatever is learned from the outcome has to be learned again in every
fold. In a pipeline this happens by itself. Done by hand before the cross-validation, the same
selection finds something even where there is nothing to find.
"""

# %%
# Phantom patients have a known true risk. It is the ceiling for every model.
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox, radiomics_lasso_cox
from survimg.evaluation import concordance_index
from survimg.model_selection import EventStratifiedKFold, permute_outcome
from survimg.radiomics import RadiomicsFeatures

phantom = make_phantom_cohort(n=60, shape=(24, 24, 24), random_state=0)
X, y = phantom.cohort, phantom.cohort.outcome
folds = EventStratifiedKFold(n_splits=3, shuffle=True, random_state=0)
print(f"true risk: C = {concordance_index(y, phantom.oracle_risk):.2f}")

# %%
# Two models on the same folds. Features of a patient depend on that patient alone, so they may be
# kept on disk and shared by all folds (``memory=``). The filter, the imputation and the penalty
# learn, and do so in each training fold.
kept = tempfile.TemporaryDirectory()
radiomics = RadiomicsFeatures(memory=kept.name)
models = {
    "clinical + volume": ClinicalVolumeCox(),
    "radiomics + Lasso-Cox": radiomics_lasso_cox(extractor=radiomics),
}
for name, model in models.items():
    scores = cross_val_score(model, X, y, cv=folds)
    print(f"{name}: C = {scores.mean():.2f}, folds {np.round(scores, 2)}")

# %%
# Which features does the model use? A positive coefficient means that a larger value goes with
# earlier events. With so few patients the selection is unstable: read it as "one set that works",
# not as a list of causes.
fitted = models["radiomics + Lasso-Cox"].fit(X, y)
used = pd.Series(fitted[-1].coef_, fitted[-1].feature_names_in_)
print(used[used != 0].sort_values(key=abs, ascending=False).round(3).to_string())

# %%
# The mistake that this guards against
# ------------------------------------
# Now the outcomes are dealt out to the patients anew: nothing can be predicted, and C should be
# near 0.5. Both ways below choose the ten best features and fit a Cox model on them. The wrong one
# chooses on *all* patients before it cross-validates.


def separation(table: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return np.array([abs(concordance_index(outcome, column) - 0.5) for column in table.T])


table = radiomics.fit_transform(X)
noise = permute_outcome(y, random_state=0)
cox = make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(alpha=1))
chosen_before = SelectKBest(separation, k=10).fit_transform(table, noise)
wrong = cross_val_score(cox, chosen_before, noise, cv=folds)
right = cross_val_score(make_pipeline(SelectKBest(separation, k=10), cox), table, noise, cv=folds)
figure, ax = plt.subplots(figsize=(6, 1.8), layout="constrained")
for way, found in {"chosen before": wrong, "chosen inside": right}.items():
    print(f"{way}: C = {found.mean():.2f} where there is nothing to find")
    ax.plot(found, [way] * len(found), "o")
ax.axvline(0.5, color="0.6", linestyle=":")
ax.set(xlabel="C of each fold, on outcomes without meaning", ylim=(-0.5, 1.5))
plt.show()
