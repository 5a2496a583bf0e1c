"""What a run is set beside: the paper's row of its own network and inputs, and the same network without Sentinel-1.

The paper's rows (``manifests/paper.toml``): Table I (networks), IV and VI (variants of SpecSAR-Former), V (inputs), and
III (IoU per class).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...manifests import load_toml
from ...model.config import from_mapping, to_mapping
from ...model.cost import cost_of
from ...model.registry import MODELS, SMALL_SETTINGS, NetworkConfig, spec
from ...model.run_config import MAY_DIFFER, RunConfig
from ...pipeline.errors import DataError, UsageError
from ...pipeline.spec.bands import preset
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..reproduction.numbers import TABLES, row_key
from .runs import Run, network_settings, overall_scores

S1_BANDS = frozenset({"VV", "VH", "S1_N"})

_NO_VARIANT = frozenset(
    {"primary_bands", "auxiliary_bands", "decoder", "form", "dropout", "attention_dropout", "drop_path"}
)
"""Settings that make no other network: bands are compared by name, the others change rounding or training alone."""


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables of scores.

    Attributes:
        key: ``table4.ca-sa``, as in ``reproduction.numbers``.
        place: ``Table IV, ca-sa``.
        model: network in the registry.
        changes: settings in which it differs from the network as published.
        primary, auxiliary: names of bands.
        scores: metric -> percent.
        method: key of the same network and inputs in Tables I to III; empty where it stands in other tables alone.
    """

    key: str
    place: str
    model: str
    changes: Mapping[str, Any]
    primary: tuple[str, ...]
    auxiliary: tuple[str, ...]
    scores: Mapping[str, float]
    method: str = ""


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Every row of Tables V, I, IV and VI of a network that is built here; of equal rows Table V's first."""
    paper = load_toml("paper")
    return (
        *(_row(5, key, row["title"], row["model"], row, inputs=row) for key, row in paper["table5"].items()),
        *(
            _row(1, method, paper["methods"][method], name, paper["table1"][method], method=method)
            for name, method in _published()
        ),
        *(_row(4, key, key, "specsar-former", row, changes=row["model"]) for key, row in paper["table4"].items()),
        *(_row(6, key, key, "specsar-former", row, changes=row["model"]) for key, row in paper["table6"].items()),
    )


def _published() -> list[tuple[str, str]]:
    """(network in the registry, method in Tables I to III) of the paper's networks that are built here."""
    return [(name, model.paper) for name, model in MODELS.items() if model.paper is not None]


def _row(
    table: int,
    key: str,
    title: str,
    model: str,
    row: Mapping[str, Any],
    *,
    changes: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    method: str = "",
) -> PaperRow:
    names = inputs or {"primary": MODELS[model].primary, "auxiliary": MODELS[model].auxiliary}
    primary, auxiliary = (preset(names[which]) if names[which] else () for which in ("primary", "auxiliary"))
    scores = {metric: row[metric] for metric in ("miou", "oa", "f1")}
    place = f"Table {TABLES[table]}, {title}"
    return PaperRow(row_key(table, key), place, model, changes or {}, primary, auxiliary, scores, method)


def rows_of(config: RunConfig, *, small: bool = False) -> list[str]:
    """Keys of all rows of the paper whose network and inputs a run has.

    Args:
        small: a network with few channels stands for its full size.

    Raises:
        DataError: this version cannot make the run's network.
    """
    return [row.key for row, full in _matching(config) if full or small]


def paper_row(config: RunConfig) -> dict[str, Any] | None:
    """The paper's row of a run's network, variant and inputs: its scores by metric, ``place`` and ``full_size``.

    A network with few channels, or of another MiT size, stands beside the row of its full size; ``full_size`` says so.

    Raises:
        DataError: this version cannot make the run's network.
    """
    row, full = next(_matching(config), (None, False))
    return None if row is None else {**row.scores, "place": row.place, "full_size": full}


def _matching(config: RunConfig) -> Iterator[tuple[PaperRow, bool]]:
    """The paper's rows of a run, and whether it has their size."""
    settings = _variant(network_settings(config))
    for row in paper_rows():
        if spec(row.model).network is not spec(config.model).network or not _same_inputs(config, row):
            continue
        full = next((full for known, full in _settings_of_rows()[row.key] if known == settings), None)
        if full is not None:
            yield row, full


def _same_inputs(config: RunConfig, row: PaperRow) -> bool:
    primary, auxiliary = config.data.primary, config.data.auxiliary
    if spec(row.model).inputs == "single":
        # One input: both are concatenated.
        return (*primary, *auxiliary) == (*row.primary, *row.auxiliary)
    return (primary, auxiliary) == (row.primary, row.auxiliary)


@cache
def _settings_of_rows() -> dict[str, list[tuple[dict[str, Any] | None, bool]]]:
    """Key of a row of the paper -> its network's settings at every size, the published one first and marked by True."""
    return {
        row.key: [(_with_changes(size, row.changes), full) for size, full in _sizes(row.model)] for row in paper_rows()
    }


def _sizes(model: str) -> Iterator[tuple[NetworkConfig, bool]]:
    """Settings of every size of a network, and whether it is the published one."""
    yield MODELS[model].defaults, True
    if model in SMALL_SETTINGS:
        yield SMALL_SETTINGS[model], False
    for name, other in MODELS.items():
        if other.network is MODELS[model].network and name != model:
            yield other.defaults, False


def _variant(settings: NetworkConfig) -> dict[str, Any]:
    return {key: value for key, value in to_mapping(settings).items() if key not in _NO_VARIANT}


def _with_changes(size: NetworkConfig, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return _variant(from_mapping(type(size), {**to_mapping(size), **changes}, where="a row of the paper"))
    except UsageError:
        return None  # a split that does not divide the channels of this size


# --- IoU per class ----------------------------------------------------------------------------------------------------


def class_rows(runs: Sequence[Run], *, beside_paper: bool = True) -> list[dict[str, Any]]:
    """IoU of every class: one row per run, then the paper's of their networks (Table III, both readings).

    The paper's own network is always among them; another one where a run has its row of Table I.

    Args:
        beside_paper: labels and classes are the paper's; without that only runs have rows.
    """
    rows = [
        {"name": run.name, "source": run.scores.source, "iou": [100 * v for v in run.scores.matrix.iou.tolist()]}
        for run in runs
    ]
    if not beside_paper:
        return rows
    paper = load_toml("paper")
    methods = dict.fromkeys(["specsar-former", *(method for run in runs if (method := _method(run)))])
    for method in methods:
        title = "SpecSAR-Former" if method == "specsar-former" else paper["methods"][method]
        for reading, columns in paper["table3"]["readings"].items():
            values = dict(zip(columns, paper["table3"]["iou"][method], strict=True))
            iou = [values[c.name] for c in DYNAMIC_WORLD.classes]
            rows.append({"name": f"paper, {title} ({reading})", "source": "paper", "iou": iou})
    return rows


def _method(run: Run) -> str | None:
    """The method of Table III whose network and inputs a run has."""
    try:
        return next((row.method for row, _ in _matching(run.config) if row.method), None)
    except DataError:
        return None  # said where the run's own line is made


# --- what Sentinel-1 adds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """What Sentinel-1 adds to one network.

    Attributes:
        run, without: the two runs, which differ in their inputs alone.
        points: metric -> difference of their scores, -1..1.
        paper: the same of the paper's two rows, in percent points; None where it lacks one.
    """

    run: str
    without: str
    points: Mapping[str, float]
    paper: Mapping[str, float] | None


def s1_gains(runs: Sequence[Run]) -> list[Gain]:
    """What Sentinel-1 adds: each run with it against the run of the same network, settings and data without it."""
    known: dict[tuple[tuple[str, ...] | None, str], list[Run]] = defaultdict(list)
    for run in runs:
        known[run.bands, _besides_inputs(run)].append(run)
    pairs = [(run, other) for run in runs for other in known.get((_optical(run), _besides_inputs(run)), ())]
    return [Gain(run.name, other.name, _difference(run, other), _paper_gain(run, other)) for run, other in pairs]


def _optical(run: Run) -> tuple[str, ...] | None:
    """Bands that the same run without Sentinel-1 sees; None where it sees none, or nothing else."""
    optical = tuple(band for band in run.bands if band not in S1_BANDS)
    return optical if optical and optical != run.bands else None


def _besides_inputs(run: Run) -> str:
    """What a pair has in common, as a key: network, settings, training data, and the tiles that were scored."""
    config, scores = run.config, run.scores
    may_differ = {key.removeprefix("train.") for key in MAY_DIFFER}
    common = {
        "model": config.model,
        "network": {k: v for k, v in config.model_config.items() if k not in ("primary_bands", "auxiliary_bands")},
        "train": {key: value for key, value in config.train.items() if key not in may_differ},
        "data": (config.data.protocol, config.data.source, config.data.shards_hash),
        "scored": (scores.split, scores.protocol, scores.source, scores.tiles_hash, scores.weights),
    }
    return json.dumps(common, sort_keys=True, default=str)


def _difference(run: Run, other: Run) -> dict[str, float]:
    before = overall_scores(other)
    return {key: value - before[key] for key, value in overall_scores(run).items()}


def _paper_gain(run: Run, other: Run) -> dict[str, float] | None:
    try:
        with_s1, without = paper_row(run.config), paper_row(other.config)
    except DataError:
        return None
    if with_s1 is None or without is None:
        return None
    return {metric: with_s1[metric] - without[metric] for metric in ("miou", "oa", "f1")}


# --- cost -------------------------------------------------------------------------------------------------------------


def cost_rows() -> tuple[dict[str, Any], ...]:
    """Parameters and GFLOPs of the paper's networks that are built here, counted now, beside Table II."""
    table = load_toml("paper")["table2"]
    rows = []
    for name, method in _published():
        printed = table[method]
        figures_printed = {"paper_params": printed["params"], "paper_gflops": printed["flops"]}
        rows.append(
            {"name": name, "method": method, "cost": cost_of(name), "note": MODELS[name].note, **figures_printed}
        )
    return tuple(rows)
