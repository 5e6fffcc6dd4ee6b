"""Networks over volumes as estimators; the base classes for networks of your own."""

from survimg.estimators.deep.clinical_volume_estimator import ClinicalVolumeEstimator
from survimg.estimators.deep.cnn_survival import CNNSurvival
from survimg.estimators.deep.deepmts import DeepMTS
from survimg.estimators.deep.deepmts_classifier import DeepMTSClassifier
from survimg.estimators.deep.deepmts_variants import deepmts_variant
from survimg.estimators.deep.dlpm import DLPM
from survimg.estimators.deep.frozen_encoder_features import FrozenEncoderFeatures
from survimg.estimators.deep.fusion_classifier import FusionClassifier
from survimg.estimators.deep.fusion_survival import FusionSurvival
from survimg.estimators.deep.image_classifier import ImageClassifier
from survimg.estimators.deep.image_survival import ImageSurvival
from survimg.estimators.deep.mdsn import MDSN
from survimg.estimators.deep.single_task_survival import SingleTaskSurvival
from survimg.estimators.deep.tumour_segmenter import TumourSegmenter
from survimg.estimators.deep.volume_classifier import VolumeClassifier
from survimg.estimators.deep.volume_estimator import VolumeEstimator
from survimg.estimators.deep.volume_survival_estimator import (
    CoxVolumeEstimator,
    DiscreteTimeEstimator,
    VolumeSurvivalEstimator,
)

__all__ = [
    "DLPM",
    "MDSN",
    "CNNSurvival",
    "ClinicalVolumeEstimator",
    "CoxVolumeEstimator",
    "DeepMTS",
    "DeepMTSClassifier",
    "DiscreteTimeEstimator",
    "FrozenEncoderFeatures",
    "FusionClassifier",
    "FusionSurvival",
    "ImageClassifier",
    "ImageSurvival",
    "SingleTaskSurvival",
    "TumourSegmenter",
    "VolumeClassifier",
    "VolumeEstimator",
    "VolumeSurvivalEstimator",
    "deepmts_variant",
]
