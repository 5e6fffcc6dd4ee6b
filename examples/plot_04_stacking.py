"""
Deep features for classic survival models
=========================================

``DeepMTS.transform`` gives 236 features of a patient (124 in the small variant used here), and any
survival model can be fitted on them. But a network is overfitted to its training patients: their
features predict better than those of new patients, and a second model that is trained on them
relies on them too much.
"""

# %%
# Trained networks are stored in a folder (``memory=``), and the models below share them.
import tempfile

import pandas as pd

from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    ClinicalVolumeCox,
    DeepMTS,
    SurvivalStacking,
    deep_features_lasso_cox,
    radiomics_lasso_cox,
)
from survimg.radiomics import RadiomicsFeatures

X = make_phantom_cohort(n=80, shape=(16, 16, 16), random_state=0).cohort
train, test = X[:40], X[40:]
network = DeepMTS(
    variant="sur-hs", n_iterations=30, batch_size=4, batch_norm_batches=5, n_threads=1,
    random_state=0,
)  # fmt: skip
folder = tempfile.TemporaryDirectory()
in_sample = deep_features_lasso_cox(estimator=network, in_sample=True, memory=folder.name)
out_of_fold = deep_features_lasso_cox(estimator=network, cv=2, memory=folder.name)

# %%
# The paper used in-sample features. Out-of-fold trains ``cv`` more networks, so that each training
# patient's features come from a network that was not trained on that patient.
rows = {}
for name, model in {"in-sample": in_sample, "out-of-fold": out_of_fold}.items():
    model.fit(train, train.outcome)
    rows[name] = {
        "training patients": model.score(train, train.outcome),
        "new patients": model.score(test, test.outcome),
    }
table = pd.DataFrame(rows).T
print(table.round(2).to_string())
table.plot.barh(xlim=(0.4, 1), xlabel="C", figsize=(6, 2.4)).invert_yaxis()

# %%
# The first column does not predict the second: never evaluate such a model on its training
# patients. One small cohort does not show which of the two rows is better for new patients; with
# enough patients for the extra networks it is out-of-fold.
#
# Stacking combines several models by their out-of-fold risks.
stack = SurvivalStacking(
    [
        ("clinical", ClinicalVolumeCox()),
        ("radiomics", radiomics_lasso_cox(extractor=RadiomicsFeatures(memory=folder.name))),
        ("deep", in_sample),
    ],
    cv=2,
)
stack.fit(train, train.outcome)
for name, part in stack.risks_.transformer_list:
    print(f"{name}: C = {part.estimator_.score(test, test.outcome):.2f}")
print(f"stack: C = {stack.score(test, test.outcome):.2f}")
folder.cleanup()
