"""ComBat: neuroCombat's numbers, and what must hold whatever the numbers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.features import ClinicalFeatures, ComBat
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome

TABLE = pd.read_csv(Path(__file__).parent / "references" / "combat.csv")
NAMES = [f"x{j}" for j in range(6)]
NEW = TABLE["new"].to_numpy()


def cohort(table: pd.DataFrame = TABLE, **changes) -> Cohort:
    """Patients whose features stand in the clinical table."""
    parts = {"clinical": table, "groups": table["scanner"].to_numpy(), **changes}
    return Cohort(np.zeros((len(table), 1, 1, 1, 1), np.float32), **parts)


def combat(**parameters) -> ComBat:
    return ComBat(ClinicalFeatures(clinical_columns=NAMES), **parameters)


def expected(what: str, rows=slice(None)) -> np.ndarray:
    return TABLE.loc[rows, [f"{what}_{name}" for name in NAMES]].to_numpy()


# ------------------------------------------------------------------ neuroCombat


@pytest.mark.parametrize(("what", "preserve"), [("plain", ()), ("kept", ("age", "stage"))])
def test_it_is_neurocombat(what, preserve):
    found = combat(preserve=preserve).fit_transform(cohort())
    assert found.columns.tolist() == NAMES
    np.testing.assert_allclose(found, expected(what), rtol=1e-9)


def test_new_patients_are_harmonised_with_what_was_learned_before():
    X = cohort()
    model = combat().fit(X[~NEW])
    np.testing.assert_allclose(model.transform(X[~NEW]), expected("applied", ~NEW), rtol=1e-9)
    np.testing.assert_allclose(model.transform(X[NEW]), expected("applied", NEW), rtol=1e-9)


# ------------------------------------------------------------------ properties


def test_a_patient_is_harmonised_without_looking_at_others():
    X = cohort()
    model = combat(preserve=["stage"]).fit(X[~NEW])
    together = model.transform(X[:6])
    alone = [model.transform(X[i : i + 1]) for i in range(6)]
    np.testing.assert_allclose(np.vstack(alone), together, rtol=1e-12)
    np.testing.assert_array_equal(model.fit_transform(X[~NEW]), model.transform(X[~NEW]))


def test_unit_order_and_names_of_centres_do_not_matter():
    plain = combat().fit_transform(cohort())
    order = np.random.default_rng(0).permutation(len(TABLE))
    other = TABLE.iloc[order].reset_index(drop=True)
    other = other.assign(scanner=other["scanner"].map({0: "west", 1: "east", 2: "a"}))
    other["x2"] = 100 * other["x2"] - 7
    found = combat().fit_transform(cohort(other))
    found["x2"] = (found["x2"] + 7) / 100
    np.testing.assert_allclose(found, plain.iloc[order], rtol=1e-7)


def test_preserved_columns_keep_their_effect():
    """Stage IV is frequent where the scanner measures more: its effect survives if it is named."""
    rng = np.random.default_rng(1)
    n = 400
    scanner = np.repeat([0, 1], n // 2)
    late = rng.random(n) < np.where(scanner == 1, 0.9, 0.1)
    features = rng.normal(size=(n, 6)) + 2.0 * late[:, None] + 3.0 * scanner[:, None]
    table = pd.DataFrame(features, columns=NAMES)
    X = cohort(table.assign(scanner=scanner, stage=np.where(late, "IV", "III")))

    def effect(table: pd.DataFrame) -> np.ndarray:
        return (table[late].mean() - table[~late].mean()).to_numpy()

    np.testing.assert_allclose(effect(combat(preserve=["stage"]).fit_transform(X)), 2.0, atol=0.3)
    assert (effect(combat().fit_transform(X)) < 1.0).all()


def test_missing_values_stay_missing_and_the_others_count():
    table = TABLE.copy()
    table.loc[[0, 20], "x1"] = np.nan
    table.loc[table["scanner"] == 2, "x4"] = np.nan  # a centre without this modality
    table["x5"] = 7.0
    # ClinicalFeatures would impute: take the columns as they are.
    model = ComBat(_Columns(clinical_columns=NAMES))
    with pytest.warns(UserWarning, match=r"1 of 6 features are returned as measured.*x4"):
        found = model.fit_transform(cohort(table))
    assert model.harmonised_.tolist() == [True, True, True, True, False, False]
    np.testing.assert_array_equal(found[["x4", "x5"]], table[["x4", "x5"]])
    np.testing.assert_array_equal(found["x1"].isna(), table["x1"].isna())
    # What is estimated of x1 are means and variances of the patients who have it.
    there = table["x1"].notna().to_numpy()
    means = table[there].groupby("scanner")["x1"].mean()
    weights = table["scanner"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(model.mean_[1], (means * weights).sum())
    within = table.loc[there, "x1"] - means[table.loc[there, "scanner"]].to_numpy()
    np.testing.assert_allclose(model.spread_[1], np.sqrt((within**2).mean()))


def test_a_feature_whose_patients_do_not_tell_effects_apart_stays_as_it_is():
    table = TABLE.copy()
    table.loc[table["stage"] == "III", "x3"] = np.nan  # all who have it are of stage IV
    model = ComBat(_Columns(clinical_columns=NAMES), preserve=["stage"])
    with pytest.warns(UserWarning, match=r"known of too few patients: 'x3'"):
        model.fit(cohort(table))
    assert model.harmonised_.tolist() == [True, True, True, False, True, True]


class _Columns(ClinicalFeatures):
    def fit(self, X, y=None):
        self.feature_names_out_ = np.array(self.clinical_columns, dtype=object)
        return self

    def transform(self, X):
        return X.clinical[self.clinical_columns]


def test_centres_without_training_patients():
    X = cohort()
    there = TABLE["scanner"].to_numpy() != 2
    with pytest.raises(ValueError, match=r"'case-0028', .* without training patients \('2'\)"):
        combat().fit(X[there]).transform(X)
    model = combat(on_unknown_centre="unchanged").fit(X[there])
    found = model.transform(X).to_numpy()
    np.testing.assert_array_equal(found[~there], TABLE.loc[~there, NAMES])
    np.testing.assert_array_equal(found[there], model.transform(X[there]))


# ------------------------------------------------------------------ refusals


def test_what_cannot_be_harmonised_is_refused():
    X = cohort()
    with pytest.raises(ValueError, match="column 'group' in the manifest"):
        combat().fit(cohort(groups=None))
    holed = np.array([*TABLE["scanner"].astype(object)[:-1], None])
    with pytest.raises(ValueError, match=r"without a centre \(groups\): 'case-0035'"):
        combat().fit(cohort(groups=holed))
    with pytest.raises(ValueError, match="All training patients are of centre '0'"):
        combat().fit(X[:10])
    with pytest.raises(ValueError, match="Centre '1' has one training patient"):
        combat().fit(X[:17])
    doubled = cohort(TABLE.iloc[[*range(16), 16, 16]].reset_index(drop=True))
    with pytest.raises(ValueError, match="centre '1' have the same features"):
        combat().fit(doubled)
    with pytest.raises(ValueError, match="cannot be told apart"):
        combat(preserve=["scanner"]).fit(X)
    with pytest.raises(ValueError, match="needs two or more"):
        ComBat(ClinicalFeatures(clinical_columns=["x0"])).fit(X)
    with pytest.raises(ValueError, match="1 features hold infinite values"):
        ComBat(_Columns(clinical_columns=NAMES)).fit(cohort(TABLE.assign(x3=np.inf)))
    with pytest.raises(ValueError, match="on_unknown_centre"):
        combat(on_unknown_centre="guess").fit(X)


# ------------------------------------------------------------------ in a cross-validation


def test_it_uncovers_risk_that_scanners_hide():
    rng = np.random.default_rng(0)
    n = 150
    scanner = np.arange(n) % 3
    features = rng.normal(size=(n, 6))
    time = rng.exponential(np.exp(-features[:, 0]))
    measured = features + rng.normal(scale=3.0, size=(3, 6))[scanner]
    table = pd.DataFrame(measured, columns=NAMES).assign(scanner=scanner)
    X = cohort(table, outcome=make_outcome(np.ones(n), time))
    folds = EventStratifiedKFold(3, shuffle=True, random_state=0)

    def concordance(extractor):
        model = make_pipeline(extractor, CoxPHSurvivalAnalysis())
        return cross_val_score(model, X, X.outcome, cv=folds).mean()

    assert concordance(combat()) > concordance(ClinicalFeatures(clinical_columns=NAMES)) + 0.1
