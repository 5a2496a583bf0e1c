"""Blocks: the pixels of an area, downloaded block by block into a folder, resumed by running again.

Requests, retries, the limiter, the budget and the ledger are those of a build. A block has a file for Sentinel-1 and
one for each picture of Sentinel-2; the latter has a band ``CLEAR`` beside the pixels, 1 where neither cloud nor shadow
hides the ground. Comes after ``scenes``, before ``image``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from ..build.export import Callbacks, InFlight, Meter, Unmetered
from ..dataset.ledger import Ledger, LedgerRow, read_ledger
from ..earthengine.clear_scenes import GROWN_PX, cloud_shape, hidden_cells, on_tile
from ..earthengine.graphs import s1_search
from ..earthengine.scene_choice import Candidate, SceneRef, scenes_of_day
from ..earthengine.session import Request, Session, Tally
from ..errors import DataError, TileError
from ..files.atomic import remove_parts, sha256_of, write_atomically, write_json
from ..files.checksums import sealed
from ..files.records import read_record
from ..raster.gdal import check_libraries, fixed_options
from ..raster.geotiff import grid_of, open_raster
from ..spec.bands import NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS, S2Level
from ..spec.layers import L1C
from ..spec.recipe import REQUEST_BANDS, S2_COLLECTION, Recipe
from ..spec.tiles import RESOLUTION_M, Tile, hemisphere_of, locate, lon_lat
from ..spec.words import count_of
from .grids import Block, ZoneGrid
from .scenes import Choice, Day

CLEAR = "CLEAR"
"""Band beside those of Sentinel-2: 1 where the ground is seen, 0 under cloud, in shadow or without data."""

S1_FILE_BANDS = (*S1_BANDS, "S1_N")
_S1_REQUEST = REQUEST_BANDS[len(S2_BANDS) :]
_MARGIN_PX = 2 * GROWN_PX
"""Pixels around a block in which cloud is looked for besides, since it is grown."""

FOLDER_OPTION = "-o"
"""Of the command line: an area's pixels lie beside its map."""

_LAYOUT: dict[str, Any] = {
    **{"driver": "GTiff", "dtype": "uint16", "interleave": "band", "nodata": NODATA},
    **{"compress": "zstd", "zstd_level": 1, "predictor": 2, "blockysize": 64},
}


@dataclass(frozen=True)
class Sought:
    """What is downloaded of an area.

    Attributes:
        key: changes with the area and with what somebody asked for.
        source: where the pixels come from.
        pictures: of Sentinel-2, each of one day or a few; empty where it is not read.
        level: of Sentinel-2.
        recipe: of Sentinel-1; None where it is not read.
        s1_day: the middle of its window.
        notes: what was cut or left out, one sentence each.
    """

    key: str
    source: str
    pictures: tuple[Choice, ...]
    level: S2Level = "L2A"
    recipe: Recipe | None = None
    s1_day: date = date(1970, 1, 1)
    notes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes pixels."""
        recipe = None if self.recipe is None else (self.recipe.hash, self.s1_day.isoformat())
        scenes = [[scene.index for day in one.days for scene in day.scenes] for one in self.pictures]
        rules = [[day.rule for day in one.days] for one in self.pictures]
        decides = (self.key, self.source, self.level, recipe, scenes, rules)
        return hashlib.sha256(repr(decides).encode()).hexdigest()[:12]

    @property
    def s2_bands(self) -> tuple[str, ...]:
        """Bands of the files of Sentinel-2, but for ``CLEAR``."""
        return S2_BANDS if self.level == "L2A" else L1C.bands


@dataclass(frozen=True)
class Part:
    """One file to download.

    Attributes:
        id: names it in the ledger.
        tile: its grid.
        picture: number of the picture; None = Sentinel-1.
    """

    id: str
    tile: Tile
    picture: int | None
    block: Block


@dataclass(frozen=True)
class Cache:
    """The folder of an area's pixels: plan, ledger, and a file for each part.

    Attributes:
        folder: may not exist yet.
    """

    folder: Path
    known: Mapping[str, LedgerRow] = field(default_factory=dict, compare=False)

    def path(self, part: Part) -> Path:
        return self.folder / part.tile.crs.removeprefix("EPSG:") / f"{part.id}.tif"

    def read_plan(self, key: str) -> Sought | None:
        """What was chosen when this download began; None where it is another one, or has not begun."""
        path = self.folder / "plan.json"
        if not path.is_file():
            return None
        try:
            held = read_record(path, Sought, remedy=f"remove {self.folder}")
        except DataError:
            return None  # chosen anew
        return held if held.key == key else None

    def keep_plan(self, sought: Sought) -> None:
        write_json(self.folder / "plan.json", sealed(msgspec.to_builtins(sought)), option=FOLDER_OPTION)


def parts_of(one: ZoneGrid, sought: Sought) -> tuple[Part, ...]:
    """The files of one zone, block by block."""
    found = []
    numbers = [None] if sought.recipe is not None else []
    for block in one.blocks():
        tile = block_tile(one, block, sought)
        for picture in (*numbers, *range(len(sought.pictures))):
            name = "s1" if picture is None else f"s2-{picture:02d}"
            found.append(Part(f"{tile.id}-{name}", tile, picture, block))
    locate([part.tile for part in found])
    return tuple(found)


def block_tile(one: ZoneGrid, block: Block, sought: Sought) -> Tile:
    a, b, x, d, e, y = one.grid.transform
    left, top = x + a * block.column, y + e * block.row
    lon = lon_lat(one.grid.crs, left + a * block.width / 2, top + e * block.height / 2)[0]
    return Tile(
        f"{one.grid.crs.removeprefix('EPSG:')}-{block}",
        one.grid.crs,
        (a, b, left, d, e, top),
        (block.height, block.width),
        sought.s1_day,
        hemisphere_of(lon),
        0,
    )


# --- the stage --------------------------------------------------------------------------------------------------------


def download(
    parts: Sequence[Part],
    sought: Sought,
    cache: Cache,
    *,
    session: Session,
    concurrency: int,
    meter: Meter | None = None,
    callbacks: Callbacks | None = None,
    shard: str = "",
) -> Cache:
    """Download what is missing; the cache with the status of every part.

    Args:
        shard: name of this machine among several that download into one folder, each with a ledger of its own.

    Raises:
        TileError: the service did not give some parts, retries used up; run again.
        QuotaError, AuthenticationError, ServiceError: the download cannot continue; run again later to resume.
        KeyboardInterrupt: after the parts in flight are complete.
    """
    callbacks, meter = callbacks or Callbacks(), meter or Unmetered()
    held = f"another command is downloading these pixels ({cache.folder}); wait for it"
    with Ledger(cache.folder / shard, held=held, option=FOLDER_OPTION) as ledger:
        if not shard:
            remove_parts(cache.folder)  # another machine may be writing its own

        def make(part: Part, tally: Tally) -> LedgerRow:
            return make_part(part, sought, cache, session=session, tally=tally)

        known = known_parts(parts, sought, cache)
        for row in known.values():
            callbacks.on_row(row)
        todo = [part for part in parts if part.id not in known]
        run = InFlight(make, session, ledger, concurrency, meter, callbacks)
        run.through(todo)
        unanswered = [part for part in todo if ledger.rows[part.id].reason in ("no_answer", "bad_answer")]
        if unanswered:
            callbacks.say(f"{count_of(len(unanswered), 'part')} of the area got no answer; retrying once")
            run.through(unanswered)
        failed = [ledger.rows[part.id] for part in todo if ledger.rows[part.id].state == "failed"]
        if failed:
            raise TileError(
                f"{count_of(len(failed), 'part')} of {len(parts):,} of the area were not downloaded, for one: "
                f"{failed[0].detail}; the others are kept: run the same command again",
                reason=failed[0].reason,
            )
        return replace(cache, known={**known, **{part.id: ledger.rows[part.id] for part in todo}})


def known_parts(parts: Sequence[Part], sought: Sought, cache: Cache) -> dict[str, LedgerRow]:
    """Status of the parts that need no request, by all ledgers in the folder: that of one machine, or of several."""
    found: dict[str, LedgerRow] = {}
    for folder in (cache.folder, *sorted(cache.folder.glob("*-of-*/"))):
        rows = read_ledger(folder)
        found |= {part.id: rows[part.id] for part in parts if _settled(part, sought, cache, rows)}
    return found


def _settled(part: Part, sought: Sought, cache: Cache, known: Mapping[str, LedgerRow]) -> bool:
    """Whether a part needs no request: its file is there and whole, or the service has nothing here."""
    last = known.get(part.id)
    if last is None or last.state == "failed" or last.recipe != sought.hash:
        return False
    if last.state == "discarded":
        return True
    path = cache.path(part)
    return path.is_file() and path.stat().st_size == last.bytes


def make_part(part: Part, sought: Sought, cache: Cache, *, session: Session, tally: Tally) -> LedgerRow:
    """Download one part and write its file; its status.

    Raises:
        AuthenticationError, QuotaError, ServiceError: no part can be downloaded.
    """
    started, tile = time.monotonic(), part.tile
    known = LedgerRow(part.id, "done", source=session.name, recipe=sought.hash, grid=str(grid_of(tile)))
    path = cache.path(part)
    try:
        if part.picture is None:
            stored, scenes, bands = _s1(tile, sought, session, tally), "", S1_FILE_BANDS
        else:
            stored, scenes = _s2(tile, sought, sought.pictures[part.picture], session, tally)
            bands = (*sought.s2_bands, CLEAR)
    except TileError as error:
        known = replace(known, state="failed", reason=error.reason, detail=str(error))
    else:
        known = replace(known, scene=scenes)
        if stored.any():
            content = encode_block(stored, tile, bands)
            write_atomically(path, content, option=FOLDER_OPTION)
            known = replace(known, bytes=len(content), sha256=sha256_of(content))
        else:
            path.unlink(missing_ok=True)
            known = replace(known, state="discarded", reason="no_s1" if part.picture is None else "no_s2")
    session.settle(tally)
    return replace(known, **tally.costs(started))


def _s1(tile: Tile, sought: Sought, session: Session, tally: Tally) -> NDArray[np.uint16]:
    """uint16 (VV, VH, S1_N; H, W), 0 = no data."""
    recipe = sought.recipe
    assert recipe is not None
    found: tuple[str, ...] = ()
    if recipe.s1_max_scenes is not None:
        found = tuple(session.value(s1_search(tile, recipe), what=f"{tile.id}: Sentinel-1 scenes", tally=tally))
    scene = SceneRef(S2_COLLECTION, "-", "none", s1_scenes=found)
    stored = session.fetch(Request(tile, scene, recipe, _S1_REQUEST), tally)
    return stored[[SHARD_BANDS.index(band) for band in S1_FILE_BANDS]]


def _s2(tile: Tile, sought: Sought, picture: Choice, session: Session, tally: Tally) -> tuple[NDArray[np.uint16], str]:
    """uint16 (bands and CLEAR, H, W) of the first day that shows each pixel, and the scenes on which they are."""
    total = np.zeros((len(sought.s2_bands) + 1, *tile.shape), dtype=np.uint16)
    used: list[str] = []
    for day in picture.days:
        scenes = tuple(scene.index for scene in scenes_of_day(tile, day.scenes))
        if not scenes:
            continue
        stored = _pixels(tile, sought, scenes, session, tally)
        new = (stored != NODATA).all(axis=0) & ~(total[:-1] != NODATA).all(axis=0)
        if not new.any():
            continue
        used += scenes
        total[:-1, new] = stored[:, new]
        total[-1][new] = (~_hidden(tile, day, scenes, session, tally))[new]
        if (total[:-1] != NODATA).all():
            break
    return total, " ".join(used)


def _pixels(tile: Tile, sought: Sought, scenes: tuple[str, ...], session: Session, tally: Tally) -> NDArray[np.uint16]:
    if sought.level == "L1C":
        return session.fetch_layer(tile, L1C, scenes, tally).astype(np.uint16)
    # Neighbours are known by their index alone: the first scene on top.
    top, *others = scenes
    neighbours = tuple(Candidate(index, "", "", "", ()) for index in others)
    scene = SceneRef(S2_COLLECTION, top, "area", neighbours=neighbours)
    stored = session.fetch(Request(tile, scene, sought.recipe or Recipe(), S2_BANDS), tally)
    return stored[: len(S2_BANDS)]


def _hidden(tile: Tile, day: Day, scenes: Sequence[str], session: Session, tally: Tally) -> NDArray[np.bool_]:
    """Where cloud or its shadow hides the ground: bool (H, W)."""
    a, b, x, d, e, y = tile.transform
    height, width = tile.shape
    margin = _MARGIN_PX * RESOLUTION_M
    around = replace(
        tile,
        transform=(a, b, x - margin, d, e, y + margin),
        shape=(height + 2 * _MARGIN_PX, width + 2 * _MARGIN_PX),
    )
    (values,) = session.clouds(around, [scenes], cloud_score=day.score, tally=tally)
    rows, columns = cloud_shape(tile)
    cells = hidden_cells(values, cloud_score=day.score)[GROWN_PX : GROWN_PX + rows, GROWN_PX : GROWN_PX + columns]
    return on_tile(cells, tile)


# --- files ------------------------------------------------------------------------------------------------------------


def encode_block(pixels: NDArray[np.uint16], tile: Tile, bands: Sequence[str]) -> bytes:
    """The file of a part: uint16 (bands, H, W), stored values, 0 = no data."""
    height, width = tile.shape
    assert pixels.shape == (len(bands), height, width), pixels.shape
    profile = {**_LAYOUT, "count": len(bands), "height": height, "width": width}
    profile |= {"crs": tile.crs, "transform": tile.affine}
    check_libraries()
    with fixed_options(), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
            file.descriptions = tuple(bands)
        return bytes(memory.read())


def read_rows(path: Path, bands: Sequence[str], start: int, stop: int) -> NDArray[np.uint16]:
    """Some rows of a part: uint16 (bands, rows, W).

    Raises:
        DataError: the file is missing or damaged.
    """
    with open_raster(path) as file:
        numbers = [file.descriptions.index(band) + 1 for band in bands]
        window = rasterio.windows.Window(0, start, file.width, stop - start)
        pixels: NDArray[np.uint16] = file.read(numbers, window=window)
        return pixels
