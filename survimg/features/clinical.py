"""Features that need no image: encoded clinical columns and the volume of the tumour."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.columns import (
    NOTHING,
    Column,
    as_frame,
    bring_levels,
    bring_numbers,
    declare,
    learn_column,
)
from survimg.preprocessing.agreement import check_preparation, preparation_of
from survimg.preprocessing.patient_space import volume_factors
from survimg.radiomics.regions import check_measured_on, measured_voxels

__all__ = ["ClinicalFeatures", "TumourVolume"]


class ClinicalFeatures(TransformerMixin, BaseEstimator):
    """Encode the clinical columns of a cohort as numbers, as learned from the training patients.

    The kind of a column is learned in `fit` (see `survimg.columns`), and values are brought to it
    later: in a column with the stages 1, 2, 3 and 4a, ``2``, ``2.0`` and ``"2"`` are the level 2
    also where a file holds no 4a.

    - *Numeric* columns keep their values; missing ones get the training median, and a column
      ``missingindicator_<name>`` marks them when any is missing among the training patients.
      Standardising is left to the models.
    - *Categorical* and *boolean* columns become one 0/1 column per level, named
      ``<name>_<level>``. The reference is the first training level (in the order of a pandas
      categorical, else sorted; False) and has no column. A missing value is replaced by the most
      frequent level. A level that was not seen in training is encoded like the reference, with a
      warning; one that differs from a known level by case or blanks alone is taken for it, with a
      warning.
    - Columns that are constant over the training patients are dropped: they carry nothing and make
      a Cox model singular.
    - A column without a value in training is not used, whatever it holds later (a warning).
    - Dates, identifiers, free text, numbers with units and decimal numbers among text are refused.

    Parameters
    ----------
    clinical_columns : sequence of str, optional
        Clinical columns to use; by default all of the cohort.
    kinds : mapping of str to str, optional
        Columns whose kind is not to be guessed: ``{"grade": "categorical"}``; also ``"numeric"``
        and ``"boolean"``.

    Attributes
    ----------
    columns_ : list of str
        The clinical columns that were read.
    kinds_ : dict of str to str
        Kind of every column.
    levels_ : dict of str to list of str
        Levels of every column that is not numeric.
    references_ : dict of str to str
        Reference level of every column that is not numeric.
    feature_names_out_ : ndarray of shape (n_columns_out,), str
        Names of the encoded columns.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from survimg import Cohort
    >>> clinical = pd.DataFrame({"age": [51.0, 60.0, 72.0], "sex": ["F", "M", "F"]})
    >>> cohort = Cohort(np.zeros((3, 1, 4, 4, 4), dtype="float32"), clinical=clinical)
    >>> ClinicalFeatures().fit_transform(cohort)
        age  sex_M
    0  51.0    0.0
    1  60.0    1.0
    2  72.0    0.0
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "clinical_columns": "no_validation",  # checked against the table in fit
        "kinds": "no_validation",
    }

    def __init__(
        self,
        *,
        clinical_columns: Sequence[str] | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self.clinical_columns = clinical_columns
        self.kinds = kinds

    def fit(self, X: Cohort | pd.DataFrame, y: Any = None) -> ClinicalFeatures:
        """Learn kinds, levels, medians and constant columns.

        Parameters
        ----------
        X : Cohort or DataFrame
            Training patients.
        y : ignored

        Warns
        -----
        UserWarning
            No column varies; see also `survimg.columns.learn_column`.

        Raises
        ------
        ValueError
            No clinical columns, unknown columns, columns that are no numbers, truth values or
            categories, infinite values, or names that would stand twice in the encoded table.
        """
        del y
        table, patients = _clinical_table(X), _patient_names(X)
        self.columns_ = _choose_columns(table, self.clinical_columns)
        table = declare(table[self.columns_], self.kinds, patients)
        learned = [learn_column(table[name], patients) for name in self.columns_]
        self.kinds_ = {column.name: column.kind for column in learned}
        self.levels_ = {c.name: list(c.levels) for c in learned if c.kind != "numeric"}
        self._spellings = {c.name: dict(c.spellings) for c in learned if c.spellings}
        numbers = {c.name: c.levels for c in learned if c.kind == "numeric"}
        self._binary = [name for name, levels in numbers.items() if len(levels) == 2]
        self._empty = [name for name, levels in numbers.items() if levels == NOTHING]
        self.references_ = {name: levels[0] for name, levels in self.levels_.items()}
        values = self._as_values(table, patients)
        has_values = values.notna().any()
        numeric = [n for n in self.columns_ if n not in self.levels_ and has_values[n]]
        _refuse_equal_names(values, numeric, self.levels_)
        self.encoder_ = _make_encoder(numeric, self.levels_)
        encoded = self.encoder_.fit_transform(values)
        varies = (encoded != encoded.iloc[0]).any()
        self.feature_names_out_ = encoded.columns[varies].to_numpy(dtype=object)
        if self.columns_ and not varies.any():
            warnings.warn(
                f"Every clinical column of {self.columns_} is constant over the {len(table)} "
                "training patients; none is used.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: Cohort | pd.DataFrame) -> pd.DataFrame:
        """Encode patients.

        Parameters
        ----------
        X : Cohort or DataFrame

        Returns
        -------
        DataFrame of shape (n, n_encoded), float64

        Raises
        ------
        ValueError
            A column of the training table is absent, or holds text where it held numbers.

        Warns
        -----
        UserWarning
            A level that was not seen in training, or is spelt otherwise.
        """
        check_is_fitted(self)
        table = _clinical_table(X)
        _choose_columns(table, self.columns_)
        values = self._as_values(table[self.columns_], _patient_names(X))
        return self.encoder_.transform(values)[list(self.feature_names_out_)]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns; `input_features` is ignored."""
        del input_features
        check_is_fitted(self)
        return self.feature_names_out_

    def _as_values(self, table: pd.DataFrame, patients: Sequence[str]) -> pd.DataFrame:
        """Numeric columns as float, all others as levels; missing values as NaN."""
        values = {}
        for column in self._learned():
            if column.kind == "numeric":
                values[column.name] = bring_numbers(table[column.name], column, patients)
            else:
                levels = bring_levels(table[column.name], column, patients)
                values[column.name] = levels.where(levels.notna(), np.nan)
        return pd.DataFrame(values, index=table.index)

    def _learned(self) -> list[Column]:
        binary: Sequence[str] = ()
        spellings: Mapping[str, Mapping[str, str]] = {}
        if not hasattr(self, "kinds_"):  # a model file of before kinds were kept
            levels = self.__dict__["_levels"]
            truths = [name for name in levels if set(levels[name]) <= {"False", "True"}]
            kinds = dict.fromkeys(self.__dict__["_numeric"], "numeric")
            kinds |= {n: "boolean" if n in truths else "categorical" for n in levels}
        else:
            levels, spellings = self.levels_, self._spellings
            kinds, binary = self.kinds_, self._binary
        levels = {**levels, **dict.fromkeys(binary, ("0", "1"))}
        levels |= dict.fromkeys(self.__dict__.get("_empty", ()), NOTHING)  # not in older files
        return [
            Column(name, kinds[name], tuple(levels.get(name, ())), spellings.get(name, {}))
            for name in self.columns_ if name in kinds
        ]


class TumourVolume(TransformerMixin, BaseEstimator):
    """Volume of the tumour mask, one column.

    Parameters
    ----------
    unit : {"ml", "voxels"}, default="ml"
        Millilitres of the patient need the cohort's spacing; what an affine registration changed is
        undone by the volume factor of its map (``Cohort.geometry``). Voxels compare patients only
        where all have the same spacing.
    log : bool, default=True
        Take the natural logarithm: tumour volumes are skewed, and hazard is closer to
        proportional in their logarithm.

    Attributes
    ----------
    channel_names_in_ : tuple of str
        Images of the training cohort, by whose grid masks are resampled in a preparation.
    measured_on_ : {"finer voxels", "cohort's voxels"}
        Which masks: those of `Cohort.finer` where the cohort has one (not for ``unit="voxels"``).
    preparation_in_, voxels_in_ : dict or None
        How the training cohort, and the voxels that were measured, were prepared; None where it
        does not say.

    Examples
    --------
    >>> import numpy as np
    >>> from survimg import Cohort
    >>> masks = np.zeros((2, 10, 10, 10), dtype="uint8")
    >>> masks[0, :5], masks[1] = 1, 1
    >>> cohort = Cohort(np.zeros((2, 1, 10, 10, 10), dtype="float32"), masks=masks, spacing=2.0)
    >>> TumourVolume(log=False).fit_transform(cohort)["tumour_volume_ml"].tolist()
    [4.0, 8.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "unit": [StrOptions({"ml", "voxels"})],
        "log": ["boolean"],
    }

    def __init__(self, *, unit: str = "ml", log: bool = True) -> None:
        self.unit = unit
        self.log = log

    def fit(self, X: Cohort, y: Any = None) -> TumourVolume:
        """Check the parameters, and remember how the cohort was prepared.

        Parameters
        ----------
        X : Cohort
        y : ignored
        """
        del y
        self._validate_params()
        _require_cohort(X)
        voxels, self.measured_on_ = self._voxels(X)
        self.channel_names_in_ = X.channel_names
        self.preparation_in_, self.voxels_in_ = preparation_of(X), preparation_of(voxels)
        return self

    def transform(self, X: Cohort) -> pd.DataFrame:
        """Measure the masks.

        Parameters
        ----------
        X : Cohort
            Every patient needs a mask that is not empty.

        Returns
        -------
        DataFrame of shape (n, 1)

        Raises
        ------
        LookupError
            A patient has no mask (named).
        ValueError
            An empty mask (the patient is named), no spacing where millilitres are asked for, or
            a cohort that was prepared otherwise than the one given to `fit`.
        """
        self._validate_params()
        _require_cohort(X)
        # Measuring needs no fit, and older model files know of no preparation.
        name = type(self).__name__
        X, measured_on = self._voxels(X)
        check_measured_on(measured_on, getattr(self, "measured_on_", None), name)
        preparation = getattr(self, "voxels_in_", getattr(self, "preparation_in_", None))
        check_preparation(X, preparation, name)
        voxels = np.array([np.count_nonzero(X.mask(i)) for i in range(len(X))], dtype=np.float64)
        if (voxels == 0).any():
            empty = X.ids[voxels == 0]
            raise ValueError(
                f"The tumour mask of {len(empty)} patient(s) is empty: {', '.join(empty[:5])}. "
                "A tumour volume needs at least one voxel; correct the masks or leave the patients "
                "out."
            )
        volume = voxels * self._unit_per_voxel(X)
        values = np.log(volume) if self.log else volume
        return pd.DataFrame(values[:, np.newaxis], columns=list(self.get_feature_names_out()))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of the column; `input_features` is ignored."""
        del input_features
        prefix = "log_" if self.log else ""
        return np.array([f"{prefix}tumour_volume_{self.unit}"], dtype=object)

    def _voxels(self, X: Cohort) -> tuple[Cohort, str]:
        # a number of voxels means something only on the grid that all patients share
        return (X, "cohort's voxels") if self.unit == "voxels" else measured_voxels(X)

    def _unit_per_voxel(self, X: Cohort) -> float | np.ndarray:
        if self.unit == "voxels":
            return 1.0
        if X.spacing is None:
            raise ValueError(
                "The cohort has no spacing, so tumour volumes in ml are unknown. Give spacing= "
                '(mm) to the Cohort, or count voxels with unit="voxels" if all share one grid.'
            )
        return X.spacing.prod(axis=1) / 1000.0 * volume_factors(X)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _require_cohort(X: Any) -> None:
    if not isinstance(X, Cohort):
        raise TypeError(
            "Tumour volumes are measured on the masks of a survimg.Cohort; got "
            f"{type(X).__name__}. Wrap arrays in Cohort(volumes, masks=masks, spacing=...)."
        )


def _clinical_table(X: Cohort | pd.DataFrame) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        return as_frame(X)
    if not isinstance(X, Cohort):
        raise TypeError(
            "Clinical columns are read from a survimg.Cohort or a DataFrame; got "
            f"{type(X).__name__}."
        )
    if X.clinical is None:
        raise ValueError(
            "The cohort has no clinical columns. Give clinical= to the Cohort (or clinical columns "
            "to the manifest), or use a model without clinical variables (clinical_columns=[])."
        )
    return X.clinical


def _patient_names(X: Cohort | pd.DataFrame) -> list[str]:
    return list(X.ids) if isinstance(X, Cohort) else [str(label) for label in X.index]


def _choose_columns(table: pd.DataFrame, columns: Sequence[str] | None) -> list[str]:
    if isinstance(columns, str):
        raise TypeError(
            f"clinical_columns must be a sequence of names; got the string {columns!r}."
        )
    if columns is None and table.shape[1] == 0:
        raise ValueError(
            "The cohort's clinical table has no columns; pass clinical_columns=[] to use none."
        )
    names = [str(name) for name in (table.columns if columns is None else columns)]
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise ValueError(
            f"No clinical column named {', '.join(map(repr, absent))}; there are "
            f"{', '.join(map(repr, table.columns))}."
        )
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"Clinical columns given more than once: {repeated}.")
    return names


def _refuse_equal_names(
    values: pd.DataFrame, numeric: Sequence[str], levels: Mapping[str, Sequence[str]]
) -> None:
    """Refuse columns of which two would have one name once they are encoded."""
    gaps = values.isna().any()
    sources = {name: f"the numeric column {name!r}" for name in numeric}
    more = [
        (f"missingindicator_{name}", f"the missing values of {name!r}")
        for name in numeric if gaps[name]
    ]
    more += [
        (f"{name}_{level}", f"level {level!r} of {name!r}")
        for name, column_levels in levels.items() for level in column_levels[1:]
    ]
    for encoded, source in more:
        if encoded in sources:
            raise ValueError(
                f"{sources[encoded][0].upper()}{sources[encoded][1:]} and {source} would both be "
                f"encoded as {encoded!r}; rename one of the clinical columns."
            )
        sources[encoded] = source


def _make_encoder(numeric: list[str], levels: dict[str, list[str]]) -> ColumnTransformer:
    one_hot = OneHotEncoder(categories=list(levels.values()), drop="first", sparse_output=False)
    categorical = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)
    encoder = ColumnTransformer(
        [
            ("numeric", SimpleImputer(strategy="median", add_indicator=True), numeric),
            ("categorical", categorical, list(levels)),
        ],
        verbose_feature_names_out=False,
    )
    return encoder.set_output(transform="pandas")
