"""Decision trees of scikit-learn, taken apart and checked before they are put together.

scikit-learn's compiled code follows a tree's child indices and feature numbers without looking at
them again. Put into a tree unchecked, a wrong index from a file would read memory that is not the
tree's; a child that points upwards would never end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree._tree import NODE_DTYPE, Tree

from survimg.model_files.errors import ModelFileError

__all__ = ["Tree", "build_tree", "take_apart"]


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
    if max_depth != _depth(nodes):
        raise ModelFileError(
            f"A decision tree of depth {_depth(nodes)} says it has max_depth={max_depth}; the file "
            "is damaged or was tampered with. Do not use it."
        )
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
    inner = np.flatnonzero(left != -1)
    children = np.concatenate([left[inner], right[inner]])
    sound = (
        (right[left == -1] == -1).all()
        and (left[inner] > inner).all()
        and (right[inner] > inner).all()
        and np.array_equal(np.sort(children), np.arange(1, len(nodes)))  # each has one parent
        and (feature[inner] >= 0).all()
        and (feature[inner] < n_features).all()
        and (nodes["missing_go_to_left"] <= 1).all()
        and (nodes["n_node_samples"] > 0).all()
    )
    if not sound:
        raise ModelFileError(
            "A decision tree points to nodes or features that it does not have; the file is "
            "damaged or was tampered with. Do not use it."
        )


def _depth(nodes: np.ndarray) -> int:
    """Count the levels below the root; compiled code reserves room for a path of this length."""
    level, depth = np.zeros(1, dtype=np.intp), -1
    while len(level):
        children = np.concatenate([nodes["left_child"][level], nodes["right_child"][level]])
        level, depth = children[children != -1], depth + 1
    return depth
