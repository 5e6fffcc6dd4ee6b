"""Protocols: who trains, who is tested, and what must never meet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox, FoldEnsemble
from survimg.model_selection import (
    EventStratifiedKFold,
    external_protocol,
    join_cohorts,
    k_fold_protocol,
    leave_one_centre_out_protocol,
    nested_protocol,
    repeated_protocol,
)
from survimg.preprocessing import Preparation, Registration


def phantoms(n, seed, **options):
    return make_phantom_cohort(n=n, shape=(16, 16, 16), random_state=seed, **options).cohort


@pytest.fixture(scope="module")
def cohort():
    return phantoms(48, 0, n_centres=3)


@pytest.fixture(scope="module")
def pairs():
    return np.array([f"person-{i // 2}" for i in range(48)])


def test_k_fold_is_the_splitter(cohort):
    protocol = k_fold_protocol(cohort, cohort.outcome, n_folds=4, random_state=5)
    splitter = EventStratifiedKFold(4, shuffle=True, random_state=5)
    for ours, theirs in zip(
        protocol.splits, splitter.split(cohort, cohort.outcome), strict=True
    ):
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert protocol.describe() == {
        "name": "kfold", "n_folds": 4, "n_repeats": 1, "random_state": 5
    }


def test_repeats_test_everybody_once_each(cohort):
    protocol = repeated_protocol(cohort, cohort.outcome, n_folds=3, n_repeats=2, random_state=0)
    tests = [test for _, test in protocol.splits]
    for repeat in (tests[:3], tests[3:]):
        assert sorted(np.concatenate(repeat).tolist()) == list(range(48))
    assert not np.array_equal(np.sort(tests[0]), np.sort(tests[3]))
    with pytest.raises(ValueError, match="at least 2"):
        repeated_protocol(cohort, cohort.outcome, n_repeats=1)


@pytest.mark.parametrize("make", [k_fold_protocol, repeated_protocol, nested_protocol])
def test_images_of_one_patient_stay_together_inside_and_outside(cohort, pairs, make):
    protocol = make(cohort, cohort.outcome, n_folds=2, groups=pairs, random_state=0)
    splits = [*protocol.splits, *(s for inner in protocol.inner_splits or () for s in inner)]
    assert len(splits) > 1
    for train, test in splits:
        assert not set(pairs[train]) & set(pairs[test])


def test_inner_folds_are_those_that_the_ensemble_uses(cohort):
    protocol = external_protocol(
        cohort, cohort.outcome, n_training=32, inner_folds=3, random_state=0
    )
    ((train, test),) = protocol.splits
    assert (train.tolist(), test.tolist()) == (list(range(32)), list(range(32, 48)))
    used = []

    class Spy(ClinicalVolumeCox):
        def fit(self, X, y):
            used.append(X.ids.tolist())
            return super().fit(X, y)

    for seed in (0, 1):  # the seed of a model draws no folds
        FoldEnsemble(Spy(), cv=protocol.inner_cv, random_state=seed).fit(
            cohort[train], cohort.outcome[train]
        )
    expected = [cohort.ids[fitted].tolist() for fitted, _ in protocol.inner_splits[0]]
    assert used == expected * 2


def test_each_centre_is_left_out_once(cohort):
    protocol = leave_one_centre_out_protocol(cohort, cohort.outcome, cohort.groups)
    assert protocol.parameters["centres"] == ["centre-0", "centre-1", "centre-2"]
    for (_, test), centre in zip(protocol.splits, protocol.parameters["centres"], strict=True):
        assert set(cohort.groups[test]) == {centre}


def test_a_joined_cohort_is_both(cohort):
    other = phantoms(10, 7, shift=1.0)
    joined = join_cohorts(cohort, other, prefix="external-")
    assert len(joined) == 58
    assert joined.ids[-1] == f"external-{other.ids[-1]}"
    for mine, theirs, i in ((47, cohort, 47), (48, other, 0), (57, other, 9)):
        np.testing.assert_array_equal(joined.volume(mine), theirs.volume(i))
        np.testing.assert_array_equal(joined.mask(mine), theirs.mask(i))
    assert joined.clinical["stage"].tolist() == [
        *cohort.clinical["stage"], *other.clinical["stage"]
    ]
    assert set(joined.groups[48:]) == {"external cohort"}
    part = joined[np.array([2, 50])]
    assert part.outcome.tolist() == [cohort.outcome[2].item(), other.outcome[2].item()]
    assert joined.case_key(50) != joined.case_key(51)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"both the training and the external cohort .* in Python join_cohorts\(.*prefix="),
        ({"channel_names": ("CT", "PET")}, "different channels"),
        ({"time_unit": "days"}, "different units of time"),
        ({"clinical": pd.DataFrame({"age": np.arange(10.0)})}, "different clinical columns"),
        ({"outcome": None}, "The external cohort has no outcome"),
    ],
)
def test_cohorts_that_do_not_fit_are_refused(cohort, change, message):
    other = phantoms(10, 7)
    parts = {
        "volumes": other.to_numpy(), "clinical": other.clinical, "outcome": other.outcome,
        "ids": other.ids, "channel_names": other.channel_names, "time_unit": other.time_unit,
    }
    with pytest.raises(ValueError, match=message):
        join_cohorts(cohort, Cohort(**(parts | change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing": [2.0, 2.0, 2.0]}, r"preparation \(spacing\)"),
        ({"centre": [5.0, 0.0, 0.0]}, r"preparation \(centre\)"),
        ({"registration": {"transform": "rigid"}}, r"preparation \(registration.transform\)"),
        (
            {"registration": {"transform": "affine"}, "registered": {"template_digest": "own"}},
            r"preparation \(registration.template\)",
        ),
    ],
    ids=str,
)
def test_cohorts_that_were_prepared_otherwise_are_refused(change, message):
    """An external cohort registered to a template of its own lies elsewhere in every voxel."""
    training, external = phantoms(12, 0), phantoms(12, 1)
    made = Preparation((16, 16, 16), crop="fixed", registration=Registration("affine")).to_dict()
    made["registered"] = {"template_digest": "of training", "template": "phantom-0001"}
    training.settings, external.settings = made, {**made, "label": 2}
    assert len(join_cohorts(training, external, prefix="external-")) == 24
    external.settings = {**made, **change}
    with pytest.raises(ValueError, match=message):
        join_cohorts(training, external, prefix="external-")


def test_categories_keep_the_order_of_the_training_cohort():
    def grades(levels, seed):
        base = phantoms(4, seed)
        grade = pd.DataFrame({"grade": pd.Categorical([levels[i % len(levels)] for i in range(4)],
                                                      levels)})
        return Cohort(base.to_numpy(), clinical=grade, outcome=base.outcome,
                      ids=[f"{seed}-{i}" for i in range(4)])

    joined = join_cohorts(grades(["low", "high"], 0), grades(["high", "unknown"], 1))
    assert joined.clinical["grade"].cat.categories.tolist() == ["low", "high", "unknown"]
