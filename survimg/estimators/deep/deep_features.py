"""Deep features: the numbers of which a network's last layers make their output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.volume_estimator import to_float64

__all__ = ["DeepFeaturesMixin"]


class DeepFeaturesMixin(TransformerMixin):
    """`transform` of an estimator over volumes whose network's output has ``features``."""

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__transform = {"masks": True, "clinical": True}  # noqa: RUF012

    def fit_transform(
        self: Any, X: Volumes, y: npt.ArrayLike, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Train the network, and return the deep features of its training patients.

        Parameters
        ----------
        X, y, masks, clinical
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            As `transform` does.
        """
        beside = {"masks": masks, "clinical": clinical}
        beside = {name: value for name, value in beside.items() if value is not None}
        return self.fit(X, y, **beside).transform(X, **beside)

    def transform(
        self: Any, X: Volumes, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Return the deep features, from which the network's last layers compute the risk.

        Features of training patients predict better than those of new patients; train a
        second model on out-of-fold features (`survimg.estimators.OutOfFold`).

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            A DataFrame with ``set_output(transform="pandas")``.
        """
        check_is_fitted(self, "net_")
        patients = self._patients(X, masks=masks, clinical=clinical)
        return to_float64([output.features for output in self._outputs(patients)])

    def get_feature_names_out(self: Any, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Names of the deep features, such as ``dlpm_07``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.
        """
        check_is_fitted(self, "net_")
        module = self.net_.module_
        names = getattr(module, "feature_names", None)
        if names is None:
            names = [f"{k:02d}" for k in range(module.n_features)]
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}_{name}" for name in names], dtype=object)
