"""Cases and parameter files for the extractor, and PyRadiomics beside it.

``python tests/radiomics/extractor/extractor_cases.py 320`` writes, by class, image and setting, the
worst relative difference of as many random parameter files. With a folder of the STS-51 images as a
second argument, the files are run on PET and CT of every tenth patient in turn.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from survimg.radiomics import FeatureExtractor

Case = tuple[sitk.Image, sitk.Image]

# Below this a value is rounding error around an exact zero (a correlation, a flat slice's axis).
ABSOLUTE = 1e-7

REGIONS = ("ball", "slice", "scattered", "border")
KINDS = ("int16", "uint8", "float32", "float64")

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def build_case(
    seed: int = 0,
    shape: tuple[int, int, int] = (13, 18, 16),
    kind: str = "int16",
    spacing: tuple[float, float, float] = (0.8, 1.2, 3.0),
    region: str = "ball",
) -> Case:
    """Smooth tissue with noise, and a mask of labels 1 (the region) and 2 (a corner)."""
    rng = np.random.default_rng(seed)
    values = 40 + 200 * ndimage.gaussian_filter(rng.normal(size=shape), 1.0)
    values += 20 * rng.normal(size=shape)
    if kind == "uint8":  # far from 255, where PyRadiomics' edges of bins overflow
        values = np.clip(values, 0, 180)
    image = sitk.GetImageFromArray(values.astype(kind))
    image.SetSpacing(spacing)
    image.SetOrigin((5.0, -3.0, 2.0))
    index = np.indices(shape)
    offset = np.moveaxis(index, 0, -1) - (np.array(shape) - 1) / 2
    distance = np.linalg.norm(offset / [0.8, 1.0, 1.2], axis=-1)
    inside = {
        "ball": distance <= 5,
        "slice": (distance <= 5) & (index[0] == shape[0] // 2),
        "scattered": (distance <= 6) & (rng.random(shape) < 0.2),
        "border": index.sum(axis=0) <= 9,
    }[region]
    labels = np.zeros(shape, dtype=np.uint8)
    labels[-2:, -2:, -2:] = 2
    labels[inside] = 1
    mask = sitk.GetImageFromArray(labels)
    mask.CopyInformation(image)
    return image, mask


def by_pyradiomics(
    parameters: Mapping[str, Any], case: Case, **arguments: bool
) -> dict[str, Any]:
    """Return what PyRadiomics itself returns, but for the correlation of a single level.

    In a direction in which all first or all second voxels of the pairs have one level, it divides
    rounding errors by each other: 1 or 0 by the order of NumPy's sums, which differs between
    processors. It is 1 here, as its documentation says.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from radiomics.featureextractor import RadiomicsFeatureExtractor
        from radiomics.glcm import RadiomicsGLCM

        logging.getLogger("radiomics").setLevel(logging.CRITICAL)
        try:
            extractor = RadiomicsFeatureExtractor(dict(parameters))
            name, theirs = "getCorrelationFeatureValue", RadiomicsGLCM.getCorrelationFeatureValue
            with mock.patch.object(RadiomicsGLCM, name, lambda glcm: _correlation(glcm, theirs)):
                return dict(extractor.execute(*case, **arguments))
        finally:  # it sets SimpleITK's tolerance for the whole process
            sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(1e-6)
            sitk.ProcessObject.SetGlobalDefaultDirectionTolerance(1e-6)


def _correlation(glcm: Any, theirs: Callable[[Any], Any]) -> Any:
    """Return theirs; if a margin of a direction has one level, the mean with 1 for it."""
    of, joint = glcm.coefficients, glcm.P_glcm  # (n, levels, levels, directions)
    margins = joint.sum(axis=1), joint.sum(axis=2)
    if not any((np.count_nonzero(margin, axis=1) == 1).any() for margin in margins):
        return theirs(glcm)
    dx = of["i"][None, :, :, None] - of["ux"]
    dy = of["j"][None, :, :, None] - of["uy"]
    variances = (np.sum(joint * d**2, axis=(1, 2)) for d in (dx, dy))
    deviations = np.prod([v**0.5 for v in variances], axis=0)
    values = np.sum(joint * dx * dy, axis=(1, 2)) / (deviations + of["eps"])
    for margin in margins:
        values[np.count_nonzero(margin, axis=1) == 1] = 1
    return np.nanmean(values, axis=1)


def differences(parameters: Mapping[str, Any], case: Case) -> dict[str, float]:
    """Relative difference of every feature; names and order must be the same."""
    reference = by_pyradiomics(parameters, case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = FeatureExtractor(parameters).execute(*case)
    assert list(found) == list(reference)
    compared = {}
    for name, value in found.items():
        if name.startswith(("diagnostics_Image", "diagnostics_Mask")):
            if isinstance(value, str):
                assert value == reference[name], name
            else:
                np.testing.assert_allclose(value, reference[name], rtol=1e-12, err_msg=name)
        elif not name.startswith("diagnostics_"):
            # numpy >= 2.5 makes eigenvalue features complex.
            expected = float(np.real(reference[name]))
            same = np.isnan(value) and np.isnan(expected)
            compared[name] = 0.0 if same else abs(value - expected) / max(abs(expected), ABSOLUTE)
    return compared


def patients(folder: Path) -> list[Case]:
    """PET and CT of every tenth patient of STS-51, with the tumour."""
    cases = []
    for path in sorted(folder.glob("STS_*_mask.nii.gz"))[::10]:
        mask = sitk.ReadImage(str(path)) > 0
        for modality in ("PET", "CT"):
            image = sitk.ReadImage(str(path).replace("_mask", f"_{modality}"))
            # Bins of 10 and more suit hundreds, not SUV of 0 to 20.
            cases.append((image * 20 if modality == "PET" else image, mask))
    return cases


def random_files(
    n: int, seed: int = 0, images: Sequence[Case] = ()
) -> Iterator[tuple[dict[str, Any], Case]]:
    """Yield random parameter files with cases that they apply to: made up, or of the images."""
    for k in range(n):
        rng = np.random.default_rng([seed, k])
        region = str(rng.choice(REGIONS if not images else ["ball"]))
        setting = _random_settings(rng, region)
        spacing = tuple(np.round(rng.uniform(0.7, 3.0, 3), 2).tolist())
        shape = tuple(rng.integers(12, 18, 3).tolist())
        case = build_case(k, shape, str(rng.choice(KINDS)), spacing, region)  # type: ignore[arg-type]
        case = images[k % len(images)] if images else case
        parameters: dict[str, Any] = {"setting": setting, "imageType": _random_images(rng)}
        classes = ["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "shape"]
        if rng.random() < 0.5:
            wanted = rng.choice(classes, rng.integers(2, 6), replace=False)
            parameters["featureClass"] = {str(name): [] for name in wanted}
        elif region != "slice" and setting.get("force2D"):  # shape2D is defined in a slice only
            parameters["featureClass"] = dict.fromkeys(classes)
        yield parameters, case


def _random_settings(rng: np.random.Generator, region: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "distances": [[1, 2], [2], [3, 1]],
        "force2D": [True],
        "weightingNorm": ["euclidean", "manhattan", "infinity", "no_weighting"],
        "symmetricalGLCM": [False],
        "gldm_a": [1, 3],
        "voxelArrayShift": [300, -20],
        "binWidth": [10, 12.5, 40],
        "binCount": [8, 21],
        "preCrop": [True],
        "padDistance": [2, 12],
        "resampledPixelSpacing": [[1, 1, 1], [2, 2, 0], [1.5, 1.0, 2.0]],
        "resegmentRange": [[0, 150], [20]],
        "resegmentShape": [True],
        "minimumROISize": [5],
        "minimumROIDimensions": [1],
        "label": [1],
        "normalize": [True],
    }
    setting = {
        name: values[rng.integers(len(values))]
        for name, values in options.items()
        if rng.random() < 0.25
    }
    if setting.get("force2D") and region != "slice":
        setting["force2Ddimension"] = int(rng.integers(3))
    if "resampledPixelSpacing" in setting:
        names = ["Linear", "BSpline", "NearestNeighbor", "Gaussian", "LanczosWindowedSinc"]
        setting["interpolator"] = f"sitk{rng.choice(names)}"
    if "normalize" in setting:
        setting |= {"normalizeScale": 100, "binWidth": 10}
        if rng.random() < 0.5:
            setting["removeOutliers"] = 2
    if "resegmentRange" in setting:
        mode = str(rng.choice(["absolute", "relative", "sigma"]))
        ranges = {"absolute": [[0, 150], [-50]], "relative": [[0.1], [0.05, 0.9]],
                  "sigma": [[-2, 2], [-1.5]]}[mode]
        setting |= {"resegmentMode": mode, "resegmentRange": ranges[rng.integers(2)]}
    return setting


def _random_images(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    wavelets = ["coif1", "haar", "db3", "sym4", "bior2.2", "rbio1.3"]
    options: dict[str, dict[str, Any]] = {
        "Original": {},
        "Square": {"binWidth": 5},
        "SquareRoot": {},
        "Logarithm": {"binCount": 16},
        "Exponential": {"binWidth": 1.5},
        "Gradient": {"gradientUseSpacing": bool(rng.random() < 0.5), "binWidth": 15},
        "LoG": {"sigma": [1.0, 2.5][: rng.integers(1, 3)], "binWidth": 20},
        "Wavelet": {
            "wavelet": str(rng.choice(wavelets)),
            "level": int(rng.integers(1, 3)),
            "start_level": int(rng.integers(0, 2)),
            "binWidth": 20,
        },
    }
    names = rng.choice(list(options), rng.integers(1, 4), replace=False)
    return {str(name): options[str(name)] for name in names}


def worst_differences(
    n: int, images: Sequence[Case] = ()
) -> dict[str, tuple[float, str, int]]:
    """Worst difference by class and by setting: (difference, feature, number of values)."""
    worst: dict[str, tuple[float, str, int]] = defaultdict(lambda: (0.0, "", 0))
    for parameters, case in random_files(n, images=images):
        compared = differences(parameters, case)
        keys = [f"setting {name}" for name in parameters["setting"]]
        for name, difference in compared.items():
            image, feature_class, _ = name.split("_")
            for key in (f"class {feature_class}", f"image {image}", *keys):
                old, where, count = worst[key]
                larger = not difference <= old
                worst[key] = (difference if larger else old, name if larger else where, count + 1)
    return dict(sorted(worst.items()))


if __name__ == "__main__":
    real = patients(Path(sys.argv[2])) if len(sys.argv) > 2 else []
    for key, (difference, where, count) in worst_differences(int(sys.argv[1]), real).items():
        sys.stdout.write(f"{key:32} {count:8} values  {difference:8.1e}  {where}\n")
