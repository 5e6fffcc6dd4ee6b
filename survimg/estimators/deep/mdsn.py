"""MDSN: a 3D DenseNet with a Cox loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions

from survimg.estimators.deep.volume_survival_estimator import CoxVolumeEstimator
from survimg.nets.mdsn import MDSNNet
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["MDSN"]


@dataclass(kw_only=True, eq=False, repr=False)
class MDSN(PublishedRecipe, CoxVolumeEstimator):
    """Multi-modality deep survival network of Jing et al.: 3D DenseNet, Cox loss.

    Parameters
    ----------
    stem : {"anisotropic", "isotropic"}, default="anisotropic"
        First convolution: kernel (3, 5, 5) with stride (2, 3, 3) on (z, y, x), or 3 x 3 x 3 with
        stride 2.
    dropout : float, default=0.05
        Channel-wise dropout of each bottleneck's new features.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.mdsn.MDSNNet` is ``net_.module_``.
    history_ : DataFrame
    baseline_ : BreslowBaseline
        Baseline hazard on the training set.

    Notes
    -----
    As in the comparison of the DeepMTS paper, clinical columns are appended to the pooled features.
    `survimg.nets.mdsn.MDSNNet` explains the source of the layers.

    *Published recipe.* The original training is not published. ``MDSN.published()`` is that of the
    comparison in the DeepMTS paper: `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000
    steps, 1e-4 in its steps).

    References
    ----------
    Jing B, Deng Y, Zhang T, et al. Deep learning for risk prediction in patients with
    nasopharyngeal carcinoma using multi-parametric MRIs. Comput Methods Programs Biomed
    197:105684, 2020.
    """

    stem: Literal["anisotropic", "isotropic"] = "anisotropic"
    dropout: float = 0.05

    _net = MDSNNet
    _published: ClassVar[Mapping[str, Any]] = {**DEEPMTS_TRAINING}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "stem": [StrOptions({"anisotropic", "isotropic"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

