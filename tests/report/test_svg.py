"""Lines and points of a figure lie where the axes say."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from survimg.report.style import stylesheet
from survimg.report.svg import COLOURS, Plot, steps


def root_of(plot):
    return ET.fromstring(str(plot.svg("<title> & more")))


@pytest.fixture
def plot():
    return Plot(200, 100, (0, 10), (0, 1), left=40, right=10, top=5, bottom=30)


def test_values_are_places_between_the_margins(plot):
    np.testing.assert_allclose(plot.x([0, 5, 10]), [40, 115, 190])
    np.testing.assert_allclose(plot.y([0, 1]), [70, 5])  # upwards


def test_a_line_has_a_gap_where_nothing_is_known(plot):
    plot.line([0, 5, 10, 10], [0, np.nan, 0, 1], "blue")
    (path,) = root_of(plot).findall("path")
    assert path.get("d") == "M40.0 70.0M190.0 70.0L190.0 5.0"


def test_a_band_of_values_that_are_not_known_is_not_drawn(plot):
    plot.area([0, 10], [np.nan, np.nan], [1, 1], "blue")
    plot.point(5, np.nan, "blue", title="unknown")
    assert not re.findall("[ML]", "".join(path.get("d") for path in root_of(plot).iter("path")))
    assert not list(root_of(plot).iter("circle"))


def test_texts_are_escaped_and_shown_to_the_pointer(plot):
    plot.text(0, 0, "<b> $x$")
    plot.point(5, 0.5, "pink", title="a < b", model="<m>")
    root = root_of(plot)
    assert root[0].text == "<title> & more"
    assert root.find("text").text == "<b> $x$"
    assert root.find("g/title").text == "a < b"
    assert re.fullmatch("m-[0-9a-f]+", root.find("g").get("class"))


def test_the_axes_have_round_ticks(plot):
    plot.x_axis("months")
    plot.y_axis("event-free")
    texts = [text.text for text in root_of(plot).iter("text")]
    assert texts[:4] == ["0", "5", "10", "months"]
    assert texts[4:] == ["0", "0.2", "0.4", "0.6", "0.8", "1", "event-free"]


def test_ticks_of_long_numbers_differ():
    plot = Plot(200, 100, (0, 1), (1_000_000, 1_000_002), left=60, right=10, top=5, bottom=30)
    plot.y_axis()
    texts = [text.text for text in root_of(plot).iter("text")]
    assert texts == ["1000000", "1000000.5", "1000001", "1000001.5", "1000002"]


def test_steps_keep_their_value_until_the_next():
    x, y = steps([0, 1, 3], [1.0, 0.5, 0.2])
    np.testing.assert_array_equal(x, [0, 1, 1, 3, 3])
    np.testing.assert_array_equal(y, [1, 1, 0.5, 0.5, 0.2])


def test_each_colour_is_a_variable_of_the_style_sheet():
    light, dark = str(stylesheet()).split("@media", 2)[:2]
    for colour in COLOURS:
        assert f"--{colour}:" in light
        assert f"--{colour}:" in dark
