"""ComBat: the features of several centres on one scale, learned from the training patients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.features.clinical import ClinicalFeatures
from survimg.io.manifest import listed

__all__ = ["ComBat"]

#: Relative change at which the iteration for the posterior means has converged.
_CONVERGED = 1e-10
_MOST_ITERATIONS = 10_000
#: A feature whose spread within the centres is below this part of its size is constant in them.
_NO_SPREAD = 1e-12


class ComBat(TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Features with the differences between centres taken out, by ComBat.

    Scanners and protocols shift and stretch radiomic features. ComBat [1]_ [2]_ models feature v
    of patient j in centre i as

    .. math:: Y_{ijv} = \alpha_v + X_{ij} \beta_v + \sigma_v (\gamma_{iv} + \delta_{iv}
              \varepsilon_{ijv}),

    estimates the centre's shift :math:`\gamma` and scale :math:`\delta` by parametric empirical
    Bayes over all features, and removes both. The centre (or scanner) is ``Cohort.groups``; where
    these are patients with several images each, ComBat would remove what patients differ in.

    Everything is learned from the patients given to `fit`, so that in a cross-validation no test
    patient takes part. No outcome is used.

    Parameters
    ----------
    extractor : transformer
        From a cohort to a table, such as `RadiomicsFeatures`; it is cloned. At least two features.
    preserve : sequence of str, default=()
        Clinical columns (:math:`X`) whose effects on the features are kept. Where centres differ in
        whom they treat, name what they differ in: ComBat takes its effect for the centre's
        otherwise, and removes it. Never name the outcome.
    on_unknown_centre : {"raise", "unchanged"}, default="raise"
        What to do with patients of a centre that has no training patient: raise an error that
        names them, or return their features as measured, with the shift of their centre. Their
        own shift cannot be known without looking at the test cohort as a whole.

    Attributes
    ----------
    extractor_ : transformer
    centres_ : ndarray of shape (n_centres,), str
    shift_, scale_ : ndarray of shape (n_centres, n_features)
        Posterior :math:`\gamma`, in units of `spread_`, and :math:`\delta`.
    mean_, spread_ : ndarray of shape (n_features,)
        :math:`\alpha` and :math:`\sigma`, in the unit of the feature.
    coef_ : ndarray of shape (n_covariates, n_features)
        :math:`\beta` of the encoded columns of `preserve` (see `ClinicalFeatures`).
    harmonised_ : ndarray of shape (n_features,), bool
        False where a feature is constant within the centres, or known of too few patients (fewer
        than two of some centre): it is returned as measured.

    Warns
    -----
    UserWarning
        Features that vary are returned as measured.

    Notes
    -----
    Missing values stay missing; each feature is estimated from the patients who have it. In a
    leave-one-centre-out validation the test patients are of an unknown centre in every fold.

    References
    ----------
    .. [1] Johnson WE, Li C, Rabinovic A. Adjusting batch effects in microarray expression data
       using empirical Bayes methods. Biostatistics 2007;8:118-127.
    .. [2] Fortin JP, Cullen N, Sheline YI, et al. Harmonization of cortical thickness measurements
       across scanners and sites. NeuroImage 2018;167:104-120.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "extractor": [HasMethods(["fit_transform", "transform"])],
        "preserve": [list, tuple],
        "on_unknown_centre": [StrOptions({"raise", "unchanged"})],
    }

    def __init__(
        self, extractor: Any, *, preserve: Sequence[str] = (), on_unknown_centre: str = "raise"
    ) -> None:
        self.extractor = extractor
        self.preserve = preserve
        self.on_unknown_centre = on_unknown_centre

    def fit(self, X: Cohort, y: np.ndarray | None = None) -> ComBat:
        """Fit the extractor, and learn shift and scale of each centre.

        Parameters
        ----------
        X : Cohort
            Training patients of two centres or more, with ``groups``.
        y : structured array of shape (n,), optional
            (event, time), for the extractor; ComBat itself does not use it.

        Raises
        ------
        ValueError
            No groups, a single centre, a centre with one patient, infinite features, or centres
            that cannot be told apart from the columns of `preserve`.
        """
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Cohort, y: np.ndarray | None = None) -> pd.DataFrame:
        """Fit, and harmonise the training patients.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        DataFrame of shape (n, n_features), float64
        """
        self._validate_params()
        labels = _centres(X)
        self.centres_, member = np.unique(labels, return_inverse=True)
        _check_sizes(self.centres_.tolist(), np.bincount(member))
        self.extractor_ = clone(self.extractor)
        values = _finite(np.asarray(self.extractor_.fit_transform(X, y), dtype=np.float64))
        if self.preserve:
            self._encoder = ClinicalFeatures(clinical_columns=list(self.preserve)).fit(X)
        self._learn(values, np.eye(len(self.centres_))[member], self._covariates(X))
        return self._adjust(values, member, X)

    def transform(self, X: Cohort) -> pd.DataFrame:
        """Harmonise patients with what was learned from the training patients.

        Parameters
        ----------
        X : Cohort

        Returns
        -------
        DataFrame of shape (n, n_features), float64

        Raises
        ------
        ValueError
            Patients of an unknown centre (``on_unknown_centre="raise"``), no groups, infinite
            features.
        """
        check_is_fitted(self, "shift_")
        labels = _centres(X)
        unknown = ~np.isin(labels, self.centres_)
        if unknown.any() and self.on_unknown_centre == "raise":
            raise ValueError(
                f"Patients {listed(X.ids[unknown].tolist())} are of centres without training "
                f"patients ({listed(np.unique(labels[unknown]).tolist())}), whose shift is not "
                "known. on_unknown_centre='unchanged' returns their features as measured."
            )
        values = _finite(np.asarray(self.extractor_.transform(X), dtype=np.float64))
        member = np.where(unknown, -1, np.searchsorted(self.centres_, labels))
        return self._adjust(values, member, X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the extractor's features; `input_features` is ignored."""
        del input_features
        check_is_fitted(self, "extractor_")
        return np.asarray(self.extractor_.get_feature_names_out(), dtype=object)

    def _covariates(self, X: Cohort) -> np.ndarray:
        return self._encoder.transform(X).to_numpy() if self.preserve else np.empty((len(X), 0))

    def _learn(self, values: np.ndarray, one_hot: np.ndarray, covariates: np.ndarray) -> None:
        design = np.hstack([one_hot, covariates])
        if len(values) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
            raise ValueError(
                f"The {len(self.centres_)} centres cannot be told apart from the columns that "
                f"preserve={list(self.preserve)} names, in these {len(values)} patients: some "
                "column is the same for all patients of each centre, or there are too many "
                "columns. Name fewer."
            )
        n_centres = one_hot.shape[1]
        observed = ~np.isnan(values)
        count = one_hot.T @ observed
        coef, estimable = _least_squares(design, values, observed)
        residual = np.where(observed, values - design @ coef, 0.0)
        spread = np.sqrt((residual**2).sum(axis=0) / np.maximum(observed.sum(axis=0), 1))
        varies = spread > _NO_SPREAD * np.abs(np.where(observed, values, 0.0)).max(axis=0)
        self.harmonised_ = (count >= 2).all(axis=0) & estimable & varies
        self._check_harmonised(values)
        harmonised = self.harmonised_
        # Features that stay as they are: mean 0, spread 1, no shift, scale 1.
        self.mean_ = np.where(harmonised, one_hot.mean(axis=0) @ coef[:n_centres], 0.0)
        self.spread_ = np.where(harmonised, spread, 1.0)
        self.coef_ = np.where(harmonised, coef[n_centres:], 0.0)
        standard = (values - self.mean_ - covariates @ self.coef_) / self.spread_
        self.shift_ = np.zeros_like(count)
        self.scale_ = np.ones_like(count)
        for i, centre in enumerate(self.centres_):
            rows = one_hot[:, i] == 1
            n = count[i, harmonised]
            shift, variance = _posterior(standard[np.ix_(rows, harmonised)], n, str(centre))
            self.shift_[i, harmonised], self.scale_[i, harmonised] = shift, np.sqrt(variance)

    def _check_harmonised(self, values: np.ndarray) -> None:
        if self.harmonised_.sum() < 2:
            raise ValueError(
                f"ComBat borrows strength among features and needs two or more; of "
                f"{values.shape[1]} features, {self.harmonised_.sum()} can be harmonised (the "
                "others are constant within the centres, or known of too few patients)."
            )
        lowest, highest = (f.reduce(values, axis=0) for f in (np.fmin, np.fmax))
        unchanged = ~self.harmonised_ & (highest > lowest)
        if unchanged.any():
            warnings.warn(
                f"{unchanged.sum()} of {unchanged.size} features are returned as measured, because "
                "they are constant within the centres or known of too few patients: "
                f"{listed(self.get_feature_names_out()[unchanged].tolist())}.",
                UserWarning,
                stacklevel=4,
            )

    def _adjust(self, values: np.ndarray, member: np.ndarray, X: Cohort) -> pd.DataFrame:
        expected = self.mean_ + self._covariates(X) @ self.coef_
        standard = (values - expected) / self.spread_
        adjusted = (standard - self.shift_[member]) / self.scale_[member]
        as_measured = (member < 0)[:, np.newaxis] | ~self.harmonised_
        table = np.where(as_measured, values, adjusted * self.spread_ + expected)
        return pd.DataFrame(table, columns=list(self.get_feature_names_out()))


def _centres(X: Any) -> np.ndarray:
    """Return the centre of each patient as text, as tables and model files hold it."""
    groups = getattr(X, "groups", None)
    if groups is None:
        raise ValueError(
            "ComBat needs to know the centre of each patient: give groups= to the Cohort, or a "
            "column 'group' in the manifest."
        )
    missing = pd.isna(groups)
    if missing.any():
        raise ValueError(f"Patients without a centre (groups): {listed(X.ids[missing].tolist())}.")
    return np.array([str(group) for group in groups])


def _check_sizes(centres: list[str], sizes: np.ndarray) -> None:
    if len(centres) < 2:
        raise ValueError(
            f"All training patients are of centre {centres[0]!r}: there is nothing to harmonise."
        )
    if sizes.min() < 2:
        raise ValueError(
            f"Centre {centres[sizes.argmin()]!r} has one training patient, and ComBat needs two "
            "for its scale. Join small centres (same scanner, same protocol), or leave them out."
        )


def _finite(values: np.ndarray) -> np.ndarray:
    if np.isinf(values).any():
        raise ValueError(
            f"{np.isinf(values).any(axis=0).sum()} features hold infinite values; they have no "
            "mean in a centre. Leave them out of the extractor."
        )
    return values


def _least_squares(
    design: np.ndarray, values: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit every feature to the patients of whom it is known.

    Parameters
    ----------
    design : ndarray of shape (n, k)
    values, known : ndarray of shape (n, n_features)

    Returns
    -------
    coef : ndarray of shape (k, n_features)
    estimable : ndarray of shape (n_features,), bool
        Whether these patients determine the coefficients.
    """
    coef = np.zeros((design.shape[1], values.shape[1]))
    estimable = np.zeros(values.shape[1], dtype=bool)
    patterns, pattern_of = np.unique(known, axis=1, return_inverse=True)
    for k, rows in enumerate(patterns.T):
        columns = pattern_of == k
        solution, _, rank, _ = np.linalg.lstsq(
            design[rows], values[np.ix_(rows, columns)], rcond=None
        )
        coef[:, columns], estimable[columns] = solution, rank == design.shape[1]
    return coef, estimable


def _posterior(
    standard: np.ndarray, n: np.ndarray, centre: str
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior shift and variance of one centre for every feature ([1]_, section 3.1).

    A normal prior for the shift and an inverse gamma prior for the variance, with the moments of
    the estimates over the features; the two posterior means depend on each other and are iterated.

    Parameters
    ----------
    standard : ndarray of shape (n_patients, n_features)
        Standardised features of the centre's patients, NaN where missing.
    n : ndarray of shape (n_features,)
        How many of them are known.
    centre : str
    """
    shift = np.nanmean(standard, axis=0)
    variance = np.nanvar(standard, axis=0, ddof=1)
    if not variance.any():
        raise ValueError(
            f"All training patients of centre {centre!r} have the same features, so that it has no "
            "scale. Look for a patient who was entered twice."
        )
    between, centre_shift = shift.var(ddof=1), shift.mean()
    m, s2 = variance.mean(), variance.var(ddof=1)
    gamma, delta = shift, np.full_like(variance, m)
    for _ in range(_MOST_ITERATIONS):
        before = gamma, delta
        gamma = (n * between * shift + delta * centre_shift) / (n * between + delta)
        squares = (n - 1) * variance + n * (shift - gamma) ** 2
        # Johnson's (theta + squares / 2) / (n / 2 + lambda - 1), times s2, which may be 0.
        delta = (m * (s2 + m**2) + s2 * squares / 2) / (s2 * (n / 2 + 1) + m**2)
        change = max(np.abs(gamma - before[0]).max(), np.abs(delta / before[1] - 1).max())
        if change < _CONVERGED:
            return gamma, delta
    raise FloatingPointError(
        f"The shifts of centre {centre!r} did not converge in {_MOST_ITERATIONS} iterations."
    )
