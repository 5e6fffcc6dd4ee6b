"""What a notebook shows of estimators, and pandas output of everything that transforms."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import sklearn
from packaging.version import Version
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis
from torch import nn

from survimg import Cohort, estimators, features, radiomics
from survimg.estimators import LassoCox, ManualRadiomicsCox, OutOfFold
from survimg.features import ClinicalFeatures, PETParameters, TumourVolume
from survimg.target import make_outcome
from survimg.training import Net

#: What is built round another estimator.
AROUND = {
    "estimator": LassoCox(), "estimators": [("lasso", LassoCox())], "extractor": PETParameters(),
    "net": Net(nn.Conv3d, out_channels=2, kernel_size=3),
}  # fmt: skip
CLASSES = {
    name: found
    for module in (estimators, features, radiomics)
    for name in module.__all__
    for found in [getattr(module, name)]
    if inspect.isclass(found) and issubclass(found, BaseEstimator) and hasattr(found, "fit")
}


def _made(kind):
    parameters = inspect.signature(kind).parameters
    return kind(**{name: part for name, part in AROUND.items() if name in parameters})


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    masks = np.zeros((16, 6, 6, 6), np.uint8)
    for i, mask in enumerate(masks):
        mask[1 : 3 + i % 3, 1:4, 1:5] = 1
    return Cohort(
        rng.random((16, 1, 6, 6, 6)).astype(np.float32), masks=masks, spacing=(4.0, 4.0, 4.0),
        clinical=pd.DataFrame({"age": rng.normal(60, 9, 16), "stage": list("ab" * 8)}),
        outcome=make_outcome(np.arange(16) % 4 != 0, rng.permutation(16) + 1.0),
        channel_names=["PET"],
    )  # fmt: skip


def test_the_estimators_are_found():
    assert {"DeepMTS", "LassoCox", "RadiomicsFeatures", "SpearmanFilter"} <= {*CLASSES}


@pytest.mark.parametrize("name", CLASSES)
def test_every_estimator_draws_itself(name):
    model = _made(CLASSES[name])
    page = make_pipeline("passthrough", model)._repr_html_()
    assert len(re.findall(rf"[> ]{name}<", page)) == 1  # a step with parts reads "step: Class"
    if Version(sklearn.__version__) >= Version("1.7"):  # older ones show no table
        for parameter in model.get_params(deep=False):
            assert f">{parameter}" in page


@pytest.mark.parametrize("name", [n for n, kind in CLASSES.items() if hasattr(kind, "transform")])
def test_everything_that_transforms_can_be_asked_for_pandas(name):
    """A pipeline refuses set_output where a step cannot follow it."""
    pipeline = make_pipeline(_made(CLASSES[name]), "passthrough")
    assert pipeline.set_output(transform="pandas") is pipeline
    assert hasattr(CLASSES[name], "get_feature_names_out")


@pytest.mark.parametrize(
    "transformer",
    [
        ClinicalFeatures(), TumourVolume(), PETParameters(),
        ManualRadiomicsCox(
            extractor=PETParameters(), radiomics_model=CoxPHSurvivalAnalysis(alpha=1), cv=2,
            alpha=0.1,
        ),
        OutOfFold(make_pipeline(TumourVolume(), CoxPHSurvivalAnalysis(alpha=1)), cv=2),
    ],
    ids=lambda transformer: type(transformer).__name__,
)  # fmt: skip
def test_pandas_output_holds_the_same_numbers_under_their_names(transformer, cohort):
    plain = np.asarray(transformer.fit(cohort, cohort.outcome).transform(cohort), dtype=float)
    table = transformer.set_output(transform="pandas").transform(cohort)
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == list(transformer.get_feature_names_out())
    np.testing.assert_array_equal(table.to_numpy(dtype=float), plain)
