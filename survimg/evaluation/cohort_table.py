"""Comparison of cohorts (training, internal and external validation): "table 1" of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from survimg.columns import as_frame, bring_levels, bring_numbers, learn_together

__all__ = ["compare_cohorts"]


def compare_cohorts(
    cohorts: Mapping[str, pd.DataFrame],
    *,
    reference: str | None = None,
    n_resamples: int = 9999,
    random_state: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Describe the variables of several cohorts and test each cohort against a reference.

    Numbers: median with quartiles, two-sided Mann-Whitney test (asymptotic, tie-corrected, with
    continuity correction). Categories: counts with percentages; Pearson's chi-square test without
    continuity correction, or Fisher's exact test when an expected count is below 5 (for more than
    two levels its Freeman-Halton extension by Monte Carlo). Missing values are left out of the
    tests and counted in a row of their own.

    Parameters
    ----------
    cohorts : mapping of name to DataFrame
        Clinical variables; all frames share their columns. A variable has one kind, numbers or
        categories, in all of them (`survimg.columns`).
    reference : str, optional
        Cohort that the others are tested against; the first by default.
    n_resamples : int, default=9999
        Tables drawn by the Monte Carlo test.
    random_state : int, Generator or None, default=0

    Returns
    -------
    DataFrame
        Indexed by ``variable`` and ``category``; one column of text per cohort, then for each
        other cohort ``p: <name>`` and ``test: <name>``.

    Raises
    ------
    ValueError
        Fewer than two cohorts, different columns, an empty cohort or a variable missing throughout
        one; the message names it.

    References
    ----------
    .. [1] Mann HB, Whitney DR. Ann Math Stat 1947;18:50-60.
    .. [2] Freeman GH, Halton JH. Biometrika 1951;38:141-149.
    """
    names = list(cohorts)
    if len(names) < 2:
        raise ValueError(f"Comparison needs at least two cohorts; got {names}.")
    base = names[0] if reference is None else reference
    if base not in cohorts:
        raise ValueError(f"reference must be one of {names}; got {base!r}.")
    cohorts = {name: as_frame(frame) for name, frame in cohorts.items()}
    columns = list(cohorts[base].columns)
    for name, frame in cohorts.items():
        if set(frame.columns) != set(columns):
            raise ValueError(
                f"Cohort {name!r} has other variables than {base!r}: "
                f"{sorted(map(str, set(frame.columns) ^ set(columns)))}."
            )
        empty = [c for c in columns if frame[c].notna().sum() == 0]
        if empty:
            raise ValueError(f"Cohort {name!r} has no value of {empty}.")
    rng = np.random.default_rng(random_state)
    parts = []
    for column in columns:
        learned = learn_together([frame[column] for frame in cohorts.values()])
        numeric = learned.kind == "numeric"
        bring = bring_numbers if numeric else bring_levels
        series = {
            name: bring(frame[column], learned, list(map(str, frame.index)))
            for name, frame in cohorts.items()
        }
        rows = _numeric_rows(series) if numeric else _category_rows(series, learned.levels)
        for name in (n for n in names if n != base):
            if numeric:
                p, test = _mann_whitney(series[base], series[name])
            else:
                p, test = _category_test(
                    series[base], series[name], learned.levels, n_resamples, rng
                )
            rows.loc[rows.index[0], f"p: {name}"] = p
            rows.loc[rows.index[0], f"test: {name}"] = test
        parts.append(pd.concat({str(column): rows}, names=["variable", "category"]))
    return pd.concat(parts)


def _numeric_rows(series: Mapping[str, pd.Series]) -> pd.DataFrame:
    cells, n_missing = {}, {}
    for name, values in series.items():
        low, middle, high = values.quantile([0.25, 0.5, 0.75])
        cells[name] = f"{middle:.4g} ({low:.4g} to {high:.4g})"
        n_missing[name] = str(int(values.isna().sum()))
    return _with_missing([cells], ["median (quartiles)"], n_missing)


def _category_rows(series: Mapping[str, pd.Series], levels: Sequence[str]) -> pd.DataFrame:
    rows = []
    for category in levels:
        row = {}
        for name, values in series.items():
            n = int((values == category).sum())
            row[name] = f"{n} ({100 * n / values.notna().sum():.1f} %)"
        rows.append(row)
    n_missing = {name: str(int(values.isna().sum())) for name, values in series.items()}
    return _with_missing(rows, list(levels), n_missing)


def _with_missing(
    rows: list[dict[str, str]], labels: list[str], n_missing: dict[str, str]
) -> pd.DataFrame:
    if any(count != "0" for count in n_missing.values()):
        rows, labels = [*rows, n_missing], [*labels, "missing"]
    return pd.DataFrame(rows, index=labels)


def _mann_whitney(first: pd.Series, second: pd.Series) -> tuple[float, str]:
    from scipy import stats  # loads for a second

    a, b = first.dropna().to_numpy(dtype=float), second.dropna().to_numpy(dtype=float)
    if np.ptp(np.concatenate([a, b])) == 0:
        raise ValueError(f"{first.name!r} is constant over both cohorts; leave it out.")
    result = stats.mannwhitneyu(a, b, alternative="two-sided", method="asymptotic")
    return float(result.pvalue), "Mann-Whitney"


def _category_test(
    first: pd.Series,
    second: pd.Series,
    levels: Sequence[str],
    n_resamples: int,
    rng: np.random.Generator,
) -> tuple[float, str]:
    from scipy import stats

    present = [level for level in levels if (first == level).any() or (second == level).any()]
    if len(present) < 2:
        raise ValueError(f"{first.name!r} has one level over both cohorts; leave it out.")
    table = np.array([[int((s == c).sum()) for s in (first, second)] for c in present])
    chi2 = stats.chi2_contingency(table, correction=False)
    if chi2.expected_freq.min() >= 5:
        return float(chi2.pvalue), "chi-square"
    if table.shape == (2, 2):
        return float(stats.fisher_exact(table).pvalue), "Fisher"
    tables = stats.random_table(table.sum(axis=1), table.sum(axis=0))
    observed = tables.logpmf(table)
    log_probabilities = tables.logpmf(tables.rvs(n_resamples, random_state=rng))
    # Equally probable tables count; the tolerance absorbs the rounding of log factorials.
    extreme = int(np.count_nonzero(log_probabilities <= observed + 1e-7))
    return (extreme + 1) / (n_resamples + 1), "Fisher (Monte Carlo)"
