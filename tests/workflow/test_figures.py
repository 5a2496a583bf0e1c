"""Figures: text is drawn as it is written."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.workflow.pages.figures import histogram_figure


@pytest.mark.parametrize("name", ["$x$", "a$b", r"$\frac$", "100 %", "a_b^c"])
def test_text_in_figures_is_shown_as_it_is_written(name: str) -> None:
    assert histogram_figure({name: np.array([0.5, 0.2])}, name).startswith(b"\x89PNG")
