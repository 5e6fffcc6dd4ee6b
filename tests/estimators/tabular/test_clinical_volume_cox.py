"""ClinicalVolumeCox against lifelines and a direct maximisation, and over cohorts."""

from __future__ import annotations

import io

import joblib
import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from survimg import Cohort
from survimg.estimators import ClinicalVolumeCox
from survimg.features import ClinicalFeatures, TumourVolume
from survimg.model_selection import EventStratifiedKFold
from survimg.survival import RiskSets
from survimg.target import make_outcome


def make_cohort(n: int = 90, seed: int = 0, decimals: int = 6, **kwargs) -> Cohort:
    rng = np.random.default_rng(seed)
    voxels = rng.integers(5, 500, size=n)
    masks = (np.arange(512) < voxels[:, np.newaxis]).astype(np.uint8).reshape(n, 8, 8, 8)
    age, stage = rng.normal(60, 10, n), rng.choice(["I", "II", "III"], n)
    log_hazard = 0.8 * np.log(voxels) + 0.03 * (age - 60) + 0.6 * (stage == "III")
    time = np.round(rng.exponential(np.exp(-log_hazard + 3)), decimals) + 0.1
    censoring = np.round(rng.exponential(3.0, n), decimals) + 0.1
    return Cohort(
        np.zeros((n, 1, 8, 8, 8), dtype=np.float32),
        masks=masks,
        clinical=pd.DataFrame({"age": age, "stage": stage}),
        outcome=make_outcome(time <= censoring, np.minimum(time, censoring)),
        ids=[f"P{i}" for i in range(n)],
        **{"spacing": 3.0, **kwargs},
    )


def design(cohort: Cohort) -> pd.DataFrame:
    clinical = ClinicalFeatures().fit_transform(cohort)
    return pd.concat([clinical, TumourVolume().fit_transform(cohort)], axis=1)


@pytest.mark.parametrize("decimals", [6, 1], ids=["distinct_times", "tied_times"])
def test_classical_cox_equals_lifelines(decimals):
    cohort = make_cohort(decimals=decimals)
    y = cohort.outcome
    assert (len(np.unique(y["time"][y["event"]])) < y["event"].sum()) == (decimals == 1)
    table = ClinicalVolumeCox(alpha=0).fit(cohort, y).coef_table()
    frame = design(cohort).assign(time=y["time"], event=y["event"])
    expected = CoxPHFitter().fit(frame, "time", "event").summary
    assert list(table.index) == list(expected.index)
    np.testing.assert_allclose(table["coef"], expected["coef"], rtol=1e-4)
    np.testing.assert_allclose(table["hazard_ratio"], expected["exp(coef)"], rtol=1e-4)
    np.testing.assert_allclose(table["se"], expected["se(coef)"], rtol=1e-4)
    np.testing.assert_allclose(table["p"], expected["p"], rtol=1e-3, atol=1e-10)


def test_ridge_maximises_the_stated_objective():
    cohort = make_cohort()
    event, time = cohort.outcome["event"], cohort.outcome["time"]
    model = ClinicalVolumeCox(alpha=5.0).fit(cohort, cohort.outcome)
    table = design(cohort)
    X = table.to_numpy()
    scale = np.where(table.columns.str.startswith("stage"), 1.0, X.std(axis=0))

    def loss(scaled: np.ndarray) -> float:
        risk = ((X - X.mean(axis=0)) / scale) @ scaled
        return -RiskSets(event, time).log_likelihood(risk) + 2.5 * (scaled**2).sum()

    best = minimize(loss, np.zeros(X.shape[1]), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(model.coef_ * scale, best, atol=1e-4)
    plain = ClinicalVolumeCox(alpha=0).fit(cohort, cohort.outcome)
    assert (model.coef_table()["se"] < plain.coef_table()["se"]).all()
    assert np.abs(model.coef_ * scale).sum() < np.abs(plain.coef_ * scale).sum()


def test_default_ridge_hardly_moves_supported_coefficients():
    cohort = make_cohort(400)
    default, plain = (
        ClinicalVolumeCox(**settings).fit(cohort, cohort.outcome).coef_
        for settings in ({}, {"alpha": 0})
    )
    np.testing.assert_allclose(default, plain, atol=0.03)


def test_rare_levels_are_shrunk_most():
    """A level of two patients must not get a coefficient that only two patients support."""
    cohort = make_cohort(60)
    latest = np.argsort(cohort.outcome["time"])[-2:]
    level = np.where(np.isin(np.arange(60), latest), "rare", "common")
    with_rare = Cohort(
        cohort.to_numpy(), masks=[cohort.mask(i) for i in range(60)], spacing=3.0,
        clinical=pd.DataFrame({"level": level}),
    )
    shrunk, free = (
        ClinicalVolumeCox(alpha=alpha).fit(with_rare, cohort.outcome).coef_ for alpha in (1.0, 1e-3)
    )
    assert abs(shrunk[0]) < 0.5 * abs(free[0])
    assert abs(shrunk[1]) > 0.8 * abs(free[1])


def test_separation_stays_finite_with_the_default_and_is_explained_without():
    cohort = make_cohort(40)
    clinical = pd.DataFrame({"relapse": cohort.outcome["event"], "copy": cohort.outcome["event"]})
    separated = Cohort(
        cohort.to_numpy(), masks=[cohort.mask(i) for i in range(40)], spacing=3.0, clinical=clinical
    )
    model = ClinicalVolumeCox().fit(separated, cohort.outcome)
    assert np.abs(model.coef_).max() < 10
    with pytest.raises(ValueError, match="are collinear"):
        ClinicalVolumeCox(alpha=0).fit(separated, cohort.outcome)


def test_columns_choose_the_clinical_variables():
    cohort = make_cohort()
    y = cohort.outcome
    names = {
        None: ["age", "stage_II", "stage_III", "log_tumour_volume_ml"],
        ("age",): ["age", "log_tumour_volume_ml"],
        (): ["log_tumour_volume_ml"],
    }
    for columns, expected in names.items():
        chosen = None if columns is None else list(columns)
        model = ClinicalVolumeCox(clinical_columns=chosen).fit(cohort, y)
        assert model.feature_names_.tolist() == expected
    without = Cohort(cohort.to_numpy(), masks=[cohort.mask(i) for i in range(90)], spacing=3.0)
    with pytest.raises(ValueError, match=r"no clinical columns.*clinical_columns=\[\]"):
        ClinicalVolumeCox().fit(without, y)
    assert ClinicalVolumeCox(clinical_columns=[]).fit(without, y).score(without, y) > 0.6


def test_the_unit_of_volume_shifts_nothing_on_one_grid():
    cohort = make_cohort()
    in_ml = ClinicalVolumeCox().fit(cohort, cohort.outcome)
    in_voxels = ClinicalVolumeCox(volume_unit="voxels").fit(cohort, cohort.outcome)
    np.testing.assert_allclose(in_ml.predict(cohort), in_voxels.predict(cohort), atol=1e-8)
    assert in_voxels.feature_names_[-1] == "log_tumour_volume_voxels"


def test_plain_arrays():
    cohort = make_cohort()
    volumes, masks = cohort.to_numpy(), np.stack([cohort.mask(i) for i in range(len(cohort))])
    given = {"masks": masks, "clinical": cohort.clinical}
    model = ClinicalVolumeCox(volume_unit="voxels").fit(volumes, cohort.outcome, **given)
    expected = ClinicalVolumeCox().fit(cohort, cohort.outcome).predict(cohort)
    np.testing.assert_allclose(model.predict(volumes, **given), expected, atol=1e-8)


def test_curves_follow_risk():
    cohort = make_cohort()
    model = ClinicalVolumeCox().fit(cohort, cohort.outcome)
    risk = model.predict(cohort)
    assert abs(risk.mean()) < 1e-10
    curves = model.predict_survival_function(cohort, return_array=True)
    order = np.argsort(risk)
    assert (np.diff(curves[order, 30]) <= 1e-12).all()
    np.testing.assert_allclose(
        model.predict_survival_function(cohort)[0](model.unique_times_), curves[0]
    )


def test_scikit_learn_tools_over_a_memory_mapped_cohort(tmp_path):
    cohort = make_cohort().save(tmp_path / "store")
    y = cohort.outcome
    folds = EventStratifiedKFold(3)
    assert cross_val_score(ClinicalVolumeCox(), cohort, y, cv=folds).mean() > 0.6
    grid = {"alpha": [1.0, 1e4], "clinical_columns": [None, []]}
    search = GridSearchCV(ClinicalVolumeCox(), grid, cv=folds)
    search.fit(cohort, y)
    assert search.best_params_["alpha"] == 1.0
    buffer = io.BytesIO()
    joblib.dump(search.best_estimator_, buffer)
    assert buffer.tell() < 50_000
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict(cohort), search.predict(cohort))
    assert not hasattr(clone(search.best_estimator_), "coef_")


def test_clear_errors():
    cohort = make_cohort(30)
    with pytest.raises(ValueError, match="'alpha' parameter of ClinicalVolumeCox"):
        ClinicalVolumeCox(alpha=-1).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="30 patients but y has 29"):
        ClinicalVolumeCox().fit(cohort, cohort.outcome[:29])
    with pytest.raises(ValueError, match="'weight'"):
        ClinicalVolumeCox(clinical_columns=["weight"]).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="no spacing"):
        ClinicalVolumeCox().fit(make_cohort(30, spacing=None), cohort.outcome)
