"""Who predicts risks of plain arrays with masks and clinical columns gives curves of them too."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import cross_val_score

import survimg.estimators as public
from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox, CNNSurvival, DeepMTS, FoldEnsemble
from survimg.model_selection import EventStratifiedKFold

N = 10
QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
}  # fmt: skip
CURVES = ["predict_survival_function", "predict_cumulative_hazard_function"]
TAKES_ARRAYS = [
    kind
    for kind in (getattr(public, name) for name in public.__all__)
    if inspect.isclass(kind)
    and hasattr(kind, CURVES[0])
    and "clinical" in inspect.signature(kind.predict).parameters
]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    whole = make_phantom_cohort(n=N, shape=(16, 18, 18), random_state=0).cohort
    return Cohort(
        whole.to_numpy(),
        masks=np.stack([whole.mask(i) for i in range(N)]),
        clinical=whole.clinical,
        outcome=whole.outcome,
    )


def belongings(cohort: Cohort) -> dict:
    return {
        "masks": np.stack([cohort.mask(i) for i in range(len(cohort))]),
        "clinical": cohort.clinical,
    }


@pytest.mark.parametrize("kind", TAKES_ARRAYS)
@pytest.mark.parametrize("method", [*CURVES, "score"])
def test_curves_and_score_take_what_predict_takes(kind, method):
    parameters = inspect.signature(getattr(kind, method)).parameters
    for name in ("masks", "clinical"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_networks_and_cox_models_are_among_them():
    some = {CNNSurvival, ClinicalVolumeCox, DeepMTS, FoldEnsemble, public.DLPM, public.MTDLR}
    assert some <= set(TAKES_ARRAYS)


@pytest.mark.parametrize(
    "model",
    [
        CNNSurvival(**QUICK, width=4, hidden=4),
        public.SingleTaskSurvival(**QUICK),
        ClinicalVolumeCox(volume_unit="voxels"),
        FoldEnsemble(ClinicalVolumeCox(volume_unit="voxels"), cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_plain_arrays_give_what_their_cohort_gives(model, cohort):
    X, y, own = cohort.to_numpy(), cohort.outcome, belongings(cohort)
    model.fit(X, y, **own)
    for method in CURVES:
        predict = getattr(model, method)
        np.testing.assert_array_equal(
            predict(X, return_array=True, **own), predict(cohort, return_array=True)
        )
        assert len(predict(X, **own)) == N
    assert model.score(X, y, **own) == model.score(cohort, y)
    weights = np.arange(1.0, N + 1)
    assert model.score(X, y, weights, **own) == model.score(cohort, y, weights)
    with pytest.raises(ValueError, match="clinical"):
        model.predict_survival_function(X, masks=own["masks"])
    with pytest.raises(ValueError, match="X is a Cohort"):
        model.predict_survival_function(cohort, **own)


@pytest.mark.parametrize("in_folds", [False, True])
def test_with_metadata_routing_scores_get_them_too(cohort, in_folds):
    model, folds = ClinicalVolumeCox(volume_unit="voxels"), EventStratifiedKFold(2)
    model = FoldEnsemble(model, cv=2) if in_folds else model
    expected = cross_val_score(model, cohort, cohort.outcome, cv=folds)
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_val_score(
            model, cohort.to_numpy(), cohort.outcome, cv=folds, params=belongings(cohort)
        )
    np.testing.assert_array_equal(found, expected)
