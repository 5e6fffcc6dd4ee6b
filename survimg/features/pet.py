"""Conventional PET parameters of a tumour: SUV statistics, metabolic volume, lesion glycolysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.io import Image
from survimg.preprocessing.agreement import check_preparation, preparation_of
from survimg.preprocessing.patient_space import volume_factors
from survimg.preprocessing.units import implausible_unit
from survimg.radiomics.native.diameters import largest_diameters
from survimg.radiomics.native.geometry import region_geometry
from survimg.radiomics.native.peak import sphere_means
from survimg.radiomics.regions import (
    PredictsMasks,
    check_mask_source,
    check_measured_on,
    measured_voxels,
    region_mask,
)

__all__ = ["PETParameters"]

_PEAK_ML = 1.0


class PETParameters(TransformerMixin, BaseEstimator):
    """SUVmax, SUVmean, SUVpeak, MTV, TLG, largest diameter and volume of the tumour mask.

    Needs the SUV itself: a cohort with finer voxels (`Cohort.finer`), or one that was prepared
    without normalising PET.

    Parameters
    ----------
    channel : str, default="PET"
        Name of the channel that holds SUV in g/ml.
    fixed_threshold : float or None, default=2.5
        SUV from which a voxel of the mask counts as metabolically active; None leaves these columns
        out.
    relative_threshold : float or None, default=0.41
        The same as a fraction of the patient's SUVmax [2]_.
    mask_from : fitted estimator with ``predict_mask(X)``, optional
        Source of the masks instead of the cohort's; see `RadiomicsFeatures`.
    spacing : float or (z, y, x) triple, optional
        Voxel size in mm of data that brings none.
    on_empty_mask : {"raise", "nan"}, default="raise"
        What to do with a patient whose mask is missing or empty.

    Attributes
    ----------
    channel_names_in_ : tuple of str
    measured_on_ : {"finer voxels", "cohort's voxels"}
        Which voxels: `Cohort.finer` where the cohort has one, unless `mask_from` predicts masks.
    voxels_in_ : dict or None
        How these voxels were prepared; None where the cohort does not say.
    n_features_out_ : int

    Notes
    -----
    Columns: ``SUVmax``, ``SUVmean`` and ``SUVpeak`` (g/ml); for each threshold ``MTV_...`` (ml) and
    ``TLG_...`` (g), MTV times the mean SUV of its voxels, 0 where no voxel reaches the threshold;
    ``MaximumDiameter`` (mm, of the mask's surface) and ``Volume`` (ml, of the mask's voxels). After
    an affine registration volumes are those of the patient (`Cohort.geometry` holds the map), but
    the diameter and SUVpeak are those of the registered image.
    SUVpeak is the largest mean SUV of a sphere of 1 ml centred on a voxel of the mask [1]_ (IBSI
    0F91, global intensity peak): voxels belong to the sphere when their centres are within 6.2 mm,
    whether they lie in the mask or not.

    References
    ----------
    .. [1] Wahl R.L. et al., "From RECIST to PERCIST", J Nucl Med 50(S1):122S-150S, 2009.
    .. [2] Boellaard R. et al., "FDG PET/CT: EANM procedure guidelines for tumour imaging: version
       2.0", Eur J Nucl Med Mol Imaging 42:328-354, 2015.
    """

    # With metadata routing on, scikit-learn slices the masks of plain arrays along with them.
    __metadata_request__fit = {"masks": True}  # noqa: RUF012
    __metadata_request__transform = {"masks": True}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "channel": [str],
        "fixed_threshold": [Interval(Real, 0, None, closed="neither"), None],
        "relative_threshold": [Interval(Real, 0, 1, closed="right"), None],
        "on_empty_mask": [StrOptions({"raise", "nan"})],
        # Checked in fit, with messages of their own.
        "mask_from": "no_validation",
        "spacing": "no_validation",
    }

    def __init__(
        self,
        *,
        channel: str = "PET",
        fixed_threshold: float | None = 2.5,
        relative_threshold: float | None = 0.41,
        mask_from: PredictsMasks | None = None,
        spacing: float | Sequence[float] | None = None,
        on_empty_mask: str = "raise",
    ) -> None:
        self.channel = channel
        self.fixed_threshold = fixed_threshold
        self.relative_threshold = relative_threshold
        self.mask_from = mask_from
        self.spacing = spacing
        self.on_empty_mask = on_empty_mask

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: object = None,  # noqa: ARG002
        *,
        masks: npt.ArrayLike | None = None,
    ) -> PETParameters:
        """Check the parameters; learns nothing from the patients.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x) or (n, z, y, x)
        y : ignored
        masks : array-like of shape (n, z, y, x), optional

        Raises
        ------
        ValueError
            No channel of that name, a cohort that was prepared with another `normalise` than
            "none" for it, or a parameter with a value that is not allowed.
        """
        self._validate_params()
        cohort, self.measured_on_ = measured_voxels(as_cohort(X, masks=masks), self.mask_from)
        if self.channel not in cohort.channel_names:
            raise ValueError(
                f"channel={self.channel!r} is not among the channels {list(cohort.channel_names)}; "
                "name the one that holds SUV."
            )
        if self.mask_from is not None:
            check_mask_source(self.mask_from)
        self._spacings(cohort)
        self._check_unit(cohort)
        self.voxels_in_ = preparation_of(cohort)
        self.channel_names_in_ = cohort.channel_names
        self.n_features_out_ = len(self.get_feature_names_out())
        return self

    def transform(
        self, X: Cohort | npt.ArrayLike, *, masks: npt.ArrayLike | None = None
    ) -> pd.DataFrame:
        """Compute the parameters.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x) or (n, z, y, x)
        masks : array-like of shape (n, z, y, x), optional

        Returns
        -------
        DataFrame of shape (n, n_features), float64
            NaN for patients without the channel, as far as SUV is concerned.

        Raises
        ------
        ValueError
            A missing or empty mask (``on_empty_mask="raise"``), voxels that are not finite, no
            positive SUV in the mask, or a cohort that was normalised when it was prepared, or
            prepared otherwise than the one given to `fit`.
        """
        check_is_fitted(self, "channel_names_in_")
        cohort, measured_on = measured_voxels(as_cohort(X, masks=masks), self.mask_from)
        before = getattr(self, "measured_on_", None)
        check_measured_on(measured_on, before, type(self).__name__)
        if cohort.channel_names != self.channel_names_in_:
            raise ValueError(
                f"X has the channels {list(cohort.channel_names)}, but fit saw "
                f"{list(self.channel_names_in_)}."
            )
        self._check_unit(cohort)
        check_preparation(cohort, getattr(self, "voxels_in_", None), type(self).__name__)
        spacings = self._spacings(cohort)
        voxel_ml = spacings.prod(axis=1) / 1000 * volume_factors(cohort)
        rows = [
            self._parameters(cohort, i, spacings[i], float(voxel_ml[i])) for i in range(len(cohort))
        ]
        columns = self.get_feature_names_out()
        return pd.DataFrame(np.array(rows).reshape(len(rows), len(columns)), columns=columns)

    def fit_transform(
        self, X: Cohort | npt.ArrayLike, y: object = None, *, masks: npt.ArrayLike | None = None
    ) -> pd.DataFrame:
        """Fit, then transform the same patients.

        Parameters
        ----------
        X, y, masks
            As in `fit`.
        """
        return self.fit(X, y, masks=masks).transform(X, masks=masks)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:  # noqa: ARG002
        """Return the names of the columns.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (n_features_out,), str
        """
        check_is_fitted(self, "channel_names_in_")
        names = ["SUVmax", "SUVmean", "SUVpeak"]
        for label in self._thresholds(1.0):
            names += [f"MTV_{label}", f"TLG_{label}"]
        return np.array([*names, "MaximumDiameter", "Volume"], dtype=object)

    def _thresholds(self, suv_max: float) -> dict[str, float]:
        thresholds = {}
        if self.fixed_threshold is not None:
            thresholds[f"{self.fixed_threshold:g}"] = float(self.fixed_threshold)
        if self.relative_threshold is not None:
            thresholds[f"{100 * self.relative_threshold:g}pct"] = self.relative_threshold * suv_max
        return thresholds

    def _spacings(self, cohort: Cohort) -> np.ndarray:
        if cohort.spacing is not None and self.spacing is None:
            return cohort.spacing
        if cohort.spacing is None and self.spacing is not None:
            spacing = np.asarray(self.spacing, dtype=np.float64)
            if spacing.shape in ((), (3,)) and (np.isfinite(spacing) & (spacing > 0)).all():
                return np.broadcast_to(spacing, (len(cohort), 3))
        raise ValueError(
            "PET parameters need one voxel size: that of the cohort, or else spacing= in mm (one "
            f"size or a (z, y, x) triple). The cohort brings "
            f"{'none' if cohort.spacing is None else 'its own'}; spacing={self.spacing!r}."
        )

    def _check_unit(self, cohort: Cohort) -> None:
        """Refuse a cohort that says itself that the channel no longer holds SUV."""
        how = (preparation_of(cohort) or {}).get("normalise")
        how = how.get(self.channel) if isinstance(how, Mapping) else how
        if how not in (None, "none"):
            raise ValueError(
                f"Channel {self.channel!r} was normalised ({how!r}) when the cohort was prepared, "
                "so that it holds no SUV. Prepare a cohort with normalise='none' for it."
            )

    def _parameters(
        self, cohort: Cohort, i: int, spacing: np.ndarray, voxel_ml: float
    ) -> list[float]:
        patient = str(cohort.ids[i])
        mask = region_mask(cohort, i, self.mask_from)
        if mask is None or not mask.any():
            if self.on_empty_mask == "nan":
                return [np.nan] * self.n_features_out_
            raise ValueError(
                f"The mask of patient {patient!r} is missing or empty; correct it, leave the "
                "patient out, or take a row of NaN with on_empty_mask='nan'."
            )
        geometry = region_geometry(mask)
        padded = np.zeros(geometry.block_shape, dtype=np.uint8)
        padded.reshape(-1)[geometry.in_block] = 1
        size = [largest_diameters(padded, spacing)[3], geometry.in_block.size * voxel_ml]
        c = cohort.channel_names.index(self.channel)
        if not cohort.present[i, c]:
            return [np.nan] * (self.n_features_out_ - len(size)) + size
        suv = cohort.volume(i)[c]
        doubt = implausible_unit("PET", Image(suv, tuple(spacing)))
        if doubt is not None:
            raise ValueError(
                f"Channel {self.channel!r} of patient {patient!r} is no SUV: {doubt} Extract "
                "PET parameters from SUV, before intensities are normalised."
            )
        return self._uptake(suv, mask, spacing, voxel_ml, patient) + size

    def _uptake(
        self,
        suv: np.ndarray,
        mask: np.ndarray,
        spacing: np.ndarray,
        voxel_ml: float,
        patient: str,
    ) -> list[float]:
        suv = suv.astype(np.float64)
        values = suv[mask]
        if not np.isfinite(suv).all():
            raise ValueError(
                f"Channel {self.channel!r} of patient {patient!r} holds voxels that are not "
                "finite, so that its SUV parameters are undefined."
            )
        suv_max = float(values.max())
        if suv_max <= 0:
            raise ValueError(
                f"The largest value of channel {self.channel!r} in the mask of patient "
                f"{patient!r} is {suv_max:g}; SUV is positive. Extract PET parameters before "
                "normalising intensities."
            )
        radius = 10 * (3 * _PEAK_ML / (4 * np.pi)) ** (1 / 3)
        peak = float(sphere_means(suv, mask, spacing, radius).max())
        parameters = [suv_max, float(values.mean()), peak]
        for threshold in self._thresholds(suv_max).values():
            active = values[values >= threshold]
            # The glycolysis is the sum itself: volume times mean, without a mean of nothing.
            parameters += [active.size * voxel_ml, float(active.sum()) * voxel_ml]
        return parameters
