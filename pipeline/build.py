"""Build: labels -> manifest -> export -> validate -> normalise, one after the other; each can be run again.

What is complete is left alone; a killed build goes on where it was when it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .cluster import Runner
from .errors import DataError
from .export import export
from .files import check_writable
from .labels import LabelFile, LabelRaster, Metadata, acquire, from_folder, index, read_label, read_metadata, releases
from .landcover import marked_share
from .ledger import Ledger, LedgerRow, count_states, read_ledger, write_failures
from .manifest import (
    MANIFEST_FILE,
    PROTOCOLS,
    Manifest,
    ManifestRow,
    Protocol,
    make_manifest,
    read_manifest,
    select,
    write_manifest,
)
from .normalise import Statistics, normalise, statistics_path, usable_rows
from .progress import Progress, Silent
from .scenes import Recipe
from .session import DEFAULT_CONCURRENCY, PixelSource
from .shards import label_path, read_header, write_label
from .tiles import Tile, check_region, parse_tile_id
from .validate import Finding, bad_tiles, unreadable_tiles, validate

RELEASES_FOLDER = "releases"


@dataclass(frozen=True)
class Choice:
    """Which tiles a build is about.

    Attributes:
        region, biomes, splits, limit: see ``manifest.select``; empty sets mean all.
        labels: folder of label tiles given by hand, in place of the released archives.
    """

    region: str = "all"
    biomes: frozenset[int] = frozenset()
    splits: frozenset[str] = frozenset()
    limit: int | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class BuildResult:
    """What a build leaves behind.

    Attributes:
        chosen: tiles that the build was about.
        states: how many tiles of the choice are done, or missing for which reason.
        findings: of the validation of all complete tiles in the data root.
    """

    manifest: Manifest
    chosen: tuple[ManifestRow, ...]
    states: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> int:
        """Tiles of the choice that could not be had this time."""
        return self.states.get("no_answer", 0)

    @property
    def broken(self) -> int:
        """Complete tiles in which the validation found an error."""
        return len(bad_tiles(self.findings))


def build(
    root: Path,
    choice: Choice,
    *,
    pixels: PixelSource,
    run: Runner,
    recipe: Recipe | None = None,
    mirror: str | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    progress: Progress | None = None,
) -> BuildResult:
    """Make the data set of one source, or complete it.

    Args:
        root: data root of the source, ``data/<source>``.
        pixels: where pixels come from.
        run: where validation and statistics run.
        mirror: base URL that serves the label archives in place of their publishers.

    Raises:
        UsageError: the choice names nothing that exists, or the root belongs to another source.
        DataError: a label given by hand cannot be used.
        ServiceError, AuthenticationError, QuotaError: the build cannot go on; run it again later.
    """
    progress = progress or Silent()
    check_region(choice.region)
    check_writable(root)
    with Ledger(root) as ledger:
        files, metadata = find_labels(root, choice, mirror=mirror, progress=progress)
        rows, unusable = ingest_labels(root, files, metadata, strict=choice.labels is not None, progress=progress)
        usable = {row.tile.id for row in rows}
        for row in unusable:
            # Where another labeler's markup of the tile can be used, nothing is missing.
            if row.tile not in usable:
                ledger.append(replace(row, source=pixels.name))
        manifest = make_manifest([*_earlier_rows(root, rows), *rows])
        write_manifest(root, manifest)
        chosen = _choose(manifest, choice, rows)
        with progress.stage("Exporting tiles", len(chosen)) as step:
            plan = export(
                chosen,
                pixels=pixels,
                recipe=recipe or Recipe(),
                ledger=ledger,
                concurrency=concurrency,
                damaged=unreadable_tiles(root),
                on_plan=lambda plan: step.advance(len(plan.keep)),
                on_row=lambda row: step.advance(note=f"{row.tile} {row.reason or row.state}"),
            )
        if plan.keep:
            progress.say(f"{len(plan.keep)} of {len(chosen)} tiles needed no request")
        write_failures(root, ledger.rows.values())
        ids = {row.tile.id for row in chosen} | {row.tile for row in unusable}
        states = count_states({tile: row for tile, row in ledger.rows.items() if tile in ids})
    findings = validate_root(root, run=run, progress=progress)
    normalise_root(root, run=run, progress=progress)
    return BuildResult(manifest, chosen, states, tuple(findings))


# --- labels -----------------------------------------------------------------------------------------------------------


def find_labels(
    root: Path, choice: Choice, *, mirror: str | None, progress: Progress
) -> tuple[list[LabelFile], Metadata]:
    """Label tiles on disk: those given by hand, or those of the releases, downloaded where they are missing."""
    if choice.labels is not None:
        return from_folder(choice.labels), read_metadata(choice.labels)
    folder = root / RELEASES_FOLDER
    wanted = sorted(choice.splits) or ["train", "test"]
    with progress.stage("Fetching label releases", None, unit="bytes") as step:
        acquire(
            releases(),
            folder,
            mirror=mirror,
            splits=["train" if split == "val" else split for split in wanted],
            progress=lambda _name, done, total: step.set(done, total),
        )
    metadata = read_metadata(folder)
    return index(folder, metadata=metadata), metadata


def ingest_labels(
    root: Path, files: Sequence[LabelFile], metadata: Metadata, *, strict: bool, progress: Progress
) -> tuple[list[ManifestRow], list[LedgerRow]]:
    """Read every label tile, keep it below ``labels/``, and describe it.

    Args:
        strict: a label that cannot be used is an error; otherwise it is a discarded tile.

    Returns:
        Rows for the manifest, and ledger rows of labels that cannot be used.
    """
    rows: list[ManifestRow] = []
    unusable: list[LedgerRow] = []
    with progress.stage("Reading labels", len(files)) as step:
        for file in files:
            try:
                rows.append(
                    ingest_label(root, file, read_label(file.path), metadata.get((file.labeler, file.dw_id), {}))
                )
            except DataError as error:
                if strict:
                    raise
                unusable.append(LedgerRow(file.dw_id, "discarded", "bad_label", str(error)))
            step.advance()
    return rows, unusable


def ingest_label(root: Path, file: LabelFile, raster: LabelRaster, known: dict[str, str]) -> ManifestRow:
    """Keep one label raster below ``labels/`` (where it is not there yet) and describe it."""
    tile = Tile(
        id=file.dw_id,
        crs=raster.crs,
        transform=raster.transform,
        shape=raster.shape,
        date=parse_tile_id(file.dw_id).date,
        hemisphere=file.hemisphere,
        biome=file.biome,
    )
    # Labels given by hand never replace released ones of the same name.
    path = label_path(root, tile, file.labeler if file.split != "inspect" else "inspect")
    if not _holds_label(path, raster.sha256):
        tags = {"TILE": tile.id, "LABELER": file.labeler, "RELEASED_SHA256": raster.sha256}
        write_label(path, raster.codes, tile, tags)
    return ManifestRow(
        tile=tile,
        labeler=file.labeler,
        release=file.split,
        label=path.relative_to(root).as_posix(),
        label_sha256=raster.sha256,
        marked_share=marked_share(raster.codes),
        s2_index=known.get("S2_GEE_ID", ""),
        s2_product_id=known.get("S2_PRODUCT_ID", ""),
    )


def _holds_label(path: Path, sha256: str) -> bool:
    try:
        return read_header(path).tags.get("RELEASED_SHA256") == sha256
    except DataError:
        return False


# --- which tiles ------------------------------------------------------------------------------------------------------


def _earlier_rows(root: Path, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Tiles of earlier builds in this root that this one does not bring again: nothing is forgotten."""
    if not (root / MANIFEST_FILE).is_file():
        return []
    fresh = {row.label for row in rows}
    return [
        replace(row, discard="")
        for row in read_manifest(root).rows
        if row.label not in fresh and (root / row.label).is_file()
    ]


def _choose(manifest: Manifest, choice: Choice, rows: Sequence[ManifestRow]) -> tuple[ManifestRow, ...]:
    if choice.labels is not None:
        given = {row.tile.id for row in rows}
        candidates = [row for row in manifest.rows if row.tile.id in given]
    else:
        candidates = [row for row in manifest.rows if row.release != "inspect"]
    return select(
        candidates,
        region=choice.region,
        biomes=choice.biomes,
        splits=choice.splits if choice.labels is None else frozenset(),
        limit=choice.limit,
    )


# --- the stages after the export --------------------------------------------------------------------------------------


def complete_rows(root: Path) -> tuple[ManifestRow, ...]:
    """Tiles whose shard is complete, in manifest order.

    Raises:
        DataError: the root holds no data set.
    """
    ledger = read_ledger(root)
    rows = read_manifest(root).rows
    return tuple(row for row in rows if row.tile.id in ledger and ledger[row.tile.id].state == "done")


def source_of(root: Path) -> str:
    """Who answered for the pixels of a data root: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.

    Raises:
        DataError: no tile is complete.
    """
    done = (row.source for row in read_ledger(root).values() if row.state == "done")
    source = next(done, None)
    if source is None:
        raise DataError(f"{root} holds no complete tile; run 'dwplus build' first")
    return source


def validate_root(root: Path, *, run: Runner, progress: Progress) -> list[Finding]:
    """Validate every complete tile of a data root."""
    rows = complete_rows(root)
    with progress.stage("Validating shards", len(rows)) as step:
        return validate(rows, root=root, run=run, on_batch=step.advance)


def normalise_root(
    root: Path, *, run: Runner, progress: Progress, protocols: Sequence[Protocol] = PROTOCOLS
) -> list[Statistics]:
    """Take the statistics of the training split, once per protocol; none where no training tile is complete yet."""
    manifest = read_manifest(root)
    results = []
    for protocol in protocols:
        rows = usable_rows(root, manifest, "train", protocol)
        if not rows:
            statistics_path(root, protocol).unlink(missing_ok=True)
            progress.say(f"no training tile yet: no statistics for protocol {protocol}")
            continue
        with progress.stage(f"Taking statistics ({protocol})", len(rows)) as step:
            results.append(normalise(root, manifest, protocol, run=run, on_batch=step.advance))
    return results
