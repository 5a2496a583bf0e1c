"""Drawings of pages in SVG: sharp at any size, in the colours of the page (light and dark), small, and the same bytes
for the same numbers. ``page.css`` has the classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

SERIES = 8
"""So many lines of a chart have colours of their own (``s1`` to ``s8``, apart for the colour-blind)."""

DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "4 2", "1 3", "10 3 1 3 1 3")
"""Of the lines ``s1`` to ``s8``, so that they differ in print without colour too."""


def tag(name: str, *content: Markup | str, **attributes: object) -> Markup:
    """An element; ``_`` in names of attributes means ``-``, and one at the end is dropped (``class_``)."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value)) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, Markup("").join(content))


def _plain(value: object) -> object:
    """Numbers with one decimal at most: smaller steps cannot be seen."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def drawing(width: int, height: int, content: Iterable[Markup], *, said: str, mark: str = "") -> Markup:
    """A drawing of a page.

    Args:
        said: what it shows, for people who cannot see it.
        mark: whose pixels its numbers come from besides Google's; drawn into it, so that a copy says it too.
    """
    parts = [tag("title", escape(said)), *content]
    if mark:
        parts.append(text(width - 6, 13, mark, class_="mark-text", text_anchor="end"))
    return tag(
        "svg",
        *parts,
        class_="chart broad" if width > 600 else "chart",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=said,
    )


def text(x: float, y: float, words: str, **attributes: object) -> Markup:
    return tag("text", escape(words), x=x, y=y, **attributes)


@dataclass(frozen=True)
class Scale:
    """From numbers to places in a drawing, linear or logarithmic.

    Attributes:
        low, high: numbers at ``start`` and ``end``.
        start, end: places, px.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(n) if self.log else n for n in (self.low, self.high, value))
        return self.start + (self.end - self.start) * ((at - low) / (high - low) if high > low else 0.5)

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers within the scale."""
        return _log_ticks(self.low, self.high) if self.log else _round_ticks(self.low, self.high, about)


def _round_ticks(low: float, high: float, about: int) -> list[float]:
    if not high > low:
        return [low]
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [n * 10.0**power for power in powers for n in (1, 2, 5) if low <= n * 10.0**power <= high]


def around(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """Lowest and highest number with some room; never equal."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * share or max(abs(high), 1.0) * share
    return low - room, high + room


@dataclass(frozen=True)
class Frame:
    """Axes of a chart."""

    x: Scale
    y: Scale

    def axes(self, title_x: str, title_y: str, *, ticks_x: Sequence[tuple[float, str]] | None = None) -> list[Markup]:
        """Lines of the grid, numbers and titles; ``ticks_x`` are (number, words) in place of round numbers, or none."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        parts = []
        for value in self.y.ticks():
            y = self.y(value)
            parts.append(tag("path", d=f"M{left:.1f} {y:.1f}H{right:.1f}", class_="grid"))
            parts.append(text(left - 5, y + 4, f"{value:g}", class_="small dim", text_anchor="end"))
        for value, words in [(v, f"{v:g}") for v in self.x.ticks()] if ticks_x is None else ticks_x:
            x = self.x(value)
            parts.append(tag("path", d=f"M{x:.1f} {bottom:.1f}V{top:.1f}", class_="grid"))
            parts.append(text(x, bottom + 15, words, class_="small dim", text_anchor="middle"))
        parts.append(tag("path", d=f"M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}", class_="axis"))
        if title_x:
            parts.append(text((left + right) / 2, bottom + 31, title_x, class_="dim", text_anchor="middle"))
        return [*parts, text(left - 30, top - 8, title_y, class_="dim")]


def line(points: Iterable[tuple[float, float]], series: int) -> Markup:
    """A line through places (x, y), px; ``series`` from 0, those from ``SERIES`` on are grey."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dash = {"stroke_dasharray": DASHES[series]} if series < SERIES and DASHES[series] else {}
    return tag("path", d=path, class_=f"line {series_class(series)}", **dash)


def series_class(series: int) -> str:
    return f"s{series + 1}" if series < SERIES else "other"


def mark_at(x: float, y: float, series: int, said: str, *, radius: float = 3.2) -> Markup:
    """A mark of a series: circles, squares and triangles in turn."""
    shape = series % 3
    r = radius
    path = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r:.1f} 0a{r} {r} 0 1 0 {-2 * r:.1f} 0z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z",
        f"M{x:.1f} {y - r * 1.2:.1f}l{r * 1.2:.1f} {r * 2.1:.1f}h{-2.4 * r:.1f}z",
    )[shape]
    return tag("path", tag("title", escape(said)), d=path, class_=f"mark {series_class(series)}")


def dots(points: Iterable[tuple[float, float]], series: int) -> Markup:
    """Many small round marks of a series in one element: places (x, y), px."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return tag("path", d=path, class_=f"dots {series_class(series)}")
