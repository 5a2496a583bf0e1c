"""Scoring: a run and a split go in, ``scores.json`` and the counts of every tile come out, in the run's folder.

Comes after ``train.py`` and before the report. All scores are functions of sums over tiles (``metrics.py``), which are
kept tile by tile (``scores/tile_table.py``), so that any other score can be computed later. Several processes
(``accelerate launch``) share the tiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..pipeline.errors import DataError, UsageError, in_brief
from ..pipeline.spec.radar import radar_differences
from .calibration import Calibration
from .loader import (
    WAITS_FOR_WORKERS_S,
    Batch,
    Normaliser,
    TileSet,
    batch_to,
    batches,
    collate,
    composite_of,
    loader_processes,
    mask_of,
    planet_of,
    radars_of,
    to_batch,
)
from .metrics import ConfusionMatrix, TileCounts, brier, calibration_error, or_none, predicted_classes
from .missing import ALL_THERE, Shares, tiles_without
from .run_config import RunConfig
from .runs import WEIGHTS, RunFolder, check_numbers
from .scores.bootstrap import design_of
from .scores.counting import Counted, mask_digest
from .scores.document import Mask, Scores, scores_name
from .scores.intervals import intervals_of
from .scores.kept import write_scores
from .scores.perfect import perfect_ece
from .scores.share import Share
from .scores.tile_table import TileRecord, TileTable, records_of, with_masks
from .training_range import OutsideCounts, StoredRange, ranges_of
from .variants import Variant, variant_counts, variants_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..pipeline.dataset.samples import Sample


def score(
    run_dir: Path,
    dataset: TileSet,
    *,
    batch: int = 4,
    workers: int | None = None,
    device: str | None = None,
    weights: str = WEIGHTS,
    allow_other_source: bool = False,
    accept_s1: bool = False,
    accept_s2: bool = False,
    drop: Shares = ALL_THERE,
    records: Sequence[TileRecord] | None = None,
    calibration: Calibration | None = None,
    tta: bool = False,
    on_tile: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a run's network on a split and write ``scores.json`` and ``scores.tiles.parquet``.

    With a calibration, the calibrated network is scored too, into ``scores-calibrated.json``; with ``tta`` the
    probabilities averaged over eight symmetries are scored in place of the network as it is, into ``scores-tta.json``
    and, calibrated before they are averaged, ``scores-tta-calibrated.json``.

    Args:
        run_dir: a complete run.
        dataset: the split, opened with the run's bands and protocol.
        batch: tiles at a time.
        workers: loader processes; None: as many as pay off.
        device: ``cpu``, ``cuda``; None: a GPU where there is one.
        weights: ``model.safetensors``, or ``best.safetensors``, whose scores go into ``scores-best.json``.
        allow_other_source: score on pixels of another source than those trained on; the result says whose.
        accept_s1, accept_s2: score on pixels of that sensor that were made in another way than those trained on; the
            result says how.
        drop: what is lost of the inputs; scores go into a file of that name, ``scores-drop-auxiliary.json``.
        records: what is known of each tile, in the data set's order; None: what the data set itself says.
        calibration: of the run.
        tta: average the probabilities over the eight symmetries of each tile (eight times the work).
        on_tile: called with tiles done and tiles in all, of those of this process.

    Returns:
        The scores that are not calibrated.

    Raises:
        DataError: the run is not complete or damaged, or the data set is not the one it was trained on.
        UsageError: the data set was opened with other bands or another protocol, or is of another source.
    """
    share = Share.of_process(device)
    network, run, normaliser = load(run_dir, device=share.device or device, weights=weights)
    accepted = check_same_data(
        run, dataset, allow_other_source=allow_other_source, accept_s1=accept_s1, accept_s2=accept_s2
    )
    dataset = tiles_without(dataset, drop)
    RunFolder(run_dir).prepare()
    start = time.perf_counter()
    mine = share.of(len(dataset))
    ranges = known_ranges(run, dataset)
    variants = variants_of(calibration, tta=tta)
    counted, computing = _count_tiles(network, normaliser, dataset, mine, batch, workers, ranges, variants, on_tile)
    counted, computing = share.gathered(counted, computing)
    names = run.data.classes.names
    records = records_of(dataset) if records is None else records
    records = with_masks(records, [one.mask for one in counted])
    outside = None if ranges is None else OutsideCounts.of_tiles([o for one in counted if (o := one.outside)])
    tiles = dataset.tiles
    tables = [
        TileTable.of(records, [one.counts[place] for one in counted], names, outside) for place in range(len(variants))
    ]
    written: list[Scores] = []
    for place, (variant, table) in enumerate(zip(variants, tables, strict=True)):
        matrices = [one.counts[place].matrix for one in counted]
        total, design = table.counts(), design_of(table.records)
        scores = Scores(
            split=dataset.split,
            protocol=dataset.protocol,
            source=dataset.source,
            model=run.model,
            weights=weights,
            matrix=total.matrix,
            regions=_grouped(matrices, [tile.region for tile in tiles]),
            biomes=_grouped(matrices, [str(tile.biome) for tile in tiles]),
            tiles=len(tiles),
            tiles_hash=dataset.tiles_hash,
            majority=majority_guess(training_counts(run, dataset), total.matrix),
            seconds=time.perf_counter() - start,
            fps=len(tiles) / computing,
            accepted=accepted,
            dropped=drop.to_dict(),
            ece=or_none(float(calibration_error(total.sums))),
            brier=or_none(float(brier(total.sums))),
            weights_sha256=next(reversed(RunFolder(run_dir).sums().get(weights, ())), None),
            mask=Mask(mask_of(dataset), table.mask_hash),
            intervals=intervals_of(table.sums, design, names),
            outside=None if outside is None else outside.shares(),
            variant=variant.name,
            calibration=variant.sentence,
            perfect_ece=perfect_ece(table.sums, design),
        )
        if share.first:
            other = "" if dataset.trained_here else dataset.tiles_hash
            kind = {"mask": mask_of(dataset), "drop": str(drop), "variant": variant.name}
            scores = write_scores(
                RunFolder(run_dir), scores_name(dataset.split, weights, other=other, **kind), scores, table
            )
        written.append(scores)
    return written[0]


class LoadedRun(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
        network: in evaluation mode, on its device.
        config: settings, bands and data of the run.
        normaliser: of the data that the network was trained on, on the same device.
    """

    network: nn.Module
    config: RunConfig
    normaliser: Normaliser


def load(run: Path | str, *, device: str | None = None, weights: str = WEIGHTS) -> LoadedRun:
    """A run's network, ready to predict, its configuration and the normaliser of its data.

    Args:
        run: folder of the run, such as ``data/sandbox/runs/specsar-former``.
        device: ``cpu``, ``cuda``; None: a GPU where there is one.
        weights: ``model.safetensors``, or ``best.safetensors``.

    Raises:
        DataError: the folder is no complete run, or its weights do not fit its configuration.
    """
    run_dir = Path(run)
    folder = RunFolder(run_dir)
    config = folder.read_usable_config()
    network = config.network(where=f"{run_dir}/config.json")
    state = folder.read_weights(weights)
    check_numbers(state, where=str(run_dir / weights))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(
            f"{run_dir / weights} does not fit the network of its config.json ({in_brief(error)}); train again under "
            "another name"
        ) from None
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return LoadedRun(network.to(place).eval(), config, config.data.normaliser().to(place))


def predict(run: LoadedRun | Path | str, sample: Sample) -> NDArray[np.uint8]:
    """Land-cover classes of one tile.

    Args:
        run: what ``load`` gave, or the folder of a run (which is then loaded anew for each call).
        sample: stored values of the run's bands, as ``Dataset`` gives them.

    Returns:
        uint8 (H, W), class index 0..K - 1 in the order of the run's class table (``load(run).config.data.classes``);
        pixels without data get a class too.

    Raises:
        DataError: the folder is no complete run, or the sample has other bands than the run.
    """
    loaded = run if isinstance(run, LoadedRun) else load(run)
    trained = loaded.config.data
    found, wanted = (len(sample.primary), len(sample.auxiliary)), (len(trained.primary), len(trained.auxiliary))
    if found != wanted:
        raise DataError(
            f"tile {sample.tile_id} has {found[0]} + {found[1]} bands, the run was trained on {wanted[0]} + "
            f"{wanted[1]}: open it with primary={trained.primary}, auxiliary={trained.auxiliary}"
        )
    return _predict_batch(loaded.network, loaded.normaliser, to_batch(sample))[0].cpu().numpy()


@torch.inference_mode()
def _predict_batch(network: nn.Module, normaliser: Normaliser, batch: Batch) -> torch.Tensor:
    """uint8 (B, H, W), on the network's device."""
    batch = batch_to(batch, normaliser.primary.factor.device)
    return predicted_classes(network(*normaliser(batch.primary, batch.auxiliary)))


def check_same_data(
    run: RunConfig,
    dataset: TileSet,
    *,
    allow_other_source: bool = False,
    accept_s1: bool = False,
    accept_s2: bool = False,
) -> tuple[str, ...]:
    """Refuse a data set that the run's network was not made for; what differs and is accepted, one line each.

    Raises:
        UsageError: other classes, other bands, another protocol, another source without ``allow_other_source``, or
            pixels of a sensor that were made in another way without ``accept_s1`` or ``accept_s2``.
        DataError: the training split has changed since the network was trained.
    """
    if difference := run.data.classes.difference(dataset.classes):
        raise UsageError(
            f"the network was trained with other classes than the data set has: {difference}; score it on labels of "
            "its own class table, or train again (--init takes over what fits)"
        )
    for name in ("primary", "auxiliary", "protocol", "s2_level"):
        # Sets of others need not say which level they have.
        ours, theirs = getattr(run.data, name), getattr(dataset, name, "L2A" if name == "s2_level" else None)
        if ours != theirs:
            raise UsageError(f"the network was trained with {name} = {ours}, the data set has {theirs}; open it so")
    if run.published is not None:
        return ()  # on which data it was trained is known to its publishers
    same_source = run.data.source == dataset.source
    if not same_source and not allow_other_source:
        raise UsageError(
            f"the network was trained on {run.data.source} pixels, the data set is {dataset.source}; "
            "train on that source, or allow another source on purpose (--accept source)"
        )
    if difference := run.data.planet_difference(planet_of(dataset)):
        raise UsageError(
            f"the network was trained on another planet: the data set shows {difference}; their scores mean nothing "
            "beside one another: train again on this data set"
        )
    if same_source and dataset.trained_here and run.data.shards_hash != dataset.statistics.shards_hash:
        raise DataError(
            "the training split has changed since the network was trained (another hash of its shards and labels): "
            "test tiles may have been trained on, statistics differ; train again, into a new folder"
        )
    differences = radar_differences(run.data.radars, radars_of(dataset))
    if differences and not accept_s1:
        raise UsageError(
            f"the network was trained on another Sentinel-1: the data set has {differences[0]}; train on one that was "
            "made like it, or accept the difference (--accept s1)"
        )
    accepted = [f"s1: {one}" for one in differences]
    if kind := run.data.composite_difference(composite_of(dataset)):
        if not accept_s2:
            raise UsageError(
                f"the network was trained on another Sentinel-2: the data set has {kind}; train on what it has, or "
                "accept the difference (--accept s2)"
            )
        accepted.append(f"s2: {kind}")
    return tuple(accepted)


def training_counts(run: RunConfig, dataset: TileSet) -> tuple[int, ...]:
    """Training pixels of each class: of the run, or of the data set where nothing is known of the run's."""
    return run.data.class_counts if run.published is None else dataset.statistics.class_counts


def majority_guess(class_counts: tuple[int, ...], matrix: ConfusionMatrix) -> tuple[str, float]:
    """What a network has to beat: the most frequent training class, and the accuracy of saying it everywhere."""
    index = max(range(len(class_counts)), key=class_counts.__getitem__)
    accuracy = float(matrix.counts[index].sum() / matrix.pixels) if matrix.pixels else 0.0
    return matrix.names[index], accuracy


def known_ranges(run: RunConfig, dataset: TileSet) -> StoredRange | None:
    """The training range of a run's bands; None where it is not known.

    A run of an earlier version does not record it: the statistics of the data set that it was trained on may.
    """
    ranges = run.data.ranges
    if not ranges and run.published is None and dataset.trained_here:
        ranges = ranges_of(dataset)
    return StoredRange.of(ranges, (*run.data.primary, *run.data.auxiliary))


class _Counted(NamedTuple):
    """Counts of a tile in each variant, which of its pixels count, how many are outside the training range if known."""

    counts: tuple[TileCounts, ...]
    mask: str
    outside: OutsideCounts | None


def _count_tiles(
    network: nn.Module,
    normaliser: Normaliser,
    dataset: TileSet,
    places: Sequence[int],
    batch: int,
    workers: int | None,
    ranges: StoredRange | None,
    variants: Sequence[Variant],
    on_tile: Callable[[int, int], None] | None,
) -> tuple[list[_Counted], float]:
    """Counts of the tiles at some places of a data set, in that order, and the seconds spent in the network."""
    loader = tile_loader(dataset, batch=batch, workers=workers, places=places)
    names, found, computing = dataset.classes.names, [], 0.0
    for one in batches(loader):
        start = time.perf_counter()
        counted = _count_batch(network, normaliser, one, variants)
        parts = [tuple(part.cpu().numpy() for part in of_variant) for of_variant in counted]  # waits for the device
        computing += time.perf_counter() - start
        for place, (label, out) in enumerate(zip(one.label, _outside(one, ranges), strict=True)):
            counts = tuple(
                TileCounts(ConfusionMatrix(matrices[place], names), bins[place], int(squared[place]))
                for matrices, bins, squared in parts
            )
            found.append(_Counted(counts, mask_digest(label), out))
        if on_tile:
            on_tile(len(found), len(places))
    return found, computing


@torch.inference_mode()
def _count_batch(
    network: nn.Module, normaliser: Normaliser, batch: Batch, variants: Sequence[Variant]
) -> list[Counted]:
    batch = batch_to(batch, normaliser.primary.factor.device)
    return variant_counts(network, normaliser(batch.primary, batch.auxiliary), batch.label, variants)


def _outside(batch: Batch, ranges: StoredRange | None) -> list[OutsideCounts | None]:
    """Of each tile of a batch on the CPU: 16-bit integers are compared by numpy at several times the speed of torch."""
    if ranges is None:
        return [None] * len(batch.label)
    pairs = zip(batch.primary.numpy(), batch.auxiliary.numpy(), strict=True)
    return [OutsideCounts.of_tile((*primary, *auxiliary), ranges) for primary, auxiliary in pairs]


class _Places(TorchDataset[Batch]):
    def __init__(self, tiles: TileSet, places: Sequence[int]) -> None:
        self.tiles, self.places = tiles, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        place = self.places[index]
        return to_batch(self.tiles[place], place)


def tile_loader(
    tiles: TileSet, *, batch: int, workers: int | None, places: Sequence[int] | None = None
) -> DataLoader[Batch]:
    chosen: TorchDataset[Any] = _Places(tiles, range(len(tiles)) if places is None else places)
    if len({tile.shape for tile in tiles.tiles}) > 1:
        batch = 1  # tiles of several sizes do not stack
    workers = loader_processes(tiles, batch=batch, workers=workers)
    return DataLoader(
        chosen,
        batch_size=batch,
        num_workers=workers,
        collate_fn=collate,
        timeout=WAITS_FOR_WORKERS_S if workers else 0,
    )


def _grouped(matrices: list[ConfusionMatrix], keys: list[str]) -> dict[str, ConfusionMatrix]:
    groups: dict[str, ConfusionMatrix] = {}
    for key, matrix in zip(keys, matrices, strict=True):
        groups[key] = groups[key] + matrix if key in groups else matrix
    return dict(sorted(groups.items()))
