"""Write the models of format version 1 that every later survimg must read.

Run once, with survimg 0.1.0; never again: the folders are what that version wrote.

    python tests/model_files/references/make_format_1.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import survimg
from survimg.estimators import DeepSurv, FoldEnsemble, LassoCox
from survimg.target import make_outcome

HERE = Path(__file__).parent / "format_1"


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 2)).round(3)
    y = make_outcome(rng.random(24) < 0.8, rng.exponential(np.exp(-X[:, 0])).round(3) + 0.001)
    models = {
        "lasso_cox": LassoCox(cv=2, n_alphas=4),
        "deepsurv": DeepSurv(hidden=(2,), n_iterations=3, random_state=0),
        "fold_ensemble": FoldEnsemble(DeepSurv(hidden=(), n_iterations=3, random_state=1), cv=2),
    }
    expected = {"X": X[:5].tolist()}
    for name, model in models.items():
        survimg.save(model.fit(X, y), HERE / name)
        expected[name] = model.predict(X[:5]).tolist()
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
