"""The undo of ``pixels``: files leave the record of a data root, and their pixels its shards.

A shard does not keep what a later file replaced: tiles that lose their pixels have none until files are added again.
For each tile the ledger first, then the shard; the record last. After a kill the same command finds what is left to do,
and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..dataset.added_pixels import AddedFile, AddedPixels, write_added_pixels
from ..dataset.ledger import Ledger, LedgerRow, count_states, write_failures
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.atomic import sha256_of, write_atomically
from ..raster.geotiff import read_header
from ..spec.bands import NODATA, SHARD_BANDS, Sensor
from ..spec.radar import Radar
from ..spec.tiles import Tile
from .pixels import note, tidy
from .pixels_bands import SENSOR_BANDS, sensor_title
from .pixels_products import names_below
from .pixels_tile import Held, Making, encoded, held_of, why_missing

_SHORT_HASH = 12
"""Digits of the hash of a file in the tags of shards."""

_PIXELS_ARE_MISSING = ("no_pixels", "bad_pixels")
"""Reasons that added pixels decide; others (a split, quarantine) stay."""


@dataclass(frozen=True)
class Removed:
    """What a removal leaves behind.

    Attributes:
        files: names of the files that left the record, in its order.
        tiles: number of tiles that lost pixels.
        states: number of tiles that are done, or missing, by reason.
        left: the record as it is now; None where no added pixels are left.
    """

    files: tuple[str, ...]
    tiles: int
    states: Mapping[str, int]
    left: AddedPixels | None


def remove_pixels(root: DataRoot, arguments: Sequence[str]) -> Removed:
    """Take files out of a data root again: their entries in the record, and the pixels of tiles that have some of them.

    A tile whose pixels are of several files loses those of all, as they cannot be told apart.

    Args:
        arguments: files or folders as they were added, names of files, or keys of additions.

    Raises:
        UsageError: no pixels were added, none under that name, or several files have it.
    """
    root.check_own_pixels()
    before = root.added_pixels()
    if before is None:
        raise UsageError(f"{root} holds no pixels that were added; there is nothing to remove")
    gone = _Gone(frozenset(file for argument in arguments for file in _meant(before, argument, root)))
    tiles = [row.tile for row in root.manifest().rows]
    with root.open_ledger() as ledger:
        tidy(root)
        tags = {tile.id: _tags_of(root.own_shard(tile), before) for tile in tiles}
        after = gone.out_of(before, [gone.left_of(one) for one in tags.values()])
        for tile in tiles:
            _strip(root, tile, _Before(before, after, gone, tags[tile.id]), ledger)
        _sweep(root, {tile.id for tile in tiles}, before, after, gone, ledger)
        write_failures(root.folder, ledger.rows.values())
        states = count_states({tile.id: ledger.rows[tile.id] for tile in tiles if tile.id in ledger.rows})
        if after is None:
            root.added_file.unlink()
        else:
            write_added_pixels(root.folder, after)
    files = [file.name for one in before.inputs for file in one.files if gone.holds(file)]
    lost = sum(bool(gone.sensors_in(one)) for one in tags.values())
    return Removed(tuple(dict.fromkeys(files)), lost, states, after)


# --- which files ------------------------------------------------------------------------------------------------------


def _meant(added: AddedPixels, argument: str, root: DataRoot) -> list[AddedFile]:
    """The files that an argument means: those of an addition, by name, by path, or of a folder.

    Raises:
        UsageError: none, or several that differ.
    """
    files = [file for one in added.inputs for file in one.files]
    path = Path(argument)
    found = [file for one in added.inputs if one.key == argument for file in one.files]
    found = found or [file for file in files if file.name == argument or _ends_with(path, file.name)]
    if not found and path.is_dir():
        below = names_below(path)
        return [file for file in files if file.name in below] or _none(added, argument, root)
    found = found or [file for file in files if Path(file.name).name == argument]
    several = sorted({file.name for file in found})
    if len(several) > 1 and not any(one.key == argument for one in added.inputs):
        raise UsageError(f"{len(several)} files are called {argument!r} ({', '.join(several[:5])}); name one of these")
    return found or _none(added, argument, root)


def _ends_with(path: Path, name: str) -> bool:
    own = Path(name).parts
    return path.absolute().parts[-len(own) :] == own


def _none(added: AddedPixels, argument: str, root: DataRoot) -> list[AddedFile]:
    additions = [f"{one.key} of {one.files[0].name}" + ", ..." * (len(one.files) > 1) for one in added.inputs[-5:]]
    listed = "; ".join(additions) or "no addition that has ended: run the one that was interrupted again first"
    raise UsageError(f"{root} has no pixels of {argument!r}; it has {listed}")


@dataclass(frozen=True)
class _Gone:
    """Files that are removed."""

    files: frozenset[AddedFile]

    @property
    def hashes(self) -> frozenset[tuple[str, str]]:
        return frozenset((file.sensor, file.sha256[:_SHORT_HASH]) for file in self.files if file.sha256)

    def holds(self, file: AddedFile) -> bool:
        """Whether a file of the record is one of them, or the same in another addition: shards tell no additions."""
        return file in self.files or (file.sensor, file.sha256[:_SHORT_HASH]) in self.hashes

    def sensors_in(self, tags: Mapping[str, str]) -> frozenset[Sensor]:
        """Sensors whose pixels in a shard are of one of them."""
        hashes = self.hashes
        return frozenset(
            sensor
            for sensor in SENSOR_BANDS
            if any((sensor, one) in hashes for one in tags.get(f"{sensor}_FILES", "").split())
        )

    def left_of(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The tags of a shard without those of the sensors that it loses."""
        lost = self.sensors_in(tags)
        return {name: value for name, value in tags.items() if not any(name.startswith(f"{one}_") for one in lost)}

    def out_of(self, record: AddedPixels, shards: Iterable[Mapping[str, str]]) -> AddedPixels | None:
        """The record without them; None where no file is left.

        Args:
            shards: tags of each shard as it will be.
        """
        inputs = []
        for one in record.inputs:
            files = tuple(file for file in one.files if not self.holds(file))
            # What was never used goes with the last file that was.
            if files == one.files or any(file.sha256 for file in files):
                inputs.append(replace(one, files=files))
        held = {file.sensor for one in inputs for file in one.files}
        if not inputs:
            return None
        tags_of_shards = list(shards)
        seen = [radar for radar in record.radars if any(_is_of(tags, radar) for tags in tags_of_shards)]
        radars = tuple(seen or record.radars) if "S1" in held else ()
        sensors: tuple[Sensor, ...] = tuple(sensor for sensor in record.sensors if sensor in held)
        lacking = {band for tags in tags_of_shards for band in tags.get("S2_ABSENT", "").split()}
        absent = tuple(band for band in record.absent if band in lacking)
        composite = record.composite if "S2" in held else None
        return replace(record, inputs=tuple(inputs), sensors=sensors, radars=radars, absent=absent, composite=composite)


def _is_of(tags: Mapping[str, str], radar: Radar) -> bool:
    """Whether Sentinel-1 of a shard was made in this way."""
    said = (radar.calibration, radar.mean, str(radar.scenes or 1), ",".join(radar.passes))
    return said == tuple(tags.get(f"S1_{name}") for name in ("CALIBRATION", "MEAN", "NUMBER", "PASSES"))


# --- tile by tile -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Before:
    """What decides what becomes of a tile: both records, what is removed, and the tags that its shard has so far."""

    record: AddedPixels
    after: AddedPixels | None
    gone: _Gone
    tags: Mapping[str, str]

    @property
    def lost(self) -> frozenset[Sensor]:
        return self.gone.sensors_in(self.tags)


def _tags_of(path: Path, added: AddedPixels) -> dict[str, str]:
    """What the shard of a tile says of its sensors; empty where there is none of added pixels, or it is damaged."""
    if not path.is_file():
        return {}
    try:
        tags = read_header(path).tags
    except DataError:
        return {}
    same = (tags.get("DWPLUS_SOURCE"), tags.get("DWPLUS_RECIPE")) == (added.source, added.hash)
    return {name: value for name, value in tags.items() if name[:3] in ("S2_", "S1_")} if same else {}


def _strip(root: DataRoot, tile: Tile, was: _Before, ledger: Ledger) -> None:
    """Take lost pixels out of the shard of one tile, after the ledger says so."""
    path = root.own_shard(tile)
    content = _without(root, tile, was) if was.lost else b""
    last = ledger.rows.get(tile.id)
    row = None if last is None else _row_after(last, was, lambda: content if was.lost else path.read_bytes())
    if row is not None:
        note(ledger, row)
    if was.lost and content:
        write_atomically(path, content)
    elif was.lost:
        path.unlink()


def _without(root: DataRoot, tile: Tile, was: _Before) -> bytes:
    """The shard of a tile without the pixels that it loses; empty where nothing is left of it."""
    held = held_of(root, tile, was.record)
    tags = was.gone.left_of(was.tags)
    if held is None or not tags:
        return b""
    pixels = held.pixels.copy()
    for sensor in was.lost:
        bands = (*SENSOR_BANDS[sensor], *(["S1_N"] if sensor == "S1" else []))
        pixels[[SHARD_BANDS.index(band) for band in bands]] = NODATA
    return encoded(tile, Held(pixels, tags), Making(was.record, None, {}))


def _row_after(last: LedgerRow, was: _Before, content: Callable[[], bytes]) -> LedgerRow | None:
    """The ledger row of a tile that changes; None where it stays as it is.

    Args:
        content: gives the bytes of its shard, as it will be.
    """
    if last.state == "discarded" and last.reason not in _PIXELS_ARE_MISSING:
        return None
    tags = was.gone.left_of(was.tags)
    present = [sensor for sensor in SENSOR_BANDS if tags.get(f"{sensor}_SCENES")]
    missing = [one for one in (was.after or was.record).sensors if one not in present]
    if was.after is not None and not missing:
        if last.state == "done" and not was.lost:
            return None
        shard = content()
        scene, rule = tags.get("S2_SCENE", ""), f"{tags.get('S2_DAYS', '0')} days"
        return replace(
            last, state="done", reason="", detail="", bytes=len(shard), sha256=sha256_of(shard), scene=scene, rule=rule
        )
    blamed = last.reason == "bad_pixels" and any(file.name in last.detail for file in was.gone.files)
    if last.state == "discarded" and not was.lost and not blamed:
        return None
    words = [
        f"its {sensor_title(one)} files were removed" if blamed or one in was.lost else why_missing(one, None)
        for one in missing
    ]
    return _missing(last, was.after, "; ".join(words))


def _missing(last: LedgerRow, after: AddedPixels | None, why: str) -> LedgerRow:
    """The row of a tile without pixels; it is of no source once there is no record of one."""
    source, recipe = ("", "") if after is None else (last.source, last.recipe)
    return LedgerRow(last.tile, "discarded", "no_pixels", why, source=source, recipe=recipe, grid=last.grid)


def _sweep(
    root: DataRoot, known: set[str], before: AddedPixels, after: AddedPixels | None, gone: _Gone, ledger: Ledger
) -> None:
    """Remove shards of labels that are gone and shards in quarantine that hold pixels of removed files."""
    for path in sorted((*root.shards.rglob("*.tif"), *root.quarantine.rglob("*.tif"))):
        aside = root.quarantine in path.parents
        if (path.stem in known and not aside) or not gone.sensors_in(_tags_of(path, before)):
            continue
        last = ledger.rows.get(path.stem)
        if last is not None and (last.reason == "quarantined" if aside else last.state == "done"):
            note(ledger, _missing(last, after, "its files were removed"))
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink()
    if after is None:
        for last in list(ledger.rows.values()):
            if last.source == before.source:
                note(ledger, replace(last, source="", recipe=""))
