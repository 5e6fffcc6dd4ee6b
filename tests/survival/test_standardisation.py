"""One rule says what is constant."""

from __future__ import annotations

import numpy as np

from survimg.survival import column_scale, is_constant


def test_equal_values_are_constant_whatever_their_rounding():
    columns = np.column_stack([
        np.full(7, 0.1), np.full(7, 1e9 + 0.1), np.zeros(7), np.full(7, 0.3) + 1e-17,
        np.linspace(1, 1 + 1e-9, 7), 1e-300 * np.arange(7), [1, 0, 0, 0, 0, 0, 0],
    ])  # fmt: skip
    np.testing.assert_array_equal(is_constant(columns), [1, 1, 1, 1, 0, 0, 0])
    assert (columns.std(axis=0)[:4] > 0).any()  # the standard deviation would not tell


def test_scale_leaves_constants_and_on_request_indicators():
    values = np.column_stack([[0.1] * 4, [0, 1, 1, 0], [1.0, 2, 3, 4], [0, 1, 2, 0]])
    np.testing.assert_allclose(column_scale(values), [1, 0.5, *values.std(axis=0)[2:]])
    np.testing.assert_allclose(
        column_scale(values, keep_indicators=True), [1, 1, *values.std(axis=0)[2:]]
    )
