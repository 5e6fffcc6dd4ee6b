"""Estimators made of other estimators."""

from survimg.estimators.compose.fit_once import FitOnce
from survimg.estimators.compose.fold_ensemble import FoldEnsemble
from survimg.estimators.compose.fold_ensemble_classifier import FoldEnsembleClassifier
from survimg.estimators.compose.out_of_fold import OutOfFold
from survimg.estimators.compose.pipelines import (
    deep_features_deepsurv,
    deep_features_lasso_cox,
    deep_features_pipeline,
    deep_features_rsf,
    radiomics_deepsurv,
    radiomics_icare,
    radiomics_lasso_cox,
    radiomics_pipeline,
    radiomics_rsf,
)
from survimg.estimators.compose.survival_stacking import SurvivalStacking
from survimg.estimators.compose.survival_voting import SurvivalVoting

__all__ = [
    "FitOnce",
    "FoldEnsemble",
    "FoldEnsembleClassifier",
    "OutOfFold",
    "SurvivalStacking",
    "SurvivalVoting",
    "deep_features_deepsurv",
    "deep_features_lasso_cox",
    "deep_features_pipeline",
    "deep_features_rsf",
    "radiomics_deepsurv",
    "radiomics_icare",
    "radiomics_lasso_cox",
    "radiomics_pipeline",
    "radiomics_rsf",
]
