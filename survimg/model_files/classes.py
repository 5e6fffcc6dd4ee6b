"""The closed list of classes that a model file may hold.

A file names a class by a label of this list; a label that is not here is refused, and nothing is
imported by a name in a file. The classes of survimg itself are handed in by whoever calls
(`survimg.estimators.saved_classes`), because estimators build on this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping

from survimg.model_files.errors import ModelFileError
from survimg.model_files.third_party import THIRD_PARTY
from survimg.model_files.validators import Validator

__all__ = ["Classes", "may_be_attribute"]


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
    trusted : iterable of type, default=()
        The caller's own classes; the objects themselves, so that nothing is imported by name.
    """

    def __init__(
        self, listed: Mapping[str, tuple[type, Validator]], trusted: Iterable[type] = ()
    ) -> None:
        entries = {**listed, **THIRD_PARTY}
        self._classes = {label: cls for label, (cls, _) in entries.items()}
        self._validators = dict(entries.values())
        for cls in trusted:
            if not isinstance(cls, type):
                raise TypeError(
                    f"trusted holds classes, such as [MyEstimator]; got {cls!r}, which is a "
                    f"{type(cls).__name__}."
                )
            if cls not in self._classes.values():
                self._classes.setdefault(f"{cls.__module__}.{cls.__qualname__}", cls)

    def labels(self) -> tuple[str, ...]:
        """Return all labels, sorted."""
        return tuple(sorted(self._classes))

    def label_of(self, cls: type) -> str | None:
        """Return the label of a class; None if it is not on the list."""
        return next((label for label, listed in self._classes.items() if listed is cls), None)

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
