"""The downloaded pixels of one zone of an area as one image, read by rows; maps are made of it.

Comes after ``blocks``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..raster.geotiff import RasterGrid
from ..spec.bands import BANDS, Composite
from ..spec.radar import radar_of
from ..spec.sources import Source
from .blocks import CLEAR, Cache, Part, Sought, read_rows
from .composite import composite_of
from .grids import Block, ZoneGrid

_RULES = {
    "cloud-score": "no class where Cloud Score+ cs_cdf < 0.60",
    "scene-classes": "no class where SCL is 0, 1, 3, 8, 9 or 10, grown by 60 m",
}

COMPOSED_ROWS = 64
"""At a time: files hold as many rows in one piece."""

FEW_OBSERVATIONS = 10
"""Sentinel-1 scenes in a mean below which speckle is left."""


@dataclass(frozen=True)
class AreaImage:
    """The part of an area in one zone.

    Attributes:
        zone: grid, and which of its pixels belong to the map.
        sought: what was downloaded.
        parts: of this zone.
        cache: where they are, with the status of each.
        composite: how the pictures become one; None: each is classified by itself.
    """

    zone: ZoneGrid
    sought: Sought
    parts: tuple[Part, ...]
    cache: Cache
    composite: Composite | None = None

    @property
    def grid(self) -> RasterGrid:
        """Of the pixels that are read."""
        return self.zone.grid

    @property
    def map_grid(self) -> RasterGrid:
        return self.zone.map_grid

    @property
    def map_origin(self) -> tuple[int, int]:
        """Row and column of ``grid`` where the map begins."""
        return self.zone.rows[0], self.zone.columns[0]

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.shape

    @property
    def pictures(self) -> int:
        """How many pictures of Sentinel-2 are classified; 1 where it is not read."""
        return 1 if self.composite else max(1, len(self.sought.pictures))

    @property
    def source(self) -> Source:
        return Source.of(self.sought.source)

    @property
    def tags(self) -> dict[str, str]:
        """Of maps that are made of it."""
        sought = self.sought
        days = [[str(day.day) for day in one.days] for one in sought.pictures]
        rules = sorted({day.rule for one in sought.pictures for day in one.days})
        made: dict[str, str] = {
            "PIXELS": sought.source,
            "AREA": sought.key,
            "S2_DAYS": ", ".join(" + ".join(one) for one in days),
            "S2_SCENES": " ".join(self.scenes),
            "CLOUD_RULE": ", ".join(_RULES[rule] for rule in rules),
            "NOTES": "; ".join(sought.notes),
        }
        first = last = None
        if sought.recipe is not None:
            begin, end = sought.recipe.window(sought.s1_day)
            made |= {"S1_WINDOW": f"{begin}/{end}", "S1_RECIPE": sought.recipe.hash, "S1": str(radar_of(sought.recipe))}
            first, last = begin, end - timedelta(days=1)
        s2 = [day.day for one in sought.pictures for day in one.days]
        years = sorted({one.year for one in (*s2, *(day for day in (first, last) if day is not None))})
        said = f"{years[0]}-{years[-1]}" if len(years) > 1 else str(years[0])
        made["LICENCE"] = self.source.licence.split("; labels")[0].replace("{years}", said)
        if self.source.synthetic:
            made["SANDBOX"] = "pixels of the local Earth Engine, a synthetic planet"
        return {name: text for name, text in made.items() if text}

    @property
    def identity(self) -> str:
        """Changes with the area, its scenes and its recipe."""
        return hashlib.sha256(repr((self.sought.hash, self.grid)).encode()).hexdigest()[:16]

    @cached_property
    def _files(self) -> Mapping[int | None, tuple[Part, ...]]:
        """Parts with pixels by number of their picture."""
        known = self.cache.known
        found: dict[int | None, list[Part]] = {}
        for part in self.parts:
            if known[part.id].state == "done":
                found.setdefault(part.picture, []).append(part)
        return {picture: tuple(parts) for picture, parts in found.items()}

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:
        """Stored values of some rows: uint16 (bands, rows, W), 0 = no data.

        Raises:
            DataError: a file is damaged.
        """
        stored = np.zeros((len(bands), stop - start, self.shape[1]), dtype=np.uint16)
        for sensor, number in (("S2", picture), ("S1", None)):
            wanted = [n for n, band in enumerate(bands) if BANDS[band].sensor == sensor]
            names = [bands[n] for n in wanted]
            if wanted and sensor == "S2" and self.composite:
                stored[wanted] = self._composite(self.composite, names, start, stop)
            elif wanted:
                stored[wanted] = self._rows(names, start, stop, number)
        return stored

    def shown(self, start: int, stop: int, picture: int = 0) -> NDArray[np.bool_]:
        """Which pixels of some rows may get a class: those of the area that no cloud hides; bool (rows, W).

        One picture hides no pixel that it has no data of: a network that was trained for missing inputs classifies it
        by Sentinel-1. Of several pictures those are averaged that show a pixel.
        """
        belongs = self.zone.belongs(start, stop)
        if self.sought.pictures and belongs.any():
            # A composite shows what one of its pictures shows.
            numbers = range(len(self.sought.pictures)) if self.composite else (picture,)
            each = [self._rows([CLEAR, self.sought.s2_bands[0]], start, stop, number) != 0 for number in numbers]
            clear, some = np.logical_or.reduce(each)
            belongs &= clear if self.pictures > 1 else clear | ~some
        return belongs

    def check_units(self) -> None:
        """Nothing to look at: values are those of a build."""

    def _rows(self, bands: Sequence[str], start: int, stop: int, picture: int | None) -> NDArray[np.uint16]:
        found = np.zeros((len(bands), stop - start, self.shape[1]), dtype=np.uint16)
        for part in self._files.get(picture, ()):
            block = part.block
            low, high = max(start, block.row), min(stop, block.row + block.height)
            if low < high:
                values = read_rows(self.cache.path(part), bands, low - block.row, high - block.row)
                found[:, low - start : high - start, block.column : block.column + block.width] = values
        return found

    def _composite(self, kind: Composite, bands: Sequence[str], start: int, stop: int) -> NDArray[np.uint16]:
        """Some rows of the composite, a piece of a block at a time: whole strips of 12 pictures would not fit."""
        read = (CLEAR, *self.sought.s2_bands)  # a medoid is chosen by all bands, whichever are asked for
        places = [read.index(band) - 1 for band in bands]
        found = np.zeros((len(bands), stop - start, self.shape[1]), dtype=np.uint16)
        blocks: dict[Block, list[Part]] = {}
        for number in range(len(self.sought.pictures)):
            for part in self._files.get(number, ()):
                blocks.setdefault(part.block, []).append(part)
        for block, parts in blocks.items():
            low, high = max(start, block.row), min(stop, block.row + block.height)
            pieces = range(low - (low - block.row) % COMPOSED_ROWS, high, COMPOSED_ROWS)
            for piece in pieces:
                begin, end = max(low, piece), min(high, piece + COMPOSED_ROWS)
                held = [read_rows(self.cache.path(part), read, begin - block.row, end - block.row) for part in parts]
                pictures = np.stack(held)
                made = composite_of(kind, pictures[:, 1:], pictures[:, 0] != 0)
                found[:, begin - start : end - start, block.column : block.column + block.width] = made[places]
        return found

    def observations(self) -> tuple[int, float] | None:
        """Least number of Sentinel-1 observations of a pixel of the map, and the share (0..1) of pixels with fewer than
        ``FEW_OBSERVATIONS``; None where Sentinel-1 is not read."""
        if self.sought.recipe is None:
            return None
        least, few, total = 65535, 0, 0
        for start in range(self.zone.rows[0], self.zone.rows[1], 512):
            stop = min(self.zone.rows[1], start + 512)
            numbers = self._rows(["S1_N"], start, stop, None)[0][self.zone.belongs(start, stop)]
            if len(numbers):
                least = min(least, int(numbers.min()))
                few += int((numbers < FEW_OBSERVATIONS).sum())
                total += len(numbers)
        return (least, few / total) if total else (0, 1.0)

    @cached_property
    def scenes(self) -> tuple[str, ...]:
        """``system:index`` of the Sentinel-2 scenes whose pixels are in the image, sorted."""
        files = [part for parts in self._files.values() for part in parts]
        return tuple(sorted({name for part in files for name in self.cache.known[part.id].scene.split()}))
