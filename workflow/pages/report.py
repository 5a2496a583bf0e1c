"""Report: ``report/index.html``, the page that sets what was built, trained and scored beside the paper's numbers.

Reads what the stages left on disk, computes nothing that they did not. Pictures are inside the page: it is one file.
What cannot be read (a run, a tile) is named on it, and never ends it.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...manifests import load_toml
from ...model.metrics import overall
from ...model.runs import RunFolder
from ...model.score import load, predict
from ...model.scores.document import scores_name
from ...model.scores.intervals import Bounds
from ...model.scores.tile_table import TileTable
from ...model.scores.words import note
from ...pipeline.dataset.makers import makers_of_root
from ...pipeline.dataset.manifest import SPLITS, ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.dataset.statistics import Statistics
from ...pipeline.errors import DataError
from ...pipeline.files.atomic import write_if_changed
from ...pipeline.progress import Progress
from ...pipeline.raster.geotiff import read_bands, read_codes
from ...pipeline.spec.tiles import biome_names, region_names
from ...pipeline.spec.version import __version__
from ..beside import beside_rows
from ..comparing import seed_bounds
from ..reproduction.document import table_rows, verdicts_of, write_verdicts
from ..reproduction.verdicts import MEANING
from ..seeds import groups_of, spread
from ..training import open_as_trained
from . import figures
from .comparison import class_rows, cost_rows, paper_row, s1_gains
from .html import embed, render
from .parts import extremes, parts_of_runs, table_of
from .runs import Faults, Run, overall_scores, parameters_of, scored_runs, unreadable_runs, unscored_runs
from .tile_use import TileUse, findings_of

T = TypeVar("T")

TILES_DRAWN = 6

FINDINGS_LISTED = 50
"""So many findings stand on the page, errors first; all of them stand in ``findings.csv``."""


def write_report(root: DataRoot, *, progress: Progress) -> Path:
    """Write ``report/index.html`` of a data root; its path. Runs that cannot be read are named, there and here.

    Raises:
        DataError: the root holds no data set.
    """
    with progress.stage("Writing the report", None, unit="pages") as step:
        content, path = content_of(root), root.report_page
        write_if_changed(path, render("report.html.j2", content))
        if content["verdicts"]:
            write_verdicts(root, content["verdicts"])
        step.advance()
    for name, sentences in content["faults"].items():
        progress.say(f"run {name}: {'; '.join(sentences)}")
    return path


def content_of(root: DataRoot) -> dict[str, Any]:
    """Everything the page shows, by name."""
    makers, rows = makers_of_root(root), root.complete()
    mark, classes = makers.mark, root.classes()
    runs, faults = scored_runs(root), Faults({name: [why] for name, why in unreadable_runs(root).items()})
    for run in runs:
        for fault in run.faults:
            faults.add(run.name, fault)
    use = TileUse.of(root)
    # The paper's numbers are of its own labels and classes.
    beside_paper = not any(row.release == "own" for row in rows)
    unread: dict[str, str] = {}
    counts = class_counts(root, rows, unread)
    views = tile_views(root, rows, runs, faults, unread)
    tables = [(run, table) for run in runs if (table := table_of(run)) is not None]
    best_and_worst = {run.name: extreme_views(root, rows, run, table, faults, unread) for run, table in tables}
    curves = {run.name: run.rows for run in runs if run.rows}
    verdicts = verdicts_of(root, runs) if beside_paper else ()
    summaries = [run_summary(run, faults) | {"stale": _is_stale(run, root, faults)} for run in runs]
    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "makers": makers,
        "manifest_hash": root.manifest().hash,
        "tiles": tile_table(rows),
        "use": use.by_split(),
        "unused": use.unused(),
        "unread": unread,
        "findings": findings_of(root, listed=FINDINGS_LISTED),
        "map": embed(figures.map_figure(_places(rows), mark=mark)),
        "classes": embed(figures.class_distribution_figure(counts, classes=classes, mark=mark)) if counts else None,
        "statistics": _statistics(root),
        "metrics": overall(),
        "runs": summaries,
        "score_rows": score_rows(summaries, groups_of({run.name: run.config for run in runs})),
        "beside": beside_rows(root, faults.add),
        "unscored": unscored_runs(root),
        "faults": faults.sentences,
        "s1_gains": s1_gains(runs),
        "class_rows": class_rows(runs, beside_paper=beside_paper),
        "paper": load_toml("paper"),
        "class_titles": classes.titles,
        "class_table": classes.name,
        "beside_paper": beside_paper,
        "confusions": [
            embed(figures.confusion_figure(r.scores.matrix.counts, r.name, classes=classes, mark=mark)) for r in runs
        ],
        "parts": parts_of_runs([(run.name, table) for run, table in tables]),
        "extremes": {
            name: embed(figures.tiles_figure(found, classes=classes, mark=mark))
            for name, found in best_and_worst.items()
            if found
        },
        "curves": embed(figures.curves_figure(curves, mark=mark)) if curves else None,
        "pictures": embed(figures.tiles_figure(views, classes=classes, mark=mark)) if views else None,
        "costs": cost_rows() if beside_paper else (),
        "verdicts": verdicts,
        "verdict_rows": table_rows(verdicts),
        "verdict_words": MEANING,
    }


# --- data set ---------------------------------------------------------------------------------------------------------


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
        indices = _read(row, partial(_classes, root, row), unread)
        if indices is not None:
            counts[row.tile.biome] += np.bincount(indices.ravel(), minlength=256)[:number_of_classes]
    return {f"{number} {names.get(number, 'biome not known')}": counts[number] for number in sorted(counts)}


def _classes(root: DataRoot, row: ManifestRow) -> NDArray[np.uint8]:
    return root.classes().class_indices(read_codes(root.label(row)))


def _read(row: ManifestRow, read: Callable[[], T], unread: dict[str, str] | None) -> T | None:
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


def _places(rows: Sequence[ManifestRow]) -> dict[str, list[tuple[float, float]]]:
    places: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        places[row.split_strict].append(row.tile.centre)
    return dict(places)


def _statistics(root: DataRoot) -> Statistics | None:
    try:
        return root.statistics("strict")
    except DataError:
        return None


# --- runs -------------------------------------------------------------------------------------------------------------


def run_summary(run: Run, faults: Faults | None = None) -> dict[str, Any]:
    """One line of the table of scores, with the paper's row of its own network, variant and inputs where it has one.

    Args:
        faults: receives what this version cannot tell of the run; its scores stay.
    """
    faults = Faults() if faults is None else faults
    scores, data = run.scores, run.config.data
    return {
        "name": run.name,
        "model": run.config.model,
        "inputs": run.inputs,
        "params": faults.attempt(run, lambda: parameters_of(run), None),
        "split": scores.split,
        "protocol": scores.protocol,
        "source": scores.source,
        "tiles": scores.tiles,
        "scores": overall_scores(run),
        "intervals": {} if scores.intervals is None else scores.intervals.values,
        "interval_note": note(scores.intervals),
        "folder": run.folder,
        "majority_class": scores.majority[0],
        "majority_oa": scores.majority[1],
        "absent": scores.matrix.absent,
        "epochs": len(run.rows),
        "seconds": sum(row["seconds"] for row in run.rows),
        "seed": run.config.train.get("seed"),
        "shards_hash": data.shards_hash,
        "paper": faults.attempt(run, lambda: paper_row(run.config), None),
    }


def score_rows(summaries: Sequence[dict[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of the table of scores: runs of several seeds are one, with the mean and the deviation of their scores."""
    by_name = {one["name"]: one for one in summaries}
    grouped = {member: (name, members) for name, members in groups.items() for member in members}
    rows: dict[str, dict[str, Any]] = {}
    for name, one in by_name.items():
        common, members = grouped.get(name, (name, (name,)))
        spreads = {key: spread([by_name[member]["scores"][key] for member in members]) for key in one["scores"]}
        rows.setdefault(
            common,
            one
            | {
                "name": f"{common} ({len(members)} seeds)" if len(members) > 1 else name,
                "intervals": one["intervals"] if len(members) == 1 else _of_seeds([by_name[m] for m in members]),
                "scores": {key: value.mean for key, value in spreads.items()},
                "deviations": {key: value.deviation for key, value in spreads.items()},
                "stale": any(by_name[member]["stale"] for member in members),
            },
        )
    return list(rows.values())


def _of_seeds(summaries: Sequence[dict[str, Any]]) -> dict[str, Bounds | None]:
    return seed_bounds([one["folder"] for one in summaries], scores_name(summaries[0]["split"]), overall())


def is_stale(run: Run, root: DataRoot) -> bool:
    """Whether the data set has changed since the run was scored."""
    try:
        dataset = open_as_trained(root, run.config, run.scores.split)
    except DataError:
        return True
    other_training = run.config.published is None and dataset.statistics.shards_hash != run.config.data.shards_hash
    return other_training or dataset.tiles_hash != run.scores.tiles_hash


def _is_stale(run: Run, root: DataRoot, faults: Faults) -> bool:
    return faults.attempt(run, lambda: is_stale(run, root), True)


# --- pictures ---------------------------------------------------------------------------------------------------------


def tile_views(
    root: DataRoot, rows: Sequence[ManifestRow], runs: Sequence[Run], faults: Faults, unread: dict[str, str]
) -> list[figures.TileView]:
    """A few tiles to look at: test tiles of different biomes first, then whatever there is."""
    chosen = _varied([r for r in rows if r.split_strict == "test"] or list(rows), TILES_DRAWN)
    pictures = {row.tile.id: _read(row, partial(_pictures, root, row), unread) for row in chosen}
    predictions = _predictions(root, [row for row in chosen if pictures[row.tile.id] is not None], runs, faults)
    views = []
    for row in chosen:
        if (drawn := pictures[row.tile.id]) is None:
            continue
        place = f"{row.tile.id[:24]}\nbiome {row.tile.biome}, {row.tile.date}, {row.split_strict}"
        shown = {name: tiles.get(row.tile.id) for name, tiles in predictions.items()}
        rgb, vv, label = drawn
        views.append(figures.TileView(place, rgb, vv, label, shown))
    return views


def extreme_views(
    root: DataRoot,
    rows: Sequence[ManifestRow],
    run: Run,
    table: TileTable,
    faults: Faults,
    unread: dict[str, str],
) -> list[figures.TileView]:
    """The tiles that a run did best and worst on; none where its network cannot be run on them any more."""
    by_id, titles = {row.tile.id: row for row in rows}, dict(extremes(table))
    chosen = [by_id[tile] for tile in titles if tile in by_id]
    predictions = _predictions(root, chosen, [run], faults).get(run.name)
    views = []
    for row in chosen if predictions else ():
        if (drawn := _read(row, partial(_pictures, root, row), unread)) is not None:
            title = f"{row.tile.id[:24]}\n{titles[row.tile.id]}, biome {row.tile.biome}"
            views.append(figures.TileView(title, *drawn, {run.name: (predictions or {}).get(row.tile.id)}))
    return views


def _pictures(root: DataRoot, row: ManifestRow) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    """Stored B4, B3, B2; stored VV; classes of the label."""
    path = root.shard(row.tile)
    return read_bands(path, ("B4", "B3", "B2")), read_bands(path, ("VV",))[0], _classes(root, row)


def _varied(rows: Sequence[ManifestRow], number: int) -> list[ManifestRow]:
    """Tiles of as many biomes and regions as possible, the best marked of each."""
    best: dict[tuple[int, str], ManifestRow] = {}
    for row in sorted(rows, key=lambda r: r.marked_share):
        best[row.tile.biome, row.tile.region] = row
    in_turn = sorted(best.values(), key=lambda r: (hash_order(r.tile.id), r.tile.id))
    # Written from the last to the first, so that the first of each biome stays.
    of_biome = {row.tile.biome: row for row in reversed(in_turn)}
    first = [row for row in in_turn if of_biome[row.tile.biome] is row]
    return (first + [r for r in in_turn if r not in first])[:number]


def hash_order(tile_id: str) -> int:
    """A fixed shuffle of tile ids."""
    return sum(ord(letter) * (i + 1) for i, letter in enumerate(tile_id)) % 97


def _predictions(
    root: DataRoot, chosen: Sequence[ManifestRow], runs: Sequence[Run], faults: Faults
) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """run -> tile id -> uint8 (H, W), of the chosen tiles that the run was scored on; runs without any left out."""
    wanted = {row.tile.id for row in chosen}
    nothing: dict[str, NDArray[np.uint8]] = {}
    found = {run.name: faults.attempt(run, partial(_predicted, root, run, wanted), nothing) for run in runs}
    return {name: tiles for name, tiles in found.items() if tiles}


def _predicted(root: DataRoot, run: Run, wanted: set[str]) -> dict[str, NDArray[np.uint8]]:
    if not RunFolder(run.folder).complete or is_stale(run, root):
        return {}
    loaded = load(run.folder)
    dataset = open_as_trained(root, loaded.config, run.scores.split)
    return {
        row.tile.id: predict(loaded, dataset[index]) for index, row in enumerate(dataset.rows) if row.tile.id in wanted
    }
