"""Survival estimators over cohorts: one per file, all with scikit-learn's interface."""

from survimg.estimators.clinical_volume_cox import ClinicalVolumeCox
from survimg.estimators.cnn_survival import CNNSurvival
from survimg.estimators.combat import ComBat
from survimg.estimators.deepmts import DeepMTS
from survimg.estimators.deepmts_variants import deepmts_variant
from survimg.estimators.deepsurv import DeepSurv
from survimg.estimators.dlpm import DLPM
from survimg.estimators.fit_once import FitOnce
from survimg.estimators.fold_ensemble import FoldEnsemble
from survimg.estimators.fusion_classifier import FusionClassifier
from survimg.estimators.fusion_survival import FusionSurvival
from survimg.estimators.lasso_cox import LassoCox
from survimg.estimators.mdsn import MDSN
from survimg.estimators.mtdlr import MTDLR
from survimg.estimators.mtdlr_clinical import ClinicalCox
from survimg.estimators.mtdlr_manual_radiomics import ManualRadiomicsCox
from survimg.estimators.mtdlr_single_task import SingleTaskCox
from survimg.estimators.out_of_fold import OutOfFold
from survimg.estimators.pipelines import (
    deep_features_deepsurv,
    deep_features_lasso_cox,
    deep_features_rsf,
    radiomics_deepsurv,
    radiomics_lasso_cox,
    radiomics_rsf,
)
from survimg.estimators.random_survival_forest import RandomSurvivalForest
from survimg.estimators.several_devices import fit_on_devices
from survimg.estimators.single_task_survival import SingleTaskSurvival
from survimg.estimators.survival_stacking import SurvivalStacking
from survimg.estimators.tumour_segmenter import TumourSegmenter

__all__ = [
    "DLPM",
    "MDSN",
    "MTDLR",
    "CNNSurvival",
    "ClinicalCox",
    "ClinicalVolumeCox",
    "ComBat",
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
    "fit_on_devices",
    "radiomics_deepsurv",
    "radiomics_lasso_cox",
    "radiomics_rsf",
]
