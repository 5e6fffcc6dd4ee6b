"""Ready pipelines over a memory-mapped cohort."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from survimg import Cohort
from survimg.estimators import (
    DeepSurv,
    FitOnce,
    LassoCox,
    OutOfFold,
    RandomSurvivalForest,
    deep_features_deepsurv,
    deep_features_lasso_cox,
    deep_features_pipeline,
    deep_features_rsf,
    radiomics_deepsurv,
    radiomics_lasso_cox,
    radiomics_pipeline,
    radiomics_rsf,
)
from survimg.model_selection import EventStratifiedKFold
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    """36 patients whose hazard follows the mean uptake in the mask, and a clinical stage."""
    rng = np.random.default_rng(0)
    n = 36
    uptake = rng.normal(size=n)
    stage = rng.choice(["I", "II"], n)
    volumes = rng.normal(size=(n, 1, 10, 10, 10)) + uptake[:, None, None, None, None]
    masks = np.zeros((n, 10, 10, 10), dtype=np.uint8)
    masks[:, 2:7, 2:8, 3:7] = 1
    time = rng.exponential(np.exp(-1.5 * uptake - (stage == "II")))
    built = Cohort(
        volumes.astype(np.float32),
        masks=masks,
        clinical=pd.DataFrame({"stage": stage, "age": rng.normal(60, 9, n)}),
        outcome=make_outcome(rng.random(n) < 0.85, time),
        spacing=2.0,
        channel_names=("PET",),
    )
    return built.save(tmp_path_factory.mktemp("cohort") / "store")


def small_extractor(**settings) -> RadiomicsFeatures:
    return RadiomicsFeatures(features=("firstorder",), image_types=("original",), **settings)


class VolumeMoments(TransformerMixin, BaseEstimator):
    """Stands for a network: cheap features of the whole volume."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y=None):
        self.n_fitted_ = len(X)
        return self

    def transform(self, X):
        return np.array([[v.mean(), v.std(), v.max(), np.median(v)] for v in X])

    def get_feature_names_out(self, input_features=None):
        return np.array(["mean", "std", "max", "median"])


FOLDS = EventStratifiedKFold(3)


def test_names_reach_the_model_and_clinical_columns_pass_the_filter(cohort):
    pipeline = radiomics_pipeline(LassoCox(cv=4), extractor=small_extractor())
    pipeline.fit(cohort, cohort.outcome)
    names = list(pipeline[-1].feature_names_in_)
    assert names[-2:] == ["clinical__age", "clinical__stage_II"]
    assert all(name.startswith("radiomics__PET_original_firstorder_") for name in names[:-2])
    assert len(names) < 2 + 18  # first-order features are redundant
    selected = pipeline[-1].selected_features_
    assert any("firstorder" in name for name in selected)
    assert pipeline.score(cohort, cohort.outcome) > 0.75
    curves = pipeline.predict_survival_function(cohort[:3], return_array=True)
    assert curves.shape[0] == 3


def test_filter_threshold_and_clinical_columns_are_parameters(cohort):
    y = cohort.outcome

    def names(**settings) -> list[str]:
        pipeline = radiomics_pipeline(
            RandomSurvivalForest(n_estimators=2), extractor=small_extractor(), **settings
        )
        return list(pipeline.fit(cohort, y)[-1].feature_names_in_)

    assert len(names(threshold=0.99)) > len(names(threshold=0.3))
    assert names(clinical_columns=["age"])[-1] == "clinical__age"
    assert not any(name.startswith("clinical__") for name in names(clinical_columns=[]))


def test_scikit_learn_tools_over_a_memory_mapped_cohort(cohort, tmp_path):
    y = cohort.outcome
    pipeline = radiomics_pipeline(
        LassoCox(cv=3), extractor=small_extractor(memory=tmp_path / "cache")
    )
    with warnings.catch_warnings():
        # Small folds may select nothing; that is a warning by design.
        warnings.filterwarnings("ignore", message="LassoCox selected none")
        warnings.filterwarnings("ignore", message="The best penalty")
        scores = cross_val_score(pipeline, cohort, y, cv=FOLDS, error_score="raise")
        assert scores.mean() > 0.6
        search = GridSearchCV(
            pipeline, {"features__radiomics__filter__threshold": [0.5, 0.9]}, cv=FOLDS,
            error_score="raise",
        ).fit(cohort, y)
    joblib.dump(search.best_estimator_, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(cohort), search.predict(cohort))
    assert clone(pipeline).get_params()["features__radiomics__filter__threshold"] == 0.7


def test_missing_features_are_imputed_from_the_training_fold(cohort):
    masks = [cohort.mask(i) for i in range(len(cohort))]
    masks[5] = np.zeros_like(masks[5])
    partly = Cohort(
        cohort.to_numpy(), masks=masks, clinical=cohort.clinical, outcome=cohort.outcome,
        spacing=2.0, channel_names=("PET",),
    )
    pipeline = radiomics_pipeline(
        RandomSurvivalForest(n_estimators=3, random_state=0),
        extractor=small_extractor(on_empty_mask="nan"),
    )
    pipeline.fit(partly, partly.outcome)
    assert np.isfinite(pipeline.predict(partly)).all()


def test_deep_features_are_out_of_fold_unless_asked_otherwise(cohort):
    y = cohort.outcome
    model = LassoCox(cv=4)
    honest = deep_features_pipeline(model, estimator=VolumeMoments(), cv=3).fit(cohort, y)
    published = deep_features_pipeline(model, estimator=VolumeMoments(), in_sample=True)
    published.fit(cohort, y)
    assert isinstance(honest[0].transformer_list[0][1][0], OutOfFold)
    assert isinstance(published[0].transformer_list[0][1][0], FitOnce)
    assert list(published[-1].feature_names_in_) == list(honest[-1].feature_names_in_)
    assert any(name.startswith("deep__") for name in honest[-1].selected_features_)
    # These features do not depend on the training patients, so both ways agree.
    np.testing.assert_allclose(honest.predict(cohort), published.predict(cohort))
    forest = RandomSurvivalForest(n_estimators=5, random_state=0)
    other = deep_features_pipeline(forest, estimator=VolumeMoments()).fit(cohort, y)
    assert other.score(cohort, y) > 0.6


@pytest.mark.parametrize(
    ("presets", "model"),
    [
        ((radiomics_lasso_cox, deep_features_lasso_cox), LassoCox()),
        ((radiomics_rsf, deep_features_rsf), RandomSurvivalForest(random_state=0)),
        ((radiomics_deepsurv, deep_features_deepsurv), DeepSurv(random_state=0)),
    ],
)
def test_presets_are_the_pipelines_of_their_models(presets, model):
    pipelines = (radiomics_pipeline, deep_features_pipeline)
    for preset, pipeline in zip(presets, pipelines, strict=True):
        options = {"clinical_columns": ["age"], "threshold": 0.8}
        assert repr(preset(**options)) == repr(pipeline(model, **options))


def test_defaults():
    image = radiomics_lasso_cox()[0].transformer_list[0][1]
    assert isinstance(image[0], RadiomicsFeatures)
    assert image[-1].threshold == 0.7
    deep = deep_features_lasso_cox()[0].transformer_list[0][1][0]
    assert deep.cv == 5
    assert isinstance(deep.estimator, FitOnce)
    assert deep.estimator.estimator.random_state == 0


@pytest.mark.parametrize(
    "make", [deep_features_lasso_cox, deep_features_rsf, deep_features_deepsurv]
)
def test_n_jobs_is_that_of_the_networks_folds(make):
    assert make(n_jobs=2)[0].transformer_list[0][1][0].n_jobs == 2
    assert make()[0].transformer_list[0][1][0].n_jobs is None
