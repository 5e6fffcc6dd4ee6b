"""`FrozenEncoderFeatures`: features of a pretrained network for classic survival models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Volumes
from survimg.compute.devices import choose_device, isolated_torch
from survimg.estimators.deep.volume_estimator import check_like_training, check_prepared
from survimg.nets.encoder_with_head import Pool, pooled
from survimg.nets.transfer import LoadReport, load_weights
from survimg.preprocessing.agreement import preparation_of
from survimg.training.net import Net, build_net
from survimg.training.parameters import TrainingParameters
from survimg.training.views import whole_volume

__all__ = ["FrozenEncoderFeatures"]


@dataclass(kw_only=True, eq=False, repr=False)
class FrozenEncoderFeatures(TransformerMixin, BaseEstimator):
    """Features of every volume by a network that is not trained here, as a table.

    For a small cohort: ``make_pipeline(FrozenEncoderFeatures(...), StandardScaler(), LassoCox())``.
    Nothing is learned from the cohort, so that it may stand before a cross-validation.

    Parameters
    ----------
    net : Net or torch.nn.Module, optional
        The network, without which there is no fit, as for `ImageSurvival`.
    weights : path-like, optional
        File with pretrained weights, as for `initial_weights` of `ImageSurvival`; None keeps those
        of a module, or the random ones of a `Net`.
    adapt_channels : {"mean", "copy"}, optional
        What to do with a first convolution in `weights` for another number of image channels: each
        channel gets the mean of its kernels, or copies of them in turn.
    pool : {"mean", "mean-sd"}, default="mean"
        What is taken of a map or of tokens: the mean of each channel, or also the standard
        deviation.
    device : str, default="auto"
        A torch device; ``"auto"`` uses a GPU if there is one.
    n_threads : int, optional
        Threads of torch; None keeps torch's setting.
    random_state : int, RandomState instance or None, default=None
        Draws the weights that do not come from a file.

    Attributes
    ----------
    net_ : torch.nn.Module
        In evaluation mode.
    load_report_ : survimg.nets.transfer.LoadReport
        What was taken from `weights`; only if given.
    n_features_out_ : int
    channel_names_in_ : tuple of str
    volume_shape_in_ : tuple of int
    preparation_in_ : dict or None

    Examples
    --------
    >>> from torch import nn
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import FrozenEncoderFeatures
    >>> from survimg.training import Net
    >>> X = make_phantom_cohort(n=4, shape=(16, 16, 16), random_state=0).cohort
    >>> net = Net(nn.Conv3d, out_channels=3, kernel_size=3)
    >>> FrozenEncoderFeatures(net=net, random_state=0).fit_transform(X).shape
    (4, 3)
    """

    net: Net | nn.Module | None = None
    weights: str | os.PathLike[str] | None = None
    adapt_channels: Literal["mean", "copy"] | None = None
    pool: Pool = "mean"
    device: str = "auto"
    n_threads: int | None = None
    random_state: int | np.random.RandomState | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "net": [Net, nn.Module],
        "weights": [str, os.PathLike, None],
        "adapt_channels": [StrOptions({"mean", "copy"}), None],
        "pool": [StrOptions({"mean", "mean-sd"})],
        **{
            name: TrainingParameters._parameter_constraints[name]
            for name in ("device", "n_threads", "random_state")
        },
    }

    def fit(self, X: Volumes, y: Any = None) -> FrozenEncoderFeatures:  # noqa: ARG002
        """Build the network and load its weights.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, all of one size.
        y : ignored
            For scikit-learn's interface.

        Raises
        ------
        ValueError
            Weights of another network, volumes that the network cannot take, a raw cohort.
        """
        self._validate_params()
        cohort = as_cohort(X)
        check_prepared(cohort)
        self.channel_names_in_ = cohort.channel_names
        self.preparation_in_ = preparation_of(cohort)
        self.volume_shape_in_ = cohort.shape[2:]
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self._build_network(torch.Generator().manual_seed(int(seed)))
        self.__dict__.pop("load_report_", None)
        if self.weights is not None:
            self.load_report_: LoadReport = load_weights(
                self.net_, self.weights, strict=False, adapt_channels=self.adapt_channels
            )
            self.load_report_.warn_if_little()
        self.n_features_out_ = len(self._features(cohort, 0))
        return self

    def transform(self, X: Volumes) -> pd.DataFrame:
        """Return the features of each patient.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)

        Returns
        -------
        DataFrame of shape (n, n_features), float64
            Indexed by patient.

        Raises
        ------
        ValueError
            Other channels or another preparation than in `fit`.
        """
        check_is_fitted(self, "net_")
        cohort = as_cohort(X)
        check_like_training(self, cohort)
        # One patient at a time: convolutions round differently for different batch sizes.
        rows = [self._features(cohort, i) for i in range(len(cohort))]
        table = np.reshape(rows, (len(cohort), self.n_features_out_))
        return pd.DataFrame(table, index=cohort.ids, columns=self.get_feature_names_out())

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Names of the features, such as ``encoder_007``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.
        """
        check_is_fitted(self, "net_")
        names = [f"encoder_{k:03d}" for k in range(self.n_features_out_)]
        return np.array(names, dtype=object)

    def _features(self, cohort: Cohort, i: int) -> np.ndarray:
        device = next(self.net_.parameters(), torch.zeros(())).device
        with torch.inference_mode(), isolated_torch(device, self.n_threads):
            volume = torch.from_numpy(np.ascontiguousarray(whole_volume(cohort, i))).to(device)
            features = pooled(self.net_(volume.unsqueeze(0)), self.pool)
        return features[0].cpu().numpy().astype(np.float64)

    def _build_network(self, generator: torch.Generator | None = None) -> None:
        """Build the network; of a model file without `generator`, which brings the weights."""
        shape = (len(self.channel_names_in_), *self.volume_shape_in_)
        net = build_net(self.net, shape, generator or torch.Generator())
        self.net_ = net.to(choose_device(self.device)).eval()
