"""What stands beside the paper's numbers here: counts of tiles, settings, costs, scores of runs and maps.

Reads what the stages left in a data root; ``verdicts`` judges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, isnan, prod
from statistics import fmean
from typing import Any

from ...model.blocks.layers import MixFfn, PatchConv
from ...model.config import to_mapping
from ...model.metrics import ConfusionMatrix, TileCounts, overall
from ...model.products import BesideScores
from ...model.registry import build, configure
from ...model.run_files import RunFiles
from ...model.scores.intervals import Bounds, Intervals
from ...model.settings import TrainConfig, profile
from ...model.without_weights import without_weights
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ...pipeline.spec.bands import S2_BANDS, preset
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ...pipeline.spec.recipe import Recipe
from ...pipeline.spec.sources import Source
from ...pipeline.spec.tiles import RESOLUTION_M, TILE_SIZE_PX
from ..beside import file_of_map
from ..pages.comparison import cost_rows, rows_of
from ..pages.runs import Run
from ..seeds import groups_of
from .numbers import PaperNumber, paper_numbers, row_key
from .verdicts import Ours


def ours_of(root: DataRoot, runs: Sequence[Run]) -> dict[str, Ours]:
    """What stands beside each number of the paper, by its key; numbers without anything are left out.

    Args:
        runs: scored runs of the data root.
    """
    synthetic = Source.of(root.source()).synthetic
    plain = {**settings(), **_set(root, synthetic=synthetic)}
    measured = {**costs(), **dict(_scores(root, runs, synthetic=synthetic))}
    found = {}
    for number in paper_numbers():
        ours = plain.get(number.key) or measured.get((number.row, number.metric))
        if number.over:
            ours = _gain(number, measured)
        if ours is not None:
            found[number.key] = ours
    return found


Measured = Mapping[tuple[str, str], Ours]
"""(row, metric) -> what was measured."""


def _gain(number: PaperNumber, measured: Measured) -> Ours | None:
    """By how many percent one row's score is above another's."""
    one, other = measured.get((number.row, number.metric)), measured.get((number.over, number.metric))
    if one is None or other is None:
        return None
    synthetic = one.synthetic or other.synthetic
    return Ours((100 * (one.mean / other.mean - 1),), f"{one.name} over {other.name}", synthetic)


# --- costs ------------------------------------------------------------------------------------------------------------


def costs() -> dict[tuple[str, str], Ours]:
    """Parameters (millions) and operations (1e9) of the networks of Table II, counted by the paper's rule."""
    found = {}
    for row in cost_rows():
        key, cost = row_key(2, row["method"]), row["cost"]
        found[key, "params"] = Ours((cost.params_rule / 1e6,), row["name"])
        found[key, "flops"] = Ours((cost.gflops_rule,), row["name"])
    return found


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> dict[str, Ours]:
    """Settings of recipe, network and training that the paper prints, as they are here; by key."""
    found = {**_recipe(), **_network(), **_training()}
    return {key: Ours((float(value),), name) for key, (value, name) in found.items()}


def _recipe() -> dict[str, tuple[float, str]]:
    half, listed = Recipe().half_window_days, len(S2_BANDS)
    values = {
        **dict.fromkeys(("label_resolution_m", "s2_resampled_m", "s1_pixel_m"), RESOLUTION_M),
        **dict.fromkeys(("tile_height_px", "tile_width_px"), TILE_SIZE_PX),
        "classes": len(DYNAMIC_WORLD),
        "s2_bands": len(preset("ms10")),
        "s2_bands_listed": listed,
        "s1_window_days": 2 * half,
        "s1_half_window_days": half,
    }
    return {f"section3.{key}": (value, "recipe") for key, value in values.items()}


@cache
def _network() -> dict[str, tuple[float, str]]:
    """Read off the network itself."""
    name = "specsar-former"
    with without_weights():
        modules = list(build(name).modules())
    split = to_mapping(configure(name))["split"]
    patches = [module.conv for module in modules if isinstance(module, PatchConv)]
    # Two embeddings, one of each branch, then one merging a stage.
    embedding, merging = patches[0], patches[2]
    strides = [embedding.stride[0], *(conv.stride[0] for conv in patches[2:])]
    ffn = next(module.depthwise for module in modules if isinstance(module, MixFfn))
    values = {
        **dict.fromkeys(("patch_height_px", "patch_width_px", "embedding_stride_px", "output_stride_px"), strides[0]),
        **{f"stride_of_stage_{n}": prod(strides[:n]) for n in (1, 2, 3, 4)},
        "split_primary_quarters": 4 * split[0] / sum(split),
        "split_auxiliary_quarters": 4 * split[1] / sum(split),
        "embedding_kernel_px": embedding.kernel_size[0],
        "merging_kernel_px": merging.kernel_size[0],
        "merging_stride_px": merging.stride[0],
        "ffn_kernel_px": ffn.kernel_size[0],
        "branches": len(split),
    }
    return {f"section4.{key}": (value, name) for key, value in values.items()}


def _training() -> dict[str, tuple[float, str]]:
    paper = profile("paper")
    side = paper.crop_px or TILE_SIZE_PX
    values = {
        **dict.fromkeys(("input_height_px", "input_width_px"), side),
        "epochs": paper.epochs,
        "learning_rate": paper.lr,
        "batch_per_device": paper.batch_per_device,
        "devices": paper.batch / paper.batch_per_device,
    }
    return {f"section5.{key}": (value, "profile paper") for key, value in values.items()}


# --- the data set -----------------------------------------------------------------------------------------------------


def _set(root: DataRoot, *, synthetic: bool) -> dict[str, Ours]:
    """Counts of the tiles that can be used, under the paper's splits."""
    rows = root.manifest().rows
    try:
        used = {split: root.usable(split, "paper") for split in ("train", "test")}
    except DataError:
        return {}  # it was not validated yet
    tiles = [row.tile for split in used.values() for row in split]
    if not tiles:
        return {}
    values: dict[str, float] = {
        "training_tiles": len(used["train"]),
        "test_tiles": len(used["test"]),
        "label_year": Counter(tile.date.year for tile in tiles).most_common(1)[0][0],
        "biomes": len({tile.biome for tile in tiles if tile.biome}),
        "regions": len({tile.region for tile in tiles}),
        "annotated_test_tiles": len({row.tile.id for row in rows if row.release == "test"}),
    }
    return {f"section3.{key}": Ours((float(value),), "manifest", synthetic) for key, value in values.items()}


# --- scores -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Runs that stand for a row: one, or those of several seeds.

    Attributes:
        unlike: in what their training differs from the paper's.
    """

    name: str
    runs: tuple[Run, ...]
    unlike: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int, str]:
        """The first of several that could stand for a row: most like the paper's training, then most seeds."""
        return len(self.unlike), -len(self.runs), self.name


def _scores(root: DataRoot, runs: Sequence[Run], *, synthetic: bool) -> Iterator[tuple[tuple[str, str], Ours]]:
    yield from _of_dynamic_world(root)
    for row, groups in groups_of_rows(runs, small=synthetic).items():
        group = min(groups, key=lambda one: one.rank)
        parts = [_values(run.scores.matrix) for run in group.runs]
        bounds = [_bounds(run.scores.intervals) for run in group.runs]
        of_source = any(Source.of(run.scores.source).synthetic for run in group.runs)
        for metric in parts[0]:
            values = tuple(part[metric] for part in parts)
            if any(isnan(value) for value in values):
                continue  # a class that no test tile has
            interval = _mean_of([one.get(metric) for one in bounds])
            ours = Ours(values, group.name, of_source, interval, group.unlike)
            yield (row, metric), ours
            if row.startswith("table1."):
                yield (row.replace("table1.", "table3."), metric), ours


def _of_dynamic_world(root: DataRoot) -> Iterator[tuple[tuple[str, str], Ours]]:
    folder = root.folder / "products" / "dynamic-world"
    name = file_of_map("test")
    if not (folder / name).is_file():
        return
    try:
        scores = BesideScores.from_dict(RunFiles(folder).read_json(name))
    except DataError:
        return  # the table of maps says that it cannot be read
    bounds, synthetic = _bounds(scores.intervals), Source.of(scores.source).synthetic
    for metric, value in _values(scores.own).items():
        if not isnan(value):
            yield ("table1.dynamic-world", metric), Ours((value,), "dynamic-world", synthetic, bounds.get(metric))


def groups_of_rows(runs: Sequence[Run], *, small: bool) -> dict[str, list[Group]]:
    """Row of the paper -> runs that could stand for it; those of several seeds together.

    Args:
        small: networks with few channels stand for their full size, as in the sandbox.
    """
    by_name = {run.name: run for run in runs}
    grouped = groups_of({run.name: run.config for run in runs})
    seeded = {name for members in grouped.values() for name in members}
    groups = {**grouped, **{name: [name] for name in by_name if name not in seeded}}
    found: dict[str, list[Group]] = defaultdict(list)
    for name, members in groups.items():
        first = by_name[members[0]].config
        if first.train.get("loss", "focal") != "focal" or first.published is not None:
            continue  # another row of Fig. 8, or weights that somebody else trained
        try:
            rows = rows_of(first, small=small)
        except DataError:
            continue  # the report says that this version cannot make its network
        for row in rows:
            found[row].append(Group(name, tuple(by_name[one] for one in members), unlike(first.train)))
    return found


_PRINTED = ("epochs", "steps", "batch", "lr", "crop_px", "symmetries", "init", "labels_share", "drop_auxiliary")


def unlike(train: Mapping[str, Any]) -> tuple[str, ...]:
    """In what a training differs from what the paper prints of its own: ``epochs 20, not 200``."""
    paper, plain = profile("paper").to_dict(), TrainConfig().to_dict()
    return tuple(
        f"{key} {train[key]}, not {paper.get(key, plain[key])}"
        for key in _PRINTED
        if key in train and train[key] != paper.get(key, plain[key])
    )


def _values(matrix: ConfusionMatrix) -> dict[str, float]:
    """Overall scores and IoU of each class, percent; NaN where there is none. Empty for a map of fewer classes."""
    if matrix.names != DYNAMIC_WORLD.names:
        return {}
    found = {metric.key: 100 * metric.value(TileCounts(matrix)) for metric in overall()}
    iou = zip(matrix.names, matrix.iou.tolist(), strict=True)
    return {**found, **{f"iou.{name}": 100 * value for name, value in iou}}


def _bounds(intervals: Intervals | None) -> dict[str, Bounds]:
    """Intervals as ``_values`` names them, percent."""
    if intervals is None:
        return {}
    found = {**intervals.values, **{f"iou.{name}": one.get("iou") for name, one in intervals.classes.items()}}
    known = {key: bounds for key, bounds in found.items() if bounds is not None and all(map(isfinite, bounds))}
    return {key: (100 * low, 100 * high) for key, (low, high) in known.items()}


def _mean_of(bounds: Iterable[Bounds | None]) -> Bounds | None:
    """The mean interval of several seeds: how far another test set moves one of them; None where one has none."""
    known = list(bounds)
    if not known or any(one is None for one in known):
        return None
    pairs = [one for one in known if one is not None]
    return fmean(low for low, _ in pairs), fmean(high for _, high in pairs)
