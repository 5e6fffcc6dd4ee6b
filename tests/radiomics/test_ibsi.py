"""The IBSI digital phantom: reference values of Zwanenburg et al. (2020), and the identifiers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg import Cohort
from survimg.features import PETParameters
from survimg.radiomics import RadiomicsFeatures
from survimg.radiomics.names import FEATURE_SETS, IBSI_IDENTIFIERS

_SIZES = (
    "sze lze glnu glnu_norm zsnu zsnu_norm z_perc gl_var zs_var zs_entr "
    "lgze hgze szlge szhge lzlge lzhge"
)
_RUNS = (
    "sre lre glnu glnu_norm rlnu rlnu_norm r_perc gl_var rl_var rl_entr "
    "lgre hgre srlge srhge lrlge lrhge"
)
_DEPENDENCES = "lde hde glnu dcnu dcnu_norm gl_var dc_var dc_entr lgce hgce ldlge ldhge hdlge hdhge"
_PAIRS = {
    "Autocorrelation": "auto_corr", "JointAverage": "joint_avg", "ClusterProminence": "clust_prom",
    "ClusterShade": "clust_shade", "ClusterTendency": "clust_tend", "Contrast": "contrast",
    "Correlation": "corr", "DifferenceAverage": "diff_avg", "DifferenceEntropy": "diff_entr",
    "DifferenceVariance": "diff_var", "JointEnergy": "energy", "JointEntropy": "joint_entr",
    "Imc1": "info_corr1", "Imc2": "info_corr2", "Idm": "inv_diff_mom",
    "Idmn": "inv_diff_mom_norm", "Id": "inv_diff", "Idn": "inv_diff_norm",
    "InverseVariance": "inv_var", "MaximumProbability": "joint_max", "SumAverage": "sum_avg",
    "SumEntropy": "sum_entr", "SumSquares": "joint_var",
}  # fmt: skip
_FIRST_ORDER = {
    "Energy": "stat_energy", "Entropy": "ih_entropy", "Minimum": "stat_min",
    "10Percentile": "stat_p10", "90Percentile": "stat_p90", "Maximum": "stat_max",
    "Mean": "stat_mean", "Median": "stat_median", "InterquartileRange": "stat_iqr",
    "Range": "stat_range", "MeanAbsoluteDeviation": "stat_mad",
    "RobustMeanAbsoluteDeviation": "stat_rmad", "RootMeanSquared": "stat_rms",
    "Skewness": "stat_skew", "Kurtosis": "stat_kurt", "Variance": "stat_var",
    "Uniformity": "ih_uniformity",
}  # fmt: skip
_SHAPE = {
    "MeshVolume": "volume", "VoxelVolume": "vol_approx", "SurfaceArea": "area_mesh",
    "SurfaceVolumeRatio": "av", "Sphericity": "sphericity", "Compactness1": "comp_1",
    "Compactness2": "comp_2", "SphericalDisproportion": "sph_dispr", "Maximum3DDiameter": "diam",
    "MajorAxisLength": "pca_maj_axis", "MinorAxisLength": "pca_min_axis",
    "LeastAxisLength": "pca_least_axis", "Elongation": "pca_elongation",
    "Flatness": "pca_flatness",
}  # fmt: skip


def ibsi_tags() -> dict[str, str]:
    tags = {f"original_shape_{name}": f"morph_{tag}" for name, tag in _SHAPE.items()}
    tags |= {f"CT_original_firstorder_{name}": tag for name, tag in _FIRST_ORDER.items()}
    tags |= {f"CT_original_glcm_{name}": f"cm_{tag}_3D_avg" for name, tag in _PAIRS.items()}
    for feature_class, prefix, suffix, listed in (
        ("glrlm", "rlm", "3D_avg", _RUNS),
        ("glszm", "szm", "3D", _SIZES),
        ("gldm", "ngl", "3D", _DEPENDENCES),
        ("ngtdm", "ngt", "3D", "coarseness contrast busyness complexity strength"),
    ):
        names = IBSI_IDENTIFIERS[feature_class]
        for name, tag in zip(names, listed.split(), strict=True):
            tags[f"CT_original_{feature_class}_{name}"] = f"{prefix}_{tag}_{suffix}"
    return tags


@pytest.fixture(scope="module")
def phantom(shared_dir: Path) -> Cohort:
    folder = shared_dir / "data" / "ibsi_digital_phantom" / "nifti"
    image = sitk.ReadImage(str(folder / "image" / "phantom.nii.gz"))
    mask = sitk.ReadImage(str(folder / "mask" / "mask.nii.gz"))
    return Cohort(
        sitk.GetArrayFromImage(image)[None, None].astype(np.float32),
        masks=(sitk.GetArrayFromImage(mask)[None] > 0).astype(np.uint8),
        spacing=image.GetSpacing()[::-1],
        channel_names=("CT",),
    )


@pytest.fixture(scope="module")
def references(shared_dir: Path) -> dict[str, tuple[str, float]]:
    path = shared_dir / "data" / "ibsi_digital_phantom" / "ibsi_1_dig_phantom.csv"
    with path.open(newline="") as file:
        return {
            row["tag"]: (row["reference value"], float(row["tolerance"] or 0))
            for row in csv.DictReader(file, delimiter=";")
        }


def half_unit(text: str) -> float:
    """Half a unit of the last digit that the reference prints: values have 3 digits."""
    if float(text) == 0:
        return 0.0005
    digits = max(2 - int(np.floor(np.log10(abs(float(text))))), 0)
    return 0.5 * 10.0**-digits if float(text) < 1000 else 5.0


def as_ibsi_defines(column: str, value: float, n_voxels: int) -> float:
    # PyRadiomics' definitions, which the names promise, differ here: see survimg.radiomics.names.
    if column.endswith("Kurtosis"):
        return value - 3
    if column.endswith("AxisLength"):
        return value * np.sqrt(n_voxels / (n_voxels - 1))
    return value


def test_every_feature_with_an_identifier_is_within_tolerance(
    phantom: Cohort, references: dict[str, tuple[str, float]]
) -> None:
    n_voxels = int(np.count_nonzero(phantom.mask(0)))
    everything = {name: tuple(names) for name, names in IBSI_IDENTIFIERS.items()}
    extractor = RadiomicsFeatures(bin_width=1, features=everything, image_types=("original",))
    found = extractor.fit_transform(phantom).iloc[0]
    tags = ibsi_tags()
    identified = {c for c, identifier in extractor.ibsi_identifiers_.items() if identifier}
    assert set(tags) == identified
    wrong = []
    for column, tag in tags.items():
        text, tolerance = references[tag]
        value = as_ibsi_defines(column, found[column], n_voxels)
        if not abs(value - float(text)) <= tolerance + half_unit(text):
            wrong.append((column, value, text, tolerance))
    assert not wrong


def test_peak_of_the_phantom(phantom: Cohort, references: dict[str, tuple[str, float]]) -> None:
    found = PETParameters(channel="CT").fit_transform(phantom)
    assert found["SUVpeak"][0] == pytest.approx(float(references["loc_peak_glob"][0]), abs=0.05)


def test_identifiers_are_those_of_the_dicom_standard() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["IBSI"]
    codes = {code for values in concepts.values() for code in values}
    # DICOM does not list the codes of intensity statistics (IBSI 3.3).
    for feature_class in set(IBSI_IDENTIFIERS) - {"firstorder"}:
        for name, identifier in IBSI_IDENTIFIERS[feature_class].items():
            assert identifier is None or identifier in codes, (feature_class, name)


def test_no_identifier_twice() -> None:
    used = [i for names in IBSI_IDENTIFIERS.values() for i in names.values() if i is not None]
    assert len(used) == len(set(used))


def test_sizes_of_the_paper_set() -> None:
    sizes = {name: len(names) for name, names in FEATURE_SETS["deepmts-1456"].items()}
    assert sizes == {
        "shape": 16, "firstorder": 19, "glcm": 24, "glrlm": 16, "glszm": 16, "ngtdm": 5
    }  # fmt: skip
