"""What the compiled code of scikit-learn and scikit-survival trusts, checked before it runs.

Their estimators trust what `fit` stored: column numbers, offsets and sizes go to compiled code that
does not look at them again. Each class of the list therefore has a `Validator`: the forms of its
attributes (`survimg.model_files.attribute_forms`), and where an attribute follows from others, a
check that computes it again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree

from survimg.model_files.attribute_forms import check_forms
from survimg.model_files.errors import ModelFileError

__all__ = ["Validator", "validate"]


class Validator(NamedTuple):
    """What attributes of one class may be.

    Attributes
    ----------
    forms : mapping of str to str
        See `survimg.model_files.attribute_forms`; an attribute that is not here is refused.
    check : callable, optional
        Takes the restored object and the lengths of its forms, and raises ModelFileError.
    """

    forms: Mapping[str, str]
    check: Callable[[Any, Mapping[str, int]], None] | None = None


def validate(restored: Any, attributes: Mapping[str, Any], validator: Validator) -> None:
    """Check an object that was put together from a file.

    Parameters
    ----------
    restored : object
    attributes : mapping
        Its attributes; the parameters of an object that was not fitted are checked by its `fit`.
    validator : Validator

    Raises
    ------
    ModelFileError
        Something in it does not fit the rest.
    """
    name = type(restored).__name__
    lengths = check_forms(name, attributes, validator.forms)
    if isinstance(restored, BaseEstimator) and not any(each.endswith("_") for each in attributes):
        return  # not fitted
    try:
        if hasattr(restored, "_validate_params"):
            restored._validate_params()
        if validator.check is not None:
            validator.check(restored, lengths)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"The model holds a {name} that does not fit together ({error}). The file is damaged "
            "or was tampered with. Do not use it."
        ) from error


def _demand(holds: Any, restored: Any, what: str) -> None:
    if not holds:
        raise ModelFileError(
            f"The model holds a {type(restored).__name__} whose {what}. The file is damaged or was "
            "tampered with. Do not use it."
        )


# ---------------------------------------------------------------- trees and forests


def check_tree(estimator: Any, lengths: Mapping[str, int]) -> None:
    """Demand that a tree has the features, outputs and classes of its estimator."""
    tree = estimator.tree_
    _demand(isinstance(tree, Tree), estimator, "tree_ is no tree")
    _demand(tree.n_features == lengths["p"], estimator, "tree reads other features")
    _demand(tree.n_outputs == estimator.n_outputs_, estimator, "tree has other outputs")
    classes = getattr(estimator, "n_classes_", 1)
    counts = np.broadcast_to(np.atleast_1d(classes), tree.n_classes.shape)
    _demand(np.array_equal(counts, tree.n_classes), estimator, "tree has other classes")
    _check_classes(estimator)


def check_survival_tree(estimator: Any, lengths: Mapping[str, int]) -> None:
    """Demand besides that outputs and event times are those of the tree."""
    check_tree(estimator, lengths)
    _demand(estimator.n_outputs_ in (1, lengths["t"]), estimator, "outputs are no times")


def check_forest(forest: Any, lengths: Mapping[str, int]) -> None:
    """Demand trees of one kind that read the features of the forest and have its outputs.

    scikit-learn counts the columns of X once, for the forest; each tree then reads the columns
    that it names.
    """
    kinds = {type(member) for member in forest.estimators_}
    _demand(kinds == {type(forest.estimator)}, forest, "estimators_ are no trees of its kind")
    for member in forest.estimators_:
        _demand(member.n_features_in_ == lengths["p"], forest, "trees read other features")
        _demand(member.n_outputs_ == forest.n_outputs_, forest, "trees have other outputs")
        if hasattr(forest, "n_classes_"):
            counts = np.atleast_1d(forest.n_classes_)
            same = np.array_equal(np.atleast_1d(member.n_classes_), counts)
            _demand(same, forest, "trees have other classes")
        if hasattr(forest, "unique_times_"):
            same = np.array_equal(member.unique_times_, forest.unique_times_)
            _demand(same, forest, "trees have other times")
    _check_classes(forest)


def check_boosting(model: Any, lengths: Mapping[str, int]) -> None:
    """Demand one regression tree a step that reads the features of the model."""
    trees = model.estimators_.ravel().tolist()
    _demand(model.n_trees_per_iteration_ == 1, model, "steps have several trees")
    for member in trees:
        _demand(type(member) is DecisionTreeRegressor, model, "estimators_ are no regression trees")
        _demand(member.n_features_in_ == lengths["p"], model, "trees read other features")
        _demand(member.n_outputs_ == 1, model, "trees have several outputs")


def _check_classes(estimator: Any) -> None:
    """Demand that the classes are as many as they are said to be."""
    if not hasattr(estimator, "classes_"):
        return
    several = isinstance(estimator.classes_, list)
    classes = estimator.classes_ if several else [estimator.classes_]
    counts = np.atleast_1d(estimator.n_classes_)
    same = len(classes) == estimator.n_outputs_ == len(counts)
    _demand(same and all(map(_is_sorted, classes)), estimator, "classes_ are no classes")
    same = [len(each) for each in classes] == counts.tolist()
    _demand(same, estimator, "classes_ are of another number")


# ---------------------------------------------------------------- encoders


def _is_sorted(values: Any) -> bool:
    """Whether values are those of `np.unique`: in order, each once, NaN and None at the end."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or not len(values):
        return False
    if values.dtype.kind != "O":
        return bool(np.array_equal(np.unique(values), values, equal_nan=values.dtype.kind == "f"))
    missing = pd.isna(values)
    observed = values[~missing]
    if missing[: len(observed)].any() or missing.sum() > 2:
        return False
    return all(a < b for a, b in itertools.pairwise(observed))


def check_one_hot(encoder: Any, lengths: Mapping[str, int]) -> None:
    """Compute the columns of each feature again, which are offsets into a sparse matrix."""
    _check_categories(encoder)
    dropped = encoder._drop_idx_after_grouping
    if dropped is not None:
        _demand(len(dropped) == lengths["p"], encoder, "drop_idx_ is of another length")
    for i, n in enumerate(_groups(encoder)):
        drop = None if dropped is None else dropped[i]
        is_level = drop is None or (type(drop) is int and 0 <= drop < n)
        _demand(is_level, encoder, "drop_idx_ is wrong")
        columns = n - (drop is not None)
        _demand(encoder._n_features_outs[i] == columns, encoder, "numbers of columns are wrong")
    encoder._n_features_outs = [int(n) for n in encoder._n_features_outs]


def check_ordinal(encoder: Any, lengths: Mapping[str, int]) -> None:
    """Check the levels, and where each feature has its missing one."""
    _check_categories(encoder)
    sizes = [len(levels) for levels in encoder.categories_]
    for feature, place in encoder._missing_indices.items():
        whole = type(feature) is int and type(place) is int and 0 <= feature < lengths["p"]
        _demand(whole and place == sizes[feature] - 1, encoder, "_missing_indices are wrong")


def _check_categories(encoder: Any) -> None:
    """Demand sorted levels, which are searched, and numbers of infrequent ones that follow."""
    categories = encoder.categories if isinstance(encoder.categories, list) else None
    for i, levels in enumerate(encoder.categories_):
        as_given = (
            categories is not None and levels.dtype.kind == "O" and _same(levels, categories[i])
        )
        _demand(as_given or _is_sorted(levels), encoder, "categories_ are not sorted")
    enabled = encoder.max_categories is not None or encoder.min_frequency is not None
    _demand(encoder._infrequent_enabled is enabled, encoder, "_infrequent_enabled is wrong")
    if not enabled:
        return
    sizes = [len(levels) for levels in encoder.categories_]
    per_feature = (encoder._infrequent_indices, encoder._default_to_infrequent_mappings)
    _demand(all(len(each) == len(sizes) for each in per_feature), encoder, "infrequent levels")
    for size, infrequent, mapping in zip(sizes, *per_feature, strict=True):
        expected = _mapping(size, infrequent)
        same = mapping is None if expected is None else np.array_equal(expected, mapping)
        _demand(same, encoder, "_default_to_infrequent_mappings are not those of its levels")


def _same(levels: np.ndarray, given: Any) -> bool:
    return list(levels) == list(given) and len(set(levels)) == len(levels)


def _mapping(size: int, infrequent: Any) -> np.ndarray | None:
    """Return each level's number: the frequent ones in order, then one for all infrequent ones."""
    if infrequent is None:
        return None
    if not isinstance(infrequent, np.ndarray) or infrequent.dtype.kind not in "iu":
        raise ValueError("_infrequent_indices are no numbers of levels")
    rare = np.zeros(size, dtype=bool)
    if len(infrequent) and not 0 <= infrequent.min() <= infrequent.max() < size:
        raise ValueError("_infrequent_indices are no numbers of levels")
    rare[infrequent] = True
    return np.where(rare, size - rare.sum(), np.cumsum(~rare) - 1)


def _groups(encoder: Any) -> list[int]:
    """Count the levels of each feature, all infrequent ones as one."""
    sizes = [len(levels) for levels in encoder.categories_]
    if not encoder._infrequent_enabled:
        return sizes
    rare = [0 if each is None else len(set(each.tolist())) for each in encoder._infrequent_indices]
    return [size - n + (n > 0) for size, n in zip(sizes, rare, strict=True)]


def check_bins(discretizer: Any, _lengths: Mapping[str, int]) -> None:
    """Demand rising edges, and an encoder of as many levels as there are bins."""
    for edges, n in zip(discretizer.bin_edges_, discretizer.n_bins_, strict=True):
        whole = isinstance(edges, np.ndarray) and edges.dtype.kind == "f" and len(edges) == n + 1
        _demand(whole and (np.diff(edges) >= 0).all(), discretizer, "bin_edges_ are no edges")
    if hasattr(discretizer, "_encoder"):
        levels = discretizer._encoder.categories_
        same = [len(each) for each in levels] == discretizer.n_bins_.tolist()
        _demand(same, discretizer, "encoder has other bins")
        whole = all(np.array_equal(each, np.arange(len(each))) for each in levels)
        _demand(whole, discretizer, "encoder has other levels")


# ---------------------------------------------------------------- others


def check_polynomial(features: Any, lengths: Mapping[str, int]) -> None:
    """Count the products again: they are columns of memory that is not filled before."""
    degree = features.degree
    low, high = (0, degree) if isinstance(degree, int) else degree
    _demand((features._min_degree, features._max_degree) == (low, high), features, "degrees differ")
    p = lengths["p"]

    def products(d: int) -> int:
        return math.comb(p, d) if features.interaction_only else math.comb(p + d - 1, d)

    bias = int(features.include_bias)
    total = sum(products(d) for d in range(max(1, low), high + 1)) + bias
    whole = sum(products(d) for d in range(1, high + 1)) + bias
    _demand(features.n_output_features_ == total, features, "number of products is wrong")
    _demand(features._n_out_full == whole, features, "number of products is wrong")


def check_missing(indicator: Any, lengths: Mapping[str, int]) -> None:
    """Demand that the columns with missing values are columns."""
    columns = indicator.features_
    inside = len(columns) == 0 or 0 <= columns.min() <= columns.max() < lengths["p"]
    _demand(inside and (np.diff(columns) > 0).all(), indicator, "features_ are no columns")


def check_quantiles(transformer: Any, _lengths: Mapping[str, int]) -> None:
    """Demand what `np.interp` takes for granted: references that rise."""
    _demand((np.diff(transformer.references_) > 0).all(), transformer, "references_ do not rise")
    quantiles = transformer.quantiles_
    rising = np.isnan(quantiles[1:]) | (np.diff(quantiles, axis=0) >= 0)
    _demand(rising.all(), transformer, "quantiles_ do not rise")


def check_curve(function: Any, _lengths: Mapping[str, int]) -> None:
    """Demand times that rise."""
    _demand((np.diff(function.x) > 0).all(), function, "times do not rise")


def check_labels(classifier: Any, lengths: Mapping[str, int]) -> None:
    """Demand a row of coefficients for each class, or one for two."""
    rows, n = lengths["k"], len(classifier.classes_)
    _demand(_is_sorted(classifier.classes_), classifier, "classes_ are not sorted")
    _demand(rows == n or (rows, n) == (1, 2), classifier, "coefficients are of other classes")
