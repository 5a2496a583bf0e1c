"""Report: one HTML page that sets what was built, trained and scored beside the paper's numbers.

Reads what the stages left on disk, computes nothing that they did not. Pictures are inside the page: it is one file.
"""

from __future__ import annotations

import base64
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...manifests import load_toml
from ...model.cost import count
from ...model.metrics import TileCounts, overall
from ...model.registry import MODELS
from ...model.registry import build as build_network
from ...model.runs import RunConfig, RunFolder
from ...model.score import Scores, load, predict
from ...pipeline.dataset.ledger import REASONS
from ...pipeline.dataset.manifest import Manifest, ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.dataset.statistics import Statistics
from ...pipeline.errors import DataError
from ...pipeline.files.atomic import read_json, write_atomically
from ...pipeline.progress import Progress
from ...pipeline.raster.geotiff import read_bands, read_codes
from ...pipeline.spec.landcover import CLASS_COUNT, CLASSES, class_indices
from ...pipeline.spec.sources import Source
from ...pipeline.spec.tiles import biome_names, region_names
from ...pipeline.spec.version import __version__
from ..training import open_as_trained
from . import figures

TILES_DRAWN = 6


@dataclass(frozen=True)
class Run:
    """A scored run."""

    name: str
    folder: Path
    config: RunConfig
    scores: Scores
    rows: list[dict[str, Any]]

    @property
    def inputs(self) -> str:
        bands = (*self.config.data.primary, *self.config.data.auxiliary)
        optical = sum(band.startswith("B") for band in bands)
        parts = [f"S2 ({optical})" if optical else "", f"S1 ({len(bands) - optical})" if len(bands) > optical else ""]
        return " + ".join(part for part in parts if part)


def write_report(root: DataRoot, *, progress: Progress) -> Path:
    """Write ``report/index.html`` of a data root; its path.

    Raises:
        DataError: the root holds no data set.
    """
    from jinja2 import Environment, StrictUndefined

    with progress.stage("Writing the report", None, unit="pages") as step:
        template = (files(__package__) / "report.html.j2").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters.update(percent=_percent, number=_number)
        page = environment.from_string(template).render(**content_of(root))
        path = root.report_page
        write_atomically(path, page.encode())
        step.advance()
    return path


def content_of(root: DataRoot) -> dict[str, Any]:
    """Everything the page shows, by name."""
    manifest = root.manifest()
    rows = root.complete()
    source = root.source()
    runs = scored_runs(root)
    known, mark = Source.of(source), Source.of(source).mark
    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "source": source,
        "synthetic": known.synthetic,
        "verified": known.verified,
        "manifest_hash": manifest.hash,
        "tiles": tile_table(rows),
        "missing": missing_table(manifest, root),
        "findings": root.findings()[:50],
        "map": _embed(figures.map_figure(_places(rows), mark=mark)),
        "classes": _embed(figures.class_distribution_figure(class_counts(root, rows), mark=mark)),
        "statistics": _statistics(root),
        "metrics": overall(),
        "runs": [{**run_summary(run), "stale": is_stale(run, root)} for run in runs],
        "s1_gain": s1_gain(runs),
        "class_rows": class_rows(runs),
        "paper": load_toml("paper"),
        "class_titles": [c.title for c in CLASSES],
        "confusions": [_embed(figures.confusion_figure(r.scores.matrix.counts, r.name, mark=mark)) for r in runs],
        "curves": _embed(figures.curves_figure({r.name: r.rows for r in runs}, mark=mark)) if runs else None,
        "pictures": _embed(figures.tiles_figure(tile_views(root, rows, runs), mark=mark)),
        "costs": cost_rows(),
    }


# --- data set ---------------------------------------------------------------------------------------------------------


def tile_table(rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """Tiles by region (rows) and split (columns), and how many biomes there are."""
    splits = [s for s in ("train", "val", "test", "inspect") if any(r.split_strict == s for r in rows)]
    counts = Counter((row.tile.region, row.split_strict) for row in rows)
    regions = [name for name in region_names() if any(row.tile.region == name for row in rows)]
    return {
        "splits": splits,
        "rows": [(region, [counts[region, split] for split in splits]) for region in regions],
        "totals": [sum(counts[region, split] for region in regions) for split in splits],
        "biomes": len({row.tile.biome for row in rows if row.tile.biome}),
    }


def missing_table(manifest: Manifest, root: DataRoot) -> list[tuple[str, str, int, list[str]]]:
    """(reason, its meaning, tiles, first few ids) of every tile that is not in the data set."""
    ledger = root.ledger()
    known = {row.tile.id for row in manifest.rows}
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in ledger.values():
        if row.state != "done" and (row.tile in known or row.reason == "bad_label"):
            by_reason[row.reason].append(row.tile)
    return [(reason, REASONS.get(reason, ""), len(ids), sorted(ids)[:4]) for reason, ids in sorted(by_reason.items())]


def class_counts(root: DataRoot, rows: Sequence[ManifestRow]) -> dict[str, NDArray[np.int64]]:
    """Marked pixels of the nine classes in each biome: name -> int64 (9,); paper, Fig. 3."""
    names = biome_names()
    counts: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(CLASS_COUNT, dtype=np.int64))
    for row in rows:
        indices = class_indices(read_codes(root.label(row)))
        counts[row.tile.biome] += np.bincount(indices.ravel(), minlength=256)[:CLASS_COUNT]
    return {f"{number} {names.get(number, 'biome not known')}": counts[number] for number in sorted(counts)}


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


def scored_runs(root: DataRoot) -> list[Run]:
    """Runs with scores on the test split, in order of their names.

    Raises:
        DataError: scores or settings of a run cannot be read.
    """
    return [_scored_run(path) for path in sorted(root.runs.glob("*/scores.json"))]


def _scored_run(path: Path) -> Run:
    folder, name = RunFolder(path.parent), path.parent.name
    try:
        scores = Scores.from_dict(read_json(path))
    except DataError as error:
        raise DataError(f"{path}: {error}, with 'dwplus score runs/{name}'") from None
    return Run(name, path.parent, folder.read_config(), scores, folder.read_rows())


def run_summary(run: Run) -> dict[str, Any]:
    """One line of the table of scores, with the paper's row of the same network where it has one."""
    import torch

    scores, data = run.scores, run.config.data
    bands = {"primary_bands": len(data.primary), "auxiliary_bands": len(data.auxiliary)}
    with torch.device("meta"):
        network = build_network(run.config.model, **{**bands, **run.config.model_config})
    return {
        "name": run.name,
        "model": run.config.model,
        "inputs": run.inputs,
        "params": sum(p.numel() for p in network.parameters()),
        "split": scores.split,
        "protocol": scores.protocol,
        "source": scores.source,
        "tiles": scores.tiles,
        "scores": overall_scores(run),
        "majority_class": scores.majority[0],
        "majority_oa": scores.majority[1],
        "absent": scores.matrix.absent,
        "epochs": len(run.rows),
        "seconds": sum(row["seconds"] for row in run.rows),
        "seed": run.config.train.get("seed"),
        "shards_hash": data.shards_hash,
        "paper": _paper_row(run),
    }


def overall_scores(run: Run) -> dict[str, float]:
    """Every overall metric of a run by key, 0..1."""
    return {metric.key: metric.value(TileCounts(run.scores.matrix)) for metric in overall()}


def is_stale(run: Run, root: DataRoot) -> bool:
    """Whether the data set has changed since the run was scored."""
    try:
        dataset = open_as_trained(root, run.config, run.scores.split)
    except DataError:
        return True
    other_training = dataset.statistics.shards_hash != run.config.data.shards_hash
    return other_training or dataset.tiles_hash != run.scores.tiles_hash


def _paper_row(run: Run) -> dict[str, Any] | None:
    """Row of Table V with the same inputs and the same kind of network, whatever its size."""
    data = run.config.data
    kind = run.config.model.removesuffix("-small")
    inputs = (len(data.primary), len(data.auxiliary))
    counted = {"ms-sar-dual": (10, 2), "ms": (10, 0), "ms-sar-mono": (10, 2), "rgb": (3, 0), "rgb-other": (3, 9)}
    for name, row in load_toml("paper")["table5"].items():
        if row["model"] == kind and counted.get(name) == inputs:
            return dict(row)
    return None


def s1_gain(runs: Sequence[Run]) -> dict[str, float] | None:
    """What Sentinel-1 adds: scores of the best run with it minus those of the best run without."""
    with_s1 = [run for run in runs if "VV" in (*run.config.data.primary, *run.config.data.auxiliary)]
    without = [run for run in runs if run not in with_s1]
    if not with_s1 or not without:
        return None
    best, other = (max(group, key=lambda run: run.scores.matrix.miou) for group in (with_s1, without))
    before = overall_scores(other)
    return {key: value - before[key] for key, value in overall_scores(best).items()}


def class_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """IoU of every class: one row per run, then the paper's, keyed by class name (Table III, both readings)."""
    rows = [
        {"name": run.name, "source": run.scores.source, "iou": [100 * v for v in run.scores.matrix.iou.tolist()]}
        for run in runs
    ]
    table = load_toml("paper")["table3"]
    for reading, columns in table["readings"].items():
        values = dict(zip(columns, table["iou"]["specsar-former"], strict=True))
        rows.append(
            {
                "name": f"paper, SpecSAR-Former ({reading})",
                "source": "paper",
                "iou": [values[c.name] for c in CLASSES],
            }
        )
    return rows


@cache
def cost_rows() -> tuple[dict[str, Any], ...]:
    """Parameters and GFLOPs of the paper's networks that are built here, counted now, beside Table II."""
    import torch

    table = load_toml("paper")["table2"]
    rows = []
    for name, row in MODELS.items():
        if row.paper is None:
            continue
        with torch.device("meta"):
            network = build_network(name)
        cost, printed = count(network, 10, 2, flops_per_mac=row.flops_per_mac), table[row.paper]
        figures_printed = {"paper_params": printed["params"], "paper_gflops": printed["flops"]}
        rows.append({"name": name, "cost": cost, "note": row.note, **figures_printed})
    return tuple(rows)


# --- pictures ---------------------------------------------------------------------------------------------------------


def tile_views(root: DataRoot, rows: Sequence[ManifestRow], runs: Sequence[Run]) -> list[figures.TileView]:
    """A few tiles to look at: test tiles of different biomes first, then whatever there is."""
    chosen = _varied([r for r in rows if r.release == "test"] or list(rows), TILES_DRAWN)
    predictions = _predictions(root, chosen, runs)
    views = []
    for row in chosen:
        path = root.shard(row.tile)
        place = f"{row.tile.id[:24]}\nbiome {row.tile.biome}, {row.tile.date}, {row.split_strict}"
        label = class_indices(read_codes(root.label(row)))
        shown = {name: tiles[row.tile.id] for name, tiles in predictions.items()}
        views.append(
            figures.TileView(place, read_bands(path, ("B4", "B3", "B2")), read_bands(path, ("VV",))[0], label, shown)
        )
    return views


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
    root: DataRoot, chosen: Sequence[ManifestRow], runs: Sequence[Run]
) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """run -> tile id -> uint8 (H, W), of the chosen tiles that the run was scored on."""
    wanted = {row.tile.id for row in chosen}
    predictions: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for run in runs:
        if is_stale(run, root):
            continue
        loaded = load(run.folder)
        dataset = open_as_trained(root, loaded.config, run.scores.split)
        predictions[run.name] = {
            row.tile.id: predict(loaded, dataset[index])
            for index, row in enumerate(dataset.rows)
            if row.tile.id in wanted
        }
    return predictions


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _percent(value: float, digits: int = 1) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}"


def _number(value: float, digits: int = 2) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}"


def summary_json(root: DataRoot) -> str:
    """Scores of all runs of a data root as one JSON document."""
    return json.dumps([{"run": run.name, **run.scores.to_dict()} for run in scored_runs(root)], indent=1)
