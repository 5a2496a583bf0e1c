"""``DataRoot``: where the files of one data set lie, and which of its tiles are complete and usable.

Formats of the records are in ``manifest``, ``ledger``, ``findings``, ``waivers`` and ``statistics``; here is only where
each of them is found. Every stage takes a ``DataRoot`` and joins no path itself.
"""

from __future__ import annotations

import hashlib
import shlex
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..files.atomic import read_json, write_atomically
from ..files.records import as_record, read_record, write_record
from ..files.remote import WAITS_S, Place, Remote, is_url
from ..raster.geotiff import LABELS_FOLDER, SHARDS_FOLDER, shard_name
from ..raster.targets import Targets, needed_bands
from ..spec.bands import Composite
from ..spec.classes import ClassTable
from ..spec.radar import Radar, radar_of
from ..spec.recipe import Recipe, recipe_from
from ..spec.tiles import Tile
from .added_pixels import ADDED_FILE, AddedPixels, read_added_pixels
from .findings import FINDINGS_CSV, FINDINGS_JSON, Finding, read_findings, unreadable_tiles, validated_tiles
from .inputs import INPUTS_FILE, Inputs, read_inputs
from .ledger import FAILURES_FILE, LEDGER_FILE, Ledger, LedgerRow, damaged_lines, read_events, read_ledger
from .manifest import MANIFEST_FILE, Manifest, ManifestRow, Protocol, read_manifest
from .statistics import Statistics, groups_path, read_statistics, statistics_path
from .waivers import WAIVERS_FILE, Waiver, read_waivers, unfit_tiles

MIRROR_FILE = "origin.json"
"""In a data root whose shards and labels lie elsewhere: where."""

RECIPE_FILE = "recipe.json"

_ALWAYS = (MANIFEST_FILE, LEDGER_FILE)
_WHERE_THERE = (RECIPE_FILE, INPUTS_FILE, ADDED_FILE)
_RESULTS = (WAIVERS_FILE, FINDINGS_JSON, FINDINGS_CSV, "stats-strict.json", "stats-paper.json")
"""Of the data set at the URL, until there are own ones."""


class _Below:
    """The path of a file or folder of a data root, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, root: DataRoot, _owner: object = None) -> Path:
        return root.folder / self.name


@dataclass(frozen=True)
class LeftOut:
    """Tiles of a split that are not used.

    Attributes:
        tiles: their ids.
        reason: as text.
        fault: the records of the data root do not fit together; a command that leaves them out ends with exit code 3.
    """

    tiles: tuple[str, ...]
    reason: str
    fault: bool = False

    def __str__(self) -> str:
        return f"{len(self.tiles)}: {self.reason}"


@dataclass(frozen=True)
class DataRoot:
    """One data set of one source: the only code that knows where its files lie.

    Small enough to be sent to workers. Reads records on each call, and caches none: stages write them meanwhile.

    Attributes:
        folder: where manifest, ledger and results are, and where new files are written.
        pixels: where shards and labels are read from: ``folder``, or the URL that ``folder`` mirrors.
        runs_folder: where training runs lie; None = ``runs`` below ``folder``.
    """

    folder: Path
    pixels: Place
    runs_folder: Path | None = None

    # Layout. Training runs, the store and the pages belong to it as much as the records do.
    manifest_file = _Below(MANIFEST_FILE)
    ledger_file = _Below(LEDGER_FILE)
    failures_file = _Below(FAILURES_FILE)
    recipe_file = _Below(RECIPE_FILE)
    added_file = _Below(ADDED_FILE)
    planet_file = _Below("planet.json")
    label_origin_file = _Below("manifest.origin.json")
    mirror_file = _Below(MIRROR_FILE)
    inputs_file = _Below(INPUTS_FILE)
    findings_file = _Below(FINDINGS_JSON)
    findings_table = _Below(FINDINGS_CSV)
    findings_page = _Below("findings/index.html")
    waivers_file = _Below(WAIVERS_FILE)
    summaries_file = _Below("findings/tiles.json")
    shifts_file = _Below("findings/shifts.json")
    class_pixels_file = _Below("findings/classes.json")
    card_file = _Below("README.md")
    label_report_page = _Below("report/labels.html")
    releases = _Below("releases")
    labels = _Below(LABELS_FOLDER)
    own_labels = _Below(f"{LABELS_FOLDER}/own")
    added_labels = _Below("own/labels")
    scenes_file = _Below("own/scenes.json")
    shards = _Below(SHARDS_FOLDER)
    quarantine = _Below("quarantine")
    store = _Below("store.zarr")

    @property
    def report_page(self) -> Path:
        """The report; beside the runs where these lie in a folder of their own."""
        return self.folder / "report" / "index.html" if self.runs_folder is None else self.runs_folder / "report.html"

    @property
    def runs(self) -> Path:
        """Folder of training runs: its own, or another where the data set is shared and may not be written."""
        return self.runs_folder or self.folder / "runs"

    def command(self, words: str) -> str:
        """A command about runs, as it has to be typed: with their folder where that is one of their own."""
        return words if self.runs_folder is None else f"{words} --runs {shlex.quote(str(self.runs_folder))}"

    @property
    def typed(self) -> str:
        """The folder as it has to be typed in a command."""
        return shlex.quote(str(self.folder))

    def __str__(self) -> str:
        return str(self.folder)

    @classmethod
    def at(cls, folder: DataRoot | Path | str) -> DataRoot:
        """The data root in a local folder; it need not hold anything yet.

        Raises:
            DataError: the folder mirrors a data set at a URL, and does not say which.
        """
        if isinstance(folder, DataRoot):
            return folder
        folder = Path(folder)
        path = folder / MIRROR_FILE
        if not path.is_file():
            # Workers of another cluster have another current folder.
            return cls(folder, folder.absolute())
        remedy = f"remove {folder} and name the URL again with --data"
        url = read_record(path, _Mirror, remedy=remedy).url
        if not is_url(url):
            raise DataError(f"{path} names no URL; {remedy}")
        return cls(folder, Remote(url))

    @classmethod
    def mirror(cls, url: str, folder: Path, *, waits_s: tuple[float, ...] = WAITS_S) -> DataRoot:
        """A local data root of the data set at a URL: its manifest and ledger as they are now; pixels stay there.

        Results (findings, statistics) are those at the URL until ``validate`` and ``normalise`` write own ones.

        Raises:
            UsageError: the folder holds another data set.
            DataError: there is no data set at the URL.
            ServiceError, AuthenticationError: it cannot be read.
        """
        origin = Remote(url.rstrip("/"), waits_s)
        _check_own(folder, str(origin))
        contents = _records_at(origin, [name for name in _RESULTS if not (folder / name).exists()])
        if not (folder / MIRROR_FILE).exists():
            # Without what may be a secret: it is named again with each command.
            write_record(folder / MIRROR_FILE, _Mirror(str(origin)))
        for name, content in contents.items():
            if not (folder / name).exists() or (folder / name).read_bytes() != content:
                write_atomically(folder / name, content)
        return cls(folder, origin)

    # --- pixels -------------------------------------------------------------------------------------------------------

    def shard(self, tile: Tile) -> Place:
        """The shard of a tile, to read."""
        return self.pixels / shard_name(tile)

    def label(self, row: ManifestRow) -> Place:
        """The label raster of a row, to read."""
        return self.pixels / row.label

    def own_shard(self, tile: Tile) -> Path:
        """Where the shard of a tile is written.

        Raises:
            UsageError: the pixels of this root lie elsewhere.
        """
        self.check_own_pixels()
        return self.folder / shard_name(tile)

    def own_label(self, row: ManifestRow) -> Path:
        """Where the label raster of a row is written.

        Raises:
            UsageError: the pixels of this root lie elsewhere.
        """
        self.check_own_pixels()
        return self.folder / row.label

    def set_aside(self, tile: Tile) -> Path:
        """Path of the shard of a tile in quarantine."""
        return self.quarantine / shard_name(tile)

    def check_own_pixels(self) -> None:
        """Refuse to write pixels of a data set that is elsewhere.

        Raises:
            UsageError: it does.
        """
        if self.mirror_file.exists():
            raise UsageError(
                f"the shards of {self} lie elsewhere ({MIRROR_FILE}), and building writes to local disks only; build "
                "where they lie, or name another folder with --data"
            )

    def check_in_sight(self) -> None:
        """Make sure that this machine sees a local data root, before every tile of it is called missing.

        Raises:
            DataError: it does not.
        """
        if isinstance(self.pixels, Path) and not (self.pixels / MANIFEST_FILE).is_file():
            raise DataError(
                f"{socket.gethostname()} does not see {self.pixels}; put the data on a file system that all workers "
                "share under the same path, or name it by a URL"
            )

    # --- records ------------------------------------------------------------------------------------------------------

    def manifest(self) -> Manifest:
        """All tiles with their splits.

        Raises:
            DataError: there is no data set, or its manifest cannot be read.
        """
        return read_manifest(self.folder)

    def classes(self) -> ClassTable:
        """The classes of its labels.

        Raises:
            DataError: there is no data set, or its manifest cannot be read.
        """
        return self.manifest().classes

    def targets(self) -> Targets:
        """Which pixels of it count, and for which class.

        Raises:
            DataError: there is no data set, or its manifest cannot be read.
        """
        return Targets(self.classes(), needed_bands(self.has_s1()), self.absent_bands())

    def inputs(self) -> Inputs:
        """Labels and pixels that its user added.

        Raises:
            DataError: the record cannot be read.
        """
        return read_inputs(self.folder)

    def ledger(self) -> dict[str, LedgerRow]:
        """Tile id -> the last row about it."""
        return read_ledger(self.folder)

    def events(self) -> tuple[LedgerRow, ...]:
        """All rows of the ledger, in the order in which they were written."""
        return read_events(self.folder)

    def open_ledger(self) -> Ledger:
        """The ledger, to be written in a ``with`` statement."""
        return Ledger(self.folder)

    def findings(self) -> list[Finding]:
        """Findings of the last validation, waived ones too.

        Raises:
            DataError: the data set was not validated yet.
        """
        return read_findings(self.folder)

    def validated(self) -> dict[str, str]:
        """Tile id -> hash of its shard, of every tile that the last validation read.

        Raises:
            DataError: the data set was not validated yet.
        """
        return validated_tiles(self.folder)

    def unreadable(self) -> frozenset[str]:
        """Tiles whose shard was found to be broken, or another file than the ledger says."""
        return unreadable_tiles(self.folder)

    def waivers(self) -> tuple[Waiver, ...]:
        """Findings that are accepted.

        Raises:
            UsageError, DataError: the file cannot be read.
        """
        return read_waivers(self.folder)

    def unfit(self, *, today: date | None = None) -> frozenset[str]:
        """Tiles with an error that is not waived: statistics and training leave them out.

        Raises:
            DataError: the data set was not validated yet.
        """
        return unfit_tiles(self.folder, today=today)

    def statistics(self, protocol: str) -> Statistics:
        """Statistics of the training split.

        Raises:
            DataError: there are none.
        """
        return read_statistics(self.folder, protocol, classes=len(self.classes()))

    def statistics_file(self, protocol: str) -> Path:
        return statistics_path(self.folder, protocol)

    def groups_file(self, protocol: str) -> Path:
        """Numbers of each split, region and biome; training never reads them."""
        return groups_path(self.folder, protocol)

    def recipe(self) -> Recipe | None:
        """The recipe that the shards were built with; None where there is none yet.

        Raises:
            DataError: it cannot be read.
        """
        return _read_recipe(self.recipe_file) if self.recipe_file.is_file() else None

    def added_pixels(self) -> AddedPixels | None:
        """What is on record about pixels that a user added; None where they were requested, or are not there yet.

        Raises:
            DataError: it cannot be read.
        """
        return read_added_pixels(self.folder)

    # --- what follows from the records --------------------------------------------------------------------------------

    def source(self) -> str:
        """Where the pixels came from: ``earthengine``, ``SANDBOX``, ``UNVERIFIED <host>`` or ``user:<word>``.

        Raises:
            DataError: no tile is complete.
        """
        source = next((row.source for row in self.ledger().values() if row.state == "done"), None)
        if source is None:
            raise DataError(f"{self} holds no complete tile; run 'dwplus build' first")
        return source

    def holds_own_labels(self) -> bool:
        """Whether any label was added by a user (``dwplus labels add``); false for a root that holds no data set yet.

        Raises:
            DataError: its manifest cannot be read.
        """
        return self.manifest_file.is_file() and any(row.release == "own" for row in self.manifest().rows)

    def has_s1(self) -> bool:
        """Whether the data set has Sentinel-1: it has, but where a user added Sentinel-2 alone.

        Raises:
            DataError: the record of added pixels cannot be read.
        """
        added = self.added_pixels()
        return added is None or added.has_s1

    def absent_bands(self) -> tuple[str, ...]:
        """Bands of Sentinel-2 that the data set lacks, as files that a user added do.

        Raises:
            DataError: the record of added pixels cannot be read.
        """
        added = self.added_pixels()
        return () if added is None else added.absent

    def radars(self) -> tuple[Radar, ...]:
        """How Sentinel-1 of this data set was made: as declared for added pixels, else by the recipe; empty: none.

        Raises:
            DataError: a record cannot be read.
        """
        added = self.added_pixels()
        if added is not None:
            return added.radars
        recipe = self.recipe()
        return () if recipe is None else (radar_of(recipe),)

    def composite(self) -> Composite | None:
        """What Sentinel-2 of this data set is of several scenes, as declared for added pixels; None: single scenes.

        Raises:
            DataError: the record of added pixels cannot be read.
        """
        added = self.added_pixels()
        return None if added is None else added.composite

    def planet(self) -> dict[str, int] | None:
        """Seed, number of tiles and version of the synthetic planet that the data set shows; None where it names none.

        Raises:
            DataError: the record cannot be read.
        """
        if not self.planet_file.exists():
            return None
        return read_record(self.planet_file, dict[str, int], remedy=f"delete {self} and build again")

    def complete(self) -> tuple[ManifestRow, ...]:
        """Tiles whose shard is complete, in manifest order.

        Raises:
            DataError: the root holds no data set.
        """
        ledger = self.ledger()
        rows = self.manifest().rows
        return tuple(row for row in rows if row.tile.id in ledger and ledger[row.tile.id].state == "done")

    def usable(self, split: str, protocol: Protocol) -> tuple[ManifestRow, ...]:
        """Tiles of a split whose shard is complete and was found without error, in manifest order.

        Raises:
            DataError: the data set was not validated yet.
        """
        ledger, bad, seen = self.ledger(), self.unfit(), self.validated()

        def usable(tile_id: str) -> bool:
            last = ledger.get(tile_id)
            # A shard that was written after the last validation was not read by it.
            return last is not None and last.state == "done" and tile_id not in bad and seen.get(tile_id) == last.sha256

        return tuple(row for row in self.manifest().of_split(split, protocol) if usable(row.tile.id))

    def ledger_faults(self) -> tuple[str, ...]:
        """What is wrong with the ledger, as text: damaged lines, and shards on disk that it does not know.

        Raises:
            DataError: the root holds no data set.
        """
        damaged, known = damaged_lines(self.folder), self.ledger()
        found = []
        if damaged:
            listed = ", ".join(map(str, damaged[:5])) + ", ..." * (len(damaged) > 5)
            found.append(f"{self.ledger_file}: {len(damaged)} damaged lines ({listed}); what they said is not used")
        if isinstance(self.pixels, Path):
            unknown = (row.tile for row in self.manifest().rows if row.tile.id not in known)
            lost = [tile.id for tile in unknown if (self.folder / shard_name(tile)).exists()]
            if lost:
                found.append(
                    f"{self.ledger_file}: {len(lost)} shards are on disk and not in it ({lost[0]}"
                    f"{', ...' * (len(lost) > 1)}); run 'dwplus build', which records them again"
                )
        return tuple(found)

    def left_out(self, split: str, protocol: Protocol) -> tuple[LeftOut, ...]:
        """Tiles of a split that are not usable, with the reason, in the order of reasons and tiles.

        Raises:
            DataError: the data set was not validated yet.
        """
        ledger, bad, seen = self.ledger(), self.unfit(), self.validated()
        damaged = damaged_lines(self.folder)
        reasons: dict[tuple[str, bool], list[str]] = {}

        def put(tile_id: str, reason: str, *, fault: bool = False) -> None:
            reasons.setdefault((reason, fault), []).append(tile_id)

        for row in self.manifest().of_split(split, protocol):
            tile_id, last = row.tile.id, ledger.get(row.tile.id)
            if last is None and (damaged or tile_id in seen):
                put(tile_id, "their lines in the ledger are damaged or lost; run 'dwplus build'", fault=True)
            elif last is None:
                put(tile_id, "they are not built")
            elif last.state != "done":
                put(tile_id, f"they are {last.state} ({last.reason})")
            elif tile_id in bad:
                put(tile_id, "validation found an error in them, see findings.csv")
            elif tile_id not in seen:
                put(tile_id, "they were not validated since they were built; run 'dwplus validate'", fault=True)
            elif seen[tile_id] != last.sha256:
                what = "the ledger names another shard than the one that was validated; run 'dwplus validate'"
                put(tile_id, what, fault=True)
        return tuple(LeftOut(tuple(tiles), reason, fault) for (reason, fault), tiles in sorted(reasons.items()))

    def content_hash(self, rows: Iterable[ManifestRow]) -> str:
        """Twelve hexadecimal digits that change with any shard or label of these tiles."""
        ledger = self.ledger()
        lines = sorted(f"{row.tile.id} {ledger[row.tile.id].sha256} {row.labeler} {row.label_sha256}" for row in rows)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class _Mirror:
    """Content of ``origin.json``."""

    url: str


def _records_at(origin: Remote, results: Iterable[str]) -> dict[str, bytes]:
    """Content of the records of a data set at a URL."""
    try:
        contents = {name: (origin / name).read_bytes() for name in _ALWAYS}
    except FileNotFoundError as error:
        raise DataError(
            f"{origin} holds no data set: no {Path(str(error)).name or MANIFEST_FILE}; name the folder that "
            f"holds {MANIFEST_FILE}, such as s3://bucket/data/earthengine"
        ) from None
    for name in (*_WHERE_THERE, *results):
        try:
            contents[name] = (origin / name).read_bytes()
        except FileNotFoundError:
            continue
    return contents


def _check_own(folder: Path, url: str) -> None:
    if (folder / MIRROR_FILE).is_file():
        there = DataRoot.at(folder).pixels
        if str(there) != url:
            raise UsageError(f"{folder} belongs to {there}, not to {url}; name another folder with --out")
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds something else already; name an empty or new folder with --out")


def _read_recipe(path: Path) -> Recipe:
    remedy = "remove it, name the recipe (--s1-mean ...) and build again"
    content = as_record(read_json(path), dict[str, Any], path, remedy=remedy)
    try:
        return recipe_from({name: value for name, value in content.items() if name != "hash"})
    except DataError as error:
        raise DataError(
            f"{path}: {error}; build with the version that wrote it, or remove the file and name the recipe "
            "(--s1-mean ...)"
        ) from None
