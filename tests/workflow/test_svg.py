"""Drawings: scales, ticks, and text that stays text."""

import pytest
from dwplus.workflow.pages import svg


def test_scales_are_linear_or_logarithmic() -> None:
    assert svg.Scale(0, 10, 100, 200)(2.5) == 125
    assert svg.Scale(0, 10, 200, 100)(2.5) == 175
    assert svg.Scale(1, 100, 0, 200, log=True)(10) == pytest.approx(100)
    assert svg.Scale(3, 3, 0, 200)(3) == 100


def test_ticks_are_round_numbers() -> None:
    assert svg.Scale(0.31, 1.62, 0, 1).ticks() == [0.5, 1.0, 1.5]
    assert svg.Scale(46.6, 62, 0, 1).ticks() == [50, 55, 60]
    assert svg.Scale(20, 3000, 0, 1, log=True).ticks() == [20, 50, 100, 200, 500, 1000, 2000]


def test_names_cannot_become_markup() -> None:
    drawn = svg.drawing(10, 10, [svg.text(1, 2, "<b>&x")], said='"quoted" <i>', mark="SANDBOX")

    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert "&lt;b&gt;&amp;x" in drawn
    assert "SANDBOX" in drawn


def test_lines_beyond_the_colours_are_grey() -> None:
    assert 'class="line s1"' in svg.line([(0, 0), (1, 1)], 0)
    assert 'class="line other"' in svg.line([(0, 0), (1, 1)], svg.SERIES)
