"""Write mirp_values.json: IBSI chapter 1 by an independent implementation, for the tests.

Run in an environment of its own with MIRP 2.7 (``pip install mirp``), whose values the tests
compare with survimg's:  python tests/radiomics/references/make_mirp_values.py
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MERGED = {
    "2d_avg": "2D_avg",
    "2d_s_mrg": "2D_comb",
    "2.5d_d_mrg": "2_5D_avg",
    "2.5d_v_mrg": "2_5D_comb",
    "3d_avg": "3D_avg",
    "3d_v_mrg": "3D_comb",
}
VALUES = {"2d": "2D", "2.5d": "2_5D", "3d": "3D"}
METHODS = [
    "2d_average", "2d_slice_merge", "2.5d_direction_merge", "2.5d_volume_merge", "3d_average",
    "3d_volume_merge",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A volume and how it is processed; names of settings are survimg's."""

    volume: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]
    bin_width: float | None = None
    bin_count: int | None = None
    by_slice: bool = False
    resample_mm: float | None = None
    image_order: int = 1
    intensity_range: tuple[float, float] | None = None
    outlier_sigma: float | None = None
    ivh_bin_width: float | None = None
    ivh_bin_count: int | None = None


def _waves(shape: tuple[int, int, int], noise: float) -> np.ndarray:
    # Sines: no generator that a version could change. Whole numbers, as HU are.
    z, y, x = np.indices(shape).astype(float)
    smooth = 80 * np.sin(0.35 * x + 0.2 * z) * np.cos(0.3 * y - 0.1 * x) + 6 * z
    rough = np.sin(5.1 * x * y + 3 * z) + np.sin(7.7 * y * z + 1.3 * x * x)
    return np.round(smooth + noise * rough - 60)


def _ellipsoid(shape: tuple[int, int, int], part: float) -> np.ndarray:
    z, y, x = (
        (index - (size - 1) / 2) / (part * size / 2)
        for index, size in zip(np.indices(shape), shape, strict=True)
    )
    return z**2 + y**2 + x**2 + 0.2 * np.sin(5 * x + 3 * y) + 0.1 * np.sin(7 * z) <= 1


def make_cases() -> dict[str, Case]:
    """Return the cases by name."""
    spacing = (3.0, 1.25, 0.75)
    shape = (11, 15, 13)
    mask = _ellipsoid(shape, 0.9)
    hollow = mask.copy()
    hollow[4:7, 6:9, 5:8] = False
    hollow[0, 0, :3] = True
    alone = np.zeros(shape, dtype=bool)
    alone[3:8, 4:11, 4:10] = True
    alone[1, 1, 1] = alone[9, 2, 2] = alone[9, 2, 4] = alone[10, 12:14, 11] = True
    # Room for the spheres of local intensity: MIRP fills what is beyond the image with air.
    margin = ((6, 6), (6, 6), (9, 9))
    rough = _waves((23, 27, 31), 60.0)
    mask, hollow, alone = (np.pad(region, margin) for region in (mask, hollow, alone))
    ct = _waves((20, 40, 42), 25.0)
    ct[:, :9] -= 700
    ct[6:9, 18:22, 20:25] += 500
    tumour = _ellipsoid(ct.shape, 0.75)
    lung = {"volume": ct, "mask": tumour, "spacing": (3.0, 0.977, 0.977)}
    return {
        "isotropic": Case(rough, mask, (1.0, 1.0, 1.0), bin_count=12),
        "anisotropic": Case(rough, mask, spacing, bin_count=8, ivh_bin_count=100),
        "hollow": Case(rough, hollow, spacing, bin_width=20, intensity_range=(-180, 90)),
        "alone": Case(rough, alone, spacing, bin_count=6, outlier_sigma=1.5),
        "A": Case(**lung, by_slice=True, bin_width=25, intensity_range=(-500, 400)),
        "B": Case(**lung, by_slice=True, bin_count=32, resample_mm=2, intensity_range=(-500, 400)),
        "C": Case(
            **lung, bin_width=25, resample_mm=2, intensity_range=(-1000, 400), ivh_bin_width=2.5
        ),
        "D": Case(**lung, bin_count=32, resample_mm=2, outlier_sigma=3),
        "E": Case(
            **lung,
            bin_count=32,
            resample_mm=2,
            image_order=3,
            intensity_range=(-1000, 400),
            outlier_sigma=3,
            ivh_bin_count=1000,
        ),
    }


def mirp_settings(case: Case) -> dict[str, object]:
    """Translate a case's settings to MIRP's."""
    settings: dict[str, object] = {
        "image_modality": "ct",
        "no_approximation": True,
        "by_slice": case.by_slice,
        "base_feature_families": "all",
        "glcm_spatial_method": METHODS[: 4 if case.by_slice else 6],
        "glrlm_spatial_method": METHODS[: 4 if case.by_slice else 6],
    }
    for family in ("glszm", "gldzm", "ngtdm", "ngldm"):
        settings[f"{family}_spatial_method"] = list(VALUES)[: 2 if case.by_slice else 3]
    for prefix, width, count in (
        ("base", case.bin_width, case.bin_count),
        ("ivh", case.ivh_bin_width, case.ivh_bin_count),
    ):
        if width is not None:
            settings[f"{prefix}_discretisation_method"] = "fixed_bin_size"
            settings[f"{prefix}_discretisation_bin_width"] = float(width)
        elif count is not None:
            settings[f"{prefix}_discretisation_method"] = "fixed_bin_number"
            settings[f"{prefix}_discretisation_n_bins"] = count
    if case.resample_mm is not None:
        settings["new_spacing"] = float(case.resample_mm)
        settings["spline_order"] = case.image_order
        settings["anti_aliasing"] = False
        settings["roi_spline_order"] = 1
    methods = []
    if case.intensity_range is not None:
        methods.append("range")
        settings["resegmentation_intensity_range"] = [float(x) for x in case.intensity_range]
    if case.outlier_sigma is not None:
        methods.append("sigma")
        settings["resegmentation_sigma"] = float(case.outlier_sigma)
    if methods:
        settings["resegmentation_method"] = methods
    return settings


def ibsi_tag(name: str) -> str | None:
    """Return IBSI's tag of a column of MIRP; None for what is no feature of IBSI's."""
    if name.startswith(("morph_", "loc_", "stat_", "ivh_")):
        return name
    name = re.sub(r"_fb[ns]_[nw][\d.]+$", "", name)
    if name.startswith("ih_"):
        return name
    name = re.sub(r"_d1(_a0\.0)?_", "_", name)
    aggregations = MERGED if name.startswith(("cm_", "rlm_")) else VALUES
    for theirs, tag in sorted(aggregations.items(), key=lambda item: -len(item[0])):
        if name.endswith(f"_{theirs}"):
            return f"{name[: -len(theirs)]}{tag}"
    return None


def main() -> None:
    import itk
    import mirp

    logging.disable(logging.CRITICAL)
    found = {}
    for name, case in make_cases().items():
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for part, voxels in (("image", case.volume), ("mask", case.mask)):
                image = itk.image_from_array(voxels.astype(np.float32))
                image.SetSpacing([float(size) for size in reversed(case.spacing)])
                paths.append(f"{folder}/{part}.nrrd")
                itk.imwrite(image, paths[-1])
            table = mirp.extract_features(image=paths[0], mask=paths[1], **mirp_settings(case))[0]
        row = {ibsi_tag(column): value for column, value in table.iloc[0].items()}
        found[name] = {
            tag: float(f"{value:.9g}")
            for tag, value in row.items()
            if tag is not None and not re.search("v25|v50|v75|i25|i50|i75", tag)
        }
    path = Path(__file__).with_name("mirp_values.json")
    path.write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
