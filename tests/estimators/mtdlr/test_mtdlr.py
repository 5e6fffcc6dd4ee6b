"""MTDLR and its comparators: honest scores, an ordinary Cox model on top, everything flagged."""

from __future__ import annotations

import threading
import warnings
import zlib

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    MTDLR,
    ClinicalCox,
    DeepMTS,
    LassoCox,
    ManualRadiomicsCox,
    OutOfFold,
    SingleTaskCox,
    SingleTaskSurvival,
)
from survimg.estimators.mtdlr.few_covariates import fit_few_covariates, select_covariates
from survimg.estimators.mtdlr.region import NetworkScoreAndRadiomics, RegionSource
from survimg.evaluation import Nomogram, concordance_index, fit_cox, univariate_cox_table
from survimg.features import TumourVolume
from survimg.model_selection import EventStratifiedKFold
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome
from survimg.testing import check_survival_estimator

SIDE = 6


def noise_of(name: str, salt: int, size: int | None = None):
    return np.random.default_rng(zlib.crc32(f"{name}/{salt}".encode())).normal(size=size)


class Memoriser(BaseEstimator):
    """A network that knows its training patients nearly by heart, and nothing else.

    Regions: 2 x 2 x 2 voxels for patients it was trained on, 3 x 3 x 3 for others.
    """

    def __init__(self, salt: int = 0) -> None:
        self.salt = salt

    def fit(self, X, y):
        blur = np.array([noise_of(name, 11) for name in X.ids])
        risk = -np.log(y["time"]) + y["event"] + 0.3 * blur
        self.known_ = dict(zip(X.ids, risk - risk.mean(), strict=True))
        return self

    def predict(self, X):
        return np.array([self.known_.get(name, noise_of(name, self.salt)) for name in X.ids])

    def predict_mask_proba(self, X):
        probability = np.full((len(X), SIDE, SIDE, SIDE), 0.1, dtype=np.float32)
        for i, name in enumerate(X.ids):
            side = 2 if name in self.known_ else 3
            probability[i, :side, :side, :side] = 0.9
        return probability


class Look(BaseEstimator):
    """An extractor: voxels of the region, mean of each channel in it, and noise features."""

    def __init__(self, mask_from=None, n_noise: int = 0) -> None:
        self.mask_from = mask_from
        self.n_noise = n_noise

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        rows = []
        for i, name in enumerate(X.ids):
            mask = X.mask(i) if self.mask_from is None else self.mask_from.predict_mask(X[[i]])[0]
            inside = mask > 0
            means = [v[inside].mean() if inside.any() else np.nan for v in X.volume(i)]
            means = np.where(X.present[i], means, np.nan)
            size = float(inside.sum()) if inside.any() else np.nan
            rows.append([size, *means, *noise_of(name, 7, self.n_noise)])
        names = ["voxels", *X.channel_names, *(f"noise{k}" for k in range(self.n_noise))]
        return pd.DataFrame(rows, columns=names)


class Segments(BaseEstimator):
    """A network whose risk is the brightness of a patient; the mask is where he is bright."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X.to_numpy().mean(axis=(1, 2, 3, 4)).astype(np.float64)

    def predict_mask_proba(self, X):
        return np.stack([np.clip(X.volume(i)[0], 0, 1) for i in range(len(X))])


RIDGE = make_pipeline(
    SimpleImputer(keep_empty_features=True), CoxPHSurvivalAnalysis(alpha=0.1, ties="efron")
)


def noise_cohort(n, seed, prefix="p"):
    rng = np.random.default_rng(seed)
    y = make_outcome(rng.random(n) < 0.7, rng.exponential(10, n) + 0.01)
    clinical = pd.DataFrame({"stage": rng.choice(["III", "IVa"], n), "age": rng.normal(60, 9, n)})
    ids = [f"{prefix}{seed}-{i}" for i in range(n)]
    masks = np.zeros((n, SIDE, SIDE, SIDE), dtype=np.uint8)
    masks[:, 1:4, 1:4, 1:4] = 1
    volumes = rng.random((n, 2, SIDE, SIDE, SIDE), dtype=np.float32)
    return Cohort(
        volumes, masks=masks, clinical=clinical, outcome=y, ids=ids, channel_names=("PET", "CT")
    )


@pytest.fixture
def cohort():
    """Brightness carries the hazard, and the mask is bright."""
    rng = np.random.default_rng(3)
    plain = noise_cohort(60, 3)
    bright = rng.random(60)
    volumes = 0.3 * plain.to_numpy() + bright[:, None, None, None, None].astype(np.float32) * 0.2
    masks = np.stack([plain.mask(i) for i in range(60)])
    volumes += 0.4 * masks[:, np.newaxis]
    stage = plain.clinical["stage"] == "IVa"
    event_time = rng.exponential(10 * np.exp(-3 * bright - 0.5 * stage))
    y = make_outcome(event_time < 12, np.minimum(event_time, 12))
    return Cohort(
        volumes, masks=masks, clinical=plain.clinical, outcome=y, channel_names=("PET", "CT")
    )


def make(**changes):
    settings = {"extractor": Look(), "radiomics_model": RIDGE, "cv": 3, "random_state": 0}
    return MTDLR(Segments(), **{**settings, **changes})


# ------------------------------------------------------------------ honest scores


def on_noise(scores, seeds=range(6)):
    """Apparent C, C on new patients, and Wald z of the scores, over cohorts of pure noise."""
    apparent, honest, z = [], [], []
    for seed in seeds:
        train, new = noise_cohort(120, seed), noise_cohort(200, seed, "new")
        model = MTDLR(
            Memoriser(seed),
            extractor=Look(n_noise=40),
            radiomics_model=RIDGE,
            clinical_columns=[],
            scores=scores,
            random_state=seed,
        ).fit(train, train.outcome)
        apparent.append(concordance_index(train.outcome, model.training_risk_))
        honest.append(model.score(new, new.outcome))
        z.append(model.cox_.coefficients / np.sqrt(np.diag(model.cox_.covariance)))
    return np.mean(apparent), np.mean(honest), np.array(z)


@pytest.mark.filterwarnings("ignore:AutoRadio:UserWarning")
def test_out_of_fold_scores_of_pure_noise_stay_at_chance():
    apparent, honest, z = on_noise("out-of-fold")
    # Two coefficients fitted to 84 events lift C by about 0.03 without any inflation.
    assert apparent < 0.57
    assert abs(honest - 0.5) < 0.04
    assert np.mean(z**2) < 2.5  # 1 under the null


@pytest.mark.filterwarnings("ignore:MTDLR.scores='in-sample':UserWarning")
def test_in_sample_scores_of_pure_noise_are_inflated():
    apparent, honest, z = on_noise("in-sample")
    assert apparent > 0.9
    assert abs(honest - 0.5) < 0.04
    assert np.mean(z**2) > 10


def test_in_sample_scores_warn(cohort):
    with pytest.warns(UserWarning, match="scores='in-sample'.* inflated"):
        model = make(scores="in-sample").fit(cohort, cohort.outcome)
    np.testing.assert_allclose(model.training_scores_, model.transform(cohort))


def test_training_masks_come_from_networks_that_have_not_seen_the_patient():
    train = noise_cohort(40, 0)
    seen = []

    class Records(CoxPHSurvivalAnalysis):
        def fit(self, X, y):
            seen.append(X["voxels"].to_numpy())
            return super().fit(X.drop(columns="voxels"), y)

        def predict(self, X):
            return super().predict(X.drop(columns="voxels"))

    model = MTDLR(
        Memoriser(),
        extractor=Look(),
        radiomics_model=Records(alpha=0.1),
        clinical_columns=[],
        cv=4,
        alpha=1.0,
    )
    model.fit(train, train.outcome)
    assert len(seen) == 5  # everybody, and four folds
    assert all((sizes == 27).all() for sizes in seen)
    assert (model.predict_mask(train).sum(axis=(1, 2, 3)) == 8).all()  # the final network knows all
    seen.clear()
    with pytest.warns(UserWarning, match="in-sample"):
        model.set_params(scores="in-sample").fit(train, train.outcome)
    assert [set(sizes) for sizes in seen] == [{8.0}]


def test_folds_are_event_stratified_shuffled_by_the_seed_and_complete(cohort):
    first, again, other = (
        make(random_state=seed).fit(cohort, cohort.outcome).training_scores_ for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not np.allclose(first["AutoRadio-Score"], other["AutoRadio-Score"])

    class Half:
        def split(self, X, y):
            yield np.arange(30, 60), np.arange(30)

    with pytest.raises(ValueError, match="every patient exactly once"):
        make(cv=Half()).fit(cohort, cohort.outcome)


# ------------------------------------------------------------------ the final model


def test_final_model_is_the_cox_model_of_its_covariates(cohort):
    model = make().fit(cohort, cohort.outcome)
    expected = fit_cox(cohort.outcome, model.training_covariates_)
    assert set(model.cox_.names) == {"stage_IVa", "age", "AutoRadio-Score", "DeepMTS-Score"}
    np.testing.assert_allclose(model.cox_.coefficients, expected.coefficients, rtol=1e-5)
    np.testing.assert_allclose(model.cox_.covariance, expected.covariance, rtol=1e-4)
    summary = model.cox_.summary()
    np.testing.assert_allclose(summary["p"], expected.wald_p_values, rtol=1e-4)
    np.testing.assert_allclose(
        summary["lower"], [e.lower for e in expected.hazard_ratios()], rtol=1e-4
    )


def test_predictions_follow_from_scores_and_stage(cohort):
    model = make(clinical_columns=["stage"]).fit(cohort, cohort.outcome)
    new = cohort[[5, 2, 9]]
    table = model.covariates(new)
    assert list(table.columns) == ["stage_IVa", "AutoRadio-Score", "DeepMTS-Score"]
    np.testing.assert_array_equal(table["DeepMTS-Score"], model.transform(new)["DeepMTS-Score"])
    np.testing.assert_allclose(model.predict(new), model.cox_.log_hazard_ratio(table))
    curves = model.predict_survival_function(new)
    for k, time in enumerate((1.0, 3.0)):
        found = model.predict_survival_at(new, [1.0, 3.0])[:, k]
        np.testing.assert_allclose(found, [curve(time) for curve in curves])
    with pytest.raises(ValueError, match="last event"):
        model.predict_survival_at(new, 1e6)


def test_nomogram_of_the_fitted_model_agrees_with_its_predictions(cohort):
    model = make().fit(cohort, cohort.outcome)
    table = model.training_covariates_
    ranges = {name: (table[name].min(), table[name].max()) for name in model.cox_.names}
    ranges.pop("stage_IVa")
    ranges["Stage"] = {"III": {}, "IVa": {"stage_IVa": 1}}
    nomogram = Nomogram(model, ranges)
    new = cohort[::4]
    found = nomogram.predict(model.covariates(new), 2.0)
    np.testing.assert_allclose(
        found["survival"], model.predict_survival_at(new, 2.0)[:, 0], atol=1e-6
    )
    assert (found["lower"] < found["upper"]).all()


def test_selection_by_p_value(cohort):
    model = SingleTaskCox(Segments(), cv=3, significance=0.05).fit(cohort, cohort.outcome)
    report = model.selection_
    table = model.training_covariates_
    columns = {"stage": "stage_IVa", "age": "age", "SingleTask-Score": "SingleTask-Score"}
    assert set(report.index) == set(columns)
    for variable, column in columns.items():
        expected = univariate_cox_table(cohort.outcome, table[[column]])["p_wald"].iloc[0]
        assert report.loc[variable, "p_univariate"] == pytest.approx(expected, rel=1e-4)
    kept = report.index[report["selected"]]
    assert "SingleTask-Score" in kept
    assert "age" not in kept
    assert set(model.cox_.names) == {columns[name] for name in kept}
    assert len(model.predict(cohort)) == 60


def test_selection_takes_a_categorical_variable_as_a_whole_and_something_always():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b_2", "b_3"])
    event, time = rng.random(80) < 0.7, rng.exponential(size=80)
    variables = {"a": ["a"], "b": ["b_2", "b_3"]}
    with pytest.warns(UserWarning, match="No variable has a p value below 1e-09"):
        report = select_covariates(table, variables, event, time, 1e-9)
    assert report["selected"].sum() == 1
    expected = fit_cox(make_outcome(event, time), table[["b_2", "b_3"]])
    statistic = expected.coefficients @ np.linalg.solve(expected.covariance, expected.coefficients)
    assert report.loc["b", "p_univariate"] == pytest.approx(np.exp(-statistic / 2), rel=1e-4)


def test_ridge_penalty_shrinks_and_rescues_separated_events(cohort):
    plain, ridge = (make(alpha=a).fit(cohort, cohort.outcome) for a in (0.0, 20.0))
    spread = plain.training_covariates_[list(plain.cox_.names)].std().to_numpy()
    lengths = [np.linalg.norm(m.cox_.coefficients * spread) for m in (ridge, plain)]
    assert lengths[0] < 0.8 * lengths[1]
    time = np.arange(1.0, 21)
    table = pd.DataFrame({"knows": -time})
    event = np.ones(20, dtype=bool)
    with pytest.raises(ValueError, match="'knows'.*no maximum"):
        fit_few_covariates(table, event, time)
    assert np.isfinite(fit_few_covariates(table, event, time, alpha=1.0).coefficients).all()


def test_a_constant_score_is_left_out(cohort):
    class Nothing(Segments):
        def predict(self, X):
            return np.zeros(len(X))

    with pytest.warns(UserWarning, match="DeepMTS-Score: constant"):
        model = make().set_params(estimator=Nothing()).fit(cohort, cohort.outcome)
    assert "DeepMTS-Score" not in model.cox_.names
    with (
        pytest.raises(ValueError, match="nothing to fit a Cox model on"),
        pytest.warns(UserWarning, match="SingleTask-Score: constant"),
    ):
        SingleTaskCox(Nothing(), clinical_columns=[], cv=3).fit(cohort, cohort.outcome)


# ------------------------------------------------------------------ what is missing


def test_missing_values_and_modalities_are_imputed_and_flagged(cohort):
    clinical = cohort.clinical
    clinical.loc[[0, 4], "age"] = np.nan
    clinical.loc[4, "stage"] = None
    present = np.ones((60, 2), dtype=bool)
    present[7, 1] = False
    masks = np.stack([cohort.mask(i) for i in range(60)])
    X = Cohort(
        cohort.to_numpy(),
        masks=masks,
        clinical=clinical,
        outcome=cohort.outcome,
        channel_names=("PET", "CT"),
        present=present,
    )
    model = make().fit(X, X.outcome)
    flags = model.training_flags_
    assert flags["imputed_clinical"].iloc[[0, 1, 4]].tolist() == ["age", "", "stage, age"]
    assert flags["absent_modalities"].iloc[[6, 7]].tolist() == ["", "CT"]
    assert set(flags["region"]) == {"predicted"}
    assert not any("missing" in name for name in model.cox_.names)
    table = model.covariates(X)
    assert table.loc[0, "age"] == pytest.approx(np.nanmedian(clinical["age"]))
    assert np.isfinite(model.predict(X)).all()
    pd.testing.assert_frame_equal(model.flags(X[[7]]), flags.iloc[[7]])


def test_an_empty_predicted_mask_falls_back_on_the_most_probable_voxels(cohort):
    volumes = cohort.to_numpy().copy()
    volumes[4] *= 0.4  # bright in the right place, but below the threshold
    volumes[8] = 0.0  # says nothing
    X = Cohort(
        volumes,
        masks=np.stack([cohort.mask(i) for i in range(60)]),
        clinical=cohort.clinical,
        outcome=cohort.outcome,
    )
    with pytest.warns(UserWarning, match="2 of 60 predicted masks are empty or too small"):
        model = make().fit(X, X.outcome)
    expected = {3: "predicted", 4: "most probable voxels", 8: "none: features imputed"}
    assert model.training_flags_["region"].iloc[list(expected)].tolist() == list(expected.values())
    masks = model.predict_mask(X[[4, 8]])
    assert masks[0].sum() == 27  # as large as the masks in training
    np.testing.assert_array_equal(masks[0], X.mask(4))
    assert masks[1].sum() == 0
    with pytest.warns(UserWarning, match="1 of 2 predicted masks"):
        assert np.isfinite(model.predict(X[[3, 8]])).all()


def test_without_training_masks_there_is_no_size_to_fall_back_on(cohort):
    plain = Cohort(0.1 * cohort.to_numpy(), outcome=cohort.outcome)
    model = NetworkScoreAndRadiomics(Segments(), Look()).fit(plain, plain.outcome)
    mask, source = model.region(plain, 0)
    assert source is RegionSource.NONE
    assert not mask.any()
    assert model.transform(plain[[0]])["voxels"].isna().all()


def test_scattered_voxels_are_no_region(cohort):
    X = cohort[:10]
    model = NetworkScoreAndRadiomics(Segments(), Look()).fit(X, X.outcome)
    volume = np.zeros((1, 2, SIDE, SIDE, SIDE), dtype=np.float32)
    volume[0, 0, ::2, ::2, ::2] = 0.9  # above the threshold, but no two share a face
    volume[0, 0, 2:5, 2:5, 2:5] = 0.4  # one piece
    scattered = Cohort(volume, channel_names=("PET", "CT"))
    mask, source = model.region(scattered, 0)
    assert source is RegionSource.MOST_PROBABLE
    assert mask[2:5, 2:5, 2:5].all()
    volume[0, 0, 2:5, 2:5, 2:5] = 0.0
    assert model.region(Cohort(volume, channel_names=("PET", "CT")), 0)[1] is RegionSource.NONE


def test_a_network_without_any_region_is_an_error_that_says_so(cohort):
    dark = Cohort(0 * cohort.to_numpy(), masks=np.stack([cohort.mask(i) for i in range(60)]))
    with pytest.raises(ValueError, match="no region for any of the 60 training patients"):
        make(clinical_columns=[]).fit(dark, cohort.outcome)


# ------------------------------------------------------------------ comparators and the protocol


def test_manual_radiomics_reads_the_cohorts_masks(cohort):
    model = ManualRadiomicsCox(
        extractor=Look(), radiomics_model=RIDGE, clinical_columns=["stage"], cv=3
    ).fit(cohort, cohort.outcome)
    features = Look().fit(cohort).transform(cohort)
    by_hand = OutOfFold(RIDGE, method="predict", cv=EventStratifiedKFold(3))
    expected = by_hand.fit_transform(features, cohort.outcome)["risk"]
    np.testing.assert_allclose(model.training_scores_["ManualRadio-Score"], expected)
    assert list(model.covariates(cohort).columns) == ["stage_IVa", "ManualRadio-Score"]
    np.testing.assert_allclose(
        model.transform(cohort)["ManualRadio-Score"], by_hand.transform(features)["risk"]
    )


def test_manual_radiomics_take_the_finer_voxels_and_say_so(cohort):
    rng = np.random.default_rng(0)
    marks = {side: rng.random((60, side, side, side)) < rng.uniform(0.2, 0.8, (60, 1, 1, 1))
             for side in (SIDE, 8)}
    coarse, finer = (
        Cohort(np.zeros((60, 2, *mask.shape[1:]), np.float32), masks=mask.astype(np.uint8),
               ids=cohort.ids, channel_names=cohort.channel_names, spacing=(1, 1, 1))
        for mask in marks.values()
    )
    both = coarse.with_finer(finer)
    plain, model = (
        ManualRadiomicsCox(
            extractor=TumourVolume(), radiomics_model=RIDGE, clinical_columns=[], cv=3
        ).fit(patients, cohort.outcome)
        for patients in (coarse, both)
    )
    assert (plain.measured_on_, model.measured_on_) == ("cohort's voxels", "finer voxels")
    ranks = model.transform(both)["ManualRadio-Score"].rank().to_numpy()
    sizes = pd.Series(marks[8].sum(axis=(1, 2, 3))).rank().to_numpy()
    assert abs(np.corrcoef(ranks, sizes)[0, 1]) > 0.99
    with pytest.raises(ValueError, match="fitted on the finer voxels"):
        model.predict(coarse)


def test_single_task_scores_are_out_of_fold():
    train = noise_cohort(60, 2)
    model = SingleTaskCox(Memoriser(), clinical_columns=[], cv=3).fit(train, train.outcome)
    assert model.get_feature_names_out().tolist() == ["SingleTask-Score"]
    # Scores of patients the networks know by heart would be near their outcome.
    own = concordance_index(train.outcome, model.training_scores_["SingleTask-Score"])
    assert abs(own - 0.5) < 0.15
    assert model.score(train, train.outcome) == pytest.approx(1, abs=0.5)
    pd.testing.assert_frame_equal(
        clone(model).fit_transform(train, train.outcome), model.training_scores_
    )


def test_clinical_cox_is_a_cox_model_of_the_clinical_columns(cohort):
    model = ClinicalCox().fit(cohort, cohort.outcome)
    assert model.transform(cohort).shape == (60, 0)
    expected = fit_cox(cohort.outcome, model.training_covariates_)
    np.testing.assert_allclose(model.cox_.coefficients, expected.coefficients, rtol=1e-5)
    np.testing.assert_allclose(model.training_risk_, model.predict(cohort))
    assert ClinicalCox(clinical_columns=["age"]).fit(cohort, cohort.outcome).cox_.names == ("age",)


class WithThread(Segments):
    """Keeps the thread that has fitted it."""

    def fit(self, X, y):
        self.thread_ = threading.get_ident()
        return super().fit(X, y)


def test_inner_fits_run_side_by_side_and_give_the_same(cohort):
    X, settings = cohort[:30], {"radiomics_model": RIDGE, "cv": 3, "random_state": 0}
    for model in (
        MTDLR(WithThread(), extractor=Look(), clinical_columns=[], **settings),
        SingleTaskCox(WithThread(), clinical_columns=[], cv=3),
        ManualRadiomicsCox(extractor=Look(), clinical_columns=[], **settings),
    ):
        alone = clone(model).fit(X, X.outcome)
        with joblib.parallel_config(backend="threading"):
            shared = clone(model).set_params(n_jobs=2).fit(X, X.outcome)
        pd.testing.assert_frame_equal(shared.training_scores_, alone.training_scores_, rtol=0)
        np.testing.assert_array_equal(shared.predict(X), alone.predict(X))
        if hasattr(model, "estimator"):
            own = threading.get_ident()
            networks = [getattr(m.estimator_, "estimator_", m.estimator_) for m in (alone, shared)]
            assert [network.thread_ == own for network in networks] == [True, False]


ESTIMATORS = [
    MTDLR(Segments(), extractor=Look(), radiomics_model=RIDGE, cv=2, random_state=0),
    ManualRadiomicsCox(extractor=Look(), radiomics_model=RIDGE, cv=2),
    SingleTaskCox(Segments(), cv=2),
    ClinicalCox(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_survival_estimator_checks(estimator, cohort):
    check_survival_estimator(estimator, cohort[:40], cohort.outcome[:40])


def tiny_networks():
    quick = {
        "n_iterations": 1,
        "batch_size": 4,
        "augmentation": None,
        "clinical_columns": [],
        "random_state": 0,
        "device": "cpu",
        "n_threads": 1, "precision": "float32",
    }
    extractor = RadiomicsFeatures(
        features=("firstorder",), image_types=("original",), on_empty_mask="nan"
    )
    radiomics = make_pipeline(SimpleImputer(keep_empty_features=True), LassoCox(cv=2))
    return MTDLR(
        DeepMTS(**quick), extractor=extractor, radiomics_model=radiomics, cv=2, random_state=0
    ), SingleTaskCox(SingleTaskSurvival(**quick), cv=2, random_state=0)


def test_mtdlr_on_a_real_network_and_radiomics():
    # With fewer patients a fold's features can order its few events perfectly: no Cox model then.
    X = make_phantom_cohort(n=24, shape=(16, 16, 16), random_state=0).cohort
    model = tiny_networks()[0].set_params(alpha=1.0)
    with warnings.catch_warnings():  # after one iteration masks are what they are
        warnings.filterwarnings("ignore", "LassoCox selected none|.*predicted masks|AutoRadio")
        model.fit(X, X.outcome)
        risk = model.predict(X[:3])
    assert risk.shape == (3,)
    assert isinstance(model.estimator_, DeepMTS)
    assert model.training_scores_["DeepMTS-Score"].nunique() > 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("index", [0, 1])
def test_survival_estimator_checks_with_real_networks(index):
    X = make_phantom_cohort(n=16, shape=(16, 16, 16), random_state=0).cohort
    check_survival_estimator(tiny_networks()[index].set_params(alpha=1.0), X, X.outcome)


def test_unsuitable_parts_are_refused(cohort):
    with pytest.raises(ValueError, match="'estimator' parameter of MTDLR"):
        MTDLR(SingleTaskSurvival()).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="'scores' parameter"):
        make(scores="both").fit(cohort, cohort.outcome)
    plain = Cohort(cohort.to_numpy(), masks=[cohort.mask(i) for i in range(60)])
    with pytest.raises(ValueError, match="no clinical columns"):
        make().fit(plain, cohort.outcome)
    model = make(clinical_columns=[]).fit(
        cohort.to_numpy(), cohort.outcome, masks=np.stack([cohort.mask(i) for i in range(60)])
    )
    assert model.clinical_encoder_ is None


def test_a_number_named_like_a_level_stays_a_variable(cohort):
    clinical = pd.DataFrame({"sex": ["F", "M"] * 30, "sex_hormone": np.linspace(0, 1, 60)})
    renamed = Cohort(cohort.to_numpy(), clinical=clinical, outcome=cohort.outcome)
    model = ClinicalCox(alpha=1.0).fit(renamed, cohort.outcome)
    expected = {"sex": ["sex_M"], "sex_hormone": ["sex_hormone"]}
    assert model._variables(list(model.training_covariates_)) == expected
