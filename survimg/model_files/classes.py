"""The closed list of classes that a model file may hold.

A file names a class by a label of this list. The place of the class is written here, in survimg's
own source, and never in the file; a label that is not here is refused. Labels stay what they are
when a class moves to another module.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from functools import cache

from survimg.model_files.errors import ModelFileError

__all__ = ["Classes", "may_be_attribute"]

_SPLITTERS = (
    "GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneGroupOut", "LeaveOneOut",
    "PredefinedSplit", "ShuffleSplit", "StratifiedGroupKFold", "StratifiedKFold",
    "StratifiedShuffleSplit",
)  # fmt: skip

# Besides the classes of `survimg.estimators.__all__`: what they are made of, or combined with. A
# class belongs here if its whole state is plain data, and if no method of it runs code that it
# finds in that state. Labels are in `_LABELS` where they differ from the place.
_TRUSTED: Mapping[str, tuple[str, ...]] = {
    "survimg.features.clinical": ("ClinicalFeatures", "TumourVolume"),
    "survimg.survival.breslow": ("BreslowBaseline",),
    "survimg.estimators.deep.fusion_inputs": ("ClinicalEncoding", "Standardised"),
    "survimg.estimators.mtdlr.cox": ("FewCovariatesCox",),
    "survimg.estimators.mtdlr.region": ("NetworkScoreAndRadiomics",),
    "survimg.model_selection": (
        "EventStratifiedGroupKFold", "EventStratifiedKFold", "KnownGroups", "LeaveOneCentreOut",
        "RepeatedEventStratifiedGroupKFold", "RepeatedEventStratifiedKFold",
    ),
    "survimg.nets.transfer": ("LoadReport",),
    "survimg.radiomics": ("RadiomicsFeatures",),
    "survimg.features.combat": ("ComBat",),
    "survimg.features.selection": ("ForestSelector", "SpearmanFilter"),
    "sklearn.compose": ("ColumnTransformer",),
    "sklearn.decomposition": ("PCA", "TruncatedSVD"),
    "sklearn.ensemble": ("RandomForestClassifier", "RandomForestRegressor"),
    "sklearn.feature_selection": ("SelectFromModel", "VarianceThreshold"),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.impute": ("KNNImputer", "MissingIndicator", "SimpleImputer"),
    "sklearn.linear_model": ("LogisticRegression",),
    "sklearn.model_selection": _SPLITTERS,
    "sklearn.pipeline": ("FeatureUnion", "Pipeline"),
    "sklearn.preprocessing": (
        "Binarizer", "FunctionTransformer", "KBinsDiscretizer", "MaxAbsScaler", "MinMaxScaler",
        "Normalizer", "OneHotEncoder", "OrdinalEncoder", "PolynomialFeatures", "PowerTransformer",
        "QuantileTransformer", "RobustScaler", "StandardScaler",
    ),
    "sklearn.tree": ("DecisionTreeClassifier", "DecisionTreeRegressor"),
    "sksurv.ensemble": ("ExtraSurvivalTrees", "RandomSurvivalForest"),
    "sksurv.functions": ("StepFunction",),
    "sksurv.linear_model": ("CoxPHSurvivalAnalysis", "CoxnetSurvivalAnalysis", "IPCRidge"),
    "sksurv.linear_model.coxph": ("BreslowEstimator",),
    "sksurv.tree": ("ExtraSurvivalTree", "SurvivalTree"),
}  # fmt: skip

_ESTIMATORS = "survimg.estimators"
_LABELS = {
    "survimg.features.clinical": "survimg.clinical",
    "survimg.features.combat": "survimg.estimators",
    "survimg.features.selection": "survimg.selection",
    "survimg.survival.breslow": "survimg.estimators.baseline",
    "survimg.estimators.deep.fusion_inputs": "survimg.estimators.fusion_inputs",
    "survimg.estimators.mtdlr.cox": "survimg.estimators.mtdlr_cox",
    "survimg.estimators.mtdlr.region": "survimg.estimators.mtdlr_region",
}


@cache
def _places() -> dict[str, tuple[str, str]]:
    """Label to module and name, for every class of the list."""
    # By its name, because the estimators build on this package (FitOnce keeps its fits with it).
    public = importlib.import_module(_ESTIMATORS)
    names = [name for name in public.__all__ if isinstance(getattr(public, name), type)]
    listed = {_ESTIMATORS: tuple(names), **_TRUSTED}
    return {
        f"{_LABELS.get(module, module)}.{name}": (module, name)
        for module, names in listed.items()
        for name in names
    }


def may_be_attribute(cls: type, name: str) -> bool:
    """Tell whether a name can be a data attribute of an instance, and hide no method of it."""
    own = inspect.getattr_static(cls, name, None)
    is_code = callable(own) or hasattr(type(own), "__get__")
    return name.isidentifier() and not name.startswith("__") and not is_code


class Classes:
    """The closed list, and classes that a caller trusts besides.

    Parameters
    ----------
    trusted : iterable of type, default=()
        The caller's own classes; the objects themselves, so that nothing is imported by name.
    """

    def __init__(self, trusted: Iterable[type] = ()) -> None:
        self._own: dict[str, type] = {}
        for cls in trusted:
            if not isinstance(cls, type):
                raise TypeError(
                    f"trusted holds classes, such as [MyEstimator]; got {cls!r}, which is a "
                    f"{type(cls).__name__}."
                )
            self._own[f"{cls.__module__}.{cls.__qualname__}"] = cls

    @staticmethod
    def labels() -> tuple[str, ...]:
        """Return the labels of the closed list, sorted."""
        return tuple(sorted(_places()))

    def label_of(self, cls: type) -> str | None:
        """Return the label of a class; None if it is not on the list."""
        for label, (module, name) in _places().items():
            if name == cls.__name__ and getattr(importlib.import_module(module), name) is cls:
                return label
        own = f"{cls.__module__}.{cls.__qualname__}"
        return own if self._own.get(own) is cls else None

    def find(self, label: object) -> type:
        """Return the class with this label.

        Raises
        ------
        ModelFileError
            It is not on the list.
        """
        if isinstance(label, str):
            if label in _places():
                module, name = _places()[label]
                found: type = getattr(importlib.import_module(module), name)
                return found
            if label in self._own:
                return self._own[label]
        raise ModelFileError(
            f"The model holds an object of the class {label!r}, which is not among those that a "
            "model file may hold. If it is your own, or one of a newer survimg, pass the class: "
            "survimg.load(folder, trusted=[...]); otherwise do not use this file."
        )
