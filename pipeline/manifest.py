"""The manifest: which tiles the data set consists of, on which grids, in which split, with which label.

Written as GeoParquet (geometry in EPSG:4326, the grid in the tile's own CRS), so that GeoPandas and QGIS open it.
Comes after ``labels`` and before ``export``.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from shapely import STRtree
from shapely.geometry import Polygon

from ..manifests import load_csv
from .errors import DataError, UsageError
from .files import write_atomically
from .tiles import RESOLUTION_M, TILE_SIZE_PX, Tile, in_region

MANIFEST_FILE = "manifest.parquet"

Release = Literal["train", "test", "inspect"]
Protocol = Literal["strict", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("strict", "paper")
SPLITS = ("train", "val", "test", "inspect")

VALIDATION_SHARE = 0.1
"""Share of the training tiles that ``strict`` sets aside as ``val``."""

VALIDATION_BLOCK_DEG = 2.0
"""Side of the blocks that go to ``val`` as a whole, so that neighbouring tiles never sit on both sides."""


@dataclass(frozen=True)
class ManifestRow:
    """One tile of the data set.

    Attributes:
        labeler: whose markup is used: ``expert``, ``non_expert``, ``consensus`` or ``unknown``.
        release: ``train`` or ``test`` as released; ``inspect`` for label tiles given by hand.
        label: label raster, path relative to the data root.
        label_sha256: of the released file that it was read from.
        marked_share: share of pixels (0..1) with one of the nine classes.
        split_strict, split_paper: ``train``, ``val``, ``test`` or ``inspect``. Under ``paper`` the test tiles serve for
            validation as well (paper, section III).
        s2_index, s2_product_id: what the release says about the label's scene; may be empty.
        discard: reason not to ask for this tile at all; empty for all others.
    """

    tile: Tile
    labeler: str
    release: Release
    label: str
    label_sha256: str
    marked_share: float
    s2_index: str = ""
    s2_product_id: str = ""
    split_strict: str = ""
    split_paper: str = ""
    discard: str = ""

    def split(self, protocol: Protocol) -> str:
        return self.split_strict if protocol == "strict" else self.split_paper


@dataclass(frozen=True)
class Manifest:
    """All tiles of one data root, ordered by tile id."""

    rows: tuple[ManifestRow, ...]

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any row."""
        content = json.dumps([_flat(row) for row in self.rows], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def of_split(self, split: str, protocol: Protocol) -> tuple[ManifestRow, ...]:
        """Rows of a split that may be asked for; ``val`` of ``paper`` is its test split."""
        wanted = "test" if (split, protocol) == ("val", "paper") else split
        return tuple(row for row in self.rows if row.split(protocol) == wanted and not row.discard)


# --- making it --------------------------------------------------------------------------------------------------------


def make_manifest(rows: Iterable[ManifestRow]) -> Manifest:
    """Manifest of label tiles: one row per tile, splits assigned, training tiles that touch a test tile marked.

    Where experts and non-experts drew the same tile, the expert's markup is taken.
    """
    chosen = _one_per_tile(rows)
    leaking = _overlapping_test(chosen)
    marked = [replace(row, discard="test_overlap") if row.tile.id in leaking else row for row in chosen]
    validation = _validation_tiles([row for row in marked if row.release == "train" and not row.discard])
    return Manifest(tuple(_with_splits(row, validation) for row in marked))


_LABELER_RANK = {"consensus": 0, "expert": 1, "non_expert": 2}


def _one_per_tile(rows: Iterable[ManifestRow]) -> list[ManifestRow]:
    best: dict[tuple[str, bool], ManifestRow] = {}
    for row in rows:
        key = (row.tile.id, row.release == "test")
        other = best.get(key)
        if other is None or _preference(row) < _preference(other):
            best[key] = row
    # A tile that is in both releases keeps its test row: the training row would leak.
    tests = {tile_id for tile_id, is_test in best if is_test}
    kept = [row for (tile_id, is_test), row in best.items() if is_test or tile_id not in tests]
    return sorted(kept, key=lambda row: row.tile.id)


def _preference(row: ManifestRow) -> tuple[bool, int]:
    """Lower is better: a tile that is released does not leave its split because it is also given by hand."""
    return row.release == "inspect", _LABELER_RANK.get(row.labeler, 9)


def _overlapping_test(rows: Sequence[ManifestRow]) -> set[str]:
    """Ids of training tiles that share ground with a test tile, also with one that is not in this data root."""
    present = {row.tile.id for row in rows if row.release == "test"}
    squares = [Polygon(row.tile.outline) for row in rows if row.release == "test"]
    squares += [
        _square_around(float(r["lon"]), float(r["lat"])) for r in _known_test_tiles() if r["dw_id"] not in present
    ]
    tree = STRtree(squares)
    leaking = set()
    for row in rows:
        if row.release == "train":
            outline = Polygon(row.tile.outline)
            if any(squares[i].intersection(outline).area > 0 for i in tree.query(outline)):
                leaking.add(row.tile.id)
    return leaking


def _known_test_tiles() -> tuple[dict[str, str], ...]:
    return load_csv("test_409")


def _square_around(lon: float, lat: float) -> Polygon:
    half_lat = TILE_SIZE_PX * RESOLUTION_M / 2 / 111_320
    half_lon = half_lat / math.cos(math.radians(lat))
    return Polygon([(lon + dx * half_lon, lat + dy * half_lat) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def _block(tile: Tile) -> tuple[int, int]:
    lon, lat = tile.centre
    return math.floor(lon / VALIDATION_BLOCK_DEG), math.floor(lat / VALIDATION_BLOCK_DEG)


def _validation_tiles(rows: Sequence[ManifestRow]) -> frozenset[str]:
    """Ids of the tiles of the validation blocks, and of all that share ground with them across a block's edge."""
    blocks = _validation_blocks(rows)
    chosen = {row.tile.id for row in rows if _block(row.tile) in blocks}
    outlines = [Polygon(row.tile.outline) for row in rows]
    tree = STRtree(outlines)
    waiting = [i for i, row in enumerate(rows) if row.tile.id in chosen]
    while waiting:
        here = outlines[waiting.pop()]
        for i in tree.query(here):
            if rows[i].tile.id not in chosen and outlines[i].intersection(here).area > 0:
                chosen.add(rows[i].tile.id)
                waiting.append(int(i))
    return frozenset(chosen)


def _validation_blocks(rows: Sequence[ManifestRow]) -> frozenset[tuple[int, int]]:
    """Geographic blocks whose training tiles validate: by hash order, until the share is reached."""
    members: dict[tuple[int, int], int] = defaultdict(int)
    for row in rows:
        members[_block(row.tile)] += 1
    chosen: set[tuple[int, int]] = set()
    taken = 0
    for block in sorted(members, key=lambda b: hashlib.sha256(f"{b[0]},{b[1]}".encode()).digest()):
        # Never the last block: something must be left to train on.
        if taken >= VALIDATION_SHARE * len(rows) or len(chosen) + 1 >= len(members):
            break
        chosen.add(block)
        taken += members[block]
    return frozenset(chosen)


def _with_splits(row: ManifestRow, validation: frozenset[str]) -> ManifestRow:
    if row.release != "train":
        return replace(row, split_strict=row.release, split_paper=row.release)
    strict = "val" if row.tile.id in validation else "train"
    return replace(row, split_strict=strict, split_paper="train")


# --- choosing from it -------------------------------------------------------------------------------------------------


def select(
    rows: Iterable[ManifestRow],
    *,
    region: str = "all",
    biomes: frozenset[int] = frozenset(),
    splits: frozenset[str] = frozenset(),
    limit: int | None = None,
) -> tuple[ManifestRow, ...]:
    """Rows that ``--region``, ``--biome``, ``--split`` and ``--limit`` leave over, in manifest order.

    ``splits`` are those of ``strict``; ``train`` takes the validation tiles along, since they belong to the training
    release. ``limit`` counts tiles that may be asked for, taken in turn from every (region, biome), so that a small
    choice still covers the world; the same call always chooses the same tiles.

    Raises:
        UsageError: nothing is left.
    """
    rows = tuple(rows)
    wanted = {"train", "val", *splits} if "train" in splits else set(splits)
    left = [
        row
        for row in rows
        if in_region(row.tile, region)
        and (not biomes or row.tile.biome in biomes)
        and (not wanted or row.split_strict in wanted)
    ]
    if not left:
        raise UsageError(
            f"no tile is left of {len(rows)}: region {region}, biome {_words(biomes)}, split {_words(splits)}; widen "
            "--region, --biome or --split"
        )
    if limit is None:
        return tuple(left)
    chosen = {row.tile.id for row in _in_turn([row for row in left if not row.discard])[:limit]}
    return tuple(row for row in left if row.tile.id in chosen)


def _words(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "all"


def _in_turn(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    strata: dict[tuple[str, int], list[ManifestRow]] = defaultdict(list)
    for row in rows:
        strata[row.tile.region, row.tile.biome].append(row)
    ordered = [sorted(strata[key], key=_draw) for key in sorted(strata, key=str)]
    longest = max((len(stratum) for stratum in ordered), default=0)
    # Within a round the strata come in a shuffled order of their own, or a small limit would see one region only.
    rounds = [[stratum[i] for stratum in ordered if i < len(stratum)] for i in range(longest)]
    return [row for one_round in rounds for row in sorted(one_round, key=_draw)]


def _draw(row: ManifestRow) -> bytes:
    return hashlib.sha256(row.tile.id.encode()).digest()


# --- reading and writing ----------------------------------------------------------------------------------------------


def write_manifest(root: Path, manifest: Manifest) -> Path:
    """Write ``manifest.parquet`` (GeoParquet)."""
    import geopandas

    records = [_flat(row) for row in manifest.rows]
    frame = geopandas.GeoDataFrame(
        records, geometry=[Polygon(row.tile.outline) for row in manifest.rows], crs="EPSG:4326"
    )
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    path = root / MANIFEST_FILE
    write_atomically(path, content.getvalue())
    return path


def read_manifest(root: Path) -> Manifest:
    """The manifest of a data root.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    import pyarrow.parquet as parquet

    path = root / MANIFEST_FILE
    if not path.is_file():
        raise DataError(f"{root} holds no data set ({MANIFEST_FILE} is missing); run 'dwplus build' first")
    try:
        records = parquet.read_table(path).drop_columns(["geometry"]).to_pylist()
        return Manifest(tuple(_row(record) for record in records))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and run 'dwplus build' again") from error


def _flat(row: ManifestRow) -> dict[str, Any]:
    tile = row.tile
    lon, lat = tile.centre
    rest = {name: value for name, value in asdict(row).items() if name != "tile"}
    return {
        "dw_id": tile.id,
        "crs": tile.crs,
        "transform": list(tile.transform),
        "height": tile.shape[0],
        "width": tile.shape[1],
        "date": tile.date.isoformat(),
        "hemisphere": tile.hemisphere,
        "biome": tile.biome,
        "region": tile.region,
        "lon": lon,
        "lat": lat,
        **rest,
    }


def _row(record: dict[str, Any]) -> ManifestRow:
    a, b, c, d, e, f = record["transform"]
    tile = Tile(
        id=record["dw_id"],
        crs=record["crs"],
        transform=(a, b, c, d, e, f),
        shape=(record["height"], record["width"]),
        date=date.fromisoformat(record["date"]),
        hemisphere=record["hemisphere"],
        biome=record["biome"],
    )
    names = [name for name in ManifestRow.__dataclass_fields__ if name != "tile"]
    return ManifestRow(tile=tile, **{name: record[name] for name in names})


def group_by(rows: Iterable[ManifestRow], key: Callable[[ManifestRow], str]) -> dict[str, list[ManifestRow]]:
    """Rows by a property of theirs, keys in order of first appearance."""
    groups: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
