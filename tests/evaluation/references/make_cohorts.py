"""Draw the cohorts that the references are computed on.

    python make_cohorts.py

Writes tied.csv (times in whole units, with ties, time 0, ties in risk), continuous.csv (distinct
times, heavy censoring) and complete.csv (all events, ties).
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def draw(seed: int, n: int, censoring_scale: float, decimals: int | None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x1, x2 = rng.normal(size=n), rng.normal(size=n)
    x3 = rng.binomial(1, 0.4, size=n)
    stage = rng.choice(["I", "II", "III"], size=n, p=[0.5, 0.3, 0.2])
    centre = rng.integers(1, 4, size=n)
    log_risk = 0.7 * x1 + 0.4 * x3 + 0.3 * (stage == "III")
    event_time = 8 * rng.exponential(size=n) * np.exp(-log_risk)
    censoring_time = rng.uniform(0, censoring_scale, size=n)
    time = np.minimum(event_time, censoring_time)
    if decimals is not None:
        time = np.round(time, decimals)
    survival = np.exp(-0.5 * np.exp(0.9 * x1 + 0.2 * x2 - 0.1))
    frame = {
        "time": time,
        "event": (event_time <= censoring_time).astype(int),
        "x1": x1.round(6),
        "x2": x2.round(6),
        "x3": x3,
        "stage": stage,
        "centre": centre,
        "risk_a": (0.7 * x1 + 0.4 * x3 + 0.2 * rng.normal(size=n)).round(1),
        "risk_b": (0.5 * x1 + 0.8 * rng.normal(size=n)).round(1),
        "survival": survival.round(6),
    }
    return pd.DataFrame(frame)


if __name__ == "__main__":
    draw(1, 160, 16.0, 0).to_csv(HERE / "tied.csv", index=False)
    draw(2, 200, 6.0, None).to_csv(HERE / "continuous.csv", index=False, float_format="%.9g")
    draw(3, 80, 1e9, 0).to_csv(HERE / "complete.csv", index=False)
