"""The closed list of classes that a model file may hold.

A file names a class by a label of this list; a label that is not here is refused, and nothing is
imported by a name in a file. The classes of survimg itself are handed in by whoever calls
(`survimg.estimators.saved_classes`), because estimators build on this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

import torch
from sklearn import (
    compose,
    decomposition,
    ensemble,
    feature_selection,
    frozen,
    impute,
    linear_model,
    model_selection,
    pipeline,
    preprocessing,
    tree,
)
from sksurv import ensemble as survival_ensemble
from sksurv import functions
from sksurv import linear_model as survival_linear_model
from sksurv import svm as survival_svm
from sksurv import tree as survival_tree
from sksurv.ensemble import survival_loss
from sksurv.linear_model import coxph

from survimg.model_files.errors import ModelFileError

__all__ = ["Classes", "labelled", "may_be_attribute"]


def labelled(prefix: str, *classes: type) -> dict[str, type]:
    """Return classes by label: a prefix that stays what it is when a class moves, and its name.

    Parameters
    ----------
    prefix : str
    *classes : type
    """
    return {f"{prefix}.{cls.__name__}": cls for cls in classes}


# What estimators are combined with. A class belongs here if its whole state is plain data, and if
# no method of it runs code that it finds in that state.
_THIRD_PARTY: Mapping[str, type] = {
    **labelled("sklearn.compose", compose.ColumnTransformer),
    **labelled("sklearn.decomposition", decomposition.PCA, decomposition.TruncatedSVD),
    **labelled(
        "sklearn.ensemble", ensemble.RandomForestClassifier, ensemble.RandomForestRegressor
    ),
    **labelled(
        "sklearn.feature_selection",
        feature_selection.GenericUnivariateSelect, feature_selection.RFE, feature_selection.RFECV,
        feature_selection.SelectFdr, feature_selection.SelectFpr, feature_selection.SelectFromModel,
        feature_selection.SelectFwe, feature_selection.SelectKBest,
        feature_selection.SelectPercentile, feature_selection.SequentialFeatureSelector,
        feature_selection.VarianceThreshold,
    ),
    **labelled("sklearn.frozen", frozen.FrozenEstimator),
    **labelled(
        "sklearn.impute", impute.KNNImputer, impute.MissingIndicator, impute.SimpleImputer
    ),
    **labelled(
        "sklearn.linear_model",
        linear_model.ElasticNet, linear_model.Lasso, linear_model.LinearRegression,
        linear_model.LogisticRegression, linear_model.Ridge,
    ),
    **labelled(
        "sklearn.model_selection",
        model_selection.GroupKFold, model_selection.GroupShuffleSplit, model_selection.KFold,
        model_selection.LeaveOneGroupOut, model_selection.LeaveOneOut,
        model_selection.PredefinedSplit, model_selection.ShuffleSplit,
        model_selection.StratifiedGroupKFold, model_selection.StratifiedKFold,
        model_selection.StratifiedShuffleSplit,
    ),
    **labelled("sklearn.pipeline", pipeline.FeatureUnion, pipeline.Pipeline),
    **labelled(
        "sklearn.preprocessing",
        preprocessing.Binarizer, preprocessing.FunctionTransformer,
        preprocessing.KBinsDiscretizer, preprocessing.MaxAbsScaler, preprocessing.MinMaxScaler,
        preprocessing.Normalizer, preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder,
        preprocessing.PolynomialFeatures, preprocessing.PowerTransformer,
        preprocessing.QuantileTransformer, preprocessing.RobustScaler,
        preprocessing.StandardScaler,
    ),
    **labelled("sklearn.tree", tree.DecisionTreeClassifier, tree.DecisionTreeRegressor),
    **labelled(
        "sksurv.ensemble",
        survival_ensemble.ExtraSurvivalTrees, survival_ensemble.GradientBoostingSurvivalAnalysis,
        survival_ensemble.RandomSurvivalForest,
    ),
    **labelled("sksurv.functions", functions.StepFunction),
    **labelled(
        "sksurv.linear_model",
        survival_linear_model.CoxPHSurvivalAnalysis, survival_linear_model.CoxnetSurvivalAnalysis,
        survival_linear_model.IPCRidge,
    ),
    **labelled("sksurv.linear_model.coxph", coxph.BreslowEstimator),
    **labelled(
        "sksurv.svm",
        survival_svm.FastSurvivalSVM, survival_svm.HingeLossSurvivalSVM,
        survival_svm.NaiveSurvivalSVM,
    ),
    **labelled("sksurv.tree", survival_tree.ExtraSurvivalTree, survival_tree.SurvivalTree),
}  # fmt: skip

_OPTIMISERS: Mapping[str, type] = labelled(
    "torch.optim",
    *(
        cls for name in dir(torch.optim)
        if isinstance(cls := getattr(torch.optim, name), type)
        and issubclass(cls, torch.optim.Optimizer)
    ),
)  # fmt: skip


# Objects without a state of their own, which are made anew: the losses of gradient boosting.
_MADE_ANEW: Mapping[str, type] = labelled(
    "sksurv.ensemble.survival_loss",
    survival_loss.CensoredSquaredLoss, survival_loss.CoxPH, survival_loss.IPCWLeastSquaresError,
)  # fmt: skip
# By what a selector scores columns.
_SCORES: Mapping[str, Callable[..., Any]] = {
    f"sklearn.feature_selection.{score.__name__}": score
    for score in (
        feature_selection.chi2, feature_selection.f_classif, feature_selection.f_regression,
        feature_selection.mutual_info_classif, feature_selection.mutual_info_regression,
        feature_selection.r_regression,
    )
}  # fmt: skip


def may_be_attribute(cls: type, name: str) -> bool:
    """Tell whether a name can be a data attribute of an instance, and hide no method of it."""
    static = inspect.getattr_static(cls, name, None)
    is_code = callable(static) or hasattr(type(static), "__get__")
    return name.isidentifier() and not name.startswith("__") and not is_code


class Classes:
    """The closed list, and classes that a caller trusts besides.

    Parameters
    ----------
    listed : mapping of str to type
        Classes of survimg by label.
    trusted : iterable of type or function, default=()
        The caller's own classes, and functions that build networks; the objects themselves, so that
        nothing is imported by name.
    """

    def __init__(
        self, listed: Mapping[str, type], trusted: Iterable[Callable[..., Any]] = ()
    ) -> None:
        self._classes = {**listed, **_THIRD_PARTY}
        # What parameters may hold as it is: a network's class in a `Net`, an optimiser.
        networks = {name: cls for name, cls in listed.items() if issubclass(cls, torch.nn.Module)}
        self._values: dict[str, Callable[..., Any]] = {**_OPTIMISERS, **_SCORES, **networks}
        for cls in trusted:
            if not isinstance(cls, type | FunctionType):
                raise TypeError(
                    f"trusted holds classes, such as [MyEstimator]; got {cls!r}, which is a "
                    f"{type(cls).__name__}."
                )
            label = f"{cls.__module__}.{cls.__qualname__}"
            self._values.setdefault(label, cls)
            if isinstance(cls, type) and cls not in self._classes.values():
                self._classes.setdefault(label, cls)

    def labels(self) -> tuple[str, ...]:
        """Return all labels, sorted."""
        return tuple(sorted(self._classes))

    def label_of(self, cls: type) -> str | None:
        """Return the label of a class; None if it is not on the list."""
        return next((label for label, listed in self._classes.items() if listed is cls), None)

    def label_of_value(self, value: object) -> str | None:
        """Return the label of a class or function that a parameter may hold; None of others."""
        return next((label for label, each in self._values.items() if each is value), None)

    def find_value(self, label: object) -> Callable[..., Any]:
        """Return the class or function with this label, which a parameter may hold.

        Raises
        ------
        ModelFileError
            It is neither trusted, nor a network of survimg, an optimiser of torch or a score of
            scikit-learn's selectors.
        """
        if isinstance(label, str) and label in self._values:
            return self._values[label]
        raise ModelFileError(
            f"A parameter of the model is {label!r}. If it is the class or function of your "
            "network, pass it: survimg.load(folder, trusted=[...])."
        )

    @staticmethod
    def label_of_loss(value: object) -> str | None:
        """Return the label of an object without a state, which is made anew; None of others."""
        return next((label for label, cls in _MADE_ANEW.items() if type(value) is cls), None)

    @staticmethod
    def make_loss(label: object) -> Any:
        """Make the object with this label.

        Raises
        ------
        ModelFileError
            There is none.
        """
        if isinstance(label, str) and label in _MADE_ANEW:
            return _MADE_ANEW[label]()
        raise ModelFileError(f"The model holds {label!r}, which is no loss that is known here.")

    def find(self, label: object) -> type:
        """Return the class with this label.

        Raises
        ------
        ModelFileError
            It is not on the list.
        """
        if isinstance(label, str) and label in self._classes:
            return self._classes[label]
        raise ModelFileError(
            f"The model holds an object of the class {label!r}, which is not among those that a "
            "model file may hold. If it is your own, or one of a newer survimg, pass the class: "
            "survimg.load(folder, trusted=[...]); otherwise do not use this file."
        )
