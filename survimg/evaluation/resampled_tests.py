"""Comparison of models by resampled scores, whose folds overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import Comparison
from survimg.survival.distributions import student_p_value, student_quantile

__all__ = ["corrected_resampled_t_test"]


def corrected_resampled_t_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    n_train: float,
    n_test: float,
    level: float = 0.95,
) -> Comparison:
    r"""Nadeau and Bengio's corrected t test of two models' scores on the same splits.

    Training sets of (repeated) cross-validation overlap, so the scores are correlated and a plain
    paired t test rejects far too often. With J differences d of variance :math:`s^2`,

    .. math:: t = \bar d \Big/ \sqrt{\Big(\frac1J + \frac{n_{test}}{n_{train}}\Big) s^2}

    is referred to Student's t with J - 1 degrees of freedom.

    Parameters
    ----------
    first, second : array-like of shape (J,)
        Scores of the two models on each split, in the same order.
    n_train, n_test : float
        Patients in the training and test part of a split (means if they vary).
    level : float, default=0.95

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than two splits, scores that are not finite, or no variation between splits.

    References
    ----------
    .. [1] Nadeau C, Bengio Y. Mach Learn 2003;52:239-281.
    .. [2] Bouckaert RR, Frank E. PAKDD 2004, LNCS 3056:3-12 (repeated cross-validation).
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ValueError(
            f"first and second need one score per split, at least two; got {a.shape}, {b.shape}."
        )
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        raise ValueError("Some scores are not finite; say on which splits a model has failed.")
    if not (n_train > 0 and n_test > 0 and 0 < level < 1):
        raise ValueError("n_train and n_test must be positive and level between 0 and 1.")
    differences = a - b
    spread = float(differences.std(ddof=1))
    if spread <= 1e-15:
        raise ValueError(
            "The scores differ by the same amount on every split; a test needs variation."
        )
    mean = float(differences.mean())
    error = spread * float(np.sqrt(1 / a.size + n_test / n_train))
    margin = student_quantile(a.size - 1, level) * error
    p_value = student_p_value(a.size - 1, mean / error)
    return Comparison(
        float(a.mean()),
        float(b.mean()),
        mean,
        mean - margin,
        mean + margin,
        error,
        p_value,
        level,
        "corrected resampled t test",
    )
