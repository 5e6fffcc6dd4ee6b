"""Write combat.csv: features of three scanners, and what neuroCombat 0.2.12 makes of them.

    pip install neurocombat==0.2.12 numpy==1.26.4 pandas==2.2.3
    python tests/estimators/references/make_combat.py
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd

N, N_FEATURES = 36, 6


def main() -> None:
    module = importlib.import_module("neuroCombat.neuroCombat")
    # The posterior means to 1e-12; by default the iteration ends at 1e-4.
    module.it_sol.__defaults__ = (1e-12,)
    rng = np.random.default_rng(0)
    scanner = np.repeat([0, 1, 2], [16, 12, 8])
    age = rng.normal(60 + 5 * scanner, 8).round()
    stage = np.where(rng.random(N) < 0.3 + 0.2 * scanner, "IV", "III")
    size = 10.0 ** rng.integers(-2, 4, N_FEATURES)
    noise = rng.normal(size=(N, N_FEATURES)) * np.array([1.0, 1.6, 0.6])[scanner, None]
    effects = 0.05 * (age[:, None] - 60) + 0.8 * (stage == "IV")[:, None] + noise
    shifts = rng.normal(size=(3, N_FEATURES))[scanner]
    features = size * (3 + effects + shifts)
    table = pd.DataFrame(features, columns=[f"x{j}" for j in range(N_FEATURES)])
    table = table.assign(scanner=scanner, age=age, stage=stage, new=np.arange(N) % 4 == 3)
    names = list(table.columns[:N_FEATURES])

    covariates = table[["scanner", "age", "stage"]]
    plain = module.neuroCombat(features.T, covariates[["scanner"]], "scanner")
    kept = module.neuroCombat(
        features.T, covariates, "scanner", categorical_cols=["stage"], continuous_cols=["age"]
    )
    old = ~table["new"].to_numpy()
    trained = module.neuroCombat(
        features[old].T, covariates.loc[old, ["scanner"]].reset_index(drop=True), "scanner"
    )
    new = module.neuroCombatFromTraining(features[~old].T, scanner[~old], trained["estimates"])
    applied = np.empty_like(features)
    applied[old], applied[~old] = trained["data"].T, new["data"].T
    for what, values in ("plain", plain["data"].T), ("kept", kept["data"].T), ("applied", applied):
        table = table.join(pd.DataFrame(values, columns=[f"{what}_{name}" for name in names]))
    table.to_csv(Path(__file__).with_name("combat.csv"), index=False, float_format="%.12g")


if __name__ == "__main__":
    main()
