"""The classes of survimg that a model file may hold, by the label under which files name them.

A class belongs here if its whole state is plain data, and if none of its methods runs code from
that state. Labels do not change when a class moves, so that old files can be read. `survimg.saving`
adds `FitOnce`, which itself stores its fits as model files.
"""

from __future__ import annotations

from collections.abc import Mapping

from survimg import training
from survimg.estimators import deep, mtdlr, tabular
from survimg.estimators.compose.fold_ensemble import FoldEnsemble
from survimg.estimators.compose.out_of_fold import OutOfFold
from survimg.estimators.compose.survival_stacking import SurvivalStacking
from survimg.estimators.compose.survival_voting import SurvivalVoting
from survimg.estimators.deep.fusion_inputs import ClinicalEncoding, Standardised
from survimg.estimators.mtdlr.few_covariates import FewCovariatesCox
from survimg.estimators.mtdlr.region import NetworkScoreAndRadiomics
from survimg.features import ClinicalFeatures, ComBat, ForestSelector, SpearmanFilter, TumourVolume
from survimg.model_files.classes import labelled
from survimg.model_selection import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    KnownGroups,
    LeaveOneCentreOut,
    RepeatedEventStratifiedGroupKFold,
    RepeatedEventStratifiedKFold,
)
from survimg.nets import SwinTransformer3D
from survimg.nets.transfer import LoadReport
from survimg.radiomics import IBSISettings, RadiomicsFeatures
from survimg.survival.breslow import BreslowBaseline

__all__ = ["SAVED_CLASSES"]

SAVED_CLASSES: Mapping[str, type] = {
    **labelled("survimg.clinical", ClinicalFeatures, TumourVolume),
    **labelled(
        "survimg.estimators",
        deep.DLPM, deep.MDSN, deep.CNNSurvival, deep.DeepMTS, deep.FrozenEncoderFeatures,
        deep.FusionClassifier, deep.FusionSurvival, deep.ImageClassifier, deep.ImageSurvival,
        deep.SingleTaskSurvival, deep.TumourSegmenter, mtdlr.MTDLR, mtdlr.ClinicalCox,
        mtdlr.ManualRadiomicsCox, mtdlr.SingleTaskCox,
        tabular.ICARE, tabular.ClinicalVolumeCox, tabular.DeepSurv, tabular.LassoCox,
        tabular.RandomSurvivalForest, ComBat, FoldEnsemble, OutOfFold, SurvivalStacking,
        SurvivalVoting,
    ),
    **labelled("survimg.estimators.baseline", BreslowBaseline),
    **labelled("survimg.estimators.fusion_inputs", ClinicalEncoding, Standardised),
    **labelled("survimg.estimators.mtdlr_cox", FewCovariatesCox),
    **labelled("survimg.estimators.mtdlr_region", NetworkScoreAndRadiomics),
    **labelled(
        "survimg.model_selection",
        EventStratifiedGroupKFold, EventStratifiedKFold, KnownGroups, LeaveOneCentreOut,
        RepeatedEventStratifiedGroupKFold, RepeatedEventStratifiedKFold,
    ),
    **labelled("survimg.nets", SwinTransformer3D),
    **labelled("survimg.nets.transfer", LoadReport),
    **labelled("survimg.radiomics", IBSISettings, RadiomicsFeatures),
    **labelled("survimg.selection", ForestSelector, SpearmanFilter),
    **labelled(
        "survimg.training",
        training.Classification, training.Cox, training.DeepHit, training.DiscreteTime,
        training.MTLR, training.Net,
    ),
}  # fmt: skip
