"""Scene choice: which scenes a tile is made from, out of those that a search found. Pure, sends no request."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shapely import union_all
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from ..spec.recipe import S2_COLLECTION
from ..spec.tiles import Tile


@dataclass(frozen=True)
class SceneHint:
    """What the label release says about the scene a label was drawn on; all optional."""

    index: str | None = None
    product_id: str | None = None

    @property
    def takes(self) -> frozenset[tuple[str, str]]:
        """(start of the data take, MGRS tile) in the ids; reprocessing does not change it."""
        told = (_TAKE.search(name) for name in (self.index, self.product_id) if name)
        return frozenset((found["start"], found["tile"]) for found in told if found)

    @property
    def sensed(self) -> tuple[datetime, ...]:
        """UTC starts of the data takes in the hints."""
        starts = []
        for start, _ in self.takes:
            try:
                starts.append(datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=UTC))
            except ValueError:  # digits that are no time
                continue
        return tuple(sorted(starts))

    def window(self, day: date) -> tuple[datetime, datetime]:
        """When the scene of a label of that day was sensed: half-open range of ``system:time_start``.

        The id of a scene says when its data take began, which may be the day before: a granule is sensed up to half an
        hour later, and over Australia that is past midnight UTC.
        """
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        sensed = self.sensed
        first = min([start, *(moment - timedelta(hours=1) for moment in sensed)])
        return first, max([end, *(moment + timedelta(hours=2) for moment in sensed)])


_TAKE = re.compile(r"(?:^|_)(?P<start>\d{8}T\d{6})_(?:.*_)?T(?P<tile>\d\d[C-X][A-Z]{2})(?:_|$)")
"""In an index ``<start>_<strip>_T<tile>`` and in a product id ``S2B_MSIL2A_<start>_N0213_R096_T<tile>_<made>``."""


@dataclass(frozen=True)
class Candidate:
    """A Sentinel-2 scene of the right day that touches the tile.

    Attributes:
        mgrs_tile: without the ``T``, ``49MEM``.
        baseline: of the processing, ``02.13``.
        footprint: outline in degrees (lon, lat); empty where the service reports none.
        day: of sensing, UTC; None where the service reports none.
    """

    index: str
    product_id: str
    mgrs_tile: str
    baseline: str
    footprint: tuple[tuple[float, float], ...]
    day: date | None = None

    @property
    def data_take(self) -> str:
        """Start of the data take: the scenes of one pass over the Earth share it."""
        return self.index.split("_")[0]

    @property
    def projection(self) -> str:
        """UTM zone and hemisphere, ``49S``: latitude bands from N on are north of the equator."""
        return self.mgrs_tile[:2] + ("N" if self.mgrs_tile[2:3] >= "N" else "S")


@dataclass(frozen=True)
class Found:
    """What a search found for one tile.

    Attributes:
        s2: scenes of the label's day, and of the hint's where that is another.
        s1_scenes: ``system:index`` of the Sentinel-1 scenes in the window, in order of time.
    """

    s2: tuple[Candidate, ...]
    s1_scenes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SceneRef:
    """What a tile is made from, and the rule that found it.

    Attributes:
        index: ``system:index`` of the Sentinel-2 scene that the label was drawn on.
        rule: ``index``, ``product-id``, ``sensing-time``, ``same-day`` or ``same-day-unseen``.
        neighbours: same-day scenes that show where that one has no pixel, in order of priority.
        s1_scenes: ``system:index`` of the Sentinel-1 scenes in the window.
    """

    collection: str
    index: str
    rule: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    neighbours: tuple[Candidate, ...] = ()
    s1_scenes: tuple[str, ...] = ()

    @property
    def indices(self) -> tuple[str, ...]:
        """All Sentinel-2 scenes, the first on top."""
        return self.index, *(scene.index for scene in self.neighbours)


# --- the decision -----------------------------------------------------------------------------------------------------


def choose_scene(tile: Tile, hint: SceneHint, found: Found) -> SceneRef | None:
    """The scene that a label was drawn on, and the rule that found it; None where there is none.

    Rules in order: same index; same product id; same start of the data take and MGRS tile (reprocessing changes the
    rest of either id); same day and full cover (or an outline that is not known), the tile's own UTM zone and fewest
    scenes first. Among equals one that covers the whole tile, then the newest processing baseline, then the last index:
    the last one processed.

    Where the scene leaves a part of the tile open, same-day scenes **in the same projection** fill it: of the same data
    take first, as many as are needed, one processing of each. A named scene counts also where even they leave a part
    open (its share of the tile is recorded); a scene found by its day alone must cover all.
    """
    newest_first = sorted(found.s2, key=lambda c: (c.baseline, c.index), reverse=True)
    for rule, matches in _RULES.items():
        named = [candidate for candidate in newest_first if matches(candidate, hint)]
        if named:
            # A data take that came down in two strips gives two scenes with one name, each with a part of the granule.
            scene = min(named, key=lambda c: not _covers([c], tile))
            return _ref(scene, rule, _neighbours(scene, newest_first, tile), found)
    of_the_day = [candidate for candidate in newest_first if candidate.day in (tile.date, None)]
    covering = covering_scenes(tile, of_the_day)
    if covering is not None:
        return _ref(covering[0], "same-day", covering[1], found)
    # Where the service reports no outline, the pixels will show how much is covered.
    own_zone_first = sorted(of_the_day, key=lambda c: c.projection != _projection_of(tile))
    unseen = next((c for c in own_zone_first if not c.footprint), None)
    return None if unseen is None else _ref(unseen, "same-day-unseen", (), found)


_RULES: dict[str, Callable[[Candidate, SceneHint], bool]] = {
    "index": lambda candidate, hint: bool(hint.index) and candidate.index == hint.index,
    "product-id": lambda candidate, hint: bool(hint.product_id) and candidate.product_id == hint.product_id,
    "sensing-time": lambda candidate, hint: (candidate.data_take, candidate.mgrs_tile) in hint.takes,
}
"""Rules that need what the release says of the scene."""


def _ref(scene: Candidate, rule: str, neighbours: tuple[Candidate, ...], found: Found) -> SceneRef:
    properties = {"PRODUCT_ID": scene.product_id, "PROCESSING_BASELINE": scene.baseline}
    return SceneRef(S2_COLLECTION, scene.index, rule, properties, neighbours, found.s1_scenes)


def _projection_of(tile: Tile) -> str:
    """``49S`` for EPSG:32749."""
    return tile.crs[-2:] + ("N" if tile.crs[-3] == "6" else "S")


def covering_scenes(tile: Tile, scenes: Sequence[Candidate]) -> tuple[Candidate, tuple[Candidate, ...]] | None:
    """The scene of one day that covers a tile with the fewest neighbours, and these; None where none does.

    The tile's own projection first, then the newest processing baseline.
    """
    newest_first = sorted(scenes, key=lambda c: (c.baseline, c.index), reverse=True)
    own = _projection_of(tile)
    options = []
    for scene in newest_first:
        neighbours = _neighbours(scene, newest_first, tile)
        if _covers([scene, *neighbours], tile):
            options.append((scene, neighbours))
    return min(options, key=lambda option: (option[0].projection != own, len(option[1])), default=None)


def scenes_of_day(tile: Tile, scenes: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The scenes of one day that show the most of a tile, as few as do, the one on top first; empty where none does.

    For parts of an area: unlike ``covering_scenes`` they may leave a part open.
    """
    covering = covering_scenes(tile, scenes)
    if covering is not None:
        return covering[0], *covering[1]
    newest_first = sorted(scenes, key=lambda c: (c.baseline, c.index), reverse=True)
    whole, own = _open_area([], tile), _projection_of(tile)
    one_pixel = whole / (tile.shape[0] * tile.shape[1])
    touching = [c for c in newest_first if c.footprint and _open_area([c], tile) < whole - one_pixel]
    if not touching:
        return tuple(c for c in newest_first if not c.footprint)[:1]
    options = [(c, *_neighbours(c, touching, tile)) for c in touching]
    return min(options, key=lambda option: (_open_area(option, tile), option[0].projection != own, len(option)))


def _neighbours(scene: Candidate, newest_first: Sequence[Candidate], tile: Tile) -> tuple[Candidate, ...]:
    """Scenes that fill what one leaves open of a tile, as few as do; none where its outline is not known."""
    if not scene.footprint or _covers([scene], tile):
        return ()
    others = [c for c in newest_first if c.footprint and c.projection == scene.projection and _same_day(c, scene)]
    one_pixel = _open_area([], tile) / (tile.shape[0] * tile.shape[1])
    chosen = [scene]
    for same_take in (True, False):
        fitting = [c for c in others if (c.data_take == scene.data_take) == same_take]
        while not _covers(chosen, tile):
            left = [c for c in fitting if c not in chosen and not any(_is_copy(c, taken) for taken in chosen)]
            best = min(left, key=lambda c: _open_area([*chosen, c], tile), default=None)
            if best is None or _open_area([*chosen, best], tile) > _open_area(chosen, tile) - one_pixel:
                break
            chosen.append(best)
    return tuple(chosen[1:])


def _same_day(one: Candidate, other: Candidate) -> bool:
    """Whether two scenes show the same state of the ground; a data take may run past midnight UTC."""
    return one.data_take == other.data_take or None in (one.day, other.day) or one.day == other.day


def _is_copy(one: Candidate, other: Candidate) -> bool:
    """Whether two scenes are two processings of one; strips of one data take have one baseline."""
    same = (one.data_take, one.mgrs_tile) == (other.data_take, other.mgrs_tile)
    return same and one.baseline != other.baseline


def _open_area(scenes: Sequence[Candidate], tile: Tile) -> float:
    """Square degrees of a tile that no outline holds."""
    square = Polygon(_near(tile.outline, tile))
    return float(square.difference(_union(scenes, tile)).area)


def _covers(scenes: Sequence[Candidate], tile: Tile) -> bool:
    return bool(_union(scenes, tile).covers(Polygon(_near(tile.outline, tile))))


def _union(scenes: Sequence[Candidate], tile: Tile) -> BaseGeometry:
    return union_all([Polygon(_near(s.footprint, tile)).buffer(0) for s in scenes if len(s.footprint) >= 3])


def _near(outline: Sequence[tuple[float, float]], tile: Tile) -> list[tuple[float, float]]:
    """An outline brought beside a tile: no jump at the date line."""
    lon0 = tile.centre[0]
    return [(lon0 + (lon - lon0 + 180) % 360 - 180, lat) for lon, lat in outline]


# --- the answer of a search -------------------------------------------------------------------------------------------


def found_in(answer: Any) -> Found:
    """Scenes out of the answer to ``graphs.scene_search``.

    Raises:
        ValueError: it is no such answer.
    """
    if not isinstance(answer, Mapping) or not _are_words(answer.get("system:index")):
        raise ValueError(f"no lists of scenes: {str(answer)[:80]}")
    s1_scenes = answer.get("s1", [])
    if not _are_words(s1_scenes):
        raise ValueError(f"no list of Sentinel-1 scenes: {str(s1_scenes)[:80]}")
    indices = answer["system:index"]
    names = ("PRODUCT_ID", "MGRS_TILE", "PROCESSING_BASELINE", "system:footprint", "system:time_start")
    columns = [answer.get(name) or [] for name in names]
    # aggregate_array leaves out missing properties: a shorter list cannot be matched to scenes any more.
    product, mgrs, baseline, outline, time = (c if len(c) == len(indices) else [None] * len(indices) for c in columns)
    scenes = tuple(
        Candidate(
            index=index,
            product_id=product[i] or "",
            mgrs_tile=mgrs[i] or index.rsplit("_T", 1)[-1],
            baseline=str(baseline[i] or ""),
            footprint=_ring(outline[i]),
            day=_day(time[i]),
        )
        for i, index in enumerate(indices)
    )
    return Found(scenes, tuple(s1_scenes))


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _day(time_ms: Any) -> date | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date() if isinstance(time_ms, int | float) else None


def _ring(geometry: Any) -> tuple[tuple[float, float], ...]:
    """The outline of a scene; empty where none is given, also where it is unbounded (coordinates ``Infinity``)."""
    try:
        points = geometry["coordinates"]
        while isinstance(points[0][0], list | tuple):
            points = points[0]
        ring = tuple((float(p[0]), float(p[1])) for p in points)
    except (TypeError, LookupError, ValueError):
        return ()
    return ring if all(math.isfinite(degrees) for point in ring for degrees in point) else ()


def index_of(product_id: str, datastrip_id: str) -> str:
    """``system:index`` of an L2A product: its sensing start, the ``S`` time of its datastrip, its MGRS tile.

    Empty where the ids do not say.

    The second time is the datastrip's, not the product's own (seen on a record that has all three).
    """
    take, strip = _TAKE.search(product_id), re.search(r"_S(\d{8}T\d{6})_", datastrip_id)
    return f"{take['start']}_{strip[1]}_T{take['tile']}" if take and strip else ""
