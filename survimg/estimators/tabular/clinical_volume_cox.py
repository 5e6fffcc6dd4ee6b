"""The baseline of every comparison: a Cox model on clinical variables and log tumour volume."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.base import VolumeHazardsMixin, cohort_and_outcome
from survimg.features.clinical import ClinicalFeatures, TumourVolume
from survimg.survival.cox import maximise_partial_likelihood

__all__ = ["ClinicalVolumeCox"]


class ClinicalVolumeCox(VolumeHazardsMixin, BaseEstimator):
    r"""Ridge-penalised Cox model on encoded clinical columns and the logarithm of tumour volume.

    A model of images has to beat what a clinician knows without one: clinical variables and the
    size of the tumour. Columns are encoded by `ClinicalFeatures` and the mask is measured by
    `TumourVolume`, both learned on the training patients; the model maximises

    .. math:: \ell(\beta) - \tfrac{\alpha}{2} \sum_j \beta_j^2

    (:math:`\ell`: log partial likelihood with Efron ties, :math:`\beta_j`: log-hazard ratio per
    standard deviation of a numeric column, and of a level against the others for an indicator:
    scaling indicators too would penalise rare levels least). `predict` returns the log-hazard ratio
    to the average training patient: **higher = earlier event**.

    Parameters
    ----------
    clinical_columns : sequence of str, optional
        Clinical columns to use. None (default) uses all of the cohort, which must then have some;
        an empty sequence uses tumour volume alone.
    alpha : float, default=1.0
        Strength of the ridge penalty. It acts like a normal prior with variance 1/alpha on each
        :math:`\beta_j`: with 1, a hazard ratio of e = 2.7 is one prior standard deviation away.
        That keeps the many indicator columns of rare levels at bay in small cohorts and hardly
        moves well-supported coefficients. 0 is the classical Cox model.
    volume_unit : {"ml", "voxels"}, default="ml"
        ``"voxels"`` serves cohorts without spacing whose patients share one grid.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns,)
        Log-hazard ratio per unit of each encoded column.
    feature_names_ : ndarray of shape (n_columns,), str
        The encoded columns; the last one is ``log_tumour_volume_<unit>``.
    clinical_encoder_ : ClinicalFeatures or None
        The fitted encoder; None without clinical columns.
    volume_ : TumourVolume
        It remembers how the training cohort was prepared, and refuses others.
    information_ : ndarray of shape (n_columns, n_columns)
        Observed information of the partial likelihood (without the penalty) per unit.
    unique_times_ : ndarray of shape (n_times,)

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from survimg import Cohort
    >>> from survimg.target import make_outcome
    >>> rng = np.random.default_rng(0)
    >>> masks = np.zeros((20, 8, 8, 8), dtype="uint8")
    >>> for i in range(20):
    ...     masks[i, : 1 + i % 7] = 1
    >>> cohort = Cohort(
    ...     np.zeros((20, 1, 8, 8, 8), dtype="float32"), masks=masks, spacing=4.0,
    ...     clinical=pd.DataFrame({"age": rng.normal(60, 9, 20)}),
    ...     outcome=make_outcome(np.ones(20), [9 - i % 7 for i in range(20)]),
    ... )
    >>> model = ClinicalVolumeCox().fit(cohort, cohort.outcome)
    >>> model.coef_table().index.tolist()
    ['age', 'log_tumour_volume_ml']
    """

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "clinical_columns": ["array-like", None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "volume_unit": [StrOptions({"ml", "voxels"})],
    }

    def __init__(
        self,
        *,
        clinical_columns: Sequence[str] | None = None,
        alpha: float = 1.0,
        volume_unit: str = "ml",
    ) -> None:
        self.clinical_columns = clinical_columns
        self.alpha = alpha
        self.volume_unit = volume_unit

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: np.ndarray,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> ClinicalVolumeCox:
        """Fit the model.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        y : structured array of shape (n,)
            (event, time).
        masks, clinical : optional
            With an array `X` only; a Cohort brings its own.

        Raises
        ------
        ValueError
            No clinical columns where they are asked for, an empty mask, no spacing, no events, or
            a singular problem with ``alpha=0``.
        LookupError
            A patient without a mask.
        """
        self._validate_params()
        cohort, event, time = cohort_and_outcome(X, y, masks, clinical)
        self.volume_ = TumourVolume(unit=self.volume_unit).fit(cohort)
        self.clinical_encoder_ = None
        if self.clinical_columns is None or len(self.clinical_columns) > 0:
            encoder = ClinicalFeatures(clinical_columns=self.clinical_columns)
            self.clinical_encoder_ = encoder.fit(cohort)
        table = self._table(cohort)
        self.feature_names_ = table.columns.to_numpy(dtype=object)
        fit = maximise_partial_likelihood(
            table.to_numpy(), event, time, names=table.columns.tolist(), alpha=self.alpha
        )
        self.mean_, self.coef_ = fit.means, fit.coefficients
        self.information_ = fit.information
        self._prior = self.alpha * np.diag(fit.scale**2)
        self._fit_baseline(self._linear_predictor(table), event, time)
        return self

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the log-hazard ratio to the average training patient.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        masks, clinical : optional
            With an array `X` only.

        Returns
        -------
        ndarray of shape (n,)
            Higher = earlier event.

        Raises
        ------
        ValueError
            A cohort that was prepared otherwise than the training cohort; an empty mask.
        LookupError
            A patient without a mask.
        """
        check_is_fitted(self)
        return self._linear_predictor(self._table(as_cohort(X, masks, clinical)))

    def coef_table(self) -> pd.DataFrame:
        """Return coefficients with standard errors.

        Returns
        -------
        DataFrame indexed by column
            ``coef`` (log-hazard ratio per unit), ``hazard_ratio``, ``se``, ``z`` and two-sided
            Wald ``p``. With a ridge penalty the standard error is that of the penalised estimate,
            from :math:`H^{-1} I H^{-1}` with information :math:`I` and :math:`H = I` + penalty
            (Gray, J Am Stat Assoc 1992;87:942-951); it leaves out the shrinkage bias, so `p` is a
            guide and no test.
        """
        check_is_fitted(self)
        penalised = np.linalg.inv(self.information_ + self._prior)
        se = np.sqrt(np.diag(penalised @ self.information_ @ penalised))
        z = self.coef_ / se
        return pd.DataFrame(
            {
                "coef": self.coef_,
                "hazard_ratio": np.exp(self.coef_),
                "se": se,
                "z": z,
                "p": 2 * norm.sf(np.abs(z)),
            },
            index=pd.Index(self.feature_names_, name="column"),
        )

    def _table(self, cohort: Cohort) -> pd.DataFrame:
        volume = self.volume_.transform(cohort)
        if self.clinical_encoder_ is None:
            return volume
        return pd.concat([self.clinical_encoder_.transform(cohort), volume], axis=1)

    def _linear_predictor(self, table: pd.DataFrame) -> np.ndarray:
        return (table.to_numpy() - self.mean_) @ self.coef_
