"""First-order statistics without sorting: those of NumPy, whatever the distribution."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.radiomics.names import IBSI_IDENTIFIERS
from survimg.radiomics.native.firstorder import first_order

RNG = np.random.default_rng(0)
DISTRIBUTIONS = {
    "normal": RNG.normal(size=5000),
    "few": RNG.normal(size=7),
    "whole numbers": RNG.integers(-50, 50, size=5000).astype(np.float64),
    "skewed": np.exp(12 * RNG.normal(size=5000)),
    "two values": RNG.integers(0, 2, size=5000) * 1e-3 + 7,
    "one value": np.full(5000, 3.5),
    "an outlier": np.append(RNG.normal(size=5000), 1e300),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentiles_are_those_of_numpy(name: str) -> None:
    values = DISTRIBUTIONS[name]
    with np.errstate(over="ignore", invalid="ignore"):
        statistics = first_order(values, np.array([0, values.size]), 1.0)
    found = dict(zip(IBSI_IDENTIFIERS["firstorder"], statistics.tolist(), strict=True))
    p10, p25, p50, p75, p90 = np.percentile(values, [10, 25, 50, 75, 90])
    for feature, expected in [
        ("Minimum", values.min()),
        ("10Percentile", p10),
        ("Median", p50),
        ("90Percentile", p90),
        ("Maximum", values.max()),
        ("InterquartileRange", p75 - p25),
    ]:
        assert found[feature] == expected, feature
    inner = values[(values >= p10) & (values <= p90)]
    deviation = np.abs(inner - inner.mean()).mean()
    assert found["RobustMeanAbsoluteDeviation"] == pytest.approx(deviation, rel=1e-12, abs=1e-12)
