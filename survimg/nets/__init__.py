"""Published survival networks in plain torch, one network per file, usable without the estimators.

All networks share these conventions:

- volumes have the axes ``(case, channel, d0, d1, d2)``, as stored in a cohort ``(z, y, x)``;
- clinical values are ``(case, variable)``, float, encoded and complete;
- the constructor draws every initial weight from its `generator` and leaves torch's global
  generator alone when one is given;
- risk is one number per case, higher = earlier event.
"""

from survimg.nets.cnn_survival import CNNSurvivalNet
from survimg.nets.deepmts import DeepMTSNet, DeepMTSOutput
from survimg.nets.deepmts_weights import load_official_weights
from survimg.nets.deepsurv import DeepSurvNet
from survimg.nets.densenet_survival import DenseNetSurvivalNet
from survimg.nets.dlpm import DLPMNet
from survimg.nets.encoder_with_head import EncoderWithHead, PooledEncoder
from survimg.nets.fast_layers import use_fast_layers
from survimg.nets.layers import global_average, initialise
from survimg.nets.mdsn import MDSNNet
from survimg.nets.outputs import LogitsOutput, RiskOutput
from survimg.nets.swin_fusion import SwinFusionNet
from survimg.nets.swin_transformer import SwinTransformer3D
from survimg.nets.transfer import (
    LoadReport,
    freeze,
    load_weights,
    stage_features,
    train_unfrozen,
    unfreeze,
)

__all__ = [
    "CNNSurvivalNet",
    "DLPMNet",
    "DeepMTSNet",
    "DeepMTSOutput",
    "DeepSurvNet",
    "DenseNetSurvivalNet",
    "EncoderWithHead",
    "LoadReport",
    "LogitsOutput",
    "MDSNNet",
    "PooledEncoder",
    "RiskOutput",
    "SwinFusionNet",
    "SwinTransformer3D",
    "freeze",
    "global_average",
    "initialise",
    "load_official_weights",
    "load_weights",
    "stage_features",
    "train_unfrozen",
    "unfreeze",
    "use_fast_layers",
]
