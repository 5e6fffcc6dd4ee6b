"""
Comparing models with intervals
===============================

Which model is better, and could the difference be chance? Use the same folds for all models, a
paired test instead of a comparison of two intervals, and a simple model as the baseline.
"""

# %%
# ``run_benchmark`` fits every model on every fold and writes each prediction to disk. Called again,
# it computes only what is missing; splits that leak are refused.
import tempfile

import matplotlib.pyplot as plt

from survimg.benchmark import run_benchmark, score_run, score_table
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox, radiomics_lasso_cox, radiomics_rsf
from survimg.evaluation.plots import plot_concordance_forest
from survimg.model_selection import k_fold_protocol
from survimg.radiomics import RadiomicsFeatures
from survimg.report import render

folder = tempfile.TemporaryDirectory()
phantom = make_phantom_cohort(n=100, shape=(16, 16, 16), random_state=3)
X, y = phantom.cohort, phantom.cohort.outcome
extractor = RadiomicsFeatures(image_types=["original"], memory=f"{folder.name}/features")
models = {
    "clinical + volume": ClinicalVolumeCox(),
    "radiomics Lasso-Cox": radiomics_lasso_cox(extractor=extractor),
    "radiomics forest": radiomics_rsf(extractor=extractor),
}
run = run_benchmark(
    models,
    X,
    y,
    **k_fold_protocol(X, y, n_folds=5, random_state=0).arguments(),
    out=f"{folder.name}/run",
    reference="clinical + volume",
    oracle_risk=phantom.oracle_risk,
    progress=False,
)

# %%
# One row per model. Differences are paired: both models rank the same pairs of patients.
# ``p_holm`` is corrected for the number of comparisons and holds for *these fitted models*;
# ``p_holm_folds`` tests whether the difference would remain after training again. A difference
# is called significant only if both tests agree.
scores = score_run(run)
table = score_table(scores).set_index("model")
columns = ["c_within_folds", "c_lower95", "c_upper95", "difference", "p_holm", "p_holm_folds"]
print(table[columns].round(3).to_string())
for score in scores:
    print(f"{score.model}: {score.verdict}")

# %%
# Both models were measured on the same patients, so two intervals may overlap although the
# difference is clear. The text on the right is the paired difference.
figure, ax = plt.subplots(figsize=(9, 2.6))
plot_concordance_forest(
    {score.model: score.within_folds for score in scores},
    ax,
    differences={s.model: s.comparison for s in scores if s.comparison is not None},
)
figure.subplots_adjust(left=0.2, right=0.45, bottom=0.25)
plt.show()

# %%
# ``render`` makes a report of the run, with survival curves by risk group, calibration and decision
# curves. ``survimg benchmark`` on the command line does all of this at once.
render(run.folder)
print("in the folder:", *sorted(path.name for path in run.folder.iterdir()))
folder.cleanup()
