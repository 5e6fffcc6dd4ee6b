"""A table of a paper: its models, and the results that the paper reports for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Suite"]


@dataclass(frozen=True)
class Suite:
    """Models that a paper compares in one table.

    Attributes
    ----------
    name : str
        On the command line.
    title : str
        Heading of the table.
    models : tuple of str
        Keys of `survimg.suites.MODELS`, or of `LABEL_MODELS`, in the order of the table. A model
        that segments only takes part without a risk.
    reference : str or None
        Model that the others are compared with.
    published : mapping of str to mapping
        Model to what the paper reports for it: ``c_index`` (mean of its cross-validation) and its
        ``sd``, each None where the paper gives none; ``dice`` and ``test_c_index`` (a separate
        test or validation cohort) where there are any; ``source``. Numbers of another cohort: never
        to be ranked together with one's own.
    citation : str
    pairs : tuple of (str, str)
        Models that the paper compares with each other: the difference is that of the first from
        the second.
    """

    name: str
    title: str
    models: tuple[str, ...]
    reference: str | None
    published: Mapping[str, Mapping[str, Any]]
    citation: str
    pairs: tuple[tuple[str, str], ...] = ()
