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
from sklearn import feature_selection
from sksurv.ensemble import survival_loss

from survimg.model_files.errors import ModelFileError
from survimg.model_files.third_party import THIRD_PARTY
from survimg.model_files.validators import Validator

__all__ = ["Classes", "may_be_attribute"]


_OPTIMISERS: Mapping[str, type] = {
    f"torch.optim.{name}": cls
    for name in dir(torch.optim)
    if isinstance(cls := getattr(torch.optim, name), type)
    and issubclass(cls, torch.optim.Optimizer)
}


# Objects without a state of their own, which are made anew: the losses of gradient boosting.
_MADE_ANEW: Mapping[str, type] = {
    f"sksurv.ensemble.survival_loss.{cls.__name__}": cls
    for cls in (
        survival_loss.CensoredSquaredLoss, survival_loss.CoxPH,
        survival_loss.IPCWLeastSquaresError,
    )
}  # fmt: skip
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
    listed : mapping of str to (type, Validator)
        Classes of survimg by label, with what their attributes may be.
    trusted : iterable of type or function, default=()
        The caller's own classes, and functions that build networks; the objects themselves, so that
        nothing is imported by name.
    """

    def __init__(
        self,
        listed: Mapping[str, tuple[type, Validator]],
        trusted: Iterable[Callable[..., Any]] = (),
    ) -> None:
        entries = {**listed, **THIRD_PARTY}
        self._classes = {label: cls for label, (cls, _) in entries.items()}
        self._validators = dict(entries.values())
        # What parameters may hold as it is: a network's class in a `Net`, an optimiser.
        networks = {k: cls for k, (cls, _) in listed.items() if issubclass(cls, torch.nn.Module)}
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

    def validator_of(self, cls: type) -> Validator | None:
        """Return the validator of a class; None for one that the caller trusts."""
        return self._validators.get(cls)

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
