"""Importance of feature families, and Shapley values, on models whose truth is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from survimg.datasets import make_phantom_cohort
from survimg.estimators import LassoCox, radiomics_pipeline
from survimg.evaluation import concordance_index
from survimg.explain import (
    cross_validated_family_importance,
    family_importance,
    feature_families,
    shapley_values,
)
from survimg.model_selection import EventStratifiedKFold
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome

NAMES = [
    "original_shape_Sphericity",
    "PET_original_firstorder_Mean",
    "PET_wavelet-LLH_glcm_Idm",
    "radiomics__CT_wavelet-HHH_glcm_Idm",
    "T1_gd_log-sigma-3-0-mm-3D_glrlm_RunEntropy",
    "shell-5mm_PET_original_ngtdm_Contrast",
    "missingindicator_PET_original_glcm_Contrast",
    "clinical__stage",
    "deep__deepmts_encoder3_07",
    "age",
]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("class", ["shape", "firstorder", "glcm", "glcm", "glrlm", "ngtdm", "glcm"]),
        ("image", ["shape", "original", "wavelet", "wavelet", "log", "original", "original"]),
        ("channel", ["shape", "PET", "PET", "CT", "T1_gd", "shell-5mm_PET", "PET"]),
        ("image-class", ["shape", "original firstorder", "wavelet glcm", "wavelet glcm",
                         "log glrlm", "original ngtdm", "original glcm"]),
    ],
)  # fmt: skip
def test_families_are_read_from_the_names(by, expected):
    families = feature_families(NAMES, by)
    found = {name: family for family, names in families.items() for name in names}
    assert [found[name] for name in NAMES] == [*expected, "clinical", "deep", "age"]


def test_every_feature_that_survimg_computes_has_a_family():
    cohort = make_phantom_cohort(n=2, shape=(16, 16, 16), random_state=0).cohort
    extractor = RadiomicsFeatures(image_types=("original",)).fit(cohort)
    families = feature_families(extractor.get_feature_names_out())
    assert {name: len(columns) for name, columns in families.items()} == {
        "shape": 16, "firstorder": 38, "glcm": 48, "glrlm": 32, "glszm": 32, "ngtdm": 10,
    }  # fmt: skip


def test_an_unknown_grouping_is_refused():
    with pytest.raises(ValueError, match="by must be"):
        feature_families(NAMES, "size")


# ---------------------------------------------------------------- permutation importance


class Linear(BaseEstimator):
    """Risk is a weighted sum of columns; curves are exponential."""

    unique_times_ = np.array([1.0, 2.0, 5.0])

    def __init__(self, weights=None):
        self.weights = weights

    def fit(self, X, y):
        self.fitted_columns_ = list(X.columns)
        return self

    def predict(self, X):
        frame = pd.DataFrame(X)
        return sum(w * frame[c].to_numpy(float) for c, w in self.weights.items())

    def predict_survival_function(self, X, return_array=False):
        assert return_array
        return np.exp(-0.1 * self.unique_times_ * np.exp(self.predict(X))[:, None])

    def score(self, X, y):
        return concordance_index(y, self.predict(X))


@pytest.fixture
def table() -> tuple[pd.DataFrame, np.ndarray]:
    """Two columns that say the same, one that says something else, and noise."""
    rng = np.random.default_rng(0)
    twin, other, noise = rng.normal(size=(3, 60))
    X = pd.DataFrame({
        "PET_original_glcm_Idm": twin, "PET_original_glcm_Id": twin,
        "original_shape_Sphericity": 0.5 * other, "clinical__age": noise,
    })  # fmt: skip
    return X, make_outcome(np.ones(60), np.exp(-2 * twin - other))


WEIGHTS = {"PET_original_glcm_Idm": 1.0, "PET_original_glcm_Id": 1.0,
           "original_shape_Sphericity": 2.0, "clinical__age": 0.0}  # fmt: skip


def test_families_that_matter_lose_most_and_unused_ones_nothing(table):
    X, y = table
    found = family_importance(Linear(WEIGHTS), X, y, n_repeats=10, random_state=0)
    assert found.score.tolist() == [1.0]
    assert found.table["family"].tolist() == ["glcm", "shape", "clinical"]
    assert found.table["n_features"].tolist() == [2, 1, 1]
    glcm, shape, clinical = found.table["drop_mean"]
    assert glcm > shape + 0.1 > 0.1
    assert clinical == 0
    own = found.drops[found.drops["family"] == "glcm"]["drop"]
    assert len(own) == 10
    assert found.table["drop_sd"][0] == pytest.approx(own.std(ddof=1))
    assert found.table["drop_max"][0] == own.max()


def test_a_family_moves_together(table):
    """Permuted one at a time, a twin leaves half of what they say; the family leaves nothing."""
    X, y = table
    alone = {"one": ["PET_original_glcm_Idm"], "both": list(X.columns[:2])}
    found = family_importance(Linear(WEIGHTS), X, y, families=alone, random_state=0)
    drops = found.table.set_index("family")["drop_mean"]
    assert drops["both"] > 1.3 * drops["one"]
    everything = family_importance(
        Linear(WEIGHTS), X, y, families={"all": list(X.columns)}, n_repeats=50, random_state=0
    )
    assert everything.table["drop_mean"][0] == pytest.approx(0.5, abs=0.05)  # no better than chance


def test_the_same_seed_gives_the_same_drops(table):
    X, y = table
    runs = [
        family_importance(Linear(WEIGHTS), X, y, n_repeats=3, random_state=s).drops["drop"]
        for s in (1, 1, 2)
    ]
    assert runs[0].equals(runs[1])
    assert not runs[0].equals(runs[2])


def scaled_cox() -> Pipeline:
    scaler = StandardScaler().set_output(transform="pandas")
    return make_pipeline(scaler, LassoCox(alphas=[0.01]))


def test_radiomics_pipelines_are_permuted_before_their_last_step(table):
    X, y = table
    pipeline = scaled_cox()
    pipeline.fit(X[:40], y[:40])
    before = X.copy()
    found = family_importance(pipeline, X[40:], y[40:], n_repeats=5, random_state=0)
    assert found.score[0] == pytest.approx(pipeline.score(X[40:], y[40:]))
    assert found.table["family"][0] == "glcm"
    pd.testing.assert_frame_equal(X, before)


def test_cross_validation_measures_on_held_out_folds(table):
    X, y = table
    pipeline = scaled_cox()
    found = cross_validated_family_importance(
        pipeline, X, y, cv=EventStratifiedKFold(3), n_repeats=4, random_state=0
    )
    assert len(found.score) == 3
    assert len(found.drops) == 3 * 3 * 4
    own = found.drops[found.drops["family"] == "glcm"].groupby("fold")["drop"].mean()
    row = found.table.set_index("family").loc["glcm"]
    assert row["drop_mean"] == pytest.approx(own.mean())
    assert row["drop_sd"] == pytest.approx(own.std(ddof=1))
    assert not hasattr(pipeline[-1], "coef_")  # clones were fitted


def test_a_radiomics_pipeline_over_a_cohort():
    cohort = make_phantom_cohort(n=30, shape=(16, 16, 16), random_state=0).cohort
    extractor = RadiomicsFeatures(features=["shape", "firstorder"], image_types=("original",))
    pipeline = radiomics_pipeline(LassoCox(alphas=[0.05]), extractor=extractor)
    pipeline.fit(cohort[:20], cohort[:20].outcome)
    found = family_importance(
        pipeline, cohort[20:], cohort[20:].outcome, n_repeats=3, random_state=0
    )
    assert set(found.table["family"]) == {"shape", "firstorder", "clinical"}
    assert found.score[0] == pytest.approx(pipeline.score(cohort[20:], cohort[20:].outcome))


def test_tables_without_names_and_unknown_columns_are_refused(table):
    X, y = table
    with pytest.raises(TypeError, match="set_output"):
        family_importance(make_pipeline(StandardScaler().fit(X), Linear(WEIGHTS)), X, y)
    with pytest.raises(ValueError, match="does not have: \\['weight'\\]"):
        family_importance(Linear(WEIGHTS), X, y, families={"a": ["weight"]})
    with pytest.raises(ValueError, match="n_repeats"):
        family_importance(Linear(WEIGHTS), X, y, n_repeats=0)


# ---------------------------------------------------------------- Shapley values


class Crossed(Linear):
    """Risk with an interaction, a threshold and a feature that is not used."""

    def predict(self, X):
        a, b, c = (np.asarray(X)[:, k].astype(float) for k in range(3))
        return a * b + np.where(c > 0, 2.0, -1.0) + 0.3 * a


def by_permutations(model, x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley's definition: mean marginal contribution over all orders of joining."""
    k = len(x)
    values = np.zeros(k)
    orders = list(permutations(range(k)))
    for order in orders:
        mixed = background.copy()
        before = model.predict(mixed).mean()
        for feature in order:
            mixed[:, feature] = x[feature]
            after = model.predict(mixed).mean()
            values[feature] += (after - before) / len(orders)
            before = after
    return values


@pytest.fixture
def crossed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(5, 4)), rng.normal(size=(30, 4))


def test_values_are_those_of_the_definition(crossed):
    X, background = crossed
    found = shapley_values(Crossed(), X, background)
    expected = [by_permutations(Crossed(), x, background) for x in X]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.values[:, 3], 0, atol=1e-12)  # not used
    assert found.to_frame().shape == (5, 4)


@pytest.mark.parametrize("horizon", [None, 2.0, [0.5, 2.0, 4.9]])
def test_contributions_sum_to_the_prediction_less_the_mean(crossed, horizon):
    X, background = crossed
    model = Crossed()
    found = shapley_values(model, X, background, horizon=horizon)
    np.testing.assert_allclose(
        found.values.sum(axis=1), found.prediction - found.expectation, atol=1e-12
    )
    if horizon is None:
        np.testing.assert_allclose(found.prediction, model.predict(X))
        np.testing.assert_allclose(found.expectation, model.predict(background).mean())
    elif horizon == 2.0:
        curves = model.predict_survival_function(X, return_array=True)
        np.testing.assert_allclose(found.prediction, curves[:, 1])
    else:
        assert found.values.shape == (5, 4, 3)
        assert not found.values[:, :, 0].any()  # S is 1 for everyone before the first time
        with pytest.raises(ValueError, match="no single table"):
            found.to_frame()


def test_linear_models_have_their_textbook_values(table):
    X, _ = table
    found = shapley_values(Linear(WEIGHTS), X[:4], X[4:])
    expected = (X[:4] - X[4:].mean()) * pd.Series(WEIGHTS)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.players == tuple(X.columns)


def test_groups_play_as_one_and_others_stay_the_patients_own(table):
    X, _ = table
    model = Linear(WEIGHTS)
    found = shapley_values(model, X[:4], X[4:], groups=feature_families(X.columns[:3]))
    single = shapley_values(model, X[:4], X[4:])
    assert found.players == ("glcm", "shape")
    np.testing.assert_allclose(found.values[:, 0], single.values[:, :2].sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(
        found.values.sum(axis=1), found.prediction - found.expectation, atol=1e-12
    )
    np.testing.assert_allclose(found.prediction, model.predict(X[:4]))


def test_a_fitted_cox_model_is_explained(table):
    X, y = table
    model = LassoCox(alphas=[0.01]).fit(X[:40], y[:40])
    horizon = float(np.median(y["time"]))
    found = shapley_values(model, X[40:43], X[:40], horizon=horizon)
    expected = [f(horizon) for f in model.predict_survival_function(X[40:43])]
    np.testing.assert_allclose(found.prediction, expected)
    np.testing.assert_allclose(
        found.values.sum(axis=1), found.prediction - found.expectation, atol=1e-12
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((1, 11)), "background": np.zeros((2, 11))}, "11 features or groups"),
        ({"background": np.zeros((2, 3))}, "same columns"),
        ({"background": np.zeros((0, 4))}, "at least one patient"),
        ({"horizon": 6.0}, "outside the times"),
        ({"groups": {"a": [0, 1], "b": [1]}}, "twice: \\[1\\]"),
        ({"groups": {"a": [9]}}, "unknown: \\[9\\]"),
    ],
)
def test_what_has_no_exact_values_is_refused(crossed, changes, message):
    X, background = crossed
    with pytest.raises(ValueError, match=message):
        shapley_values(**{"model": Crossed(), "X": X, "background": background, **changes})
