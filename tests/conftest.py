"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything loads torch: threads that spin while they wait slow each other down fivefold on a
# machine that is also doing something else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with real patients and reference values; tests skip where it is absent."""
    folder = Path(os.environ.get("SURVIMG_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder} (set SURVIMG_SHARED)")
    return folder
