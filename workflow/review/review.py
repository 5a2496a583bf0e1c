"""Reviewing labels: a run is asked about every tile of a split, and what it contradicts is ranked and written.

Comes after training; ``dwplus review`` is this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from ...model.calibration import CalibratedNetwork, Calibration
from ...model.maps.classifier import Classifier
from ...model.score import LoadedRun, check_same_data, load
from ...pipeline.dataset.manifest import ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.dataset.samples import Dataset
from ...pipeline.errors import DataError
from ...pipeline.progress import Progress
from ...pipeline.spec.classes import ClassTable
from ...pipeline.spec.sources import Source
from ...pipeline.spec.tiles import Tile, biome_names
from ...pipeline.spec.version import __version__
from ..area.ellipsoid import Grid, pixel_hectares
from ..beside import Says, non_experts
from ..splits import open_as_trained, tiles_as_text, trained_here
from .annotators import Sides, as_text, by_annotator, sides_as_dict
from .files import NOTE, VERDICT, Layer, check_new, write_review
from .regions import Region, Rule, Sureness, TileCounts, reviewed
from .styles import regions_style, tiles_style

MOST_REGIONS = 1000
"""Regions that are written, those of the largest weight: nobody looks at more."""


@dataclass(frozen=True)
class Reviewed:
    """A tile and what the network says against its label."""

    row: ManifestRow
    counts: TileCounts
    regions: tuple[Region, ...]

    @property
    def annotator(self) -> str:
        return self.row.annotator or self.row.labeler


@dataclass(frozen=True)
class Review:
    """A review on disk.

    Attributes:
        geopackage: path of it.
        regions: that were found; the first ``MOST_REGIONS`` of them are written.
        tiles: that were looked at.
        first: the regions that matter most, as rows of the table.
        lines: what else to say.
    """

    geopackage: Path
    regions: int
    tiles: int
    first: tuple[dict[str, Any], ...]
    lines: tuple[str, ...]


def review_folder(run_dir: Path, split: str) -> Path:
    """Where a review lies unless it is said."""
    return run_dir / f"review-{split}"


def review_labels(
    root: DataRoot,
    run_dir: Path,
    folder: Path,
    *,
    split: str,
    rule: Rule,
    progress: Progress,
    accept: Collection[str] = (),
) -> Review:
    """Look at all labels of a split with a run's network, and write what to look at again.

    Args:
        accept: ``s1``, ``s2`` for pixels of that sensor that were made in another way than those trained on,
            ``source`` for another source.

    Raises:
        DataError: the run is not complete, or the data set is not the one it was trained on.
        UsageError: the data set does not fit the run, or the folder holds something.
        MachineError: the folder cannot be written.
    """
    check_new(folder)
    run, calibration = load(run_dir), Calibration.read(run_dir)
    if calibration is not None:
        run = run._replace(network=CalibratedNetwork(run.network, calibration))
    own = trained_here(root, run.config) or root.folder.resolve() in run_dir.resolve().parents
    dataset = open_as_trained(root, run.config, split, own=own or run.config.published is not None)
    check_same_data(
        run.config,
        dataset,
        allow_other_source="source" in accept,
        accept_s1="s1" in accept,
        accept_s2="s2" in accept,
    )
    for line in tiles_as_text(dataset):
        progress.say(line)
    sides, sureness = Sides(), Sureness()
    with progress.stage(f"Reviewing with {run_dir.name}", len(dataset)) as step:
        found = []
        for one in _tiles(run, dataset, rule, sides, sureness, _others(root, dataset)):
            found.append(one)
            step.advance()
    made = _written(folder, found, sides, dataset, run_dir.name, run.config.data.source, rule, calibration)
    return replace(made, lines=(*made.lines, *_never_sure(made, sureness, rule)))


_SEEN = 0.05
"""Share of the contradicted pixels that a threshold which is proposed lets through."""


def _never_sure(made: Review, sureness: Sureness, rule: Rule) -> list[str]:
    """What to do where nothing was found because the network is never so sure."""
    reached = sureness.reached_in(_SEEN)
    if made.regions or reached is None or reached >= rule.confidence:
        return []
    return [
        f"no region: where the network disagrees, its confidence reaches {reached:g} in {_SEEN:.0%} of the pixels, "
        f"seldom {rule.confidence:g}; use --min-confidence {reached:g} and another -o"
    ]


def _others(root: DataRoot, dataset: Dataset) -> Says:
    """What non-experts drew on the tiles of a split; nothing where the archive has none."""
    with contextlib.suppress(DataError):
        return non_experts(root, dataset)[0]
    return lambda _tile, _sample: None


def _tiles(
    run: LoadedRun, dataset: Dataset, rule: Rule, sides: Sides, sureness: Sureness, others: Says
) -> Iterator[Reviewed]:
    classifier = Classifier(run)
    for number, row in enumerate(dataset.rows):
        sample = dataset[number]
        probabilities = classifier(sample.primary[None], sample.auxiliary[None])[0]
        sureness.add(sample.label, probabilities)
        counts, regions = reviewed(sample.label, probabilities, hectares_of(row.tile), rule)
        if (theirs := others(row.tile, sample)) is not None:
            sides.add(sample.label, theirs, probabilities.argmax(axis=0))
        yield Reviewed(row, counts, tuple(regions))


def hectares_of(tile: Tile) -> NDArray[np.float64]:
    """Area of each pixel of a tile: float64 (H, W)."""
    return pixel_hectares(_grid(tile), 0, tile.shape[0])


def _grid(tile: Tile) -> Grid:
    return Grid(CRS.from_user_input(tile.crs), tile.affine, tile.shape[1], tile.shape[0])


def in_degrees(outline: shapely.Geometry, grid: Grid) -> shapely.Geometry:
    """A polygon in pixels, on WGS 84; one across the date line goes on beyond 180 degrees."""

    def moved(columns: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        lon, lat = (np.asarray(one) for one in grid.to_degrees.transform(*grid.place(rows, columns)))
        across = lon.max() - lon.min() > 180
        return np.where(across & (lon < 0), lon + 360, lon), lat

    return shapely.transform(outline, moved, interleaved=False)


# --- tables -----------------------------------------------------------------------------------------------------------


def _written(
    folder: Path,
    found: Sequence[Reviewed],
    sides: Sides,
    dataset: Dataset,
    run: str,
    trained_on: str,
    rule: Rule,
    calibration: Calibration | None,
) -> Review:
    synthetic = Source.of(dataset.source).synthetic or Source.of(trained_on).synthetic
    mark = "SANDBOX: synthetic pixels. " if synthetic else ""
    about = f"{mark}Run {run}, split {dataset.split}, softmax {'not ' if calibration is None else ''}calibrated"
    regions, tiles = _regions_layer(found, dataset.classes, about, rule), _tiles_layer(found, about)
    annotators = by_annotator((one.annotator, one.counts) for one in found)
    total = sum(len(one.regions) for one in found)
    summary = {
        "dwplus": __version__,
        "source": dataset.source,
        **({"SANDBOX": "pixels are synthetic"} if synthetic else {}),
        "run": run,
        "split": dataset.split,
        "tiles_hash": dataset.tiles_hash,
        "calibrated": calibration is not None,
        "rule": vars(rule),
        "tiles": len(found),
        "regions": total,
        "regions_written": len(regions.rows),
        "annotators": [one.to_dict() for one in annotators],
        "non_experts_against_label": sides_as_dict(sides),
    }
    path = write_review(folder, (regions, tiles), summary, prefix="SANDBOX-" if synthetic else "")
    sure = "softmax, not calibrated" if calibration is None else f"calibrated: {calibration.sentence()}"
    lines = [f"confidence is {sure}", *as_text(annotators, sides)]
    if total > len(regions.rows):
        lines.insert(
            0, f"the {len(regions.rows):,} regions of the largest weight are written; raise --min-px to see less"
        )
    return Review(path, total, len(found), tuple(dict(row) for row in regions.rows), tuple(lines))


def _regions_layer(found: Sequence[Reviewed], classes: ClassTable, about: str, rule: Rule) -> Layer:
    every = [(region, one) for one in found for region in one.regions]
    first = sorted(every, key=lambda pair: (-pair[0].weight, pair[1].row.tile.id))[:MOST_REGIONS]
    grids = {one.row.tile.id: _grid(one.row.tile) for _, one in first}
    rows = [
        {
            "rank": rank,
            "tile": one.row.tile.id,
            "label": classes.names[region.label],
            "predicted": classes.names[region.predicted],
            "confidence": round(region.confidence, 4),
            "hectares": round(region.hectares, 4),
            "pixels": region.pixels,
            "weight": round(region.weight, 2),
            "annotator": one.annotator,
            "date": one.row.tile.date.isoformat(),
            VERDICT: "",
            NOTE: "",
        }
        for rank, (region, one) in enumerate(first, start=1)
    ]
    outlines = [in_degrees(region.outline, grids[one.row.tile.id]) for region, one in first]
    description = (
        f"{about}. {rule.size_px} px or more, confidence {rule.confidence:g} or more in each; verdict is yours"
    )
    return Layer("regions", rows, outlines, description, regions_style(classes))


def _tiles_layer(found: Sequence[Reviewed], about: str) -> Layer:
    ordered = sorted(found, key=lambda one: (-one.counts.sure_share, -one.counts.wrong_share, one.row.tile.id))
    rows = [
        {
            "rank": rank,
            "tile": one.row.tile.id,
            "disagree_pct": round(100 * one.counts.wrong_share, 3),
            "sure_pct": round(100 * one.counts.sure_share, 3),
            "labelled_px": one.counts.labelled,
            "regions": len(one.regions),
            "annotator": one.annotator,
            "region": one.row.tile.region,
            "biome": biome_names().get(one.row.tile.biome, ""),
            "date": one.row.tile.date.isoformat(),
        }
        for rank, one in enumerate(ordered, start=1)
    ]
    outlines = [
        in_degrees(shapely.box(0, 0, tile.shape[1], tile.shape[0]), _grid(tile))
        for tile in (one.row.tile for one in ordered)
    ]
    about = f"{about}. Ranked by the share of labelled pixels that a sure network contradicts"
    return Layer("tiles", rows, outlines, about, tiles_style())
