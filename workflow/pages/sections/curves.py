"""Losses and validation scores of all epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .. import svg

_WIDTH, _HEIGHT = 420, 270
_TITLES = {"loss": "training loss", "miou": "validation mIoU, %"}


def curve_figures(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, mark: str) -> list[Markup]:
    """Loss of training, and mIoU of validation where it was scored, over the epochs; a line a run.

    Args:
        runs: name -> rows of epochs; the first ``svg.SERIES`` have colours, the others are grey.
    """
    return [figure for key in _TITLES if (figure := _figure(key, runs, mark=mark)) is not None]


def _figure(key: str, runs: Mapping[str, Sequence[Mapping[str, Any]]], *, mark: str) -> Markup | None:
    factor = 100 if key == "miou" else 1
    lines = {
        name: [(float(row["epoch"]), factor * float(row[key])) for row in rows if row.get(key) is not None]
        for name, rows in runs.items()
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    low, high = svg.around([value for _, value in points], 0.06)
    x = svg.Scale(*svg.around([epoch for epoch, _ in points], 0.02), 46, _WIDTH - 10)
    frame = svg.Frame(x, svg.Scale(max(0.0, low), high, _HEIGHT - 44, 28))
    parts = frame.axes("epoch", _TITLES[key])
    # Grey ones first, so that those with colours lie on top.
    for number, (name, line) in reversed(list(enumerate(lines.items()))):
        places = [(frame.x(epoch), frame.y(value)) for epoch, value in line]
        if len(places) > 1:
            parts.append(svg.line(places, number))
        if 0 < len(places) <= 30:
            parts += [
                svg.mark_at(*place, number, f"{name}, epoch {epoch:g}: {value:.4g}", radius=2.4)
                for place, (epoch, value) in zip(places, line, strict=True)
            ]
    said = f"{_TITLES[key]}: " + "; ".join(
        f"{name} from {line[0][1]:.4g} to {line[-1][1]:.4g} in {line[-1][0]:g} epochs"
        for name, line in lines.items()
        if line
    )
    return svg.drawing(_WIDTH, _HEIGHT, parts, said=said, mark=mark)
