"""The data set: where its tiles lie, how many there are of what, classes of its labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ....manifests import load_json
from ....pipeline.dataset.manifest import SPLITS, ManifestRow
from ....pipeline.dataset.root import DataRoot
from ....pipeline.dataset.statistics import Statistics
from ....pipeline.errors import DataError
from ....pipeline.raster.geotiff import read_codes
from ....pipeline.spec.tiles import biome_names, region_names
from .. import svg

T = TypeVar("T")

_WIDTH, _HEIGHT = 760, 312
_SERIES = {"train": 0, "val": 2, "test": 1}
"""Of splits on the map; others are drawn as the fourth."""
_MANY = 400
"""With more tiles than this, marks of a split are small, and those in one cell of half a degree are one."""


def tile_table(rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """Tiles by region (rows) and split (columns), and how many biomes there are."""
    splits = [s for s in SPLITS if any(r.split_strict == s for r in rows)]
    counts = Counter((row.tile.region, row.split_strict) for row in rows)
    regions = [name for name in region_names() if any(row.tile.region == name for row in rows)]
    return {
        "splits": splits,
        "rows": [(region, [counts[region, split] for split in splits]) for region in regions],
        "totals": [sum(counts[region, split] for region in regions) for split in splits],
        "biomes": len({row.tile.biome for row in rows if row.tile.biome}),
    }


def class_counts(
    root: DataRoot, rows: Sequence[ManifestRow], unread: dict[str, str] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Marked pixels of each class in each biome: name -> int64 (classes,); paper, Fig. 3.

    Args:
        unread: receives each tile whose label cannot be read, with the reason.
    """
    names, number_of_classes = biome_names(), len(root.classes())
    counts: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(number_of_classes, dtype=np.int64))
    for row in rows:
        indices = read_of(row, partial(label_classes, root, row), unread)
        if indices is not None:
            counts[row.tile.biome] += np.bincount(indices.ravel(), minlength=256)[:number_of_classes]
    return {f"{number} {names.get(number, 'biome not known')}": counts[number] for number in sorted(counts)}


def label_classes(root: DataRoot, row: ManifestRow) -> NDArray[np.uint8]:
    """Class indices of a tile's label, uint8 (H, W)."""
    return root.classes().class_indices(read_codes(root.label(row)))


def read_of(row: ManifestRow, read: Callable[[], T], unread: dict[str, str] | None) -> T | None:
    """What ``read`` gives of a tile; None where its files cannot be read, and the reason goes to ``unread``.

    Raises:
        DataError: they cannot be read, and there is no ``unread``.
    """
    try:
        return read()
    except DataError as error:
        if unread is None:
            raise
        unread[row.tile.id] = str(error)
        return None


def strict_statistics(root: DataRoot) -> Statistics | None:
    try:
        return root.statistics("strict")
    except DataError:
        return None


# --- map --------------------------------------------------------------------------------------------------------------


def places_of(rows: Sequence[ManifestRow]) -> dict[str, list[tuple[float, float]]]:
    """Split -> (longitude, latitude) of its tiles, in the order of splits."""
    places: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        places[row.split_strict].append(row.tile.centre)
    return {split: places[split] for split in sorted(places, key=lambda s: (SPLITS.index(s) if s in SPLITS else 99, s))}


def series_of(split: str) -> int:
    return _SERIES.get(split, 3)


def map_sample(split: str) -> Markup:
    """The mark of a split, for the legend."""
    mark = svg.mark_at(7, 7, series_of(split), "", radius=3.2)
    return svg.tag("svg", mark, class_="chart", viewBox="0 0 14 14", style="width:14px;flex:none", aria_hidden="true")


def world_map(places: Mapping[str, Sequence[tuple[float, float]]], *, mark: str) -> Markup:
    """Where the tiles lie, plate carrée: coastlines, a kind of mark for each split, borders of the regions."""
    x, y = svg.Scale(-180, 180, 4, _WIDTH - 4), svg.Scale(-60, 85, _HEIGHT - 4, 4)
    frame = svg.Frame(x, y)
    parts = [svg.tag("path", d=coast_path(frame), class_="coast")]
    for border in (-160, -20, 100):
        parts.append(svg.tag("path", d=f"M{x(border):.1f} {y.end}V{y.start}", class_="grid", stroke_dasharray="2 4"))
    for split in sorted(places, key=lambda one: -len(places[one])):
        points = places[split]
        many = len(points) > _MANY
        if many:
            cells = dict.fromkeys((round(lon * 2) / 2, round(lat * 2) / 2) for lon, lat in points)
            parts.append(svg.dots([(x(lon), _down(y, lat)) for lon, lat in cells], series_of(split)))
            continue
        for lon, lat in points:
            said = f"{split}: {abs(lon):.1f} {'EW'[lon < 0]}, {abs(lat):.1f} {'NS'[lat < 0]}"
            parts.append(svg.mark_at(x(lon), _down(y, lat), series_of(split), said, radius=3))
    said = "Map of the tiles: " + ", ".join(f"{len(points)} {split}" for split, points in places.items())
    return svg.drawing(_WIDTH, _HEIGHT, parts, said=said, mark=mark)


def _down(y: svg.Scale, lat: float) -> float:
    """Place of a latitude; what lies beyond the map is drawn at its edge."""
    return y(max(y.low, min(y.high, lat)))


def coast_path(frame: svg.Frame) -> str:
    """Coastlines of ``manifests/coastline.json`` as a path."""
    lines = load_json("coastline")["lines"]
    drawn = []
    for line in lines:
        points = zip(line[::2], line[1::2], strict=True)
        drawn.append("M" + "L".join(f"{frame.x(lon / 10):.1f} {frame.y(lat / 10):.1f}" for lon, lat in points))
    return "".join(drawn)
