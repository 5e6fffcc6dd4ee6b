"""CPU seconds of one IBSI configuration of a chest CT, survimg and MIRP side by side.

Configuration C (2 mm, linear, [-1000, 400] HU, width 25) with every family and the aggregations in
space. The same script runs in both environments and prints the one that is installed::

    OMP_NUM_THREADS=1 python benchmarks/ibsi_speed.py survimg
    OMP_NUM_THREADS=1 python benchmarks/ibsi_speed.py mirp          # pip install mirp

The volume is made here: 60 slices of 204 x 201 voxels of 0.977 x 0.977 x 3 mm, the size of IBSI's
CT phantom, and a tumour of 130 to 370 ml.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings

import numpy as np

SHAPE, SPACING = (60, 201, 204), (3.0, 0.977, 0.977)
RADII = {"130 ml": 31.4, "370 ml": 44.5}


def make_case(radius: float) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = (
        (index - (size - 1) / 2) * step
        for index, size, step in zip(np.indices(SHAPE), SHAPE, SPACING, strict=True)
    )
    distance = np.sqrt(z**2 + y**2 + x**2) + 3 * np.sin(y / 6) * np.cos(x / 5)
    noise = np.random.default_rng(0).normal(scale=25, size=SHAPE)
    volume = np.where(distance < radius - 2, 40.0, -750.0) + 30 * np.sin(x / 4 + z / 7) + noise
    return np.round(volume).astype(np.float32), (distance < radius).astype(np.uint8)


def time_survimg(volume: np.ndarray, mask: np.ndarray) -> None:
    from survimg import Cohort
    from survimg.radiomics import IBSISettings, RadiomicsFeatures

    cohort = Cohort(
        volume[None, None], masks=mask[None], spacing=SPACING, channel_names=("CT",)
    )
    settings = IBSISettings(
        aggregations=("3D_avg", "3D_comb", "3D"),
        resample_mm=2,
        image_order=1,
        rounded=("CT",),
        intensity_range=(-1000, 400),
        ivh_bin_width=2.5,
    )
    RadiomicsFeatures(standard=settings, bin_width=25).fit_transform(cohort)


def time_mirp(volume: np.ndarray, mask: np.ndarray) -> None:
    import logging

    import itk
    import mirp

    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        for name, voxels in (("image", volume), ("mask", mask.astype(np.float32))):
            image = itk.image_from_array(voxels)
            image.SetSpacing(SPACING[::-1])
            itk.imwrite(image, f"{folder}/{name}.nrrd")
        mirp.extract_features(
            image=f"{folder}/image.nrrd",
            mask=f"{folder}/mask.nrrd",
            image_modality="ct",
            new_spacing=2.0,
            spline_order=1,
            anti_aliasing=False,
            roi_spline_order=1,
            resegmentation_method="range",
            resegmentation_intensity_range=[-1000.0, 400.0],
            base_discretisation_method="fixed_bin_size",
            base_discretisation_bin_width=25.0,
            ivh_discretisation_method="fixed_bin_size",
            ivh_discretisation_bin_width=2.5,
            glcm_spatial_method=["3d_average", "3d_volume_merge"],
            glrlm_spatial_method=["3d_average", "3d_volume_merge"],
        )


def main(library: str, repeats: int = 5) -> None:
    warnings.simplefilter("ignore")
    run = {"survimg": time_survimg, "mirp": time_mirp}[library]
    for name, radius in RADII.items():
        case = make_case(radius)
        run(*case)  # compiles kernels, imports modules
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            run(*case)
            seconds.append(time.process_time() - start)
        sys.stdout.write(f"{library}, {name}: {statistics.median(seconds):.2f} s CPU, median of ")
        sys.stdout.write(f"{repeats} ({min(seconds):.2f} to {max(seconds):.2f})\n")


if __name__ == "__main__":
    main(sys.argv[1])
