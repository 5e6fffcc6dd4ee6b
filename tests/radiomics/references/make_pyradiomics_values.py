"""Write pyradiomics_values.json, for tests where PyRadiomics is not installed.

Run with PyRadiomics 3.0.1:  python tests/radiomics/references/make_pyradiomics_values.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SPACING = (2.5, 1.0, 1.5)
SETTINGS = {"features": "pyradiomics", "image_types": ("original", "wavelet"), "bin_count": 24}


def make_case() -> tuple[np.ndarray, np.ndarray]:
    """Return a volume and a mask made of sines: no generator that a version could change."""
    z, y, x = np.indices((13, 16, 15)).astype(float)
    volume = 3 + np.sin(0.9 * x + 0.4 * z) * np.cos(0.7 * y - 0.2 * x)
    volume += 0.6 * np.sin(5.1 * x * y + z)
    mask = (z - 6) ** 2 / 16 + (y - 8) ** 2 / 30 + (x - 7) ** 2 / 22 + 0.2 * np.sin(3 * x + y) <= 1
    # Multiples of 1/1024 survive float32, so that both engines see the same numbers.
    return (np.round(volume * 1024) / 1024).astype(np.float32), mask.astype(np.uint8)


def main() -> None:
    from survimg import Cohort
    from survimg.radiomics import RadiomicsFeatures

    volume, mask = make_case()
    cohort = Cohort(
        volume[None, None], masks=mask[None], spacing=SPACING, channel_names=("image",)
    )
    found = RadiomicsFeatures(engine="pyradiomics", **SETTINGS).fit_transform(cohort).iloc[0]
    path = Path(__file__).with_name("pyradiomics_values.json")
    path.write_text(json.dumps(found.to_dict(), indent=0) + "\n")


if __name__ == "__main__":
    main()
