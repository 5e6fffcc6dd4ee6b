"""Suite `fusion`: single modalities against their fusion, for distant metastasis.

The rows are those of Tang et al. 2025 (arXiv 2508.20469), and a logistic regression on clinical
variables that a network has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["ROWS", "build_row", "classification_table", "labels_at_horizon"]

#: Row of the table to the branches of the network; None is the clinical logistic regression.
ROWS: Mapping[str, tuple[str, ...] | None] = {
    "clinical-logistic": None,
    "clinical": ("clinical",),
    "radiomics": ("radiomics",),
    "tumour": ("tumour",),
    "peritumoral": ("peritumoral",),
    "tumour-peritumoral": ("tumour", "peritumoral"),
    "fusion": ("tumour", "peritumoral", "radiomics", "clinical"),
}


def build_row(name: str, settings: Mapping[str, Any]) -> Any:
    """Return the unfitted classifier of a row.

    Parameters
    ----------
    name : str
        Key of `ROWS`.
    settings : mapping
        Parameters of `FusionClassifier` other than its branches.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from survimg.estimators import FusionClassifier
    from survimg.features import ClinicalFeatures

    branches = ROWS[name]
    if branches is None:
        return make_pipeline(
            ClinicalFeatures(), StandardScaler(), LogisticRegression(max_iter=1000)
        )
    return FusionClassifier(branches=branches, **settings)


def labels_at_horizon(
    outcome: np.ndarray, horizon: float | None, competing: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn an outcome into labels, and say which patients have one.

    Parameters
    ----------
    outcome : structured array of shape (n,)
    horizon : float or None
        Positive: event by this time. Negative: event-free up to it. Patients censored before it
        have no label. None: status at the end of follow-up, whatever its length, known for all.
    competing : ndarray of shape (n,), bool, optional
        Patients who are censored because they failed otherwise first: negative at every horizon.

    Returns
    -------
    labels, labelled : ndarray of shape (n,), bool
    """
    from survimg.target import check_outcome

    event, time = check_outcome(outcome)
    if horizon is None:
        return event, np.ones(len(event), dtype=bool)
    positive = event & (time <= horizon)
    labelled = positive | (time >= horizon)
    return positive, labelled if competing is None else labelled | (competing & ~event)


def classification_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """AUC, accuracy, sensitivity and specificity of out-of-fold predictions.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``row``, ``seed``, ``fold``, ``label`` (0/1), ``probability`` and ``threshold``
        (learned on the training patients of the fold; NaN where they give none, for instance
        because the model predicts one probability for all of them).

    Returns
    -------
    DataFrame with one line per row
        Each metric is the mean over seeds of its value on the pooled out-of-fold predictions. The
        AUC's limits use the mean of DeLong's standard errors over seeds (an upper bound of the
        error of the mean); those of the proportions are Wilson's, on the number of patients, not
        of predictions. ``auc_folds`` and ``auc_folds_sd`` describe the AUCs within folds. NaN
        where a quantity is undefined: limits of an AUC without variation (perfect, or of a
        constant), and the proportions of a row that lacks a threshold.
    """
    rows = [
        {"row": name, **_metrics(part)} for name, part in predictions.groupby("row", sort=False)
    ]
    return pd.DataFrame(rows)


def _metrics(part: pd.DataFrame) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    from survimg.evaluation import status_auc
    from survimg.target import make_outcome

    def auc(frame: pd.DataFrame) -> tuple[float, float]:
        labels = frame["label"].to_numpy(bool)
        try:
            auc = status_auc(make_outcome(labels, np.ones(len(labels))), frame["probability"])
        except ValueError:  # no variation: the AUC is known, its error is not
            return float(roc_auc_score(labels, frame["probability"])), np.nan
        return auc.value, auc.standard_error

    value, error = np.mean([auc(frame) for _, frame in part.groupby("seed")], axis=0).tolist()
    low, high = np.clip([value - 1.959964 * error, value + 1.959964 * error], 0, 1)
    folds = [
        roc_auc_score(f["label"], f["probability"])
        for _, f in part.groupby(["seed", "fold"])
        if f["label"].nunique() == 2
    ]
    metrics = {
        "auc": value,
        "auc_lower": float(low),
        "auc_upper": float(high),
        "auc_folds": float(np.mean(folds)),
        "auc_folds_sd": float(np.std(folds, ddof=1)) if len(folds) > 1 else np.nan,
    }
    label = part["label"].to_numpy(bool)
    correct = (part["probability"] >= part["threshold"]).to_numpy() == label
    n_seeds = part["seed"].nunique()
    for metric, denominator in {"acc": label | ~label, "sen": label, "spe": ~label}.items():
        share, n = float(correct[denominator].mean()), denominator.sum() / n_seeds
        if part["threshold"].isna().any():
            share = np.nan
        lower, upper = _wilson(share, n)
        metrics |= {metric: share, f"{metric}_lower": lower, f"{metric}_upper": upper}
    return metrics | {"patients": len(label) / n_seeds, "positives": label.sum() / n_seeds}


def _wilson(share: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Interval of Wilson, J Am Stat Assoc 22:209-212, 1927."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(centre - half), float(centre + half)
