"""The tiles of a data root as outlines: which lie where, in which split, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...pipeline.dataset.ledger import LedgerRow
from ...pipeline.dataset.manifest import ManifestRow, Protocol
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ..pages.pixels import SPLIT_COLOURS
from .pictures import Bounds

STATUS_COLOURS = {
    "error found by validation": "#8e44ad",
    "failed": "#000000",
    "discarded": "#7f8c8d",
    "not built": "#bdc3c7",
}
"""Colours of tiles that are not used; those that are have the colour of their split."""


@dataclass(frozen=True)
class Outlines:
    """Tiles of one split or status.

    Attributes:
        title: split or status.
        colour: ``#rrggbb``.
        rows: of the manifest.
        ledger: tile id -> what is on record.
    """

    title: str
    colour: str
    rows: tuple[ManifestRow, ...]
    ledger: Mapping[str, LedgerRow]

    @property
    def name(self) -> str:
        """Of the layer: ``train (75)``."""
        return f"{self.title} ({len(self.rows):,})"

    def geojson(self) -> dict[str, Any]:
        """A FeatureCollection in longitude and latitude; longitudes go on beyond 180."""
        return {"type": "FeatureCollection", "features": [self._feature(row) for row in self.rows]}

    def _feature(self, row: ManifestRow) -> dict[str, Any]:
        tile, known = row.tile, self.ledger.get(row.tile.id)
        ring = [list(point) for point in (*tile.outline, tile.outline[0])]
        said = {
            "tile": tile.id,
            "date": tile.date.isoformat(),
            "status": "not built" if known is None else known.state,
            "reason": "" if known is None else known.reason or known.detail,
            "labels": row.labeler,
            "biome": tile.biome,
        }
        return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": said}


def outlines_of(
    root: DataRoot, protocol: Protocol = "strict", *, splits: Sequence[str] | None = None
) -> list[Outlines]:
    """All tiles of a data root, each once: those that are used by split, the others by what became of them.

    Args:
        splits: only tiles of these; None = all.

    Raises:
        DataError: the root holds no data set.
    """
    ledger, unfit = root.ledger(), _unfit(root)
    groups: dict[str, list[ManifestRow]] = {}
    for row in root.manifest().rows:
        if splits is None or row.split(protocol) in splits:
            groups.setdefault(_title(row, ledger.get(row.tile.id), unfit, protocol), []).append(row)
    colours = {**SPLIT_COLOURS, **STATUS_COLOURS}
    order = list(colours)
    named = sorted(groups, key=lambda title: order.index(title) if title in order else len(order))
    return [Outlines(title, colours.get(title, "#555555"), tuple(groups[title]), ledger) for title in named]


def _title(row: ManifestRow, known: LedgerRow | None, unfit: frozenset[str], protocol: Protocol) -> str:
    if known is None:
        return "discarded" if row.discard else "not built"
    if known.state != "done":
        return known.state
    return "error found by validation" if row.tile.id in unfit else row.split(protocol)


def _unfit(root: DataRoot) -> frozenset[str]:
    try:
        return root.unfit()
    except DataError:
        return frozenset()  # not validated yet


def bounds_of(rows: Sequence[ManifestRow]) -> Bounds:
    """What holds all tiles: (west, south, east, north) in degrees."""
    points = [point for row in rows for point in row.tile.outline]
    lon, lat = zip(*points, strict=True)
    return min(lon), min(lat), max(lon), max(lat)
