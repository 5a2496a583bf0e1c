"""Build: labels -> manifest -> export -> validate -> normalise, one after the other; each can be run again.

Complete tiles are left alone; run an interrupted build again to resume it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..cluster import Runner
from ..dataset.findings import Finding, bad_tiles
from ..dataset.ledger import ASKED_REASONS, FAILURES, Ledger, count_states, write_failures
from ..dataset.manifest import PROTOCOLS, Manifest, ManifestRow, Protocol, select
from ..dataset.root import DataRoot
from ..dataset.statistics import Statistics
from ..dataset.waivers import effective
from ..earthengine.session import DEFAULT_CONCURRENCY, PixelSource
from ..errors import QuotaError, UsageError
from ..files.atomic import check_writable, remove_parts
from ..files.records import write_record
from ..labels.earth_engine import LabelClient
from ..labels.ingest import Prepared, prepare_manifest
from ..labels.origin import LabelOrigin
from ..labels.subsets import paper_subset, record_subset
from ..progress import Progress, Silent
from ..raster.gdal import check_libraries
from ..spec.recipe import Recipe
from ..spec.tiles import check_region
from ..statistics.normalise import Counted, check_usable, count_others, counted_rows, up_to_date, write_statistics
from ..validation.validate import to_validate, validate
from .card import write_card
from .dating import DEFAULT_WINDOW_DAYS, Dated, date_labels
from .export import Callbacks, Meter, export
from .inspection import Counting
from .plan import Plan, without_pixels


@dataclass(frozen=True)
class Selection:
    """Which tiles a build is about.

    Attributes:
        region, biomes, splits, limit: see ``manifest.select``; empty sets mean all.
        labels: folder of user-supplied label tiles, in place of the released archives.
        subset: ``paper``: only the tiles that the paper probably kept (``labels.subsets``), a guess; empty: all.
        labels_from: where released labels come from, the publishers' archives or Earth Engine's collection of them.
    """

    region: str = "all"
    biomes: frozenset[int] = frozenset()
    splits: frozenset[str] = frozenset()
    limit: int | None = None
    labels: Path | None = None
    labels_from: LabelOrigin = "releases"
    subset: str = ""


@dataclass(frozen=True)
class BuildResult:
    """What a build leaves behind.

    Attributes:
        chosen: tiles that were selected.
        states: number of selected tiles that are done, or missing, by reason.
        findings: of the validation of all complete tiles in the data root, but for waived ones.
        stopped: why the export ended early (a budget, a quota); empty where it did not.
    """

    manifest: Manifest
    chosen: tuple[ManifestRow, ...]
    states: Mapping[str, int]
    findings: tuple[Finding, ...]
    stopped: str = ""

    @property
    def failed(self) -> int:
        """Selected tiles that failed in this run."""
        return sum(self.states.get(reason, 0) for reason in FAILURES)

    @property
    def broken(self) -> int:
        """Complete tiles in which the validation found an error."""
        return len(bad_tiles(self.findings))


@dataclass(frozen=True)
class BuildSetup:
    """What a build works with.

    Attributes:
        pixels: where pixels come from.
        run: where validation and statistics run.
        mirror: gives the address of the label archives in place of their publishers, when it is needed.
        client: requests labels from Earth Engine.
        concurrency: requests in flight.
        s2_window_days: how far outside the period of an own label its scene may lie.
        meter: measures tiles and ends the run.
        progress: where progress is reported.
    """

    pixels: PixelSource
    run: Runner
    mirror: Callable[[], str] | None = None
    client: LabelClient | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    s2_window_days: int = DEFAULT_WINDOW_DAYS
    meter: Meter | None = None
    progress: Progress = field(default_factory=Silent)


def build(root: DataRoot, selection: Selection, setup: BuildSetup, *, recipe: Recipe | None = None) -> BuildResult:
    """Make the data set of one source, or complete it.

    Args:
        root: data root of the source, ``data/<source>``.
        recipe: how pixels are requested; None = that of the root, or the default.

    Raises:
        UsageError: the choice names nothing that exists, or the root belongs to another source.
        DataError: a user-supplied label cannot be used.
        ServiceError, AuthenticationError: the build cannot continue; run it again later.
    """
    check_region(selection.region)
    check_libraries()
    check_writable(root.folder)
    root.check_own_pixels()
    recipe = recipe or root.recipe() or Recipe()
    with root.open_ledger() as ledger:
        _tidy(root)
        if root.holds_own_labels():
            prepared = _own(root, selection, setup)
        else:
            prepared = prepare_manifest(
                root,
                labels=selection.labels,
                splits=selection.splits,
                origin=selection.labels_from,
                mirror=setup.mirror,
                client=setup.client,
                source=setup.pixels.name,
                progress=setup.progress,
            )
        for row in prepared.unusable:
            if (known := ledger.rows.get(row.tile)) is None or known.detail != row.detail:
                ledger.append(replace(row, source=setup.pixels.name))
        candidates = _in_subset(root, prepared.candidates, selection, setup)
        chosen = select_rows(candidates, selection) if prepared.ids else ()
        stopped = _export(root, chosen, setup, recipe, ledger)
        ids = {row.tile.id for row in chosen} | {row.tile for row in prepared.unusable}
        states = count_states({tile: row for tile, row in ledger.rows.items() if tile in ids})
    findings = _finish(root, setup, recipe)
    return BuildResult(prepared.manifest, chosen, states, tuple(findings), stopped)


def _in_subset(
    root: DataRoot, rows: tuple[ManifestRow, ...], selection: Selection, setup: BuildSetup
) -> tuple[ManifestRow, ...]:
    """The rows of the subset that is selected; all where none is. Says which guess it is, and records it.

    Raises:
        UsageError: labels are not the released ones.
    """
    if not selection.subset:
        return rows
    if selection.labels is not None or root.holds_own_labels():
        raise UsageError("--subset paper chooses among released labels, and these are others; leave it out")
    subset = paper_subset(root)
    setup.progress.say(str(subset))
    record_subset(root, subset)
    return tuple(row for row in rows if row.tile.id in subset.ids)


def _own(root: DataRoot, selection: Selection, setup: BuildSetup) -> Prepared:
    """The own labels that are selected, each with the day of its scene.

    Raises:
        UsageError: label tiles in the form of released ones are named as well, or nothing is selected.
    """
    if selection.labels is not None:
        raise UsageError(f"{root} holds labels that were added to it; --labels belongs to another --data")
    rows = select_rows(root.manifest().rows, selection)
    dated = _dated(root, [row for row in rows if not row.discard], setup)
    return Prepared(dated.manifest, frozenset(row.tile.id for row in dated.rows), dated.undated, read=0)


def _dated(root: DataRoot, rows: Sequence[ManifestRow], setup: BuildSetup, *, again: bool = False) -> Dated:
    """Choose scenes under a progress bar; see ``dating.date_labels``."""
    with setup.progress.stage("Choosing scenes", len(rows)) as step:
        return date_labels(
            root,
            rows,
            pixels=setup.pixels,
            window_days=setup.s2_window_days,
            concurrency=setup.concurrency,
            again=again,
            on_tile=lambda _: step.advance(),
        )


def retry(root: DataRoot, reasons: frozenset[str], setup: BuildSetup) -> BuildResult:
    """Retry tiles that failed to download.

    Args:
        reasons: keys of ``ledger.REASONS`` that a retry may change; empty = all failures.

    Raises:
        UsageError: a reason comes from labels, or is none.
        DataError: the root holds no data set.
    """
    unknown = sorted(reasons - ASKED_REASONS)
    if unknown:
        raise UsageError(
            f"tiles with the reason {', '.join(unknown)} cannot be retried; choose from "
            f"{', '.join(sorted(ASKED_REASONS))}"
        )
    root.check_own_pixels()
    manifest, recipe = root.manifest(), root.recipe() or Recipe()
    with root.open_ledger() as ledger:
        _tidy(root)
        wanted = {tile for tile, row in ledger.rows.items() if row.reason in (reasons or FAILURES)}
        chosen = tuple(row for row in manifest.rows if row.tile.id in wanted and not row.discard)
        if root.holds_own_labels():
            dated = _dated(root, chosen, setup, again=True)
            manifest, chosen = dated.manifest, dated.rows
            for row in dated.undated:
                ledger.append(row)
        ids = frozenset(row.tile.id for row in chosen)
        stopped = _export(root, chosen, setup, recipe, ledger, again=ids)
        states = count_states({tile: row for tile, row in ledger.rows.items() if tile in wanted})
    findings = _finish(root, setup, recipe) if chosen else []
    return BuildResult(manifest, chosen, states, tuple(findings), stopped)


def build_added(root: DataRoot, *, run: Runner, progress: Progress) -> BuildResult:
    """Complete a data set whose pixels a user added: note what is missing, validate, normalise, write the card.

    Nothing is requested, and no server is contacted.

    Raises:
        UsageError: no pixels were added to the root.
        DataError: the root holds no data set.
    """
    check_libraries()
    check_writable(root.folder)
    root.check_own_pixels()
    added = root.added_pixels()
    if added is None:
        raise UsageError(
            f"no pixels were added to {root}; add some: dwplus pixels add FILES --as s2 --data {root.typed}"
        )
    manifest = root.manifest()
    with root.open_ledger() as ledger:
        _tidy(root)
        for row in manifest.rows:
            without = without_pixels(row, ledger.rows.get(row.tile.id), root, added)
            if without is not None:
                ledger.append(without)
        write_failures(root.folder, ledger.rows.values())
        states = count_states({row.tile.id: ledger.rows[row.tile.id] for row in manifest.rows})
    findings, _ = inspect_root(root, run=run, progress=progress, all_again=False)
    write_card(root, manifest, root.ledger(), source=added.source, recipe=Recipe())
    return BuildResult(manifest, manifest.rows, states, tuple(effective(findings, root.waivers())))


def _tidy(root: DataRoot) -> None:
    """Remove leftovers of interrupted runs, except partial downloads, which are resumed."""
    for folder in (root.labels, root.shards, root.added_file.parent):
        remove_parts(folder)
    for part in root.folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _export(
    root: DataRoot,
    chosen: Sequence[ManifestRow],
    setup: BuildSetup,
    recipe: Recipe,
    ledger: Ledger,
    *,
    again: frozenset[str] = frozenset(),
) -> str:
    """Run the export under a progress bar; why it ended early, empty where it did not."""
    progress = setup.progress
    stopped = ""
    with progress.stage("Exporting tiles", len(chosen)) as step:

        def report(plan: Plan) -> None:
            progress.say(str(plan))
            if recipe != root.recipe():
                # From here on shards of this recipe may appear.
                write_record(root.recipe_file, {"hash": recipe.hash, **recipe.document})
            step.advance(len(plan.keep))

        try:
            export(
                chosen,
                pixels=setup.pixels,
                recipe=recipe,
                root=root,
                ledger=ledger,
                concurrency=setup.concurrency,
                damaged=root.unreadable(),
                again=again,
                meter=setup.meter,
                callbacks=Callbacks(
                    on_plan=report,
                    on_row=lambda row: step.advance(note=f"{row.tile} {row.reason or row.state}"),
                    say=progress.say,
                ),
            )
        except QuotaError as error:
            stopped = str(error)
            progress.say(stopped)
        finally:
            write_failures(root.folder, ledger.rows.values())
    return stopped


def select_rows(rows: Sequence[ManifestRow], selection: Selection) -> tuple[ManifestRow, ...]:
    """The rows that a build selects, in manifest order.

    Args:
        rows: user-supplied where ``selection.labels`` names a folder, those of the releases otherwise.

    Raises:
        UsageError: nothing is left.
    """
    return select(
        rows,
        region=selection.region,
        biomes=selection.biomes,
        splits=selection.splits if selection.labels is None else frozenset(),
        limit=selection.limit,
    )


# --- the stages after the export --------------------------------------------------------------------------------------


def _finish(root: DataRoot, setup: BuildSetup, recipe: Recipe) -> list[Finding]:
    """Validate what is new, compute the statistics of what changed, write the card."""
    findings, _ = inspect_root(root, run=setup.run, progress=setup.progress, all_again=False)
    write_card(root, root.manifest(), root.ledger(), source=setup.pixels.name, recipe=recipe)
    return list(effective(findings, root.waivers()))


def inspect_root(
    root: DataRoot, *, run: Runner, progress: Progress, all_again: bool = True
) -> tuple[list[Finding], list[Statistics]]:
    """``validate_root`` and ``normalise_root``, reading each shard once.

    Args:
        all_again: inspect every complete tile, not only those that changed since the last time.
    """
    counting = Counting(run)
    findings = validate_root(root, run=counting, progress=progress, all_again=all_again)
    statistics = normalise_root(root, run=run, progress=progress, all_again=all_again, counted=counting.counted)
    return findings, statistics


def validate_root(root: DataRoot, *, run: Runner, progress: Progress, all_again: bool = True) -> list[Finding]:
    """Validate every complete tile of a data root, or those that changed since the last time.

    Raises:
        MachineError: GDAL or PROJ does not work here; nothing was written.
    """
    check_libraries()
    for fault in root.ledger_faults():
        progress.say(fault)
    rows = root.complete()
    with progress.stage("Validating shards", len(rows) if all_again else to_validate(rows, root=root)) as step:
        return validate(rows, root=root, run=run, all_again=all_again, on_batch=step.advance)


def normalise_root(
    root: DataRoot,
    *,
    run: Runner,
    progress: Progress,
    protocols: Sequence[Protocol] = PROTOCOLS,
    all_again: bool = True,
    counted: Counted | None = None,
) -> list[Statistics]:
    """Compute statistics of the training split, once per protocol; none where no training tile is complete yet.

    Args:
        all_again: count also where the statistics on disk are of the same shards and labels.
        counted: tiles that are already counted and need not be read.

    Raises:
        MachineError: GDAL or PROJ does not work here; nothing was written.
    """
    check_libraries()
    wanted = []
    for protocol in protocols:
        if root.usable("train", protocol):
            check_usable(root, protocol)
            wanted.append(protocol)
            continue
        root.statistics_file(protocol).unlink(missing_ok=True)
        root.groups_file(protocol).unlink(missing_ok=True)
        progress.say(f"no training tile yet: no statistics for protocol {protocol}")
    if not wanted:
        return []
    if not all_again and up_to_date(root, wanted):
        return [root.statistics(protocol) for protocol in wanted]
    with progress.stage("Computing statistics", len(counted_rows(root))) as step:
        counts = count_others(root, counted or Counted(), run=run, on_batch=step.advance)
    return [write_statistics(root, protocol, counts) for protocol in wanted]
