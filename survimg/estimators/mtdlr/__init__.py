"""The MTDLR nomogram and the models that it is compared with."""

from survimg.estimators.mtdlr.clinical import ClinicalCox
from survimg.estimators.mtdlr.manual_radiomics import ManualRadiomicsCox
from survimg.estimators.mtdlr.mtdlr import MTDLR
from survimg.estimators.mtdlr.score_cox import default_radiomics_model
from survimg.estimators.mtdlr.single_task import SingleTaskCox

__all__ = ["MTDLR", "ClinicalCox", "ManualRadiomicsCox", "SingleTaskCox", "default_radiomics_model"]
