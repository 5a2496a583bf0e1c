"""Rows beside the networks: public maps and people scored on the test tiles, networks on the pixels that all share.

Scores of a map lie in ``products/<name>/scores.json`` of the data root, those of people in ``products/non-experts/``;
a network's on shared pixels in ``scores-shared.json`` of its run. The report reads them. Those of validation tiles have
names of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.metrics import ConfusionMatrix, TileCounts, overall
from ..model.products import (
    BesideScores,
    Counts,
    SharedPixels,
    class_of_code,
    count_rows,
    merge,
    merge_table,
)
from ..model.run_files import RunFiles
from ..model.runs import RunFolder
from ..model.score import load, predict
from ..model.scores.bootstrap import design_of
from ..model.scores.document import scores_name, tiles_name
from ..model.scores.intervals import Bounds, Intervals, intervals_of
from ..model.scores.kept import write_counts
from ..model.scores.tile_table import TileTable, records_of, with_masks
from ..pipeline.dataset.layers import LayerFiles, complete_of, layers_of
from ..pipeline.dataset.manifest import ManifestRow, Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset, Sample
from ..pipeline.errors import DataError, UsageError
from ..pipeline.progress import Progress
from ..pipeline.raster.geotiff import read_codes
from ..pipeline.spec.bands import PRESETS
from ..pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from ..pipeline.spec.layers import product_layer, products
from ..pipeline.spec.tiles import Tile
from .splits import open_as_trained, trained_here

NON_EXPERTS = "non-experts"


def file_of_map(split: str) -> str:
    """Name of the file of a map's scores: ``scores.json``, or that of another split."""
    return scores_name(split)


def file_of_network(split: str) -> str:
    """Name of the file of a network's scores on shared pixels: ``scores-shared.json``, or that of another split."""
    return scores_name(split, variant="shared")


Says = Callable[[Tile, Sample], "NDArray[np.uint8] | None"]


def choices() -> tuple[str, ...]:
    """What ``--product`` can name."""
    return (*products(), NON_EXPERTS)


def score_product(
    root: DataRoot, name: str, *, split: str, progress: Progress, protocol: Protocol = "strict"
) -> BesideScores:
    """Score a map, or people, on a split; writes ``file_of_map`` in its folder.

    Raises:
        UsageError: there is no map of that name, or the labels have other classes than Dynamic World's.
        DataError: it was not exported for the split, or a file is damaged.
    """
    if root.classes() != DYNAMIC_WORLD:
        raise UsageError(f"{root} holds labels of other classes than Dynamic World's; no map is scored on them")
    dataset = _opened(root, split, protocol)
    if name == NON_EXPERTS:
        says, years = non_experts(root, dataset)
        title, said, told = "non-experts against consensus", {}, dataset.classes.names
    else:
        files = LayerFiles.of(root, product_layer(name))
        complete_of(files, dataset.rows, split=split)
        product = products()[name]
        says, told = _of_map(files, dataset)
        years = Counter(str(product.year(tile.date)) for tile in dataset.tiles if tile.id in files.done)
        title = product.title
        said = {"licence": product.licence, "citation": product.citation, "mapping": product.mapping}
    counts, shared = _counted(root, dataset, says, told, name, progress)
    scores = _scores(name, title, dataset, counts, shared, years, said)
    return _kept(RunFiles(root.folder / "products" / name), file_of_map(split), scores, dataset, counts)


def current_product_scores(
    root: DataRoot, name: str, *, split: str, protocol: Protocol = "strict"
) -> BesideScores | None:
    """Scores of a map that are still those of this data set and of the maps on disk; None where it has to be scored."""
    try:
        scores = BesideScores.from_dict(RunFiles(root.folder / "products" / name).read_json(file_of_map(split)))
    except DataError:
        return None
    if (scores.split, scores.protocol) != (split, protocol):
        return None
    return scores if _hashes_now(root, split, protocol) == (scores.tiles_hash, scores.shared_hash) else None


def score_shared(root: DataRoot, run_dir: Path, *, split: str, progress: Progress) -> BesideScores:
    """Score a run's network on the pixels that are valid in every layer; writes ``file_of_network``.

    Raises:
        DataError: the run is not complete, or nothing was exported beside the shards of the split.
    """
    loaded = load(run_dir)
    config = loaded.config
    if not layers_of(root):
        raise DataError(f"{root} holds no products/: run 'dwplus build --products' first")
    dataset = open_as_trained(root, config, split, own=trained_here(root, config))
    plain = _opened(root, split, dataset.protocol)  # the label on the data set's pixels, whatever the network reads
    places = {tile.id: place for place, tile in enumerate(dataset.tiles)}

    def says(tile: Tile, sample: Sample) -> NDArray[np.uint8] | None:
        if tile.id not in places:
            return None
        read = dataset[places[tile.id]]
        found = predict(loaded, read)
        lost = (read.label == IGNORE) & (sample.label != IGNORE)
        return np.where(lost, IGNORE, found).astype(np.uint8)

    counts, shared = _counted(root, plain, says, plain.classes.names, run_dir.name, progress)
    years = Counter(str(tile.date.year) for tile in dataset.tiles)
    scores = _scores(run_dir.name, config.model, plain, counts, shared, years, {})
    return _kept(RunFolder(run_dir), file_of_network(split), scores, plain, counts)


def _kept(files: RunFiles, name: str, scores: BesideScores, dataset: Dataset, counts: Counts) -> BesideScores:
    """Write scores, and beside them the counts of tiles on shared pixels, where there are some."""
    if scores.shared is not None:
        table = _table(dataset, counts.shared_of_tiles, counts.masks)
        scores = replace(scores, tiles_file=write_counts(files, tiles_name(file_of_network(dataset.split)), table))
    files.write_json(name, scores.to_dict())
    return scores


def _opened(root: DataRoot, split: str, protocol: str) -> Dataset:
    auxiliary = PRESETS["sar"] if root.has_s1() else ()
    chosen: Protocol = "paper" if protocol == "paper" else "strict"
    return Dataset(root, split=split, protocol=chosen, auxiliary=auxiliary, trained_here=False)


def _counted(
    root: DataRoot, dataset: Dataset, says: Says, told: tuple[str, ...], name: str, progress: Progress
) -> tuple[Counts, SharedPixels]:
    shared = SharedPixels(layers_of(root))
    with progress.stage(f"Scoring {name}", len(dataset)) as step:

        def samples() -> Iterator[tuple[Tile, Sample]]:
            for index, tile in enumerate(dataset.tiles):
                yield tile, dataset[index]
                step.advance()

        return count_rows(samples(), says, shared, dataset.classes.names, told), shared


def _scores(
    name: str,
    title: str,
    dataset: Dataset,
    counts: Counts,
    shared: SharedPixels,
    years: Counter[str],
    said: dict[str, str],
) -> BesideScores:
    own = _table(dataset, counts.of_tiles)
    on_shared = _table(dataset, counts.shared_of_tiles) if shared.layers else None
    merged = merge_table(own if on_shared is None else on_shared, merged_classes())
    return BesideScores(
        name=name,
        title=title,
        source=dataset.source,
        split=dataset.split,
        protocol=dataset.protocol,
        tiles=len(dataset),
        tiles_hash=dataset.tiles_hash,
        own=counts.own,
        shared=counts.shared if shared.layers else None,
        shared_hash=shared_hash(shared, dataset.rows),
        labelled=counts.labelled,
        lost_tiles=counts.lost_tiles,
        label_years=Counter(str(tile.date.year) for tile in dataset.tiles),
        years=years,
        said=said,
        intervals=_intervals(own),
        shared_intervals=None if on_shared is None else _intervals(on_shared),
        merged_intervals=_intervals(merged),
    )


def _table(dataset: Dataset, matrices: Sequence[ConfusionMatrix], masks: Sequence[str] | None = None) -> TileTable:
    """Counts of the tiles of a split, in the order in which they were counted."""
    records = records_of(dataset)
    records = records if masks is None else with_masks(records, masks)
    return TileTable.of(records, [TileCounts(matrix) for matrix in matrices], matrices[0].names)


def _intervals(table: TileTable) -> Intervals:
    """As those of networks: by a bootstrap over the tiles of the split."""
    return intervals_of(table.sums, design_of(table.records), table.names)


def shared_hash(shared: SharedPixels, rows: tuple[ManifestRow, ...]) -> str:
    """Changes with any file that decides which pixels are shared."""
    return "-".join(files.hash_of(rows) for files in shared.layers)


# --- who says what ----------------------------------------------------------------------------------------------------


def _of_map(files: LayerFiles, dataset: Dataset) -> tuple[Says, tuple[str, ...]]:
    product = files.layer.product
    assert product is not None
    to_class, told = class_of_code(product, dataset.classes.names)

    def says(tile: Tile, _: Sample) -> NDArray[np.uint8] | None:
        return to_class[files.read(tile)[0]] if tile.id in files.done else None

    return says, told


def non_experts(root: DataRoot, dataset: Dataset) -> tuple[Says, Counter[str]]:
    """Labels of non-experts on the ground of test tiles, which training leaves out.

    Raises:
        DataError: there is none.
    """
    drawn = [row for row in root.manifest().rows if row.labeler == "non_expert" and row.discard == "test_overlap"]
    found = {tile.id: [row for row in drawn if _placed(row.tile, tile) is not None] for tile in dataset.tiles}
    if not any(found.values()):
        raise DataError(f"no label of a non-expert in {root} lies on a {dataset.split} tile: there is no row of people")
    years = Counter(str(rows[0].tile.date.year) for rows in found.values() if rows)

    def says(tile: Tile, _: Sample) -> NDArray[np.uint8] | None:
        if not found[tile.id]:
            return None
        row = found[tile.id][0]
        placed = _placed(row.tile, tile)
        assert placed is not None
        theirs, ours = placed
        indices = dataset.classes.class_indices(read_codes(root.label(row), sha256=row.label_written_sha256))
        image = np.full(tile.shape, IGNORE, np.uint8)
        image[ours] = indices[theirs]
        return image

    return says, years


def _placed(theirs: Tile, ours: Tile) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where two tiles show the same pixels, in each of them; None where they do not."""
    (a, _, x, _, e, y), (a2, _, x2, _, e2, y2) = theirs.transform, ours.transform
    if theirs.crs != ours.crs or (a, e) != (a2, e2):
        return None
    col, row = (x2 - x) / a, (y2 - y) / e
    if col != round(col) or row != round(row):
        return None
    pairs = [_common(round(row), theirs.shape[0], ours.shape[0]), _common(round(col), theirs.shape[1], ours.shape[1])]
    if any(one is None for one in pairs):
        return None
    (rows, rows2), (cols, cols2) = (one for one in pairs if one is not None)
    return (rows, cols), (rows2, cols2)


def _common(offset: int, theirs: int, ours: int) -> tuple[slice, slice] | None:
    """The range that two rows of pixels share, where ours begins ``offset`` pixels after theirs; in each of them."""
    first, last = max(0, offset), min(theirs, offset + ours)
    return (slice(first, last), slice(first - offset, last - offset)) if last > first else None


# --- rows for people --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BesideRow:
    """One row of the table of networks, maps and people.

    Attributes:
        own, shared, merged: overall scores by key on own pixels, on shared pixels, and on shared pixels with the
            classes merged that some map does not tell apart; empty where there is none.
        intervals, shared_intervals, merged_intervals: bounds of these scores, in that order; None where there is none.
        lost: share of the data set's pixels for which the row says nothing.
        stale: the data set or the layers have changed since it was scored.
    """

    name: str
    title: str
    kind: str
    own: dict[str, float]
    shared: dict[str, float]
    merged: dict[str, float]
    intervals: Mapping[str, Bounds | None]
    shared_intervals: Mapping[str, Bounds | None]
    merged_intervals: Mapping[str, Bounds | None]
    lost: float
    lost_tiles: int
    label_years: str
    years: str
    stale: bool


def merged_classes() -> frozenset[str]:
    """Classes that some map does not tell apart: every row is scored with them as one, too."""
    return frozenset(name for product in products().values() for name in product.merged)


def row_of(scores: BesideScores, kind: str, *, stale: bool = False) -> BesideRow:
    """What a table shows of scores; a map that does not tell classes apart has no score with all of them."""
    whole = scores.own.names == DYNAMIC_WORLD.names
    together = merged_classes()
    shared = scores.shared
    return BesideRow(
        scores.name,
        scores.title,
        kind,
        own=_values(scores.own) if whole else {},
        shared=_values(shared) if whole and shared is not None else {},
        merged=_values(merge(shared, together)) if shared is not None else _values(merge(scores.own, together)),
        intervals=_bounds(scores.intervals if whole else None),
        shared_intervals=_bounds(scores.shared_intervals if whole else None),
        merged_intervals=_bounds(scores.merged_intervals),
        lost=scores.lost_pixels / scores.labelled if scores.labelled else 0.0,
        lost_tiles=scores.lost_tiles,
        label_years=_as_text(scores.label_years),
        years=_as_text(scores.years),
        stale=stale,
    )


def _bounds(found: Intervals | None) -> Mapping[str, Bounds | None]:
    return {} if found is None else found.values


def _values(matrix: Any) -> dict[str, float]:
    return {metric.key: metric.value(TileCounts(matrix)) for metric in overall()}


def _as_text(years: Any) -> str:
    """``2017 (6), 2019 (33)``."""
    return ", ".join(f"{year} ({years[year]})" for year in sorted(years))


def beside_rows(root: DataRoot, on_fault: Callable[[str, str], object] = lambda *_: None) -> list[BesideRow]:
    """Rows of all maps, people and networks that were scored so on the test split, in that order.

    Args:
        on_fault: called with the name of a row that cannot be read, and why; it is left out.
    """
    places = [
        (root.folder / "products" / name, file_of_map("test"), "people" if name == NON_EXPERTS else "map")
        for name in choices()
    ]
    shared = file_of_network("test")
    places += [(path.parent, shared, "network") for path in sorted(root.runs.glob(f"*/{shared}"))]
    hashes = cache(partial(_hashes_now, root))
    found = []
    for folder, name, kind in places:
        if not (folder / name).is_file():
            continue
        try:
            scores = BesideScores.from_dict(RunFiles(folder).read_json(name))
            if scores.split != "test":  # an earlier version gave those of any split one name
                continue
            now = hashes(scores.split, scores.protocol)
            found.append(row_of(scores, kind, stale=now != (scores.tiles_hash, scores.shared_hash)))
        except DataError as error:
            on_fault(folder.name, str(error))
    return found


def _hashes_now(root: DataRoot, split: str, protocol: str) -> tuple[str, str] | None:
    """Hashes of a split's tiles, and of what is shared on them; None where the split cannot be opened."""
    try:
        dataset = _opened(root, split, protocol)
    except DataError:
        return None
    return dataset.tiles_hash, shared_hash(SharedPixels(layers_of(root)), dataset.rows)
