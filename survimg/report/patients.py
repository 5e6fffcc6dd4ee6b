"""Single patients of a run: predicted risk by model, outcome, and the worst ranked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from survimg.benchmark.run_folder import Run
from survimg.benchmark.within_fold import patient_pairs
from survimg.report.pictures import contoured

__all__ = ["PatientRow", "patient_rows", "risk_ranks", "thumbnail"]


@dataclass(frozen=True)
class PatientRow:
    """One patient.

    Attributes
    ----------
    position : int
        In the run.
    name : str
        Identifier, or the number that hides it.
    event : bool
    time : float
    ranks : mapping of str to float
        Model to the share of the test patients of the same fold with a lower risk, from 0 to 1;
        the mean over seeds and repeats.
    wrong : float or None
        Share of the patient's comparable pairs that the models order wrongly, their mean; None
        without a comparable pair.
    n_pairs : int
        Comparable pairs within test folds, of all seeds.
    """

    position: int
    name: str
    event: bool
    time: float
    ranks: Mapping[str, float]
    wrong: float | None
    n_pairs: int


def patient_rows(run: Run, models: Sequence[str]) -> list[PatientRow]:
    """Rows of all test patients, those first that the models rank worst.

    Parameters
    ----------
    run : Run
    models : sequence of str
        Models that predict a risk.

    Returns
    -------
    list of PatientRow
        By the share of wrong pairs, in steps of 1 %, then by the number of pairs: a patient who is
        in many pairs comes before one who is in few.
    """
    event, time = run.outcome["event"], run.outcome["time"]
    shares, ranks = [], {}
    pairs = np.zeros(event.size)
    for model in models:
        units = _units(run, model)
        if not units:
            continue
        score, pairs = patient_pairs(event, time, units)
        with np.errstate(invalid="ignore"):
            shares.append(1 - score / pairs)
        ranks[model] = risk_ranks(event.size, units)
    if not ranks:
        return []
    wrong = np.mean(shares, axis=0)
    tested = np.isfinite(np.array(list(ranks.values()))).any(axis=0)
    rows = [
        PatientRow(
            int(i),
            str(run.ids[i]),
            bool(event[i]),
            float(time[i]),
            {model: float(of[i]) for model, of in ranks.items()},
            float(wrong[i]) if np.isfinite(wrong[i]) else None,
            int(pairs[i]),
        )
        for i in np.flatnonzero(tested)
    ]
    return sorted(rows, key=lambda r: (r.wrong is None, -round(r.wrong or 0.0, 2), -r.n_pairs))


def risk_ranks(n: int, units: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Share of the patients of the same test fold with a lower risk; equal risks count half.

    Parameters
    ----------
    n : int
        Patients of the run.
    units : sequence of (test, risk)
        Positions and risks, one per fold and seed.

    Returns
    -------
    ndarray of shape (n,)
        Mean over the units that a patient is in; NaN for one who is in none, or alone.
    """
    total, count = np.zeros(n), np.zeros(n)
    for test, risk in units:
        if test.size < 2:
            continue
        lower = (risk[:, np.newaxis] > risk).sum(axis=1)
        equal = (risk[:, np.newaxis] == risk).sum(axis=1) - 1
        total[test] += (lower + equal / 2) / (test.size - 1)
        count[test] += 1
    with np.errstate(invalid="ignore"):
        return total / count


def thumbnail(run: Run, models: Sequence[str], position: int) -> tuple[str, Markup] | None:
    """Draw one patient small, with the true and the predicted contour, from the first record.

    Parameters
    ----------
    run : Run
    models : sequence of str
        In order of preference.
    position : int
        Patient.

    Returns
    -------
    (model, source) or None
        Model that predicted the mask, and the source of an HTML image; None if no record of the
        run has a picture of this patient.
    """
    for model in models:
        for record in run.successful_records(model).values():
            ids = record.arrays.get("dice_ids", np.zeros(0, dtype=str)).tolist()
            name = str(run.ids[position])
            if name in ids and f"thumbnail{ids.index(name)}" in record.arrays:
                *channels, truth, predicted = record.arrays[f"thumbnail{ids.index(name)}"]
                return model, contoured(channels, truth > 0, predicted > 0, width=128)
    return None


def _units(run: Run, model: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (run.folds[fold][1], record.arrays["test_risk"])
        for (fold, _), record in run.successful_records(model).items()
        if record.has_risk
    ]
