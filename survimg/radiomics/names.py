"""Feature names, their IBSI identifiers, and the feature sets: plain data and plain functions.

Names are those of PyRadiomics 3.0.1 (van Griethuysen et al., Cancer Res 77:e104, 2017), so that
tables made with either engine, or with PyRadiomics itself, line up. Identifiers are those of the
Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology 295:328, 2020, and the IBSI
reference manual); a feature without an IBSI counterpart has None.

Deviations of PyRadiomics' definitions from IBSI's, kept here because the names are PyRadiomics':
``Kurtosis`` is not the excess kurtosis (IBSI's IPH6 is 3 lower); the axis lengths divide by the
number of voxels n (IBSI's TDIC, P9VJ and 7J51 divide by n - 1, so are sqrt(n / (n - 1)) longer);
bins of fixed width start at a multiple of the width instead of at the minimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from survimg.radiomics.texture import TextureDefinition

__all__ = [
    "DEFAULT_BIN_COUNT",
    "FEATURE_SETS",
    "IBSI_IDENTIFIERS",
    "REMOVED_FEATURES",
    "SHAPE_2D_FEATURES",
    "WAVELET_BANDS",
    "ExtractionSettings",
    "checked_bins",
    "filtered_images",
    "native_settings",
    "resolve_feature_set",
]

#: Bands of one undecimated decomposition level, letters in the order x, y, z, as PyRadiomics
#: names and orders them.
WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")

_RUN_AND_ZONE_IDS = {
    "glrlm": "22OV W4KF R5YN OVBL W92Y IC23 9ZK5 8CE5 SXLW HJ9O V3SW G3QZ HTZT GD3A IVPO 3KUM",
    "glszm": "5QRC 48P8 JNSA Y1RO 4JP3 VB3A P30P BYLV 3NSA GU8N XMSY 5GN9 5RAI HW1V YH51 J17V",
}


def _size_matrix_names(size: str, sizes: str, short: str, long: str, unit: str) -> tuple[str, ...]:
    return (
        f"{short}{unit}Emphasis",
        f"{long}{unit}Emphasis",
        "GrayLevelNonUniformity",
        "GrayLevelNonUniformityNormalized",
        f"{sizes}NonUniformity",
        f"{sizes}NonUniformityNormalized",
        f"{size}Percentage",
        "GrayLevelVariance",
        f"{size}Variance",
        f"{size}Entropy",
        f"LowGrayLevel{size}Emphasis",
        f"HighGrayLevel{size}Emphasis",
        f"{short}{unit}LowGrayLevelEmphasis",
        f"{short}{unit}HighGrayLevelEmphasis",
        f"{long}{unit}LowGrayLevelEmphasis",
        f"{long}{unit}HighGrayLevelEmphasis",
    )


#: IBSI identifier of every feature, by class and name; the order is that of the output columns.
IBSI_IDENTIFIERS: dict[str, dict[str, str | None]] = {
    "shape": {
        "MeshVolume": "RNU0",
        "VoxelVolume": "YEKZ",
        "SurfaceArea": "C0JK",
        "SurfaceVolumeRatio": "2PR5",
        "Sphericity": "QCFX",
        "Compactness1": "SKGS",
        "Compactness2": "BQWJ",
        "SphericalDisproportion": "KRCK",
        "Maximum3DDiameter": "L0JK",
        "Maximum2DDiameterSlice": None,
        "Maximum2DDiameterColumn": None,
        "Maximum2DDiameterRow": None,
        "MajorAxisLength": "TDIC",
        "MinorAxisLength": "P9VJ",
        "LeastAxisLength": "7J51",
        "Elongation": "Q3CK",
        "Flatness": "N17B",
    },
    "firstorder": {
        "Energy": "N8CA",
        "TotalEnergy": None,
        "Entropy": "TLU2",
        "Minimum": "1GSF",
        "10Percentile": "QG58",
        "90Percentile": "8DWT",
        "Maximum": "84IY",
        "Mean": "Q4LE",
        "Median": "Y12H",
        "InterquartileRange": "SALO",
        "Range": "2OJQ",
        "MeanAbsoluteDeviation": "4FUA",
        "RobustMeanAbsoluteDeviation": "1128",
        "RootMeanSquared": "5ZWQ",
        "StandardDeviation": None,
        "Skewness": "KE2A",
        "Kurtosis": "IPH6",
        "Variance": "ECT3",
        "Uniformity": "BJ5W",
    },
    "glcm": {
        "Autocorrelation": "QWB0",
        "JointAverage": "60VM",
        "ClusterProminence": "AE86",
        "ClusterShade": "7NFM",
        "ClusterTendency": "DG8W",
        "Contrast": "ACUI",
        "Correlation": "NI2N",
        "DifferenceAverage": "TF7R",
        "DifferenceEntropy": "NTRS",
        "DifferenceVariance": "D3YU",
        "JointEnergy": "8ZQL",
        "JointEntropy": "TU9B",
        "Imc1": "R8DG",
        "Imc2": "JN9H",
        "Idm": "WF0Z",
        "MCC": None,
        "Idmn": "1QCO",
        "Id": "IB1Z",
        "Idn": "NDRX",
        "InverseVariance": "E8JP",
        "MaximumProbability": "GYBY",
        "SumAverage": "ZGXS",
        "SumEntropy": "P6QZ",
        "SumSquares": "UR99",
    },
    "glrlm": dict(
        zip(
            _size_matrix_names("Run", "RunLength", "Short", "Long", "Run"),
            _RUN_AND_ZONE_IDS["glrlm"].split(),
            strict=True,
        )
    ),
    "glszm": dict(
        zip(
            _size_matrix_names("Zone", "SizeZone", "Small", "Large", "Area"),
            _RUN_AND_ZONE_IDS["glszm"].split(),
            strict=True,
        )
    ),
    "ngtdm": {
        "Coarseness": "QCDE",
        "Contrast": "65HE",
        "Busyness": "NQ30",
        "Complexity": "HDEZ",
        "Strength": "1X9X",
    },
    "gldm": {
        "SmallDependenceEmphasis": "SODN",
        "LargeDependenceEmphasis": "IMOQ",
        "GrayLevelNonUniformity": "FP8K",
        "DependenceNonUniformity": "Z87G",
        "DependenceNonUniformityNormalized": "OKJI",
        "GrayLevelVariance": "1PFV",
        "DependenceVariance": "DNX2",
        "DependenceEntropy": "FCBV",
        "LowGrayLevelEmphasis": "TL9H",
        "HighGrayLevelEmphasis": "OAE7",
        "SmallDependenceLowGrayLevelEmphasis": "EQ3F",
        "SmallDependenceHighGrayLevelEmphasis": "JA6D",
        "LargeDependenceLowGrayLevelEmphasis": "NBZI",
        "LargeDependenceHighGrayLevelEmphasis": "9QMG",
    },
}

# What PyRadiomics marks deprecated: computable by name, not part of its default set.
_DEPRECATED = {
    "shape": {"Compactness1", "Compactness2", "SphericalDisproportion"},
    "firstorder": {"StandardDeviation"},
}


#: Features of class shape2D, which has no IBSI counterpart.
SHAPE_2D_FEATURES = (
    "MeshSurface",
    "PixelSurface",
    "Perimeter",
    "PerimeterSurfaceRatio",
    "Sphericity",
    "SphericalDisproportion",
    "MaximumDiameter",
    "MajorAxisLength",
    "MinorAxisLength",
    "Elongation",
)

#: Names that PyRadiomics accepts and computes no more, and the feature that has their value.
REMOVED_FEATURES = {
    "glcm": {
        "Dissimilarity": "DifferenceAverage",
        "Homogeneity1": "Id",
        "Homogeneity2": "Idm",
        "SumVariance": "ClusterTendency",
    },
    "gldm": {
        "DependencePercentage": "1",
        "GrayLevelNonUniformityNormalized": "firstorder_Uniformity",
    },
}


def _default_names(feature_class: str) -> tuple[str, ...]:
    hidden = _DEPRECATED.get(feature_class, set())
    return tuple(name for name in IBSI_IDENTIFIERS[feature_class] if name not in hidden)


#: Named sets: class -> features. ``"deepmts-1456"`` is that of Meng et al. (IEEE JBHI 26:4497,
#: 2022): 19 + 24 + 16 + 16 + 5 = 80 features per image and 16 of shape, which includes the four
#: that PyRadiomics calls deprecated. ``"pyradiomics"`` is PyRadiomics' own default (93 and 14).
FEATURE_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "deepmts-1456": {
        "shape": tuple(name for name in IBSI_IDENTIFIERS["shape"] if name != "VoxelVolume"),
        "firstorder": tuple(IBSI_IDENTIFIERS["firstorder"]),
        "glcm": tuple(IBSI_IDENTIFIERS["glcm"]),
        "glrlm": tuple(IBSI_IDENTIFIERS["glrlm"]),
        "glszm": tuple(IBSI_IDENTIFIERS["glszm"]),
        "ngtdm": tuple(IBSI_IDENTIFIERS["ngtdm"]),
    },
    "pyradiomics": {name: _default_names(name) for name in IBSI_IDENTIFIERS},
}


def resolve_feature_set(
    features: str | Sequence[str] | Mapping[str, Sequence[str] | None],
) -> dict[str, tuple[str, ...]]:
    """Turn the `features` argument into class -> feature names, in the order of the columns.

    Parameters
    ----------
    features : {"deepmts-1456", "pyradiomics"}, sequence of class names, or mapping
        A class named alone, or mapped to None, stands for PyRadiomics' default features of it.

    Raises
    ------
    ValueError
        An unknown set, class or feature, or nothing selected.
    """
    if isinstance(features, str):
        if features not in FEATURE_SETS:
            raise ValueError(
                f"features={features!r} is no feature set; choose one of {sorted(FEATURE_SETS)}, "
                f"or a sequence of classes out of {list(IBSI_IDENTIFIERS)}."
            )
        return dict(FEATURE_SETS[features])
    choices = features if isinstance(features, Mapping) else dict.fromkeys(features)
    unknown = [name for name in choices if name not in IBSI_IDENTIFIERS]
    if unknown or not choices:
        raise ValueError(
            f"features must select at least one of the classes {list(IBSI_IDENTIFIERS)}; got "
            f"{unknown or 'none'}."
        )
    feature_set = {}
    for feature_class, identifiers in IBSI_IDENTIFIERS.items():
        if feature_class not in choices:
            continue
        choice = choices[feature_class]
        names = _default_names(feature_class) if choice is None else tuple(choice)
        wrong = [name for name in names if name not in identifiers]
        if wrong or not names:
            raise ValueError(
                f"{wrong or 'No feature'} is not a feature of class {feature_class!r}; it has "
                f"{list(identifiers)}."
            )
        feature_set[feature_class] = names
    return feature_set


def filtered_images(
    image_types: str | Sequence[str] | None, sigma: tuple[float, ...]
) -> tuple[str, ...]:
    """Return the names of the images that are measured.

    Parameters
    ----------
    image_types : sequence of {"original", "wavelet", "log"} or None
        None stands for the first two.
    sigma : tuple of float
        Widths of the Laplacian of Gaussian in mm.

    Raises
    ------
    ValueError
        Other image types, or widths without "log" and the reverse.
    """
    images = {
        "original": ["original"],
        "wavelet": [f"wavelet-{band}" for band in WAVELET_BANDS],
        "log": [f"log-sigma-{str(s).replace('.', '-')}-mm-3D" for s in sigma],
    }
    kinds = ("original", "wavelet") if image_types is None else tuple(image_types)
    if isinstance(image_types, str) or not kinds or not set(kinds) <= set(images):
        raise ValueError(f"image_types must be a sequence out of {list(images)}; got {kinds!r}.")
    if ("log" in kinds) != bool(sigma) or any(not s > 0 for s in sigma):
        raise ValueError(
            "log_sigma must hold positive widths in mm when, and only when, image_types holds "
            f"'log'; got log_sigma={sigma!r} and image_types={kinds!r}."
        )
    return tuple(name for kind in dict.fromkeys(kinds) for name in images[kind])


#: Grey levels when neither `bin_width` nor `bin_count` is given. A count, because no width suits
#: SUV, HU, z-scores and wavelet bands at once. 32 is that of IBSI's reference configurations B and
#: D, and leaves a tumour of 1000 voxels about one pair per cell of its co-occurrence matrices.
DEFAULT_BIN_COUNT = 32


def checked_bins(width: float | None, count: int | None) -> tuple[float | None, int | None]:
    """Return the width of grey levels or, without one, their number.

    Raises
    ------
    ValueError
        Both were given.
    """
    if width is not None and count is not None:
        raise ValueError(
            f"Give bin_width or bin_count, not both; got {width!r} and {count!r}. Without either, "
            f"{DEFAULT_BIN_COUNT} bins are used."
        )
    if width is not None:
        return float(width), None
    return None, int(DEFAULT_BIN_COUNT if count is None else count)


@dataclass(frozen=True)
class ExtractionSettings:
    """What is computed from one case; equal settings give equal columns in both engines.

    Parameters
    ----------
    features : tuple of (class, feature names)
    image_types : tuple of str
        Names of the original and filtered images, for example ``"wavelet-LLH"``.
    log_sigma : tuple of float
        Widths of the Laplacian of Gaussian in mm, one per ``"log-sigma-..."`` image.
    bin_width : float or None
    bin_count : int or None
        Exactly one of the two is set.
    texture : TextureDefinition
        How the matrices of textures are made.
    """

    features: tuple[tuple[str, tuple[str, ...]], ...]
    image_types: tuple[str, ...]
    log_sigma: tuple[float, ...]
    bin_width: float | None
    bin_count: int | None
    texture: TextureDefinition

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names of the shape features, computed once per case."""
        return dict(self.features).get("shape", ())

    @property
    def image_features(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Classes and features computed on every image of every channel."""
        return tuple((name, names) for name, names in self.features if name != "shape")

    @property
    def n_per_image(self) -> int:
        """Number of features of one image."""
        return sum(len(names) for _, names in self.image_features)

    @property
    def filtered_image_types(self) -> tuple[str, ...]:
        """Image types to compute; none when only shape is asked for."""
        return self.image_types if self.image_features else ()

    @property
    def needs_spacing(self) -> dict[str, bool]:
        """What needs a voxel size, by name."""
        return {
            "features 'shape'": bool(self.shape_names),
            "feature 'firstorder_TotalEnergy'": "TotalEnergy"
            in dict(self.features).get("firstorder", ()),
            "image_types 'log'": bool(self.log_sigma),
        }

    def iter_columns(self, channels: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Yield (column name, IBSI identifier) in the order of the values of a case.

        Parameters
        ----------
        channels : sequence of str
        """
        for name in self.shape_names:
            yield f"original_shape_{name}", IBSI_IDENTIFIERS["shape"][name]
        for channel in channels:
            for image_type in self.filtered_image_types:
                for feature_class, names in self.image_features:
                    for name in names:
                        yield (
                            f"{channel}_{image_type}_{feature_class}_{name}",
                            IBSI_IDENTIFIERS[feature_class][name],
                        )


def native_settings(
    features: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None,
    image_types: Sequence[str] | None,
    log_sigma: Sequence[float] | None,
    bin_width: float | None,
    bin_count: int | None,
) -> ExtractionSettings:
    """Return checked settings; None stands for the set and the images of Meng et al.

    Parameters
    ----------
    features, image_types, log_sigma, bin_width, bin_count
        As in `RadiomicsFeatures`.

    Raises
    ------
    ValueError
        A feature or an image is unknown, or widths do not go with the images.
    """
    sigma = tuple(float(s) for s in log_sigma or ())
    feature_set = resolve_feature_set("deepmts-1456" if features is None else features)
    return ExtractionSettings(
        features=tuple(feature_set.items()),
        image_types=filtered_images(image_types, sigma),
        log_sigma=sigma,
        bin_width=bin_width,
        bin_count=bin_count,
        texture=TextureDefinition(),
    )
