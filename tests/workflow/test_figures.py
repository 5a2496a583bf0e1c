"""Figures: text is drawn as it is written."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.workflow.pages.figures import confusion_figure, curves_figure


@pytest.mark.parametrize("name", ["$x$", "a$b", r"$\frac$", "100 %", "a_b^c"])
def test_text_in_figures_is_shown_as_it_is_written(name: str) -> None:
    rows = [{"epoch": 1, "loss": 0.5, "miou": 0.2}]

    assert curves_figure({name: rows}).startswith(b"\x89PNG")
    assert confusion_figure(np.eye(9, dtype=np.int64), name).startswith(b"\x89PNG")
