"""Scoring: a run and a split go in, ``scores.json`` in the run's folder comes out.

Comes after ``train.py`` and before the report. All scores are functions of confusion matrices (``metrics.py``), which
are kept, so that any other score can be computed later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..pipeline.errors import DataError, UsageError, in_brief
from ..pipeline.spec.radar import radar_differences
from ..pipeline.spec.version import __version__
from .loader import (
    WAITS_FOR_WORKERS_S,
    Batch,
    Normaliser,
    TileSet,
    batch_to,
    batches,
    collate,
    loader_processes,
    planet_of,
    radars_of,
    to_batch,
)
from .metrics import ConfusionMatrix, TileCounts, count_pixels, predicted_classes
from .registry import make_network
from .run_config import RunConfig
from .runs import WEIGHTS, RunFolder, check_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..pipeline.dataset.samples import Sample
    from ..pipeline.spec.tiles import Tile


@dataclass(frozen=True)
class Scores:
    """What a network scored on a split.

    Attributes:
        split, protocol, source: of the data set that was scored; ``source`` says where its pixels came from.
        model, weights: name in the registry, and the file of weights.
        matrix: of all tiles.
        regions, biomes: of the tiles of one region (by name) or biome (by number, as text).
        tiles: number of tiles.
        tiles_hash: of the shards and labels that were scored; scores of another hash are of another test set.
        majority: the class that the training split has most of, and the overall accuracy of always saying it.
        seconds: from the first tile to the last, reading included.
        fps: tiles a second through normaliser, network and choice of class, reading not included.
        accepted: what of the data differs from the training data, and was accepted.
    """

    split: str
    protocol: str
    source: str
    model: str
    weights: str
    matrix: ConfusionMatrix
    regions: Mapping[str, ConfusionMatrix]
    biomes: Mapping[str, ConfusionMatrix]
    tiles: int
    tiles_hash: str
    majority: tuple[str, float]
    seconds: float
    fps: float
    accepted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; scores are fractions, 0..1, None where there is no score."""
        return {
            "dwplus": __version__,
            "source": self.source,
            "split": self.split,
            "protocol": self.protocol,
            "model": self.model,
            "weights": self.weights,
            "tiles": self.tiles,
            "tiles_hash": self.tiles_hash,
            **TileCounts(self.matrix).scores(),
            "majority": {"class": self.majority[0], "oa": self.majority[1]},
            "seconds": self.seconds,
            "fps": self.fps,
            **({"accepted": list(self.accepted)} if self.accepted else {}),
            "matrix": self.matrix.to_dict(),
            "regions": {name: _part(matrix) for name, matrix in self.regions.items()},
            "biomes": {number: _part(matrix) for number, matrix in self.biomes.items()},
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Scores:
        """What ``to_dict`` gave.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls(
                **{
                    key: mapping[key]
                    for key in ("split", "protocol", "source", "model", "weights", "tiles", "tiles_hash")
                },
                matrix=ConfusionMatrix.from_dict(mapping["matrix"]),
                regions={k: ConfusionMatrix.from_dict(v["matrix"]) for k, v in mapping["regions"].items()},
                biomes={k: ConfusionMatrix.from_dict(v["matrix"]) for k, v in mapping["biomes"].items()},
                majority=(mapping["majority"]["class"], mapping["majority"]["oa"]),
                seconds=mapping["seconds"],
                fps=mapping["fps"],
                accepted=tuple(mapping.get("accepted", ())),
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"these are no scores of dwplus ({error!r}); score the run again") from None


def _part(matrix: ConfusionMatrix) -> dict[str, Any]:
    return {**TileCounts(matrix).scores(), "matrix": matrix.to_dict()}


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
    on_tile: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a run's network on a split and write ``scores.json``.

    Args:
        run_dir: a complete run.
        dataset: the split, opened with the run's bands and protocol.
        batch: tiles at a time.
        workers: loader processes; None: as many as pay off.
        device: ``cpu``, ``cuda``; None: a GPU where there is one.
        weights: ``model.safetensors``, or ``best.safetensors``, whose scores go into ``scores-best.json``.
        allow_other_source: score on pixels of another source than those trained on; the result says whose.
        accept_s1: score on Sentinel-1 that was made in another way than that trained on; the result says how.
        on_tile: called with tiles done and tiles in all.

    Raises:
        DataError: the run is not complete or damaged, or the data set is not the one it was trained on.
        UsageError: the data set was opened with other bands or another protocol, or is of another source.
    """
    network, run, normaliser = load(run_dir, device=device, weights=weights)
    accepted = check_same_data(run, dataset, allow_other_source=allow_other_source, accept_s1=accept_s1)
    RunFolder(run_dir).prepare()
    start = time.perf_counter()
    loader = _tile_loader(dataset, batch=batch, workers=workers)
    names = run.data.classes.names
    tiles, matrices, computing = _score_tiles(network, normaliser, loader, names, len(dataset), on_tile)
    total = sum(matrices, ConfusionMatrix.zero(names))
    scores = Scores(
        split=dataset.split,
        protocol=dataset.protocol,
        source=dataset.source,
        model=run.model,
        weights=weights,
        matrix=total,
        regions=_grouped(matrices, [tile.region for tile in tiles]),
        biomes=_grouped(matrices, [str(tile.biome) for tile in tiles]),
        tiles=len(tiles),
        tiles_hash=dataset.tiles_hash,
        majority=majority_guess(training_counts(run, dataset), total),
        seconds=time.perf_counter() - start,
        fps=len(tiles) / computing,
        accepted=accepted,
    )
    other = "" if dataset.trained_here else dataset.tiles_hash
    RunFolder(run_dir).write_json(scores_name(dataset.split, weights, other=other), scores.to_dict())
    return scores


def scores_name(split: str, weights: str = WEIGHTS, *, other: str = "") -> str:
    """``scores.json`` for the last epoch on the test split; any other split, weights or data set are part of the name.

    Args:
        other: hash of the tiles of another data set than the run was trained on.
    """
    parts = ["scores", *([] if split == "test" else [split]), *([] if weights == WEIGHTS else [Path(weights).stem])]
    parts += ["on", other] if other else []
    return "-".join(parts) + ".json"


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
    network = make_network(config.model, config.model_config, where=f"{run_dir}/config.json")
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
    run: RunConfig, dataset: TileSet, *, allow_other_source: bool = False, accept_s1: bool = False
) -> tuple[str, ...]:
    """Refuse a data set that the run's network was not made for; what differs and is accepted, one line each.

    Raises:
        UsageError: other classes, other bands, another protocol, another source without ``allow_other_source``, or
            Sentinel-1 that was made in another way without ``accept_s1``.
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
    return tuple(f"s1: {one}" for one in differences)


def training_counts(run: RunConfig, dataset: TileSet) -> tuple[int, ...]:
    """Training pixels of each class: of the run, or of the data set where nothing is known of the run's."""
    return run.data.class_counts if run.published is None else dataset.statistics.class_counts


def majority_guess(class_counts: tuple[int, ...], matrix: ConfusionMatrix) -> tuple[str, float]:
    """What a network has to beat: the most frequent training class, and the accuracy of saying it everywhere."""
    index = max(range(len(class_counts)), key=class_counts.__getitem__)
    accuracy = float(matrix.counts[index].sum() / matrix.pixels) if matrix.pixels else 0.0
    return matrix.names[index], accuracy


def _score_tiles(
    network: nn.Module,
    normaliser: Normaliser,
    loader: DataLoader[tuple[Batch, list[Tile]]],
    names: tuple[str, ...],
    count: int,
    on_tile: Callable[[int, int], None] | None,
) -> tuple[list[Tile], list[ConfusionMatrix], float]:
    """Tiles, a matrix for each, and the seconds spent in the network."""
    tiles: list[Tile] = []
    matrices: list[ConfusionMatrix] = []
    computing = 0.0
    for batch, located in batches(loader):
        start = time.perf_counter()
        prediction = _predict_batch(network, normaliser, batch).cpu()  # waits for the device
        computing += time.perf_counter() - start
        tiles += located
        counted = count_pixels(batch.label, prediction, len(names)).numpy()
        matrices += [ConfusionMatrix(counts, names) for counts in counted]
        if on_tile:
            on_tile(len(tiles), count)
    return tiles, matrices, computing


class _LocatedTiles(TorchDataset[tuple[Batch, "Tile"]]):
    def __init__(self, tiles: TileSet) -> None:
        self.tiles = tiles

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> tuple[Batch, Tile]:
        sample = self.tiles[index]
        return to_batch(sample, index), self.tiles.tiles[index]


def _tile_loader(tiles: TileSet, *, batch: int, workers: int | None) -> DataLoader[tuple[Batch, list[Tile]]]:
    located: TorchDataset[Any] = _LocatedTiles(tiles)
    if len({tile.shape for tile in tiles.tiles}) > 1:
        batch = 1  # tiles of several sizes do not stack
    workers = loader_processes(tiles, batch=batch, workers=workers)
    return DataLoader(
        located,
        batch_size=batch,
        num_workers=workers,
        collate_fn=_collate_located,
        timeout=WAITS_FOR_WORKERS_S if workers else 0,
    )


def _collate_located(items: list[tuple[Batch, Tile]]) -> tuple[Batch, list[Tile]]:
    return collate([item for item, _ in items]), [tile for _, tile in items]


def _grouped(matrices: list[ConfusionMatrix], keys: list[str]) -> dict[str, ConfusionMatrix]:
    groups: dict[str, ConfusionMatrix] = {}
    for key, matrix in zip(keys, matrices, strict=True):
        groups[key] = groups[key] + matrix if key in groups else matrix
    return dict(sorted(groups.items()))
