"""Reference cohorts and the values that R computed on them (see references/make_*)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from survimg.target import make_outcome

REFERENCES = Path(__file__).parent / "references"


class Cohort(NamedTuple):
    name: str
    table: pd.DataFrame
    y: np.ndarray
    weight: np.ndarray
    horizon: float
    reference: Callable[[str], np.ndarray]


@pytest.fixture(scope="session")
def reference_table() -> pd.DataFrame:
    return pd.read_csv(REFERENCES / "survival.csv")


@pytest.fixture(params=["tied", "continuous", "complete"])
def cohort(request, reference_table) -> Cohort:
    name = request.param
    table = pd.read_csv(REFERENCES / f"{name}.csv")

    def reference(quantity: str) -> np.ndarray:
        rows = reference_table.query("cohort == @name and quantity == @quantity")
        assert len(rows), f"no reference {quantity!r} for {name!r}"
        return rows["value"].to_numpy()

    return Cohort(
        name,
        table,
        make_outcome(table["event"], table["time"]),
        1.0 + np.arange(1, len(table) + 1) % 3,
        5.0 if name == "complete" else 3.0,
        reference,
    )
