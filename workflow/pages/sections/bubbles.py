"""Fig. 2 of the paper: accuracy against operations, the area of a bubble the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ....manifests import load_toml
from ...reproduction.verdicts import Verdict
from .. import svg

_WIDTH, _HEIGHT = 480, 380
_RADIUS_OF_A_MILLION = 2.4
"""Radius (px) of the bubble of a network of a million parameters; areas are proportional to parameters."""


@dataclass(frozen=True)
class Bubble:
    """One network.

    Attributes:
        gflops, miou, params: operations in 1e9, percent, millions.
        ours: measured here, not printed in the paper.
    """

    name: str
    gflops: float
    miou: float
    params: float
    ours: bool


def bubbles_of(verdicts: Sequence[Verdict]) -> list[Bubble]:
    """The paper's networks as printed, and those here whose mIoU can be compared with the paper's."""
    by_key = {verdict.number.key: verdict for verdict in verdicts}
    return list(_bubbles(by_key))


def _bubbles(by_key: Mapping[str, Verdict]) -> Iterator[Bubble]:
    for key, printed in load_toml("paper")["methods"].items():
        found = [by_key.get(place) for place in (f"table2.{key}.flops", f"table1.{key}.miou", f"table2.{key}.params")]
        if any(one is None for one in found):
            continue  # Dynamic World has no row of Table II
        numbers = [one for one in found if one is not None]
        name = "SpecSAR-Former" if printed == "Proposed" else str(printed)
        yield _bubble(name, [one.number.value for one in numbers], ours=False)
        if all(one.difference is not None for one in numbers):
            yield _bubble(name, [one.ours.mean for one in numbers if one.ours is not None], ours=True)


def _bubble(name: str, numbers: Sequence[float], *, ours: bool) -> Bubble:
    gflops, miou, params = numbers
    return Bubble(name, gflops, miou, params, ours)


def bubble_figure(bubbles: Sequence[Bubble], *, mark: str) -> Markup:
    """The drawing; the largest bubbles first, so that none is hidden."""
    x = svg.Scale(*_log_range([one.gflops for one in bubbles]), 56, _WIDTH - 22, log=True)
    y = svg.Scale(*svg.around([one.miou for one in bubbles], 0.22), _HEIGHT - 52, 30)
    frame = svg.Frame(x, y)
    parts = frame.axes("GFLOPs (logarithmic)", "mIoU, %")
    parts += [_circle(one, frame) for one in sorted(bubbles, key=lambda one: -one.params)]
    parts += _names([one for one in bubbles if not one.ours], frame)
    said = "mIoU against GFLOPs, area by parameters: " + "; ".join(
        f"{one.name}{' here' if one.ours else ''} {one.miou:.2f} % at {one.gflops:.1f} G, {one.params:.1f} M"
        for one in bubbles
    )
    return svg.drawing(_WIDTH, _HEIGHT, parts, said=said, mark=mark)


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.6, max(values) * 1.7


def _circle(one: Bubble, frame: svg.Frame) -> Markup:
    said = f"{one.name}{' (here)' if one.ours else ''}: {one.miou:.2f} % mIoU, {one.gflops:.2f} G, {one.params:.2f} M"
    return svg.tag(
        "circle",
        svg.tag("title", escape(said)),
        cx=frame.x(one.gflops),
        cy=frame.y(one.miou),
        r=_RADIUS_OF_A_MILLION * one.params**0.5,
        class_="ours" if one.ours else "theirs",
    )


def _names(bubbles: Sequence[Bubble], frame: svg.Frame) -> Iterator[Markup]:
    """Names beside the centres, moved apart where they would cover each other."""
    taken: list[tuple[float, float, float]] = []
    for one in sorted(bubbles, key=lambda one: -one.miou):
        x, y, width = frame.x(one.gflops), frame.y(one.miou) + 4, 5.9 * len(one.name)
        places = [(x, y + down) for down in (0, 13, -13, 26, -26, 39)]
        free = (
            at
            for at in places
            if not any(abs(at[1] - b) < 12 and abs(at[0] - a) < (width + w) / 2 for a, b, w in taken)
        )
        at = next(free, (x, y))
        taken.append((*at, width))
        yield svg.text(*at, one.name, text_anchor="middle", class_="small over")
