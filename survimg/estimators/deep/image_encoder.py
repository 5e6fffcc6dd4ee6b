"""The network of a user as the encoder of an estimator over volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from survimg.cohort import Cohort
from survimg.estimators.deep.clinical_volume_estimator import ClinicalVolumeEstimator
from survimg.nets.encoder_with_head import ClinicalPath, EncoderWithHead, Pool
from survimg.survival import maximise_partial_likelihood
from survimg.training.batches import Patients
from survimg.training.net import Net, build_net
from survimg.training.seeded import seeded

__all__ = ["ImageEncoder"]

# Beside the loss of a whole cohort it keeps coefficients finite where columns separate the events.
_RIDGE = 1e-3


@dataclass(kw_only=True, eq=False, repr=False)
class ImageEncoder(ClinicalVolumeEstimator):
    """Base of the estimators that put a fully connected layer behind a network of the user's.

    Parameters
    ----------
    net : Net or torch.nn.Module, optional
        The network, without which there is no fit, such as
        ``Net(DenseNet121, spatial_dims=3, out_channels=64)``; its weights are drawn from
        `random_state`. A module is copied, and its weights are where training starts. ``forward``
        takes volumes (b, channels, z, y, x), and returns features (b, n), a map (b, n, z, y, x),
        tokens (b, tokens, n), or a list or tuple whose last item is one of these.
        `initial_weights` are weights of this network; ``frozen=["encoder"]`` keeps them.
    pool : {"mean", "mean-sd"}, default="mean"
        What is taken of a map or of tokens: the mean of each channel, or also the standard
        deviation.
    dropout : float, default=0.0
        Dropout on the inputs of the fully connected layer.
    clinical_path : {"joined", "undropped", "offset"}, default="joined"
        How clinical columns enter: ``"joined"`` to the features, behind the same dropout;
        ``"undropped"``, joined without dropout, so that few columns are not lost among many
        features; ``"offset"``: a Cox model of the clinical columns is fitted first, and its
        log-hazard ratio is added to the network's, which learns what the columns do not tell (Cox
        loss only).
    """

    net: Net | nn.Module | None = None
    pool: Pool = "mean"
    dropout: float = 0.0
    clinical_path: ClinicalPath = "joined"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "net": [Net, nn.Module],
        "pool": [StrOptions({"mean", "mean-sd"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "clinical_path": [StrOptions({"joined", "undropped", "offset"})],
    }

    def set_params(self, **params: Any) -> ImageEncoder:
        """Set parameters, those of a `Net` as ``net__growth_rate``.

        Parameters
        ----------
        **params

        Raises
        ------
        ValueError
            A parameter of a network that is a module, which is built already.
        """
        inside = [name for name in params if name.startswith("net__")]
        net = params.get("net", self.net)
        if inside and isinstance(net, nn.Module):
            name = type(net).__name__
            raise ValueError(
                f"{inside[0]} cannot be set: net is a {name} that is built already. Give its class "
                f"and parameters, net=Net({name}, ...)."
            )
        return super().set_params(**params)

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> EncoderWithHead:
        shape = (n_channels, *self.volume_shape_in_)
        encoder = build_net(self.net, shape, generator)
        with seeded(generator):  # lazy layers draw their weights at the first volume
            return EncoderWithHead(
                encoder,
                shape,
                n_clinical,
                self._n_outputs,
                pool=self.pool,
                clinical_path=self.clinical_path,
                dropout=self.dropout,
                generator=generator,
            )

    def _pretrained_part(self, module: nn.Module) -> nn.Module:
        assert isinstance(module, EncoderWithHead)
        return module.encoder

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        encoded = super()._encode_training(cohort, event, time, train, seed)
        self.__dict__.pop("clinical_coefficients_", None)
        if self.clinical_path == "offset" and encoded.shape[1]:
            cox = maximise_partial_likelihood(
                encoded[train].astype(np.float64), event[train], time[train],
                names=self.clinical_names_in_, alpha=_RIDGE,
            )  # fmt: skip
            self.clinical_coefficients_ = cox.coefficients
        return self._offset(encoded)

    def _offset(self, encoded: np.ndarray) -> np.ndarray:
        """Return the log-hazard ratio of the clinical columns, (n, 1), if that is what enters."""
        if not hasattr(self, "clinical_coefficients_"):
            return encoded
        return (encoded @ self.clinical_coefficients_)[:, np.newaxis].astype(np.float32)

    def _patients(self, X: Any, **beside: Any) -> Patients:
        patients = super()._patients(X, **beside)
        return replace(patients, clinical=self._offset(patients.clinical))

    @property
    def _n_encoded(self) -> int:
        return 1 if hasattr(self, "clinical_coefficients_") else super()._n_encoded


def refuse_offset(path: str, what: str) -> None:
    """Refuse a Cox offset where there are no log-hazards: `what` says why.

    Raises
    ------
    ValueError
    """
    if path == "offset":
        raise ValueError(
            f"clinical_path='offset' adds a log-hazard ratio to the network's output; {what}. Use "
            " objective=Cox(), or clinical_path='joined' or 'undropped'."
        )
