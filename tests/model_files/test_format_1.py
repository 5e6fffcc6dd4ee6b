"""Models that survimg 0.1.0 wrote are read for ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import survimg

FOLDER = Path(__file__).parent / "references" / "format_1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "X"])
def test_a_model_of_format_1_is_read(name):
    model = survimg.load(FOLDER / name)
    # Another torch or BLAS may round otherwise.
    np.testing.assert_allclose(model.predict(np.array(EXPECTED["X"])), EXPECTED[name], rtol=1e-6)
    survival = model.predict_survival_function(np.array(EXPECTED["X"]), return_array=True)
    assert ((survival >= 0) & (survival <= 1)).all()
