"""
Radiomics and Lasso-Cox in cross_val_score
==========================================

With 1456 features and 60 patients, everything that is learned from the outcome has to be learned
again in every fold. A pipeline does this by itself. If features are selected before the
cross-validation instead, the selection finds a signal even where there is none.
"""

# %%
# Phantom patients have a known true risk. No model can be expected to rank better.
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
# Two models on the same folds. The features of a patient depend on that patient alone, so they may
# be stored on disk and shared by all folds (``memory=``). The filter, the imputation and the
# penalty are learned in each training fold.
folder = tempfile.TemporaryDirectory()
radiomics = RadiomicsFeatures(memory=folder.name)
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
# Now the outcomes are permuted among the patients: nothing can be predicted, and C should be
# near 0.5. Both ways below select the ten best features and fit a Cox model on them. The wrong way
# selects on *all* patients before the cross-validation.


def separation(table: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return np.array([abs(concordance_index(outcome, column) - 0.5) for column in table.T])


table = radiomics.fit_transform(X)
noise = permute_outcome(y, random_state=0)
cox = make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(alpha=1))
best_ten = SelectKBest(separation, k=10).fit_transform(table, noise)
wrong = cross_val_score(cox, best_ten, noise, cv=folds)
right = cross_val_score(make_pipeline(SelectKBest(separation, k=10), cox), table, noise, cv=folds)
figure, ax = plt.subplots(figsize=(6, 1.8), layout="constrained")
for way, scores in {"selected before": wrong, "selected inside": right}.items():
    print(f"{way}: C = {scores.mean():.2f} where there is nothing to find")
    ax.plot(scores, [way] * len(scores), "o")
ax.axvline(0.5, color="0.6", linestyle=":")
ax.set(xlabel="C of each fold, on permuted outcomes", ylim=(-0.5, 1.5))
plt.show()
