"""One small model for every public name of survimg.estimators, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg import estimators as e
from survimg.datasets import make_phantom_cohort
from survimg.features import ComBat
from survimg.nets import SwinTransformer3D
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome
from survimg.training import MTLR, Net

NET: dict[str, Any] = {
    "n_iterations": 1, "batch_size": 2, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
}  # fmt: skip
SWIN: dict[str, Any] = {
    "embed_dim": 4, "depths": (1, 1), "heads": (1, 2), "window_size": 2, "n_trees": 3,
    "n_selected": 2,
}  # fmt: skip
BODY = Net(SwinTransformer3D, embed_dim=4, depths=(1, 1), heads=(1, 2), window_size=2)
RIDGE = make_pipeline(SimpleImputer(keep_empty_features=True), CoxPHSurvivalAnalysis(alpha=1.0))


def radiomics() -> RadiomicsFeatures:
    return RadiomicsFeatures(
        features=("firstorder",), image_types=("original",), on_empty_mask="nan"
    )


def network(**changes: Any) -> e.CNNSurvival:
    """The cheapest of the networks."""
    return e.CNNSurvival(**{**NET, "width": 4, "hidden": 4, **changes})


def forest() -> e.RandomSurvivalForest:
    return e.RandomSurvivalForest(n_estimators=3, random_state=0)


DEEP: dict[str, Any] = {"estimator": network(), "in_sample": True}
MODELS: dict[str, Callable[[], Any]] = {
    "DLPM": lambda: e.DLPM(**NET),
    "MDSN": lambda: e.MDSN(**NET, validation_fraction=0.4),
    "MTDLR": lambda: e.MTDLR(
        e.DeepMTS(**NET, variant="mt-hs-baseline", clinical_columns=[]), extractor=radiomics(),
        radiomics_model=RIDGE, scores="in-sample", cv=2, alpha=1.0, random_state=0,
    ),
    "CNNSurvival": network,
    "ClinicalCox": lambda: e.ClinicalCox(alpha=1.0, significance=0.5),
    "ClinicalVolumeCox": e.ClinicalVolumeCox,
    "ComBat": lambda: ComBat(radiomics(), preserve=["sex"]),
    "DeepMTS": lambda: e.DeepMTS(**NET, frozen=["encoder"], augmentation=None),
    "DeepSurv": lambda: e.DeepSurv(hidden=(4, 3), n_iterations=3, random_state=0),
    "FitOnce": lambda: e.FitOnce(network()),
    "FoldEnsemble": lambda: e.FoldEnsemble(
        e.ClinicalVolumeCox(), cv=2, random_state=np.random.RandomState(1)
    ),
    "FoldEnsembleClassifier": lambda: e.FoldEnsembleClassifier(
        e.DeepMTSClassifier(**NET), cv=2, random_state=0
    ),
    "FrozenEncoderFeatures": lambda: e.FrozenEncoderFeatures(net=BODY, random_state=0),
    "FusionClassifier": lambda: e.FusionClassifier(**NET, **SWIN, extractor=radiomics()),
    "FusionSurvival": lambda: e.FusionSurvival(**NET, **SWIN, extractor=radiomics()),
    "ICARE": lambda: e.ICARE(n_estimators=3, fraction=0.7, random_state=0),
    "ImageClassifier": lambda: e.ImageClassifier(**NET, net=BODY),
    "DeepMTSClassifier": lambda: e.DeepMTSClassifier(**NET),
    "ImageSurvival": lambda: e.ImageSurvival(
        **NET, net=BODY, objective=MTLR(cuts=[20.0, 40.0]), optimizer=torch.optim.AdamW,
        optimizer_params={"weight_decay": 0.1},
    ),
    "LassoCox": lambda: e.LassoCox(cv=2, n_alphas=10, penalty_factor={"*": 1.0}),
    "ManualRadiomicsCox": lambda: e.ManualRadiomicsCox(
        extractor=radiomics(), radiomics_model=RIDGE, cv=2, alpha=1.0
    ),
    "OutOfFold": lambda: e.OutOfFold(e.ClinicalVolumeCox(), cv=2),
    "RandomSurvivalForest": lambda: e.RandomSurvivalForest(
        n_estimators=4, n_time_bins=3, random_state=0
    ),
    "SingleTaskCox": lambda: e.SingleTaskCox(
        network(clinical_columns=[]), scores="in-sample", cv=2, alpha=1.0
    ),
    "SingleTaskSurvival": lambda: e.SingleTaskSurvival(**NET, clinical_columns=["stage"]),
    "SurvivalStacking": lambda: e.SurvivalStacking(
        [("clinical", e.ClinicalVolumeCox()), ("stage", e.ClinicalCox(alpha=1.0))], cv=2
    ),
    "SurvivalVoting": lambda: e.SurvivalVoting(
        [("clinical", e.ClinicalVolumeCox()), ("stage", e.ClinicalCox(alpha=1.0))]
    ),
    "TumourSegmenter": lambda: e.TumourSegmenter(**NET),
    "deep_features_deepsurv": lambda: e.deep_features_pipeline(
        e.DeepSurv(n_iterations=2, random_state=0), **DEEP
    ),
    "deep_features_lasso_cox": lambda: e.deep_features_pipeline(
        e.LassoCox(cv=2, n_alphas=5), **DEEP
    ),
    "deep_features_rsf": lambda: e.deep_features_pipeline(forest(), **DEEP),
    "deepmts_variant": lambda: e.deepmts_variant("mt-hs-unet").set_params(**NET),
    "radiomics_deepsurv": lambda: e.radiomics_pipeline(
        e.DeepSurv(n_iterations=2, random_state=0), extractor=radiomics()
    ),
    "radiomics_icare": lambda: e.radiomics_icare(extractor=radiomics()).set_params(
        model__n_estimators=3
    ),
    "radiomics_lasso_cox": lambda: e.radiomics_pipeline(
        e.LassoCox(cv=2, n_alphas=5), extractor=radiomics()
    ),
    "radiomics_rsf": lambda: e.radiomics_pipeline(forest(), extractor=radiomics()),
}  # fmt: skip

TABULAR = ("DeepSurv", "ICARE", "LassoCox", "RandomSurvivalForest")


def make_cohort() -> Cohort:
    """Ten phantoms of two centres with two clinical columns."""
    drawn = make_phantom_cohort(n=10, shape=(16, 18, 18), random_state=0).cohort
    time = drawn.outcome["time"]
    return Cohort(
        np.stack([drawn.volume(i) for i in range(10)]),
        masks=np.stack([drawn.mask(i) for i in range(10)]),
        clinical=pd.DataFrame(
            {"stage": np.tile([1.0, 3.0, np.nan, 2.0, 4.0], 2), "sex": ["F", "M"] * 5}
        ),
        outcome=make_outcome([1, 1, 0, 1, 1, 0, 1, 1, 1, 1], time),
        groups=["west"] * 5 + ["east"] * 5,
        spacing=drawn.spacing,
        channel_names=drawn.channel_names,
    )


def patients(name: str, cohort: Cohort) -> Cohort | pd.DataFrame:
    """What this model takes: the cohort, or a table of its patients."""
    if name not in TABULAR:
        return cohort
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(len(cohort), 4)), columns=["a", "b", "c", "d"])
    return table.assign(a=table["a"] - np.log(cohort.outcome["time"]))


def target(name: str, cohort: Cohort) -> np.ndarray:
    if name.endswith("Classifier"):
        return np.where(cohort.outcome["event"], "metastasis", "none")
    return cohort.outcome


def answers(model: Any, X: Any) -> dict[str, np.ndarray]:
    """Everything that a fitted model says of patients."""
    found = {}
    for method in ("predict", "transform", "predict_mask_proba", "predict_proba"):
        if hasattr(model, method):
            found[method] = np.asarray(getattr(model, method)(X))
    if hasattr(model, "predict_survival_function"):
        found["survival"] = model.predict_survival_function(X, return_array=True)
    return found
