"""FoldEnsembleClassifier: mean probabilities of the models of the folds, and their masks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTSClassifier, FoldEnsembleClassifier
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, np.where(X[:, 0] + rng.normal(size=60) > 0, "yes", "no")


def test_the_probability_is_the_mean_over_models_of_the_folds(table):
    X, y = table
    new = np.random.default_rng(1).normal(size=(7, 3))
    model = FoldEnsembleClassifier(LogisticRegression(), cv=3).fit(X, y)
    members = [
        LogisticRegression().fit(X[train], y[train])
        for train, _ in EventStratifiedKFold(3).split(X, y == "yes")
    ]
    expected = np.mean([member.predict_proba(new) for member in members], axis=0)
    np.testing.assert_array_equal(model.predict_proba(new), expected)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.predict(new).tolist() == np.where(expected[:, 1] > 0.5, "yes", "no").tolist()
    shuffled = FoldEnsembleClassifier(LogisticRegression(), cv=3, random_state=1, n_jobs=1)
    assert (shuffled.fit(X, y).predict_proba(new) != expected).any()


def test_networks_are_averaged_with_their_masks():
    cohort = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    network = DeepMTSClassifier(
        n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1, random_state=0,
        precision="float32",
    )  # fmt: skip
    model = FoldEnsembleClassifier(network, cv=2).fit(cohort, cohort.outcome["event"])
    expected = np.mean([m.predict_mask_proba(cohort) for m in model.members_], axis=0)
    np.testing.assert_allclose(model.predict_mask_proba(cohort), expected, rtol=1e-5)
    assert not hasattr(FoldEnsembleClassifier(LogisticRegression()), "predict_mask")


def test_what_cannot_be_averaged_is_refused(table):
    X, y = table
    with pytest.raises(ValueError, match="predict_proba"):
        FoldEnsembleClassifier(LinearSVC()).fit(X, y)
    with pytest.raises(ValueError, match="Use FoldEnsemble for survival models"):
        FoldEnsembleClassifier(LogisticRegression()).fit(X, make_outcome(y == "yes", np.ones(60)))
    with pytest.raises(ValueError, match="two classes; y has 60"):
        FoldEnsembleClassifier(LogisticRegression()).fit(X, np.arange(60))
    with pytest.raises(ValueError, match="X has 60 patients and y 59 labels"):
        FoldEnsembleClassifier(LogisticRegression()).fit(X, y[:-1])
    by_label = PredefinedSplit((y == "yes").astype(int))  # a tree learns one class without a word
    with pytest.raises(ValueError, match="Without fold 1 of cv there are patients of one class"):
        FoldEnsembleClassifier(DecisionTreeClassifier(), cv=by_label).fit(X, y)
