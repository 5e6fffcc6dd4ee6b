"""Compiled kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STATISTICS = """
import sys
import numpy as np
from survimg.radiomics.native.firstorder import first_order

for size in range(20, 60):
    values = np.random.default_rng(size).normal(size=size)
    features = first_order(values, np.array([0, size // 2, size - size // 2]), 1.0)
    sys.stdout.write(repr(features) if isinstance(features, dict) else features.tobytes().hex())
"""


def test_the_process_that_compiles_rounds_as_those_that_load(tmp_path):
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": root}
    values = [
        subprocess.run(
            [sys.executable, "-c", STATISTICS], capture_output=True, check=True, env=environment
        ).stdout
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc")), "nothing was kept on disk"
    assert values[0] == values[1]
