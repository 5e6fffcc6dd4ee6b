"""`RadiomicsFeatures`: a transformer from a cohort to a table of radiomic features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.preprocessing.agreement import check_preparation, preparation_of
from survimg.radiomics.cache import HasLocation
from survimg.radiomics.case import CaseFeatures
from survimg.radiomics.engine_parameters import ParameterSettings, check_alone, parameters_of
from survimg.radiomics.engines import ENGINES, Engine, load_engine
from survimg.radiomics.extraction import AnySettings, Extraction, voxel_sizes, warn_of_few_levels
from survimg.radiomics.ibsi.settings import IBSISettings, configure
from survimg.radiomics.names import DEFAULT_BIN_COUNT, checked_bins, native_settings
from survimg.radiomics.parameters import (
    ParameterSource,
    parameter_content,
    parameters_by_channel,
)
from survimg.radiomics.regions import (
    CONTROLS,
    SOFT_TISSUE_HU,
    PredictsMasks,
    check_margin,
    check_mask_source,
    check_measured_on,
    check_shell_hu,
    hides_hu,
    measured_voxels,
    region_mask,
    removed_part,
)

__all__ = ["DEFAULT_BIN_COUNT", "RadiomicsFeatures"]

class RadiomicsFeatures(TransformerMixin, BaseEstimator):
    """Radiomic features of the tumour: 1456 numbers for PET/CT, an ordinary scikit-learn step.

    By default the set of Meng et al. [1]_: 19 first-order, 24 GLCM, 16 GLRLM, 16 GLSZM and 5 NGTDM
    features of the original image and of its 8 undecimated coif1 wavelet bands for each modality,
    and 16 of shape. Definitions, names and values are those of PyRadiomics 3.0.1 [2]_; IBSI
    identifiers [3]_ are in ``ibsi_identifiers_``. Nothing is learnt from the patients: `fit` reads
    the names of the channels only, so that no fold leaks into another.

    Voxels are cast to float64 before filtering, whatever the engine.

    Parameters
    ----------
    engine : {"native", "pyradiomics"}, default="native"
        survimg's own implementation, or PyRadiomics where it is installed. Values agree to 1e-6.
    bin_width : float, optional
        Width of a grey level in the unit of the image; bins start at a multiple of it. At most one
        of `bin_width` and `bin_count`; without either, a count of 32 (see `DEFAULT_BIN_COUNT`).
        A width that gives fewer than 4 grey levels warns.
    bin_count : int, optional
        Number of equal grey levels between the minimum and maximum of each image in the region.
    features : {"deepmts-1456", "pyradiomics"}, sequence of class names, or mapping, optional
        "deepmts-1456" (default): the set of [1]_, 1456 features of a PET/CT; "pyradiomics": its
        default set (with GLDM, without the four features it calls deprecated); or classes out of
        "shape", "firstorder", "glcm", "glrlm", "glszm", "ngtdm" and "gldm", optionally mapped to
        feature names. With IBSI's standard: its families, all by default (see `IBSISettings`).
    image_types : sequence of {"original", "wavelet", "log"}, optional
        Which images the classes other than shape are computed on; ("original", "wavelet") by
        default. "wavelet" stands for the 8 bands of one undecimated coif1 level, "log" for one
        Laplacian of Gaussian per `log_sigma`. None with IBSI's standard, whose filters are in its
        `IBSISettings`.
    log_sigma : sequence of float, optional
        Widths of the Laplacian of Gaussian in mm; needed for, and only for, "log".
    params : path-like or dict, optional
        A parameter file of PyRadiomics, what it holds, or "fusion-1562": says which features and
        images there are and how voxels are treated before, instead of the five parameters above. A
        dict of channel -> such a file (``{"PET": "pet.yaml", "CT": "ct.yaml"}``) has one for each.
    shell_mm : float, optional
        Measure a peritumoral shell of this thickness in mm around the mask instead of the mask.
        The columns are prefixed (``shell-5mm_``), so that both can be joined.
    shell_hu : (low, high) or None, default=(-200, 300)
        Leave voxels of the shell out whose CT is outside these HU: air, lung and cortical bone.
        Applies where the cohort has a channel CT in HU (raw, finer, or prepared without normalising
        CT); None takes the whole shell. `Cohort.organs` are left out of the shell in any case.
        `shell_removed` says which part that is.
    mask_from : fitted estimator with ``predict_mask(X)``, optional
        Source of the masks instead of the cohort's, for example a fitted `DeepMTS`. Inside
        cross-validation wrap it in `sklearn.frozen.FrozenEstimator`, and mind that a network that
        has seen the test patients leaks.
    spacing : float or (z, y, x) triple, optional
        Voxel size in mm of data that brings none. Shape, TotalEnergy, "log" and `shell_mm` need a
        voxel size and raise without one.
    orientation : {"LPS", "as-stored"}, default="LPS"
        Order of the axes in which voxels are measured. Every image is turned to LPS when it is read
        (x to the patient's left, y to the back, z to the head), so that a feature does not depend
        on how a file happens to be stored. Wavelet bands are directed and the mesh of the surface
        is not symmetric: of a file that is not stored in LPS, these differ from PyRadiomics' on the
        file (up to 10 % and more in wavelet features). ``"as-stored"`` measures in the file's order
        instead, for parity with PyRadiomics on the file.
    standard : {"pyradiomics", "ibsi"} or IBSISettings, default="pyradiomics"
        Whose definitions and names: PyRadiomics', or those of IBSI [3]_ with its tags
        (``CT_cm_joint_max_3D_avg``). "ibsi" stands for the default values of `IBSISettings`.
    control : {"shuffled-roi", "shuffled-non-roi", "shuffled-full"} or None, default=None
        Measure a negative control: voxels of the region, all others, or all change places, alike in
        every channel and in a fixed way for each patient. A model that is as good on it does not
        live on texture.
    on_empty_mask : {"raise", "nan"}, default="raise"
        What to do with a patient whose region is missing, empty or too small to measure (fewer than
        three voxels, voxels along one line, or, for shape, voxels whose surface encloses no
        volume): raise an error that names the patient, or return a row of NaN.
    memory : path-like or joblib.Memory, optional
        Folder in which the features of each case are kept, keyed by the content of the case, the
        settings and the engine's version, so that folds and further runs share the work.
    n_jobs : int, optional
        Patients computed at the same time (threads for the native engine, processes for
        PyRadiomics); None means 1 unless in a `joblib.parallel_config` context.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    channel_names_in_ : tuple of str
    measured_on_ : {"finer voxels", "cohort's voxels"}
        Which voxels: `Cohort.finer` where the cohort has one, unless `mask_from` predicts masks.
    preparation_in_, voxels_in_ : dict or None
        How the cohort of `fit`, and the voxels that are measured, were prepared; voxels that were
        prepared otherwise are refused.
    n_features_out_ : int
    ibsi_identifiers_ : dict
        IBSI identifier of every output column, None where IBSI has no such feature.

    Notes
    -----
    Documented values: a region of one grey level has GLCM Correlation and MCC 1, Imc1 and Imc2 0,
    NGTDM Coarseness 1e6 and Contrast, Busyness and Strength 0, Skewness and Kurtosis 0, as in
    PyRadiomics. GLCM features of a region without two neighbouring voxels are NaN, GLRLM features
    of one without two voxels on a line too. Features of a modality that a patient lacks
    (``Cohort.present``) are NaN. Voxels that are not finite, in the region or within reach of a
    filter around it, raise a ValueError.

    References
    ----------
    .. [1] Meng M. et al., "DeepMTS: Deep Multi-Task Learning for Survival Prediction in Patients
       With Advanced Nasopharyngeal Carcinoma Using Pretreatment PET/CT", IEEE J Biomed Health
       Inform 26:4497-4507, 2022.
    .. [2] van Griethuysen J.J.M. et al., "Computational Radiomics System to Decode the Radiographic
       Phenotype", Cancer Res 77:e104-e107, 2017.
    .. [3] Zwanenburg A. et al., "The Image Biomarker Standardization Initiative", Radiology
       295:328-338, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from survimg.radiomics import RadiomicsFeatures
    >>> volumes = np.random.default_rng(0).normal(size=(2, 1, 8, 8, 8)).astype("float32")
    >>> masks = np.zeros((2, 8, 8, 8), dtype="uint8")
    >>> masks[:, 2:6, 2:6, 2:6] = 1
    >>> extractor = RadiomicsFeatures(
    ...     features=("firstorder",), image_types=("original",), spacing=1
    ... )
    >>> extractor.fit_transform(volumes, masks=masks).shape
    (2, 18)
    """

    # With metadata routing on, scikit-learn slices the masks of plain arrays along with them.
    __metadata_request__fit = {"masks": True}  # noqa: RUF012
    __metadata_request__transform = {"masks": True}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "engine": [StrOptions(set(ENGINES))],
        "bin_width": [Interval(Real, 0, None, closed="neither"), None],
        "bin_count": [Interval(Integral, 2, None, closed="left"), None],
        "image_types": ["array-like", None],
        "log_sigma": ["array-like", None],
        "shell_mm": [Interval(Real, 0, None, closed="neither"), None],
        "shell_hu": ["array-like", None],
        "orientation": [StrOptions({"LPS", "as-stored"})],
        "standard": [StrOptions({"pyradiomics", "ibsi"}), IBSISettings],
        "control": [StrOptions(set(CONTROLS)), None],
        "on_empty_mask": [StrOptions({"raise", "nan"})],
        "memory": [str, os.PathLike, HasMethods("cache"), None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        # Checked in fit, with messages of their own.
        "features": "no_validation",
        "params": "no_validation",
        "mask_from": "no_validation",
        "spacing": "no_validation",
    }

    def __init__(
        self,
        *,
        engine: str = "native",
        bin_width: float | None = None,
        bin_count: int | None = None,
        features: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None = None,
        image_types: Sequence[str] | None = None,
        log_sigma: Sequence[float] | None = None,
        params: ParameterSource = None,
        shell_mm: float | None = None,
        shell_hu: tuple[float, float] | None = SOFT_TISSUE_HU,
        mask_from: PredictsMasks | None = None,
        spacing: float | Sequence[float] | None = None,
        orientation: str = "LPS",
        standard: str | IBSISettings = "pyradiomics",
        control: str | None = None,
        on_empty_mask: str = "raise",
        memory: str | os.PathLike[str] | HasLocation | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.engine = engine
        self.bin_width = bin_width
        self.bin_count = bin_count
        self.features = features
        self.image_types = image_types
        self.log_sigma = log_sigma
        self.params = params
        self.shell_mm = shell_mm
        self.shell_hu = shell_hu
        self.mask_from = mask_from
        self.spacing = spacing
        self.orientation = orientation
        self.standard = standard
        self.control = control
        self.on_empty_mask = on_empty_mask
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def from_params(cls, params: ParameterSource) -> RadiomicsFeatures:
        """Make the transformer that a parameter file of PyRadiomics describes.

        The values are those of PyRadiomics on images in float64. ``set_params`` sets what such a
        file does not hold, such as `n_jobs`.

        Parameters
        ----------
        params : path-like, dict or None
            A file in YAML or JSON, what such a file holds, or None for PyRadiomics' defaults; or a
            dict of channel -> file. Files are read now; the transformer keeps what they hold.
            `label`, `label_channel`, `correctMask` and `geometryTolerance` have no effect: a
            cohort's masks are one region each, on the grid of its images.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            A key is unknown or a value not allowed; the message says what is.
        """
        return cls(params=parameter_content(params))

    def to_params(self) -> dict[str, dict[str, Any]]:
        """Return the content of a parameter file with which PyRadiomics computes the same features.

        Returns
        -------
        dict
            With the keys ``setting``, ``featureClass`` and ``imageType``, to be written as YAML or
            JSON. `orientation`, shells and masks have no place in it, nor has IBSI's standard.
        """
        if self.params is not None:
            return parameter_content(self.params)
        if self.standard != "pyradiomics":
            raise ValueError("Parameter files are PyRadiomics'; there is none for IBSI's standard.")
        choice = self.features, self.image_types, self.log_sigma
        settings = native_settings(*choice, *checked_bins(self.bin_width, self.bin_count))
        images = self.image_types or ("original", "wavelet")
        return parameters_of(dict(settings.features), images, settings)

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: object = None,  # noqa: ARG002
        *,
        masks: npt.ArrayLike | None = None,
    ) -> RadiomicsFeatures:
        """Check the parameters and read the channel names; learns nothing from the patients.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x) or (n, z, y, x)
        y : ignored
        masks : array-like of shape (n, z, y, x), optional
            Tumour masks of a plain array.

        Raises
        ------
        ValueError
            A parameter has a value that is not allowed.
        ImportError
            The engine is PyRadiomics, and it is not installed.
        """
        self._validate_params()
        input_cohort = as_cohort(X, masks=masks)
        cohort, self.measured_on_ = measured_voxels(input_cohort, self.mask_from)
        settings = self._settings(cohort.channel_names)
        self._load_engine()
        if self.mask_from is not None:
            check_mask_source(self.mask_from)
        self._spacings(cohort, settings)
        check_margin(cohort, self.measured_on_, self.shell_mm)
        if self.shell_mm is not None and self.shell_hu is not None and hides_hu(cohort):
            warnings.warn(
                "The channel CT was normalised when the cohort was prepared, so that air and bone "
                "cannot be left out of the shell. Prepare with features_spacing, or give "
                "shell_hu=None to measure the whole shell.",
                UserWarning,
                stacklevel=2,
            )
        self.channel_names_in_ = cohort.channel_names
        self.preparation_in_, self.voxels_in_ = preparation_of(input_cohort), preparation_of(cohort)
        prefix = "" if self.shell_mm is None else f"shell-{self.shell_mm:g}mm_"
        self.ibsi_identifiers_ = {
            prefix + column: identifier
            for column, identifier in settings.iter_columns(self.channel_names_in_)
        }
        self.n_features_out_ = len(self.ibsi_identifiers_)
        return self

    def transform(
        self, X: Cohort | npt.ArrayLike, *, masks: npt.ArrayLike | None = None
    ) -> pd.DataFrame:
        """Compute the features, or fetch them from the cache.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x) or (n, z, y, x)
        masks : array-like of shape (n, z, y, x), optional
            Tumour masks of a plain array.

        Returns
        -------
        DataFrame of shape (n, n_features), float64

        Raises
        ------
        ValueError
            Other channels or another preparation than in `fit`; a region that cannot be measured
            (``on_empty_mask="raise"``); voxels that are not finite; no voxel size.

        Warns
        -----
        UserWarning
            `bin_width` gives fewer than 4 grey levels.
        """
        check_is_fitted(self, "channel_names_in_")
        cohort, measured_on = measured_voxels(as_cohort(X, masks=masks), self.mask_from)
        if cohort.channel_names != self.channel_names_in_:
            raise ValueError(
                f"X has the channels {list(cohort.channel_names)}, but fit saw "
                f"{list(self.channel_names_in_)}."
            )
        name = type(self).__name__
        check_measured_on(measured_on, getattr(self, "measured_on_", None), name)
        check_preparation(cohort, getattr(self, "voxels_in_", self.preparation_in_), name)
        settings = self._settings(cohort.channel_names)
        cases = self._extract(cohort, settings)
        warn_of_few_levels(cohort, settings, cases)
        values = np.array([case.values for case in cases], dtype=np.float64)
        return pd.DataFrame(
            values.reshape(len(cohort), self.n_features_out_), columns=self.get_feature_names_out()
        )

    def fit_transform(
        self, X: Cohort | npt.ArrayLike, y: object = None, *, masks: npt.ArrayLike | None = None
    ) -> pd.DataFrame:
        """Fit, then transform the same patients.

        Parameters
        ----------
        X, y, masks
            As in `fit`.

        Returns
        -------
        DataFrame of shape (n, n_features), float64
        """
        return self.fit(X, y, masks=masks).transform(X, masks=masks)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:  # noqa: ARG002
        """Return the names of the columns, such as ``PET_wavelet-LLH_glcm_Contrast``.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (n_features_out,), str
        """
        check_is_fitted(self, "channel_names_in_")
        return np.array(list(self.ibsi_identifiers_), dtype=object)

    def shell_removed(self, X: Cohort | npt.ArrayLike) -> pd.Series:
        """Return which part of each patient's shell is air, bone or an excluded organ.

        Parameters
        ----------
        X : Cohort

        Returns
        -------
        Series of shape (n,), float64
            Between 0 and 1, by patient; NaN where there is no mask or no shell.

        Raises
        ------
        ValueError
            `shell_mm` is None.
        """
        check_is_fitted(self, "channel_names_in_")
        if self.shell_mm is None:
            raise ValueError("There is no shell: shell_mm is None.")
        cohort, _ = measured_voxels(as_cohort(X), self.mask_from)
        settings = self._settings(cohort.channel_names)
        spacings, parts = self._spacings(cohort, settings), np.full(len(cohort), np.nan)
        for i in range(len(cohort)):
            mask = region_mask(cohort, i, self.mask_from)
            if mask is not None:
                parts[i] = removed_part(cohort, i, mask, spacings[i], self.shell_mm, self.shell_hu)
        return pd.Series(parts, index=cohort.ids.tolist(), name="shell_removed")

    # ------------------------------------------------------------------ parameters

    def _load_engine(self) -> Engine:
        return load_engine(self.engine if self.params is None else "parameters", self.standard)

    def _settings(self, channels: Sequence[str]) -> AnySettings:
        check_shell_hu(self.shell_hu)
        if self.params is not None:
            check_alone(self.get_params(deep=False))
            return ParameterSettings(parameters_by_channel(self.params, channels))
        choice = self.features, self.image_types, self.log_sigma
        bins = checked_bins(self.bin_width, self.bin_count)
        if self.standard == "pyradiomics":
            return native_settings(*choice, *bins)
        return configure(self.standard, *choice, channels, *bins)

    def _spacings(self, cohort: Cohort, settings: AnySettings) -> np.ndarray:
        return voxel_sizes(cohort, self.spacing, settings, shell=self.shell_mm is not None)

    def _extract(self, cohort: Cohort, settings: AnySettings) -> list[CaseFeatures]:
        extraction = Extraction(
            engine=self._load_engine(),
            settings=settings,
            shell_mm=self.shell_mm,
            shell_hu=None if self.shell_mm is None else self.shell_hu,
            mask_from=self.mask_from,
            as_stored=self.orientation == "as-stored",
            control=self.control,
            refuse_empty=self.on_empty_mask == "raise",
        )
        spacings = self._spacings(cohort, settings)
        return extraction.run(cohort, spacings, self.memory, self.n_jobs, self.verbose)
