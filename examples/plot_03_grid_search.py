"""
Grid search over a network
==========================

Every network is a scikit-learn estimator, so ``GridSearchCV`` tunes it. The score of the best
setting is too optimistic for new patients, because the setting was chosen for this score. With
phantoms, any number of new patients can be made to show how large the difference is.
"""

# %%
# CNN-Survival, a 2D network on the largest slice of the tumour, is the fastest to train. With a
# fixed number of ``n_threads`` the results do not depend on ``n_jobs``.
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import GridSearchCV

from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival
from survimg.model_selection import EventStratifiedKFold

X = make_phantom_cohort(n=60, shape=(18, 18, 18), random_state=0).cohort
new = make_phantom_cohort(n=200, shape=(18, 18, 18), random_state=1).cohort
search = GridSearchCV(
    CNNSurvival(n_iterations=40, width=8, batch_norm_batches=5, n_threads=1, random_state=0),
    {"learning_rate": [1e-3, 1e-2], "dropout": [0.0, 0.5]},
    cv=EventStratifiedKFold(n_splits=3, shuffle=True, random_state=0),
)
search.fit(X, X.outcome)

# %%
# The results of the search. The standard deviation over folds is as large as the differences
# between the settings: on other patients another setting could have been the best.
results = pd.DataFrame(search.cv_results_).sort_values("rank_test_score")
columns = ["param_learning_rate", "param_dropout", "mean_test_score", "std_test_score"]
print(results[columns].round(3).to_string(index=False))

# %%
# The best setting on 200 new patients, compared with its score in the search.
achieved = search.score(new, new.outcome)
print(f"in the search: C = {search.best_score_:.3f}, on 200 new patients: {achieved:.3f}")

figure, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
labels = [f"rate {row.param_learning_rate:g}, dropout {row.param_dropout:g}"
          for row in results.itertuples()]  # fmt: skip
ax.errorbar(results["mean_test_score"], labels, xerr=results["std_test_score"], fmt="o")
ax.plot(achieved, labels[0], "D", color="tab:red", label="new patients")
ax.axvline(0.5, color="0.6", linestyle=":")
ax.invert_yaxis()
ax.set_xlabel("C, mean and standard deviation over folds")
ax.legend()
plt.show()

# %%
# With real patients, who are few, put the search *inside* a cross-validation:
# ``cross_val_score(search, X, y, cv=...)``, or
# :func:`survimg.model_selection.nested_cross_validate`, which also returns the best setting of each
# fold. This multiplies the number of trainings, so see :doc:`/tuning` first.
