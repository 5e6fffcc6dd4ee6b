"""Survival estimators over cohorts: one per file, all with scikit-learn's interface."""

from survimg.estimators.compose import (
    FitOnce,
    FoldEnsemble,
    OutOfFold,
    SurvivalStacking,
    deep_features_deepsurv,
    deep_features_lasso_cox,
    deep_features_rsf,
    radiomics_deepsurv,
    radiomics_lasso_cox,
    radiomics_rsf,
)
from survimg.estimators.deep import (
    DLPM,
    MDSN,
    CNNSurvival,
    DeepMTS,
    FusionClassifier,
    FusionSurvival,
    SingleTaskSurvival,
    TumourSegmenter,
    deepmts_variant,
)
from survimg.estimators.mtdlr import MTDLR, ClinicalCox, ManualRadiomicsCox, SingleTaskCox
from survimg.estimators.tabular import (
    ClinicalVolumeCox,
    DeepSurv,
    LassoCox,
    RandomSurvivalForest,
)

__all__ = [
    "DLPM",
    "MDSN",
    "MTDLR",
    "CNNSurvival",
    "ClinicalCox",
    "ClinicalVolumeCox",
    "DeepMTS",
    "DeepSurv",
    "FitOnce",
    "FoldEnsemble",
    "FusionClassifier",
    "FusionSurvival",
    "LassoCox",
    "ManualRadiomicsCox",
    "OutOfFold",
    "RandomSurvivalForest",
    "SingleTaskCox",
    "SingleTaskSurvival",
    "SurvivalStacking",
    "TumourSegmenter",
    "deep_features_deepsurv",
    "deep_features_lasso_cox",
    "deep_features_rsf",
    "deepmts_variant",
    "radiomics_deepsurv",
    "radiomics_lasso_cox",
    "radiomics_rsf",
]
