"""The weights of the clinical columns that begin at the coefficients of a Cox model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, deepmts_variant
from survimg.training import DiscreteTime

QUICK = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1,
    "random_state": 0, "precision": "float32", "learning_rate": 1e-9, "l2": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    """Patients with a column that tells the time of the event, and one that does not."""
    cohort = make_phantom_cohort(n=40, shape=(16, 16, 16), random_state=0).cohort
    rng = np.random.default_rng(1)
    telling = -np.log(cohort.outcome["time"]) + rng.normal(size=40)
    columns = {"noise": rng.normal(size=40), "telling": telling}
    return cohort.without_clinical(["stage"]).with_clinical(pd.DataFrame(columns))


def _weights(model):
    return dict(
        zip(
            model.clinical_names_in_,
            model.net_.module_.fc_risk.weight[0, -len(model.clinical_names_in_) :].tolist(),
            strict=True,
        )
    )


def _cox(cohort):
    """Lifelines' coefficients of the two columns, per standard deviation, with the penalty."""
    columns = cohort.clinical
    standardised = (columns - columns.mean()) / columns.std(ddof=0)
    y = cohort.outcome
    table = standardised.assign(event=y["event"], time=y["time"])
    return CoxPHFitter(penalizer=1 / len(y)).fit(table, "time", "event").params_.to_dict()


@pytest.mark.parametrize("variant", ["deepmts", "sur-hs", "mt-hs", "sur-casnet"])
def test_they_begin_at_the_coefficients(cohort, variant, tmp_path):
    model = deepmts_variant(variant).set_params(**QUICK, clinical_start="cox")
    weights = _weights(model.fit(cohort, cohort.outcome))
    for name, coefficient in _cox(cohort).items():
        assert weights[name] == pytest.approx(coefficient, rel=0.01)
    survimg.save(model, tmp_path / "model")
    loaded = survimg.load(tmp_path / "model")
    assert loaded.clinical_start == "cox"
    np.testing.assert_array_equal(loaded.predict(cohort), model.predict(cohort))


def test_only_these_weights_are_others(cohort):
    first, second = (
        DeepMTS(**QUICK, clinical_start=start).fit(cohort, cohort.outcome).net_.module_
        for start in ("random", "cox")
    )
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        distance = (one - two).abs()
        if name == "fc_risk.weight":
            assert distance[:, -2:].max() > 0.1
            distance = distance[:, :-2]
        assert distance.max() < 1e-6, name


def test_columns_that_tell_the_same_share_it(cohort):
    same = cohort.with_clinical(cohort.clinical.assign(again=2 * cohort.clinical["telling"]))
    weights = _weights(DeepMTS(**QUICK, clinical_start="cox").fit(same, same.outcome))
    assert weights["again"] == pytest.approx(weights["telling"], rel=1e-4)
    assert 0.5 < 2 * weights["telling"] / _cox(cohort)["telling"] < 1.5


def test_held_out_patients_have_no_say(cohort, monkeypatch):
    trained = []
    begin = DeepMTS._begin_weights

    def spy(model, module, patients):
        trained.append(patients.cohort)
        begin(model, module, patients)

    monkeypatch.setattr(DeepMTS, "_begin_weights", spy)
    model = DeepMTS(**QUICK, clinical_start="cox", validation_fraction=0.3)
    weights = _weights(model.fit(cohort, cohort.outcome))
    (part,) = trained
    assert len(part) < len(cohort)
    assert weights == pytest.approx(_cox(part), rel=0.01, abs=0.01)


def test_weights_of_a_file_go_before(cohort, tmp_path):
    first = DeepMTS(**QUICK).fit(cohort, cohort.outcome)
    torch.save(first.net_.module_.state_dict(), tmp_path / "weights.pt")
    second = DeepMTS(**QUICK, clinical_start="cox", initial_weights=tmp_path / "weights.pt")
    assert _weights(second.fit(cohort, cohort.outcome)) == pytest.approx(_weights(first), abs=1e-6)


def test_a_fit_that_goes_on_keeps_its_weights(cohort):
    model = DeepMTS(**QUICK, warm_start=True).fit(cohort, cohort.outcome)
    before = _weights(model)
    model.set_params(clinical_start="cox").fit(cohort, cohort.outcome)
    assert _weights(model) == pytest.approx(before, abs=1e-6)


def test_a_network_without_clinical_columns_begins_as_it_does(cohort):
    risks = [
        DeepMTS(**QUICK, clinical_columns=[], clinical_start=start)
        .fit(cohort, cohort.outcome)
        .predict(cohort)
        for start in ("random", "cox")
    ]
    np.testing.assert_array_equal(*risks)


def test_other_objectives_are_refused(cohort):
    model = DeepMTS(**QUICK, clinical_start="cox", objective=DiscreteTime())
    with pytest.raises(ValueError, match="clinical_start='random', or the objective Cox"):
        model.fit(cohort, cohort.outcome)
