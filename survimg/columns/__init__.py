"""What a cell of a patients' table means: kinds and levels of columns, learned once.

A column is *numeric*, *categorical*, *boolean* or refused. Its kind is learned from the training
patients by `learn_column`, with one rule for CSV files, frames, prepared cohorts and tables of a
paper; later values are brought to the kind by `bring_numbers` and `bring_levels`. So what a cell
means never depends on the other patients of its file.

- Missing is an empty cell, ``NA``, ``NaN`` and ``nan``, and None or NaN of Python; nothing else.
- ``1``, ``1.0``, ``"1"`` and ``" 1 "`` are one level; so are ``True``, ``"true"`` and ``"TRUE"`` in
  a boolean column.
- A column is numeric where every value is a number; boolean where all values are true or false (or
  1 and 0 beside them); else categorical. Dates, numbers of many values among text, three or more
  numbers with units (``57 y``, ``12%``, ``1,234.5``), and text in which most levels occur once
  (identifiers, free text) are refused, unless the column is declared categorical: `declare`, or a
  pandas ``Categorical``. So are whole numbers from 100,000 on that differ between all patients and
  are not rounded.
"""

from survimg.columns.cells import (
    DECIMAL_COMMA,
    MISSING,
    comma_said,
    formula,
    is_missing,
    level_of,
    number_of,
    odd_mark,
    truth_of,
)
from survimg.columns.frames import as_frame, plain_column
from survimg.columns.kinds import (
    KINDS,
    NOTHING,
    Column,
    bring_levels,
    bring_numbers,
    declare,
    learn_column,
    learn_together,
)

__all__ = [
    "DECIMAL_COMMA",
    "KINDS",
    "MISSING",
    "NOTHING",
    "Column",
    "as_frame",
    "bring_levels",
    "bring_numbers",
    "comma_said",
    "declare",
    "formula",
    "is_missing",
    "learn_column",
    "learn_together",
    "level_of",
    "number_of",
    "odd_mark",
    "plain_column",
    "truth_of",
]
