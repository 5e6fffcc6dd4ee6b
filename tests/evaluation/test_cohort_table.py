from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import survimg.evaluation as ev


@pytest.fixture
def cohorts() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)

    def draw(n: int, shift: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "age": rng.normal(60 + shift, 8, size=n).round(),
                "stage": rng.choice(["I", "II", "III"], size=n),
            }
        )

    return {"training": draw(120, 0), "internal": draw(40, 0), "external": draw(60, 8)}


def test_cells_and_tests(cohorts):
    cohorts["external"].loc[:4, "age"] = np.nan
    table = ev.compare_cohorts(cohorts)
    age = cohorts["training"]["age"]
    low, high = age.quantile([0.25, 0.75])
    assert table.loc[("age", "median (quartiles)"), "training"] == (
        f"{age.median():.4g} ({low:.4g} to {high:.4g})"
    )
    assert table.loc[("age", "missing"), ["training", "external"]].tolist() == ["0", "5"]
    n = (cohorts["internal"]["stage"] == "II").sum()
    assert table.loc[("stage", "II"), "internal"] == f"{n} ({100 * n / 40:.1f} %)"
    first = ("age", "median (quartiles)")
    assert table.loc[first, "p: external"] < 1e-3 < table.loc[first, "p: internal"]
    other = ev.compare_cohorts(cohorts, reference="external")
    assert other.loc[first, "p: training"] == pytest.approx(table.loc[first, "p: external"])
    assert "p: external" not in other


def test_monte_carlo_follows_its_seed_and_size(cohorts):
    few = {name: frame[["stage"]][:8] for name, frame in cohorts.items()}
    same, again, other = (ev.compare_cohorts(few, random_state=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(same, again)
    assert not same.equals(other)
    small = ev.compare_cohorts(few, n_resamples=19)["p: internal"].iloc[0]
    assert (small * 20) % 1 == pytest.approx(0)


def test_impossible_comparisons_name_the_variable(cohorts):
    training = cohorts["training"]
    with pytest.raises(ValueError, match="two cohorts"):
        ev.compare_cohorts({"training": training})
    with pytest.raises(ValueError, match=r"'b' has other variables.*\['age'\]"):
        ev.compare_cohorts({"a": training, "b": training[["stage"]]})
    with pytest.raises(ValueError, match=r"'b' has no value of \['age'\]"):
        ev.compare_cohorts({"a": training, "b": training.assign(age=np.nan)})
    with pytest.raises(ValueError, match="'age' is constant"):
        ev.compare_cohorts({"a": training.assign(age=1.0), "b": training.assign(age=1.0)})
    with pytest.raises(ValueError, match="'stage' has one level"):
        ev.compare_cohorts({"a": training.assign(stage="I"), "b": training.assign(stage="I")})
    with pytest.raises(ValueError, match="reference must be one of"):
        ev.compare_cohorts(cohorts, reference="fourth")


def test_corrected_resampled_t_test():
    rng = np.random.default_rng(1)
    a = rng.normal(0.72, 0.05, size=25)
    b = a - rng.normal(0.02, 0.03, size=25)
    result = ev.corrected_resampled_t_test(a, b, n_train=80, n_test=20)
    d = a - b
    t = d.mean() / np.sqrt((1 / 25 + 20 / 80) * d.var(ddof=1))
    assert result.difference / result.standard_error == pytest.approx(t)
    assert result.lower < result.difference < result.upper
    smaller_test = ev.corrected_resampled_t_test(a, b, n_train=95, n_test=5)
    assert smaller_test.p_value < result.p_value
    assert ev.corrected_resampled_t_test(b, a, n_train=80, n_test=20).p_value == result.p_value
    assert (
        ev.corrected_resampled_t_test(a, b, n_train=80, n_test=20, level=0.5).lower > result.lower
    )
    with pytest.raises(ValueError, match="same amount"):
        ev.corrected_resampled_t_test([0.7, 0.7], [0.6, 0.6], n_train=80, n_test=20)
    with pytest.raises(ValueError, match="not finite"):
        ev.corrected_resampled_t_test([0.7, np.nan], [0.6, 0.5], n_train=80, n_test=20)
    with pytest.raises(ValueError, match="at least two"):
        ev.corrected_resampled_t_test([0.7], [0.6], n_train=80, n_test=20)


def test_a_variable_has_one_kind_in_all_cohorts():
    stages = {"train": pd.DataFrame({"T": ["1", "2", "4a", "2"]}),
              "test": pd.DataFrame({"T": [1, 2, 2, 3]})}
    table = ev.compare_cohorts(stages)
    assert table.loc[("T", "2"), ["train", "test"]].tolist() == ["2 (50.0 %)", "2 (50.0 %)"]
    assert [level for _, level in table.index] == ["1", "2", "3", "4a"]
    ages = {"train": pd.DataFrame({"age": [61, 52, None, 44]}, dtype=object),
            "test": pd.DataFrame({"age": [51, 62, 62, 73]})}
    table = ev.compare_cohorts(ages)
    assert table.index.tolist() == [("age", "median (quartiles)"), ("age", "missing")]
    assert table["test: test"].iloc[0] == "Mann-Whitney"
    with pytest.raises(ValueError, match="'day' holds dates"):
        ev.compare_cohorts({name: pd.DataFrame({"day": pd.to_datetime(["2020-01-01"] * 4)})
                         for name in ("a", "b")})


def test_the_order_of_a_categorical_holds_beside_text():
    ordered = pd.Categorical(["low", "high", "low"], ["low", "high"])
    table = ev.compare_cohorts({"a": pd.DataFrame({"g": ordered}),
                             "b": pd.DataFrame({"g": ["high", "mid", "low"]})})
    assert [level for _, level in table.index] == ["low", "high", "mid"]
