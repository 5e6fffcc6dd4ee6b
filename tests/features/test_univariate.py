from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from survimg.evaluation import fit_cox
from survimg.features.univariate import clinical_p_values
from survimg.target import make_outcome


def test_each_column_has_the_p_value_of_its_own_cox_model():
    rng = np.random.default_rng(0)
    n = 80
    table = pd.DataFrame(
        {"age": rng.normal(60, 9, n), "site": rng.choice(["a", "b", "c"], n), "one": "same"}
    )
    table.loc[:4, "age"] = np.nan
    time = rng.exponential(np.exp(-0.05 * (table["age"].fillna(60) - 60)))
    event = rng.uniform(size=n) < 0.7
    p_values = clinical_p_values(table, None, event, time)
    assert list(p_values) == ["age", "site", "one"]
    assert np.isnan(p_values["one"])
    y = make_outcome(event, time)
    age = table[["age"]].fillna(table["age"].median())
    assert p_values["age"] == pytest.approx(fit_cox(y, age).wald_p_values[0], rel=1e-6)
    levels = pd.get_dummies(table["site"], dtype=float)[["b", "c"]]
    assert p_values["site"] == pytest.approx(fit_cox(y, levels).wald_p_value(["b", "c"]), rel=1e-6)


def test_a_column_that_separates_the_events_is_named_with_what_to_do():
    event = np.arange(40) >= 20
    table = pd.DataFrame({"group": event.astype(float)})
    with pytest.raises(ValueError, match=r"'group'.*leave the column out of clinical_columns"):
        clinical_p_values(table, None, event, np.linspace(1, 2, 40))
