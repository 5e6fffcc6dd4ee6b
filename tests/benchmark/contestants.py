"""Small survival estimators over a Cohort, for the tests of benchmark, report and command line."""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge
from sksurv.svm import FastSurvivalSVM

from survimg import Cohort
from survimg.estimators import FoldEnsemble, OutOfFold, SurvivalStacking, SurvivalVoting
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


def make_cohort(n=40, size=16, seed=0, ids=None):
    """Spheres of known radius in noise; hazard rises with the radius and with column ``stage``."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(2.5, 6.0, n)
    stage = rng.integers(1, 5, n).astype(float)
    log_hazard = 1.2 * (radius - 4.2) + 0.5 * (stage - 2.5)
    event_time = rng.exponential(np.exp(-log_hazard)) * 20
    end = rng.uniform(5, 60, n)
    z, y, x = np.meshgrid(*[np.arange(size) - size / 2] * 3, indexing="ij")
    masks = (z**2 + y**2 + x**2 < radius[:, None, None, None] ** 2).astype(np.uint8)
    noise = rng.normal(size=(n, 2, size, size, size)).astype(np.float32)
    cohort = Cohort(
        noise * 0.3 + masks[:, None] * np.array([4.0, 1.0], np.float32)[None, :, None, None, None],
        masks=masks,
        clinical=pd.DataFrame({"stage": stage}),
        outcome=make_outcome(event_time <= end, np.minimum(event_time, end)),
        ids=ids,
        spacing=4.0,
        channel_names=("PET", "CT"),
        time_unit="months",
    )
    return cohort, log_hazard


def with_centres(cohort, centres):
    """Return the same patients with a centre each."""
    return Cohort(
        np.stack([cohort.volume(i) for i in range(len(cohort))]),
        masks=np.stack([cohort.mask(i) for i in range(len(cohort))]),
        clinical=cohort.clinical, outcome=cohort.outcome, ids=cohort.ids, groups=centres,
        spacing=cohort.spacing, channel_names=cohort.channel_names, time_unit=cohort.time_unit,
    )


class StageCox(BaseEstimator):
    """Cox model on the clinical column, with curves."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def fit(self, X, y):
        self.cox_ = CoxPHSurvivalAnalysis(alpha=self.alpha).fit(X.clinical, y)
        return self

    def predict(self, X):
        return self.cox_.predict(X.clinical)

    def predict_survival_function(self, X):
        return self.cox_.predict_survival_function(X.clinical)


def stage_time():
    """Ridge regression of the logarithm of time on the clinical column: it predicts a time."""
    return make_pipeline(FunctionTransformer(clinical_table), IPCRidge())


def stage_time_search():
    """A search over such models."""
    return GridSearchCV(stage_time(), {"ipcridge__alpha": [0.1, 1.0]}, cv=EventStratifiedKFold(2))


def stage_svm():
    """Survival SVM of the logarithm of time: it predicts a time."""
    svm = FastSurvivalSVM(rank_ratio=0, fit_intercept=True, max_iter=1000, tol=1e-12)
    return make_pipeline(FunctionTransformer(clinical_table), StandardScaler(), svm)


def stage_svm_search():
    """A search over such machines."""
    grid = {"fastsurvivalsvm__alpha": [0.1, 1.0]}
    return GridSearchCV(stage_svm(), grid, cv=EventStratifiedKFold(2))


def stage_time_ensemble():
    """Both kinds of models of time, each trained on folds and averaged as risks."""
    return SurvivalVoting([(m.__name__, FoldEnsemble(m(), cv=2)) for m in (stage_time, stage_svm)])


def stage_time_stack():
    """A Cox model on their out-of-fold risks."""
    return SurvivalStacking([(m.__name__, m()) for m in (stage_time, stage_svm)], cv=2)


def stage_time_out_of_fold():
    """A Cox model on the out-of-fold risk of one."""
    feature = OutOfFold(stage_svm(), method="predict", cv=2)
    return make_pipeline(feature, CoxPHSurvivalAnalysis())


def stage_classifier():
    """Logistic regression of a label on the clinical column."""
    return make_pipeline(FunctionTransformer(stage_of), LogisticRegression())


def stage_neighbours():
    """Nearest neighbours, which take no weights."""
    return make_pipeline(FunctionTransformer(stage_of), KNeighborsClassifier())


def stage_of(X):
    return X.clinical[["stage"]].to_numpy(dtype=float)


def clinical_table(X):
    return X.clinical.to_numpy()


class Segmenter(BaseEstimator):
    """Risk is the number of voxels above a threshold, blurred by noise; keeps a history."""

    def __init__(self, threshold=2.0, noise=20.0, random_state=None, verbose=0, pause=0.0):
        self.threshold = threshold
        self.noise = noise
        self.random_state = random_state
        self.verbose = verbose
        self.pause = pause

    def fit(self, X, y):
        if os.environ.get("SURVIMG_TEST_FIT_LOG"):
            with open(os.environ["SURVIMG_TEST_FIT_LOG"], "a", encoding="utf-8") as log:
                log.write(f"{self.random_state}\n")
        time.sleep(self.pause)
        warnings.warn("the threshold is not learned", UserWarning, stacklevel=2)
        self.rng_seed_ = self.random_state
        self.precision_ = "float32"
        self.history_ = [
            {"epoch": e, "train_loss": 2.0 / (e + 1), "valid_c": 0.6 + 0.02 * e} for e in range(5)
        ]
        return self

    def predict(self, X):
        rng = np.random.default_rng(self.rng_seed_)
        counts = np.array([(X.volume(i)[0] > self.threshold).sum() for i in range(len(X))], float)
        return counts + self.noise * rng.normal(size=len(X))

    def predict_mask(self, X):
        return np.stack([X.volume(i)[0] > self.threshold for i in range(len(X))])


class Reversed(StageCox):
    """The wrong sign: worse than chance on purpose."""

    def predict(self, X):
        return -super().predict(X)


class Clairvoyant(BaseEstimator):
    """Knows the times, as no model can: a C-index of 1 (or, turned round, of 0)."""

    def __init__(self, times=(), sign=1):
        self.times = times
        self.sign = sign

    def fit(self, X, y):
        return self

    def predict(self, X):
        return -self.sign * np.array([dict(self.times)[name] for name in X.ids])


class Failing(StageCox):
    """Raises on every fit."""

    def fit(self, X, y):
        raise RuntimeError("the <b>gradient</b> exploded")


class Undefined(StageCox):
    """Returns a risk that is not a number."""

    def predict(self, X):
        return np.full(len(X), np.nan)


def failing_model():
    return Failing()


def reversed_model():
    return Reversed()


def segmenter_model():
    return Segmenter()
