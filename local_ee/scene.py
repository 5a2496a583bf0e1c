"""Scene and SceneSource: what the evaluator of expressions needs to know of a planet, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

PixelType = Literal["uint8", "uint16", "int16", "int32", "float32", "float64"]


@dataclass(frozen=True)
class SceneBand:
    """One band of a scene on its own native grid.

    Attributes:
        id: band name, e.g. ``B11``.
        dtype: numpy name of the stored type.
        crs: ``EPSG:n``.
        transform: (a, b, c, d, e, f), x = a col + b row + c, y = d col + e row + f, of pixel corners, metres.
        shape: (height, width) in native pixels.
    """

    id: str
    dtype: PixelType
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """One image of a collection, without its pixels.

    Attributes:
        collection: id of its collection, e.g. ``COPERNICUS/S1_GRD``.
        index: ``system:index``.
        bands: in the order of the live catalogue.
        properties: as ``getInfo`` shows them, with ``system:index``, ``system:time_start`` (ms since 1970, UTC),
            ``system:time_end`` and the sensor's own; without the footprint.
        footprint: outline as (lon, lat) degrees, counter-clockwise, not closed; may pass the date line (lon > 180).
    """

    collection: str
    index: str
    bands: tuple[SceneBand, ...]
    properties: Mapping[str, Any]
    footprint: tuple[tuple[float, float], ...]

    @property
    def id(self) -> str:
        return f"{self.collection}/{self.index}"

    @property
    def start_ms(self) -> int:
        return int(self.properties["system:time_start"])

    def band(self, band_id: str) -> SceneBand:
        return next(band for band in self.bands if band.id == band_id)


class TooManyScenesError(Exception):
    """A search is not narrowed enough by time, place or id to be answered."""


class SceneSource(Protocol):
    """Which scenes exist, and their pixels."""

    @property
    def collections(self) -> tuple[str, ...]:
        """Ids of all image collections."""

    def find(
        self,
        collection: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        region: tuple[float, float, float, float] | None = None,
        indices: frozenset[str] | None = None,
        product_ids: frozenset[str] | None = None,
    ) -> list[Scene]:
        """Scenes that may match, ordered by (start time, index); the caller filters them exactly.

        Args:
            start_ms, end_ms: half-open range of ``system:time_start``.
            region: (west, south, east, north) in degrees; east may exceed 180 past the date line.
            indices: values that ``system:index`` must be one of.
            product_ids: values that ``PRODUCT_ID`` must be one of.

        Raises:
            KeyError: no such collection.
            TooManyScenesError: more than 5,000 scenes, or no narrowing at all.
        """

    def scene(self, asset_id: str) -> Scene | None:
        """The scene of an asset id ``<collection>/<index>``, or None where there is none."""

    def read(
        self, scene: Scene, band_id: str, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Native pixels of a window and their mask.

        Args:
            rows, cols: half-open ranges of native pixels; they may reach outside the image.

        Returns:
            values (rows, cols) in the band's dtype, 0 where masked; mask bool (rows, cols), True = valid. Depends on
            (planet, scene, band, row, column) alone: any window, order or process gives the same value.
        """
