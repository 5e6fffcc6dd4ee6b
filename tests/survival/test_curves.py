"""Functions of time begin at 0, end where nothing is known, and read like arrays."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sksurv.functions import StepFunction as OtherStepFunction

from survimg.survival import (
    StepFunction,
    from_zero,
    functions_from_zero,
    step_functions,
    survival_values,
)

TIMES = np.array([0.0, 2.0, 3.5, 7.0])
VALUES = np.array([1.0, 0.8, 0.5, 0.1])


def test_steps_are_right_continuous_from_0_to_the_last_time():
    curve = StepFunction(TIMES, VALUES)
    assert curve.domain == (0.0, 7.0)
    asked = [0.0, 1.999, 2.0, 3.0, 3.5, 6.9, 7.0]
    np.testing.assert_array_equal(curve(asked), [1, 1, 0.8, 0.8, 0.5, 0.5, 0.1])
    np.testing.assert_array_equal(curve(curve.x), curve.y)
    assert curve(2) == 0.8
    assert np.ndim(curve(2)) == 0
    assert curve([2.0]).shape == (1,)


@pytest.mark.parametrize("time", [-1e-9, 7.1, np.nan, np.inf])
def test_nothing_is_said_of_other_times(time):
    with pytest.raises(ValueError, match="from 0 to 7"):
        StepFunction(TIMES, VALUES)([1.0, time])


@pytest.mark.parametrize("x", [[1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 2.0, 3.0], [0.0, 1.0]])
def test_times_increase_from_0(x):
    with pytest.raises(ValueError, match="increase from 0|differ in shape"):
        StepFunction(np.array(x), VALUES)


def test_equal_curves_are_equal_and_survive_pickling():
    curve = StepFunction(TIMES, VALUES)
    assert pickle.loads(pickle.dumps(curve)) == curve
    assert curve != StepFunction(TIMES, VALUES / 2)
    assert curve != VALUES
    assert eval(repr(curve), {"StepFunction": StepFunction, "array": np.array}) == curve  # noqa: S307


def test_curves_get_their_beginning_once():
    times, values = from_zero(TIMES[1:], VALUES[np.newaxis, 1:], 1.0)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_array_equal(values, [VALUES])
    again = from_zero(times, values, 1.0)
    np.testing.assert_array_equal(again[0], TIMES)
    np.testing.assert_array_equal(again[1], [VALUES])
    assert step_functions(times, values)[0] == StepFunction(TIMES, VALUES)


def test_curves_of_scikit_survival_begin_at_0_too():
    late = OtherStepFunction(TIMES[1:], VALUES[1:])
    assert late(0.0) == 0.8  # its own answer
    early = StepFunction(TIMES, VALUES)
    begun = functions_from_zero([late, early], 1.0)
    assert begun[0] == early
    assert begun[1] is early
    values = survival_values([late, early], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(values, [[1, 1, 0.8]] * 2)
    scaled = OtherStepFunction(TIMES[1:], VALUES[1:], a=0.5, b=0.1)
    np.testing.assert_allclose(survival_values([scaled], [1.0, 3.5]), [[1, 0.35]])
    np.testing.assert_allclose(functions_from_zero([scaled], 1.0)[0](3.5), 0.35)


def test_no_curves_and_no_times():
    assert survival_values([], [1.0, 2.0]).shape == (0, 2)
    assert survival_values([StepFunction(TIMES, VALUES)], []).shape == (1, 0)
    with pytest.raises(ValueError, match="from 0 to 7"):
        survival_values([StepFunction(TIMES, VALUES)], [8.0])


@pytest.mark.parametrize("y", [[1, 0.8, 0.9, 0.1], [1, np.nan, 0.5, 0.1], [1.2, 0.8, 0.5, 0.1],
                               [1, 0.8, 0.5, -0.1]])  # fmt: skip
@pytest.mark.parametrize("kind", [StepFunction, OtherStepFunction])
def test_what_is_no_survival_curve_is_refused(y, kind):
    curves = [kind(TIMES, VALUES), kind(TIMES, np.array(y))]
    with pytest.raises(ValueError, match=r"position 1 (has the value|does)"):
        survival_values(curves, [7.0, 3.5, 2.0, 0.0])


def test_curves_of_any_library_are_1_before_their_first_time_and_unknown_after_their_last():
    curves = [
        OtherStepFunction(np.array([1.0, 2.0, 3.0]), np.array([0.9, 0.6, 0.3])),
        StepFunction(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.9, 0.6, 0.3])),
        StepFunction(TIMES, VALUES),
    ]
    times = [4.0, 0.5, 1.0, 2.5]
    values = survival_values(curves, times, past_end="nan")
    np.testing.assert_array_equal(values, [[np.nan, 1, 0.9, 0.6]] * 2 + [[0.5, 1, 1, 0.8]])
    with pytest.raises(ValueError, match="from 0 to 3"):
        survival_values(curves[1:], times)
    rising = StepFunction(np.array([0.0, 1.0]), np.array([0.5, 0.6]))
    with pytest.raises(ValueError, match="position 1 does"):
        survival_values([curves[0], rising], times, past_end="nan")
    assert survival_values([], times, past_end="nan").shape == (0, 4)
