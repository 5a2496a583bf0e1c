"""The stage that adds pixels of a user to labels that are there: files in, shards and ledger rows out.

Nothing is written before the files were looked at: which bands they hold, of which day and where they are, and, on some
tiles, whether their values can be what is said of them. Run again after a kill, it ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning

from ..dataset.added_pixels import AddedFile, AddedInput, AddedPixels, Resampling, write_added_pixels
from ..dataset.ledger import Ledger, LedgerRow, count_states, write_failures
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.atomic import PART_SUFFIX, check_writable, remove_parts, sha256_of, write_atomically
from ..machine import usable_cores
from ..progress import Progress
from ..raster.gdal import check_libraries
from ..raster.geotiff import grid_of
from ..spec.bands import SHARD_BANDS, Composite, Sensor, composite_as_text
from ..spec.radar import Radar, radar_differences
from ..spec.sources import Source
from ..spec.words import count_of
from .pixels_bands import BandTable
from .pixels_choice import Choice, Choices, choose
from .pixels_dates import Dates
from .pixels_products import Found, Product, Rules, find_products
from .pixels_tile import (
    BrokenRuleError,
    Making,
    encoded,
    held_of,
    merged,
    missing_sensors,
    take,
    why_missing,
)
from .pixels_units import UNIT_RULES, Said

CHECKED_TILES = 24
"""Tiles whose pixels are looked at before anything is written, spread evenly over those that have a file."""

MOST_DAYS = 30
"""Days between a file and the date of a label, when nothing else is said."""


@dataclass(frozen=True)
class Addition:
    """What a user says about the files that are added.

    Attributes:
        sensors: whose pixels are taken from the files.
        source: whose pixels they are; None = as the data root has it, or ``user:own``.
        radar: how Sentinel-1 was made; needed where it is among the sensors.
        composite: what the files of Sentinel-2 are of several scenes; None: single scenes.
        dates, said, table: how files are read, see ``pixels_products.Rules``.
        days: most days between a file and the date of a label.
        accept_s1: take Sentinel-1 that was made in another way than what is there.
        accept_offset: pass over rules about the offset of Sentinel-2.
        options: the same as they were said, by name, for the record.
        licence, citation: of the pixels; may be empty.
    """

    sensors: tuple[Sensor, ...]
    source: Source | None = None
    radar: Radar | None = None
    composite: Composite | None = None
    dates: Dates = field(default_factory=Dates)
    said: Said = field(default_factory=Said)
    table: BandTable | None = None
    days: int = MOST_DAYS
    resampling: Resampling = "bilinear"
    accept_s1: bool = False
    accept_offset: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Added:
    """What an addition leaves behind.

    Attributes:
        states: number of tiles that are done, or missing, by reason.
        dropped: name of a file -> why no tile took pixels from it.
        files: number of products that were found.
        accepted: what differs or breaks a rule, and was accepted.
        absent: bands that the data set lacks, as files of this addition or of an earlier one do.
    """

    states: Mapping[str, int]
    dropped: Mapping[str, str]
    files: int
    accepted: tuple[str, ...]
    absent: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        """Tiles whose files break a rule of validation or cannot be read."""
        return self.states.get("bad_pixels", 0)


def add_pixels(root: DataRoot, paths: Sequence[Path], addition: Addition, *, progress: Progress) -> Added:
    """Add pixels to the tiles of a data root, from files.

    Raises:
        UsageError: options contradict each other, or the root holds pixels of another source.
        DataError: there are no labels yet, or a file cannot be used; nothing was written.
    """
    check_libraries()
    root.check_own_pixels()
    if addition.composite and "S2" not in addition.sensors:
        raise UsageError("--composite is about Sentinel-2; leave it out")
    if "S1" in addition.sensors and addition.radar is None:
        raise UsageError(
            "Sentinel-1 has to say how it was made: --s1-calibration sigma0|gamma0 and --s1-pass, and --s1-mean with "
            "--s1-scenes where it is a mean"
        )
    rows = _labelled_rows(root)
    before = root.added_pixels()
    record, accepted = _record(root, before, addition)
    check_writable(root.folder)
    rules = Rules(addition.sensors, addition.dates, addition.said, addition.table)
    found = find_products(paths, rules)
    choices = choose(rows, found.products, days=addition.days)
    record = _with_absent(record, [found.products[place] for place in choices.tiles])
    _check_some(rows, choices, record, addition, progress)
    entry = _entry(found, choices, addition, accepted, progress)
    sha256 = {product: one.sha256 for product, one in zip(found.products, entry.files, strict=False)}
    making = Making(record, addition.radar, sha256, addition.accept_offset, addition.licence)
    with root.open_ledger() as ledger:
        tidy(root)
        if record != before:
            # From here on shards of it may appear.
            write_added_pixels(root.folder, record)
        for row in _made(rows, choices, making, root, progress):
            note(ledger, row)
        write_failures(root.folder, ledger.rows.values())
        states = count_states({row.tile.id: ledger.rows[row.tile.id] for row in rows})
        write_added_pixels(root.folder, record.with_input(entry))
    dropped = {**found.dropped, **{found.products[place].name: why for place, why in choices.dropped.items()}}
    return Added(states, dropped, len(found.products), accepted, record.absent)


def tidy(root: DataRoot) -> None:
    """Remove leftovers of interrupted runs."""
    for folder in (root.shards, root.added_file.parent):
        remove_parts(folder)
    for part in root.folder.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _labelled_rows(root: DataRoot) -> tuple[ManifestRow, ...]:
    if not root.manifest_file.is_file():
        raise DataError(f"{root} holds no labels yet; add them first: dwplus labels add ... --data {root.typed}")
    rows = tuple(row for row in root.manifest().rows if not row.discard)
    if not rows:
        raise DataError(
            f"{root} holds no label that is used; add some first: dwplus labels add ... --data {root.typed}"
        )
    return rows


def _record(root: DataRoot, before: AddedPixels | None, addition: Addition) -> tuple[AddedPixels, tuple[str, ...]]:
    """The record of the root with the sensors of this addition, and what was accepted.

    Raises:
        UsageError: what is there is of another source or resampling, or a sensor's pixels were made in another way.
    """
    sources = {row.source for row in root.ledger().values() if row.source}
    wanted = addition.source or (Source.of(before.source) if before else Source.added_as("own"))
    others = sorted(sources | ({before.source} if before else set()) - {wanted.name} - {""})
    others = [name for name in others if name != wanted.name]
    if others:
        raise UsageError(
            f"{root} holds pixels of {others[0]}, this would add {wanted.name}; name another folder with --data, or "
            f"{others[0]} with --source where they belong together"
            if Source.of(others[0]).added
            else f"{root} holds pixels of {others[0]}, this would add {wanted.name}; name another folder with --data"
        )
    radars = () if addition.radar is None else (addition.radar,)
    if before is None:
        record = AddedPixels(wanted.name, addition.resampling, addition.sensors, radars)
        return replace(record, composite=addition.composite), ()
    if before.resampling != addition.resampling:
        raise UsageError(
            f"{root} holds pixels that were resampled by {before.resampling}, this would add some by "
            f"{addition.resampling}; say --resampling {before.resampling}, or name another folder with --data"
        )
    composite = addition.composite if "S2" in addition.sensors else before.composite
    if "S2" in before.sensors and composite != before.composite:
        raise UsageError(
            f"{root} holds {composite_as_text(before.composite)} of Sentinel-2, this would add "
            f"{composite_as_text(composite)}; networks see two kinds of spectra: name another folder with --data"
        )
    differences = radar_differences(before.radars, radars)
    if differences and not addition.accept_s1:
        raise UsageError(
            f"{root} holds another Sentinel-1: {differences[0]}; networks see two pictures of one ground: say "
            "--accept s1 to mix them, or name another folder with --data"
        )
    sensors: tuple[Sensor, ...] = tuple(one for one in ("S2", "S1") if one in (*before.sensors, *addition.sensors))
    all_radars = tuple(dict.fromkeys((*before.radars, *radars)))
    record = replace(before, sensors=sensors, radars=all_radars, composite=composite)
    return record, tuple(f"s1: {one}" for one in differences)


def _with_absent(record: AddedPixels, products: Sequence[Product]) -> AddedPixels:
    """The record with the bands that some of the products lack, beside those of before."""
    lacking = {*record.absent, *(band for product in products for band in product.absent)}
    return replace(record, absent=tuple(band for band in SHARD_BANDS if band in lacking))


# --- looking before writing -------------------------------------------------------------------------------------------


def _check_some(
    rows: Sequence[ManifestRow], choices: Choices, record: AddedPixels, addition: Addition, progress: Progress
) -> None:
    """Look at pixels of some tiles: a unit that was taken for another is found before anything is written.

    Raises:
        BrokenRuleError: it was.
    """
    for sensor in addition.sensors:
        with_file = [row for row in rows if choices.of[row.tile.id][sensor].days]
        number = min(CHECKED_TILES, len(with_file))
        chosen = [with_file[n * len(with_file) // number] for n in range(number)]
        with progress.stage(f"Checking {sensor}", len(chosen)) as step:
            for row in chosen:
                try:
                    take(
                        row.tile,
                        choices.of[row.tile.id][sensor],
                        record.resampling,
                        accept_offset=addition.accept_offset,
                    )
                except BrokenRuleError as error:
                    if error.rule in UNIT_RULES:
                        raise
                except DataError:
                    # A damaged file costs its own tiles alone; the ledger says so.
                    pass
                step.advance()


def _entry(
    found: Found, choices: Choices, addition: Addition, accepted: Sequence[str], progress: Progress
) -> AddedInput:
    """The record of this addition: files with their hashes, in the order of ``found.products``, then dropped ones."""
    files = []
    with progress.stage("Hashing files", len(found.products)) as step:
        for place, product in enumerate(found.products):
            # What no tile takes is not read.
            dropped = choices.dropped.get(place, "")
            digest = "" if dropped else _hash_of(product)
            tiles = choices.tiles.get(place, 0)
            files.append(AddedFile(product.name, digest, product.sensor, product.day.isoformat(), tiles, dropped))
            step.advance()
    files += [AddedFile(name, "", "", "", 0, why) for name, why in sorted(found.dropped.items())]
    options = dict(addition.options)
    said = {"options": options, "files": [[one.name, one.sha256, one.sensor, one.date] for one in files]}
    key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    offset = ("offset: rules about the offset of Sentinel-2 are passed over",) if addition.accept_offset else ()
    return AddedInput(key, options, addition.licence, addition.citation, (*accepted, *offset), tuple(files))


def _hash_of(product: Product) -> str:
    """SHA-256 of a file; of several, of their hashes one after the other."""
    hashes = []
    for path in product.files:
        try:
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}; get it again") from None
    return hashes[0] if len(hashes) == 1 else sha256_of("".join(hashes).encode())


# --- tile by tile -----------------------------------------------------------------------------------------------------


def _made(
    rows: Sequence[ManifestRow], choices: Choices, making: Making, root: DataRoot, progress: Progress
) -> Iterator[LedgerRow]:
    """Ledger rows of all tiles, in order; a bounded number is in the works."""
    most = 2 * usable_cores()
    waiting: deque[Future[LedgerRow]] = deque()
    # rasterio warns of its own rasters in memory, and stops to in a way that threads get in each other's way.
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        ThreadPoolExecutor(max_workers=usable_cores(), thread_name_prefix="tile") as pool,
        progress.stage("Adding pixels", len(rows)) as step,
    ):
        try:
            for row in rows:
                waiting.append(pool.submit(make_tile, row, choices.of[row.tile.id], making, root))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
                    step.advance()
            while waiting:
                yield waiting.popleft().result()
                step.advance()
        finally:
            for future in waiting:
                future.cancel()


def make_tile(row: ManifestRow, choice: Mapping[Sensor, Choice], making: Making, root: DataRoot) -> LedgerRow:
    """Write the shard of one tile, if it changes; the tile's state."""
    started, tile, added = time.monotonic(), row.tile, making.added
    held = held_of(root, tile, added)
    taken, fault = {}, ""
    for sensor, one in choice.items():
        try:
            found = take(tile, one, added.resampling, accept_offset=making.accept_offset)
        except DataError as error:
            fault = fault or str(error)
            continue
        if found is not None:
            taken[sensor] = found
    after = merged(tile, held, taken, making)
    content = b""
    if after is not None:
        content = encoded(tile, after, making)
        path = root.own_shard(tile)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    missing = missing_sensors(after, added)
    kept = f"earlier pixels are kept: {fault}" if fault else ""
    seconds = round(time.monotonic() - started, 3)
    common = LedgerRow(
        tile.id, "done", source=added.source, recipe=added.hash, seconds=seconds, grid=str(grid_of(tile))
    )
    if missing:
        why = fault or "; ".join(why_missing(sensor, choice.get(sensor)) for sensor in missing)
        return replace(common, state="discarded", reason="bad_pixels" if fault else "no_pixels", detail=why)
    assert after is not None
    return replace(
        common,
        bytes=len(content),
        sha256=sha256_of(content),
        detail=kept,
        scene=after.tags.get("S2_SCENE", ""),
        rule=f"{after.tags.get('S2_DAYS', '0')} days",
    )


_MEASURED = {"seconds": 0.0, "time": "", "attempts": 0}


def note(ledger: Ledger, row: LedgerRow) -> None:
    """Add a row to the ledger, unless it says so already."""
    before = ledger.rows.get(row.tile)
    if before is None or replace(before, **_MEASURED) != replace(row, **_MEASURED):  # type: ignore[arg-type]  # fields by name
        ledger.append(replace(row, attempts=1 + (before.attempts if before else 0)))


def described(added: Added) -> str:
    """One line for the user: ``40 of 42 tiles complete; 3 files not used``."""
    tiles, done = sum(added.states.values()), added.states.get("done", 0)
    unused = f"; {count_of(len(added.dropped), 'file')} not used" if added.dropped else ""
    return f"{done:,} of {count_of(tiles, 'tile')} complete{unused}"


def day_of(text: str, option: str) -> date:
    """A day that was written in an option.

    Raises:
        UsageError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: write a day as 2019-07-01") from None
