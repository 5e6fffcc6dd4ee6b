"""Ensemble of models trained on folds of the training set."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from survimg.cohort import Cohort
from survimg.estimators.base import VolumeHazardsMixin, joined, mean_and_scale
from survimg.estimators.compose.averaged_masks import AveragedMasks
from survimg.model_selection.inner_cv import InnerFit, make_inner_splitter, run_inner_fits
from survimg.survival import risk_of
from survimg.survival.slope import calibration_slope
from survimg.target import as_outcome, check_outcome

__all__ = ["FoldEnsemble"]


class FoldEnsemble(AveragedMasks, VolumeHazardsMixin, MetaEstimatorMixin, BaseEstimator):
    """Average the risks, and the tumour maps, of models trained on the folds of a cross-validation.

    Each member is trained without one fold of the training set. Risks of Cox models are defined up
    to a constant, and networks differ in scale, so each member's risk is converted to a z-score
    before averaging, as the DeepMTS paper does for its test set.

    Parameters
    ----------
    estimator : estimator
        Survival estimator; it is cloned for each fold. With an integer ``random_state`` all
        members start from the same weights and differ by their patients only; with None each
        starts from other weights, and the ensemble is not reproducible.
    cv : int or splitter, default=5
        Event-stratified folds.
    reference : {"training", "cohort"}, default="training"
        Patients whose mean and standard deviation define the z-scores. ``"training"``: the
        member's training patients. ``"cohort"``: the patients that are being
        predicted, as in the DeepMTS paper. This is transductive: a patient's risk then depends on
        the other patients, and a single patient cannot be predicted.
    random_state : int, RandomState or None, default=None
        Seed for shuffling the patients before they are divided into folds; None keeps the given
        order.
    n_jobs : int, optional
        Members trained in parallel; None means 1 unless in a `joblib.parallel_config` context.
        Results do not depend on it if those of the estimator are reproducible (see `OutOfFold`).

    Attributes
    ----------
    members_ : list of estimators
    means_, scales_ : ndarray of shape (n_members,)
        Mean and standard deviation of each member's risk over its training patients.
    slope_ : float
        Log-hazard ratio per unit of the averaged z-score, estimated on held-out risks.
    baseline_ : BreslowBaseline

    Notes
    -----
    *Curves.* A z-score is not a log-hazard ratio. Its Cox coefficient, at least 0, is estimated
    from the risks of patients that the member has not seen: an ensemble that ranks held-out
    patients no better than chance predicts the same curve for all patients.

    References
    ----------
    Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS. IEEE J Biomed Health Inform
    26(9):4497-4507, 2022, section III-D.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ClinicalVolumeCox, FoldEnsemble
    >>> X = make_phantom_cohort(n=40, shape=(16, 16, 16), random_state=0).cohort
    >>> FoldEnsemble(ClinicalVolumeCox(), cv=3).fit(X, X.outcome).predict(X).shape
    (40,)
    """

    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": "no_validation",  # checked where the splitter is made
        "reference": [StrOptions({"training", "cohort"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        cv: int | Any = 5,
        reference: Literal["training", "cohort"] = "training",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.reference = reference
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: np.ndarray,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> FoldEnsemble:
        """Train one member for each fold, without the patients of that fold.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in the members' `fit`.
        y : structured array of shape (n,)
            (event, time).
        masks : array-like of shape (n, z, y, x), optional
        clinical : DataFrame or array-like of shape (n, k), optional
            Both for plain arrays of volumes only; a cohort contains its own.

        Raises
        ------
        ValueError
            Invalid parameters or outcome, fewer events than folds, or a member that gives all its
            training patients the same risk, which has no z-score.
        """
        self._validate_params()
        X = joined(X, masks, clinical)
        y = as_outcome(y, X)
        event, time = check_outcome(y, n_patients=_num_samples(X), require_event=True)
        splits = list(make_inner_splitter(self.cv, self.random_state).split(X, y))
        folds = [
            InnerFit(
                f"fold {k} of {len(splits)} of FoldEnsemble",
                clone(self.estimator),
                _member,
                train,
                np.setdiff1d(np.arange(len(y)), train),
            )
            for k, (train, _) in enumerate(splits, start=1)
        ]
        results = run_inner_fits(folds, X, y, self.n_jobs)
        self.members_ = [member for member, _, _ in results]
        risks = np.empty((len(folds), len(y)))
        for risk, fold, (_, in_sample, out_of_sample) in zip(risks, folds, results, strict=True):
            risk[fold.train], risk[fold.test] = in_sample, out_of_sample
        units = [
            _mean_and_scale(risk[train], f"the training patients of fold {k}")
            for k, (risk, (train, _)) in enumerate(zip(risks, splits, strict=True), start=1)
        ]
        self.means_ = np.array([mean for mean, _ in units])
        self.scales_ = np.array([scale for _, scale in units])
        tests = [test for _, test in splits]
        held_out = [
            (risk[test] - mean) / scale
            for risk, test, (mean, scale) in zip(risks, tests, units, strict=True)
        ]
        tested = np.concatenate(tests)
        slope = calibration_slope(np.concatenate(held_out), event[tested], time[tested])
        self._fit_baseline(self._average(risks), event, time, slope)
        return self

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the mean of the members' z-scored risks; **higher = earlier event**.

        Parameters
        ----------
        X, masks, clinical
            As in `fit`; masks only if the members use them.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        ValueError
            ``reference="cohort"`` and fewer than two patients, or all of equal risk.
        """
        check_is_fitted(self, "members_")
        X = joined(X, masks, clinical)
        return self._average([risk_of(member, X) for member in self.members_])

    def _average(self, risks: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Return the mean z-score of the members' risks of some patients."""
        scores = []
        for risk, mean, scale in zip(risks, self.means_, self.scales_, strict=True):
            risk = np.asarray(risk, dtype=np.float64)  # noqa: PLW2901
            if self.reference == "cohort":
                mean, scale = _mean_and_scale(risk, "the patients to predict")  # noqa: PLW2901
            scores.append((risk - mean) / scale)
        averaged: np.ndarray = np.mean(scores, axis=0)
        return averaged


def _member(fitted: Any, X: Any, others: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a member and its risks of the training patients and of the others."""
    return fitted, risk_of(fitted, X), risk_of(fitted, others)


def _mean_and_scale(risk: np.ndarray, whose: str) -> tuple[float, float]:
    mean, scale = mean_and_scale(risk)
    if not scale:
        raise ValueError(
            f"The risks of {whose} (n = {len(risk)}) are all equal, so z-scores are undefined."
        )
    return mean, scale
