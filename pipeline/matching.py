"""Matching: which Sentinel-2 scene a label was drawn on, decided from the scenes of its day. Pure, asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shapely.geometry import Polygon

from .tiles import Tile


@dataclass(frozen=True)
class SceneHint:
    """What the label release says about the scene a label was drawn on; all optional."""

    index: str | None = None
    product_id: str | None = None

    @property
    def sensed(self) -> datetime | None:
        """UTC start of the data take, if a hint tells it."""
        stamp = self.index.split("_")[0] if self.index else _part(self.product_id, 2)
        try:
            return datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    def window(self, day: date) -> tuple[datetime, datetime]:
        """When the scene of a label of that day was sensed: half-open range of ``system:time_start``.

        The id of a scene says when its data take began, which may be the day before: a granule is sensed up to half an
        hour later, and over Australia that is past midnight UTC.
        """
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        if self.sensed is None:
            return start, end
        return min(start, self.sensed - timedelta(hours=1)), max(end, self.sensed + timedelta(hours=2))


def _part(product_id: str | None, number: int) -> str:
    parts = (product_id or "").split("_")
    return parts[number] if len(parts) > number else ""


@dataclass(frozen=True)
class SceneRef:
    """The Sentinel-2 scene of a tile and the rule that found it."""

    collection: str
    index: str
    rule: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A scene of the right day that touches the tile."""

    index: str
    product_id: str
    mgrs_tile: str
    baseline: str
    footprint: tuple[tuple[float, float], ...]


def choose_scene(tile: Tile, hint: SceneHint, candidates: list[Candidate]) -> tuple[Candidate, str] | None:
    """The scene that a label was drawn on, and the rule that found it.

    Rules in order: same index; same product id; same sensing time and MGRS tile (reprocessing changes product ids);
    same day and full cover (or an outline that is not known), scenes in the tile's own UTM zone first. Among equals the
    newest processing baseline.
    """
    newest_first = sorted(candidates, key=lambda c: (c.baseline, c.index), reverse=True)
    for candidate in newest_first:
        if candidate.index == hint.index:
            return candidate, "index"
    for candidate in newest_first:
        if hint.product_id and candidate.product_id == hint.product_id:
            return candidate, "product-id"
    for candidate in newest_first:
        if hint.product_id and _same_sensing(candidate, hint.product_id):
            return candidate, "sensing-time"
    zone = tile.crs[-2:]
    own_zone_first = sorted(newest_first, key=lambda c: c.mgrs_tile[:2] != zone)
    for candidate in own_zone_first:
        if covers(candidate.footprint, tile):
            return candidate, "same-day"
    # Where the service tells no outline, the pixels will show how much is covered.
    return next(((c, "same-day-unseen") for c in own_zone_first if not c.footprint), None)


def _same_sensing(candidate: Candidate, product_id: str) -> bool:
    same_start = candidate.index.split("_")[0] == _part(product_id, 2)
    return same_start and candidate.mgrs_tile == _part(product_id, 5).lstrip("T")


def covers(footprint: tuple[tuple[float, float], ...], tile: Tile) -> bool:
    """Whether an outline in degrees holds the whole tile; outlines past the date line are brought beside it."""
    if len(footprint) < 3:
        return False
    lon0 = tile.centre[0]
    near = [(lon0 + (lon - lon0 + 180) % 360 - 180, lat) for lon, lat in footprint]
    square = [(lon0 + (lon - lon0 + 180) % 360 - 180, lat) for lon, lat in tile.outline]
    return bool(Polygon(near).buffer(0).covers(Polygon(square)))


def candidates_of(answer: Mapping[str, list[Any]]) -> list[Candidate]:
    indices = answer.get("system:index", [])
    columns = [answer.get(name, []) for name in ("PRODUCT_ID", "MGRS_TILE", "PROCESSING_BASELINE", "system:footprint")]
    # aggregate_array leaves out missing properties: a shorter list cannot be matched to scenes any more.
    product, mgrs, baseline, outline = (c if len(c) == len(indices) else [None] * len(indices) for c in columns)
    return [
        Candidate(
            index=index,
            product_id=product[i] or "",
            mgrs_tile=mgrs[i] or index.rsplit("_T", 1)[-1],
            baseline=baseline[i] or "",
            footprint=_ring(outline[i]),
        )
        for i, index in enumerate(indices)
    ]


def _ring(geometry: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(geometry, Mapping):
        return ()
    points = geometry.get("coordinates", [])
    while points and isinstance(points[0][0], (list, tuple)):
        points = points[0]
    return tuple((float(p[0]), float(p[1])) for p in points)
