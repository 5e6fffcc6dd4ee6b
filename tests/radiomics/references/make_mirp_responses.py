"""Write mirp_responses.json: filters of IBSI chapter 2 by an independent implementation.

Run in an environment of its own with MIRP 2.7 (``pip install mirp``):
    python tests/radiomics/references/make_mirp_responses.py [maps.npz]
Every 31st voxel of each response map is stored for the tests; with an argument, all voxels go into
that file. IBSI's mirror boundary is MIRP's "reflect", its zeros "constant".
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

STEP = 31

BOUNDARIES = {"mirror": "reflect", "zero": "constant", "nearest": "nearest", "periodic": "wrap"}

#: Class -> parameters of each case, by survimg's names; sizes are those of the voxels in mm.
CASES: dict[str, list[dict[str, object]]] = {
    "MeanFilter": [
        *({"support": 5, "boundary": boundary} for boundary in BOUNDARIES),
        {"support": 3, "by_slice": True},
    ],
    "LaplacianOfGaussian": [
        *({"sigma_mm": 1.5, "boundary": boundary} for boundary in BOUNDARIES),
        {"sigma_mm": 3.0, "size": 2.0},
        {"sigma_mm": 1.3, "cutoff": 3.0},
        {"sigma_mm": 1.5, "by_slice": True},
    ],
    "LawsFilter": [
        *({"kernels": "E5L5S5", "boundary": boundary} for boundary in BOUNDARIES),
        {"kernels": "E3W5R5"},
        *({"kernels": "E5L5S5", "pooling": pooling} for pooling in ("max", "min")),
        {"kernels": "E3L5L3", "pooling": "max"},
        {"kernels": "E3W5R5", "pooling": "max", "energy_distance": 3},
        {"kernels": "S3L5E5", "energy_distance": 2, "boundary": "zero"},
        {"kernels": "L5S5", "by_slice": True},
        {"kernels": "L5E3", "pooling": "max", "energy_distance": 2, "by_slice": True},
    ],
    "GaborFilter": [
        {"sigma_mm": 1.2, "wavelength_mm": 2.5, "angle": 60.0},
        {"sigma_mm": 2.4, "wavelength_mm": 5.0, "gamma": 1.5, "angle": 20.0, "size": 2.0},
        {"sigma_mm": 1.2, "wavelength_mm": 3.0, "angle_step": 45.0, "boundary": "zero"},
        {"sigma_mm": 1.2, "wavelength_mm": 3.0, "angle_step": 45.0, "pooling": "max"},
        {
            "sigma_mm": 1.1,
            "wavelength_mm": 2.0,
            "angle": 30.0,
            "angle_step": 90.0,
            "all_planes": True,
        },
        {
            "sigma_mm": 1.1,
            "wavelength_mm": 2.0,
            "gamma": 2.0,
            "angle": 15.0,
            "angle_step": 60.0,
            "all_planes": True,
            "boundary": "nearest",
        },
    ],
    "SeparableWavelet": [
        *({"wavelet": "db2", "band": "LHL", "boundary": boundary} for boundary in BOUNDARIES),
        {"wavelet": "coif1", "band": "HHL"},
        {"wavelet": "bior2.2", "band": "HLL"},
        {"wavelet": "db2", "band": "LHL", "level": 2},
        {"wavelet": "coif1", "band": "HHL", "pooling": "max"},
        {"wavelet": "db2", "band": "LHL", "pooling": "mean"},
        {"wavelet": "haar", "band": "LLL", "level": 2, "pooling": "max"},
        {"wavelet": "haar", "band": "HHH", "level": 2, "pooling": "min"},
        {"wavelet": "db2", "band": "LH", "by_slice": True},
        {"wavelet": "db2", "band": "HL", "pooling": "max", "by_slice": True},
    ],
    "SimoncelliWavelet": [{"level": 1}, {"level": 2}, {"level": 1, "by_slice": True}],
}

# Our parameter -> MIRP's, without the filter's prefix.
RENAMED = {
    "MeanFilter": {"support": "kernel_size"},
    "LaplacianOfGaussian": {"sigma_mm": "sigma", "cutoff": "kernel_truncate"},
    "LawsFilter": {"kernels": "kernel", "pooling": "pooling_method", "energy_distance": "delta"},
    "GaborFilter": {
        "sigma_mm": "sigma",
        "wavelength_mm": "lambda",
        "gamma": "gamma",
        "angle": "theta",
        "angle_step": "theta_step",
        "all_planes": "rotation_invariance",
        "pooling": "pooling_method",
    },
    "SeparableWavelet": {
        "wavelet": "families",
        "band": "set",
        "level": "decomposition_level",
        "pooling": "pooling_method",
    },
    "SimoncelliWavelet": {"level": "decomposition_level"},
}

FILTERS = {
    "MeanFilter": ("mean", "mean_filter"),
    "LaplacianOfGaussian": ("laplacian_of_gaussian", "laplacian_of_gaussian"),
    "LawsFilter": ("laws", "laws"),
    "GaborFilter": ("gabor", "gabor"),
    "SeparableWavelet": ("separable_wavelet", "separable_wavelet"),
    "SimoncelliWavelet": ("nonseparable_wavelet", "nonseparable_wavelet"),
}


def make_volume() -> np.ndarray:
    """A volume of 16 x 16 x 16 voxels: sines, no generator that a version could change."""
    z, y, x = np.indices((16, 16, 16)).astype(float)
    smooth = 80 * np.sin(0.35 * x + 0.2 * z) * np.cos(0.3 * y - 0.1 * x) + 6 * z
    return np.round(smooth + 40 * np.sin(5.1 * x * y + 3 * z) + 40 * np.sin(7.7 * y * z + x * x))


def mirp_settings(name: str, case: dict[str, object]) -> dict[str, object]:
    """Translate the parameters of a case to MIRP's."""
    kernel, prefix = FILTERS[name]
    settings: dict[str, object] = {"filter_kernels": kernel, "image_modality": "ct"}
    settings["by_slice"] = case.get("by_slice", False)
    settings[f"{prefix}_boundary_condition"] = BOUNDARIES[str(case.get("boundary", "mirror"))]
    if name == "LawsFilter":
        settings["laws_compute_energy"] = "energy_distance" in case
    if name == "SimoncelliWavelet":
        settings["nonseparable_wavelet_families"] = "simoncelli"
    if name in ("LawsFilter", "SeparableWavelet"):
        settings[f"{prefix}_rotation_invariance"] = "pooling" in case
    if name == "GaborFilter":
        case = {"pooling": "mean", **case}
        # Its angles are of slices, unless all planes are pooled.
        settings["by_slice"] = not case.get("all_planes", False)
    for ours, theirs in RENAMED[name].items():
        if ours in case:
            value = case[ours]
            value = value.lower() if ours in ("kernels", "band") else value  # type: ignore[attr-defined]
            settings[f"{prefix}_{theirs}"] = value
    return settings


def response(name: str, case: dict[str, object]) -> np.ndarray:
    """Return MIRP's response map."""
    import itk
    import mirp

    size = float(case.get("size", 1.0))  # type: ignore[arg-type]
    mask = np.zeros((16, 16, 16), dtype=np.float32)
    mask[4:12, 4:12, 4:12] = 1
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for part, voxels in (("image", make_volume().astype(np.float32)), ("mask", mask)):
            image = itk.image_from_array(voxels)
            image.SetSpacing([size] * 3)
            paths.append(f"{folder}/{part}.nrrd")
            itk.imwrite(image, paths[-1])
        images = mirp.extract_images(
            image=paths[0],
            mask=paths[1],
            write_images=False,
            export_images=True,
            image_export_format="native",
            **mirp_settings(name, case),
        )[0][0]
    return np.asarray(images[1].get_voxel_grid(), dtype=np.float64)


def main() -> None:
    logging.disable(logging.CRITICAL)
    maps = {
        f"{name} {k}": response(name, case)
        for name, cases in CASES.items()
        for k, case in enumerate(cases)
    }
    stored = {
        key: [float(f"{value:.7g}") for value in values.reshape(-1)[::STEP]]
        for key, values in maps.items()
    }
    path = Path(__file__).with_name("mirp_responses.json")
    path.write_text("\n".join(json.dumps(stored).replace("], ", "],\n").splitlines()) + "\n")
    if len(sys.argv) > 1:
        np.savez(sys.argv[1], **maps)


if __name__ == "__main__":
    main()
