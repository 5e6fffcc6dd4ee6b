"""Decision trees of scikit-learn, taken apart and checked before they are put together.

scikit-learn's compiled code follows a tree's child indices and feature numbers without looking at
them again. Put into a tree unchecked, a wrong index from a file would read memory that is not the
tree's; a child that points upwards would never end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.tree._tree import NODE_DTYPE, Tree

from survimg.model_files.errors import ModelFileError

__all__ = ["Tree", "build_tree", "check_forest", "take_apart"]


def take_apart(tree: Tree) -> dict[str, Any]:
    """Return what a tree is made of: numbers and arrays."""
    _, (n_features, n_classes, n_outputs), state = tree.__reduce__()
    # Field by field: between the fields lies whatever was in memory before.
    nodes = np.zeros(state["nodes"].shape, dtype=NODE_DTYPE)
    for name in NODE_DTYPE.names:
        nodes[name] = state["nodes"][name]
    return {
        "n_features": int(n_features),
        "n_classes": np.asarray(n_classes),
        "n_outputs": int(n_outputs),
        "max_depth": int(state["max_depth"]),
        "nodes": nodes,
        "values": state["values"],
    }


def build_tree(
    n_features: Any, n_classes: Any, n_outputs: Any, max_depth: Any, nodes: Any, values: Any
) -> Tree:
    """Put a tree together from `take_apart`.

    Raises
    ------
    ModelFileError
        The parts are no tree.
    """
    for name, number in (
        ("n_features", n_features), ("n_outputs", n_outputs), ("max_depth", max_depth),
    ):  # fmt: skip
        if type(number) is not int or not 0 <= number < 2**31:
            raise ModelFileError(f"A decision tree has {name}={number!r}; the file is damaged.")
    if not all(isinstance(array, np.ndarray) for array in (n_classes, nodes, values)):
        raise ModelFileError("A decision tree has parts that are no arrays; the file is damaged.")
    whole = n_classes.dtype == np.intp and n_classes.shape == (n_outputs,) and n_outputs > 0
    if not whole or n_classes.min() < 1 or nodes.ndim != 1 or len(nodes) == 0:
        raise ModelFileError("The parts of a decision tree do not fit; the file is damaged.")
    if values.dtype != np.float64 or values.shape != (len(nodes), n_outputs, n_classes.max()):
        raise ModelFileError(
            f"A decision tree of {len(nodes)} nodes has values of shape {values.shape} and type "
            f"{values.dtype}; the file is damaged."
        )
    if nodes.dtype != NODE_DTYPE:
        raise ModelFileError(
            "The nodes of a decision tree have other fields than those of the installed "
            f"scikit-learn ({nodes.dtype} against {NODE_DTYPE}); use the version in the manifest."
        )
    _check_links(nodes, n_features)
    tree = Tree(n_features, n_classes, n_outputs)
    tree.__setstate__(
        {
            "max_depth": max_depth,
            "node_count": len(nodes),
            "nodes": np.ascontiguousarray(nodes, dtype=NODE_DTYPE),
            "values": np.ascontiguousarray(values),
        }
    )
    return tree


def _check_links(nodes: np.ndarray, n_features: int) -> None:
    """Demand that children come after their parent, in the tree, and features exist."""
    left, right, feature = nodes["left_child"], nodes["right_child"], nodes["feature"]
    leaf = left == -1
    own = np.arange(len(nodes))
    inner = ~leaf
    sound = (
        (right[leaf] == -1).all()
        and (left[inner] > own[inner]).all()
        and (right[inner] > own[inner]).all()
        and (left[inner] < len(nodes)).all()
        and (right[inner] < len(nodes)).all()
        and (feature[inner] >= 0).all()
        and (feature[inner] < n_features).all()
    )
    if not sound:
        raise ModelFileError(
            "A decision tree points to nodes or features that it does not have; the file is "
            "damaged or was tampered with. Do not use it."
        )


def check_forest(attributes: Mapping[str, Any]) -> None:
    """Demand that an estimator takes as many features as the trees in it.

    scikit-learn counts the columns of X once, by the attribute of the outermost estimator; trees
    then read the columns that they name.

    Parameters
    ----------
    attributes : mapping
        Fitted attributes of any estimator.

    Raises
    ------
    ModelFileError
        The numbers differ.
    """
    found = []
    if isinstance(attributes.get("tree_"), Tree):
        found.append(attributes["tree_"].n_features)
    members = attributes.get("estimators_")
    members = members.ravel().tolist() if isinstance(members, np.ndarray) else members
    if isinstance(members, list):
        trees = [vars(m) for m in members if hasattr(m, "__dict__") and "tree_" in vars(m)]
        found += [tree.get("n_features_in_") for tree in trees]
    if any(n != attributes.get("n_features_in_") for n in found):
        raise ModelFileError(
            f"An estimator takes {attributes.get('n_features_in_')!r} features, and its trees "
            f"{sorted(set(map(str, found)))}; the file is damaged or was tampered with. Do not use "
            "it."
        )
