"""Tables and figures of the MTDLR paper from the scores of several cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from survimg.evaluation import (
    calibration_groups,
    compare_cohorts,
    compare_concordance,
    compare_status_auc,
    concordance_index,
    cox_table,
    greenwood_nam_dagostino_test,
    hazard_ratio,
    learn_cutoff,
    logrank_test,
    multivariate_cox_table,
    status_auc,
    status_roc_curve,
    univariate_cox_table,
)
from survimg.files import write_atomically, writing

__all__ = [
    "SCORES",
    "ScoredCohort",
    "calibration_table",
    "performance_table",
    "risk_group_table",
    "write_analysis",
]

#: The scores of Table 4, in its order; the paper's clinical variable is the TNM stage.
SCORES = (
    "Clinical",
    "ManualRadio",
    "ManualRadio + clinical",
    "SingleTask",
    "SingleTask + clinical",
    "DeepMTS",
    "AutoRadio",
    "MTDLR",
)
_FINAL, _CLINICAL = "MTDLR", "Clinical"
_CHOSEN_HERE = "cut-off chosen on these patients: p is too small"
#: The four models of Fig. 4.
_MODELS = (_CLINICAL, "ManualRadio + clinical", "SingleTask + clinical", _FINAL)


@dataclass(frozen=True)
class ScoredCohort:
    """Scores of the patients of one cohort.

    Attributes
    ----------
    name : str
        Such as "training".
    outcome : structured array of shape (n,)
    scores : DataFrame of shape (n, 8)
        Columns `SCORES`, higher = earlier event.
    clinical : DataFrame of n rows
    survival : mapping of horizon to ndarray of shape (n,)
        Survival as the final model predicts it.
    """

    name: str
    outcome: np.ndarray
    scores: pd.DataFrame
    clinical: pd.DataFrame
    survival: Mapping[float, np.ndarray]


def performance_table(cohort: ScoredCohort) -> pd.DataFrame:
    """Table 4: C-index and AUC of each score, and its comparisons with chance, stage and MTDLR.

    Parameters
    ----------
    cohort : ScoredCohort

    Returns
    -------
    DataFrame indexed by score
        ``c_index``, ``c_lower``, ``c_upper`` (infinitesimal jackknife), ``c_p`` (paired, against
        MTDLR) and ``c_p_clinical`` (paired, against the clinical score, the paper's TNM), the same
        for the ``auc`` of the status at the end of follow-up (DeLong), with ``auc_p_chance``
        (against 0.5), and ``undefined``: what could not be computed, and why. P values are not
        corrected for their number.
    """
    y = cohort.outcome
    others = {"": _FINAL, "_clinical": _CLINICAL}
    rows = []
    for name in cohort.scores.columns:
        risk = cohort.scores[name].to_numpy()
        reasons: list[str] = []
        c = _or_reason(reasons, partial(concordance_index, confidence_interval="analytic"), y, risk)
        curve = _or_reason(reasons, status_roc_curve, y, risk)
        auc = _or_reason(reasons, status_auc, y, risk)
        row: dict[str, Any] = {"score": name, "c_index": concordance_index(y, risk)}
        row.update(c_lower=_of(c, "lower"), c_upper=_of(c, "upper"))
        row.update(auc=_of(curve, "auc"), auc_lower=_of(auc, "lower"), auc_upper=_of(auc, "upper"))
        row["auc_p_chance"] = _of(auc, "p_value")
        for ending, other in others.items():
            row.update({f"c_p{ending}": np.nan, f"auc_p{ending}": np.nan})
            if name != other:
                pair = y, cohort.scores[other].to_numpy(), risk
                by_c = _or_reason(reasons, compare_concordance, *pair)
                by_auc = _or_reason(reasons, compare_status_auc, *pair)
                row[f"c_p{ending}"] = _of(by_c, "p_value")
                row[f"auc_p{ending}"] = _of(by_auc, "p_value")
        rows.append({**row, "undefined": " ".join(dict.fromkeys(reasons))})
    return pd.DataFrame(rows).set_index("score")


def calibration_table(cohort: ScoredCohort, n_groups: int = 5) -> pd.DataFrame:
    """Calibration of MTDLR at each horizon, by the Greenwood-Nam-D'Agostino test.

    The paper reports Hosmer and Lemeshow's test, which needs a status at the horizon for every
    patient; this is its form for censored data.

    Parameters
    ----------
    cohort : ScoredCohort
    n_groups : int, default=5

    Returns
    -------
    DataFrame indexed by ``horizon``
        ``statistic``, ``degrees_of_freedom``, ``p``, ``groups`` and ``undefined``.
    """
    rows = []
    for horizon, survival in cohort.survival.items():
        reasons: list[str] = []
        arguments = (cohort.outcome, survival, horizon, n_groups)
        test = _or_reason(reasons, greenwood_nam_dagostino_test, *arguments)
        rows.append(
            {
                "horizon": horizon,
                "statistic": _of(test, "statistic"),
                "degrees_of_freedom": _of(test, "degrees_of_freedom"),
                "p": _of(test, "p_value"),
                "groups": np.nan if test is None else len(test.observed),
                "undefined": " ".join(reasons),
            }
        )
    columns = ["horizon", "statistic", "degrees_of_freedom", "p", "groups", "undefined"]
    return pd.DataFrame(rows, columns=columns).set_index("horizon")


def risk_group_table(
    cohorts: Sequence[ScoredCohort],
    cutoffs: Mapping[str, Any],
    without: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """High against low risk in every cohort, at cut-offs that are applied unchanged.

    Parameters
    ----------
    cohorts : sequence of ScoredCohort
        The training cohort first.
    cutoffs : mapping of score to Cutoff
        Learned on the training cohort.
    without : mapping of score to str, optional
        Scores that have no cut-off, and why.

    Returns
    -------
    DataFrame indexed by ``score`` and ``cohort``
        ``threshold``, ``n_high``, ``n_low``, ``hr``, ``lower``, ``upper``, ``p_logrank``,
        ``caveat``, ``undefined``.

    Notes
    -----
    In the training cohort the cut-off was chosen on the same patients: hazard ratio and p
    are too favourable there, as ``caveat`` says, and only those of the other cohorts are evidence.
    """
    rows = []
    for name, cutoff in cutoffs.items():
        for cohort in cohorts:
            high = cutoff.high_risk(cohort.scores[name])
            reasons: list[str] = []
            ratio = _or_reason(reasons, hazard_ratio, cohort.outcome, high)
            test = _or_reason(reasons, logrank_test, cohort.outcome, high)
            rows.append(
                {
                    "score": name,
                    "cohort": cohort.name,
                    "threshold": cutoff.threshold,
                    "n_high": int(high.sum()),
                    "n_low": int((~high).sum()),
                    "hr": _of(ratio, "value"),
                    "lower": _of(ratio, "lower"),
                    "upper": _of(ratio, "upper"),
                    "p_logrank": _of(test, "p_value"),
                    "caveat": _CHOSEN_HERE if cohort is cohorts[0] else "",
                    "undefined": " ".join(dict.fromkeys(reasons)),
                }
            )
    for name, reason in (without or {}).items():
        rows += [{"score": name, "cohort": c.name, "undefined": reason} for c in cohorts]
    columns = ["score", "cohort", "threshold", "n_high", "n_low", "hr", "lower", "upper"]
    columns += ["p_logrank", "caveat", "undefined"]
    return pd.DataFrame(rows, columns=columns).set_index(["score", "cohort"])


def write_analysis(
    cohorts: Sequence[ScoredCohort],
    folder: str | PathLike[str],
    *,
    time_unit: str = "",
    variables: Sequence[str] = (),
    measured: Sequence[str] = (),
    significance: float = 0.05,
    random_state: int = 0,
) -> Path:
    """Write tables 1 to 4, calibration, risk groups, and their figures.

    Parameters
    ----------
    cohorts : sequence of ScoredCohort
        The training cohort first. Cut-offs come from it (Youden's, on the status at the end of
        follow-up) and are applied unchanged to the others; Cox models of tables 2 and 3 are
        refitted in each cohort, as in the paper.
    folder : path-like
    time_unit : str, optional
    variables : sequence of str, optional
        Clinical columns of tables 1 to 3; without any column there is no table 1.
    measured : sequence of str, optional
        Further columns of tables 1 and 2, such as PET parameters; table 3 does not contain them.
    significance : float, default=0.05
        Univariate likelihood-ratio p value below which a variable enters the multivariate model.
    random_state : int, default=0
        Of the Monte Carlo test in table 1.

    Returns
    -------
    Path
        The folder, with ``table1.csv``, ``cox_<cohort>.csv``, ``table3_<cohort>.csv`` (the final
        covariates: clinical variables, AutoRadio and DeepMTS), ``performance.csv``,
        ``calibration.csv``, ``risk_groups.csv``, ``scores_<cohort>.csv`` and PNG figures.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names, described = list(variables), [*variables, *measured]
    if described and len(cohorts) > 1:
        frames = {cohort.name: cohort.clinical[described] for cohort in cohorts}
        _write(compare_cohorts(frames, random_state=random_state), folder / "table1.csv")
    for cohort in cohorts:
        _write(_cox(cohort, described, significance), folder / f"cox_{cohort.name}.csv")
        _write(_final_cox(cohort, names), folder / f"table3_{cohort.name}.csv")
        outcome = {"event": cohort.outcome["event"], "time": cohort.outcome["time"]}
        _write(cohort.scores.assign(**outcome), folder / f"scores_{cohort.name}.csv", index=False)
    tables: dict[str, Callable[[ScoredCohort], pd.DataFrame]] = {
        "performance": performance_table,
        "calibration": calibration_table,
    }
    for name, table in tables.items():
        all_cohorts = pd.concat({c.name: table(c) for c in cohorts}, names=["cohort"])
        _write(all_cohorts, folder / f"{name}.csv")
    training = cohorts[0]
    cutoffs: dict[str, Any] = {}
    without: dict[str, str] = {}
    for score in map(str, training.scores):
        reasons: list[str] = []
        values = training.scores[score]
        cutoff = _or_reason(reasons, learn_cutoff, training.outcome, values, "youden")
        if cutoff is None:
            without[score] = f"no cut-off: {reasons[0]}"
        else:
            cutoffs[score] = cutoff
    _write(risk_group_table(cohorts, cutoffs, without), folder / "risk_groups.csv")
    for cohort in cohorts:
        _draw(cohort, cutoffs, folder, time_unit, _CHOSEN_HERE if cohort is training else "")
    return folder


def _cox(cohort: ScoredCohort, variables: list[str], significance: float) -> pd.DataFrame:
    """Tables 2 and 3: clinical variables and single scores, alone and together."""
    singles = ["ManualRadio", "SingleTask", "DeepMTS", "AutoRadio"]
    table = pd.concat([cohort.clinical[variables], cohort.scores[singles]], axis=1)
    varying, constant = _varying(table)
    reasons: list[str] = []
    joint = partial(cox_table, multivariate=significance)
    both = _or_reason(reasons, joint, cohort.outcome, varying)
    if both is None:
        # No variable qualifies for the multivariate model, or a small cohort separates in it.
        alone = _or_reason(reasons, univariate_cox_table, cohort.outcome, varying)
        if alone is None:
            return pd.DataFrame({"undefined": [reasons[0], *constant["undefined"]]})
        reason = pd.DataFrame({"undefined": reasons[0]}, index=alone.index)
        both = pd.concat({"univariate": alone, "multivariate": reason}, axis=1)
    if len(constant):
        both = pd.concat([both, pd.concat({"univariate": constant}, axis=1)])
    return both[["univariate", "multivariate"]]


def _final_cox(cohort: ScoredCohort, variables: list[str]) -> pd.DataFrame:
    """Table 3 as printed: one Cox model of the covariates of MTDLR, refitted in the cohort."""
    table = pd.concat([cohort.clinical[variables], cohort.scores[["AutoRadio", "DeepMTS"]]], axis=1)
    varying, constant = _varying(table)
    reasons: list[str] = []
    model = _or_reason(reasons, multivariate_cox_table, cohort.outcome, varying)
    if model is None:
        return pd.DataFrame({"undefined": [*reasons, *constant["undefined"]]})
    return pd.concat([model, constant]) if len(constant) else model


def _varying(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the columns that differ between patients, and a row with a reason for the others."""
    reasons = {}
    for name in table.columns:
        values = table[name].dropna().unique()
        if len(values) < 2:
            reasons[str(name), ""] = f"{name} has no hazard ratio here: " + (
                f"all patients have the value {_short(values[0])}." if len(values) else
                "no patient has a value."
            )
    index = pd.MultiIndex.from_tuples(list(reasons), names=["variable", "category"])
    rows = pd.DataFrame({"undefined": list(reasons.values())}, index=index)
    constant = {name for name, _ in reasons}
    return table[[name for name in table.columns if str(name) not in constant]], rows


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _draw(
    cohort: ScoredCohort, cutoffs: Mapping[str, Any], folder: Path, time_unit: str, caveat: str
) -> None:
    from matplotlib.figure import Figure

    from survimg.evaluation import plots

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    if 0 < cohort.outcome["event"].mean() < 1:
        scores = {str(name): risk for name, risk in cohort.scores.items()}
        curves = {name: status_roc_curve(cohort.outcome, risk) for name, risk in scores.items()}
        plots.plot_roc_curves(curves, figure.subplots()).set_title(cohort.name)
        _draw_to(figure, folder / f"roc_{cohort.name}.png")
    for score in _MODELS:
        _draw_groups(cohort, score, cutoffs.get(score), folder, time_unit, caveat)
    for horizon, survival in cohort.survival.items():
        try:
            groups_at = calibration_groups(cohort.outcome, survival, horizon, 5)
        except ValueError:  # calibration.csv says why
            continue
        figure = Figure(figsize=(5, 5), layout="constrained")
        plots.plot_calibration(groups_at, figure.subplots()).set_title(cohort.name)
        _draw_to(figure, folder / f"calibration_{cohort.name}_{horizon:g}.png")


def _draw_groups(
    cohort: ScoredCohort, score: str, cutoff: Any, folder: Path, time_unit: str, caveat: str
) -> None:
    from matplotlib.figure import Figure

    from survimg.evaluation import plots

    high = None if cutoff is None else cutoff.high_risk(cohort.scores[score])
    if high is None or high.all() or not high.any():  # risk_groups.csv says so
        return
    figure = Figure(figsize=(6, 5), layout="constrained")
    label = f"Time ({time_unit})" if time_unit else "Time"
    groups: dict[object, str] = {True: "high risk", False: "low risk"}
    ax = figure.subplots()
    plots.plot_kaplan_meier(cohort.outcome, high, ax, time_label=label, labels=groups)
    ax.set_title("\n".join(filter(None, (f"{score}, {cohort.name}", caveat))))
    ending = "" if score == _FINAL else f"_{score.replace(' + ', '_and_')}"
    _draw_to(figure, folder / f"kaplan_meier_{cohort.name}{ending}.png")


def _write(table: pd.DataFrame, path: Path, *, index: bool = True) -> None:
    write_atomically(path, table.to_csv(index=index).encode())


def _draw_to(figure: Any, path: Path) -> None:
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _or_reason(reasons: list[str], compute: Callable[..., Any], *arguments: Any) -> Any:
    """Compute a statistic; where it is undefined return None and keep the reason."""
    try:
        return compute(*arguments)
    except ValueError as reason:
        reasons.append(str(reason))
        return None


def _of(result: Any, attribute: str) -> float:
    return np.nan if result is None else float(getattr(result, attribute))
