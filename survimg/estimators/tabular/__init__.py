"""Estimators of tables, and the clinical + volume baseline."""

from survimg.estimators.tabular.clinical_volume_cox import ClinicalVolumeCox
from survimg.estimators.tabular.deepsurv import DeepSurv
from survimg.estimators.tabular.icare import ICARE
from survimg.estimators.tabular.lasso_cox import LassoCox
from survimg.estimators.tabular.random_survival_forest import RandomSurvivalForest

__all__ = ["ICARE", "ClinicalVolumeCox", "DeepSurv", "LassoCox", "RandomSurvivalForest"]
