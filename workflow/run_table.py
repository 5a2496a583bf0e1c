"""The runs of a data root in a table: how far each is, its scores, its time, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.metrics import overall
from ..model.run_config import MAY_DIFFER, Computing, RunConfig
from ..model.runs import RunFolder
from ..model.settings import TrainConfig
from ..pipeline.dataset.root import DataRoot
from .pages.runs import sentence_of


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        complete: its last weights are there.
        epochs: that are done.
        seconds: of training, validation not included.
        scored: ``test`` where it was scored, ``val`` where the last epoch with scores is all there is; else empty.
        scores: overall scores by key, 0..1; None where there is no score.
        intervals: 95 % intervals of the scores by key; None where there is none.
        settings: by name, as far as they differ from those of another run.
        fault: why it cannot be read; empty where it can.
    """

    run: str
    complete: bool = False
    epochs: int = 0
    seconds: float = 0.0
    scored: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, list[float] | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def run_rows(root: DataRoot) -> list[RunRow]:
    """A row for each run of a data root, in order of their names."""
    folders = [RunFolder(path.parent) for path in sorted(root.runs.glob("*/config.json"))]
    read: dict[str, tuple[RunRow, dict[str, Any]]] = {}
    for folder in folders:
        name = folder.path.name
        try:
            read[name] = _row(folder), settings_of_run(folder.read_config())
        except Exception as error:  # whatever is wrong with one run is no reason to hide the others
            read[name] = RunRow(name, fault=sentence_of(error, folder.path)), {}
    differing = different([settings for row, settings in read.values() if not row.fault])
    return [
        RunRow(**{**vars(row), "settings": {key: settings[key] for key in differing if key in settings}})
        for row, settings in read.values()
    ]


def _row(folder: RunFolder) -> RunRow:
    rows = folder.read_rows()
    keys = [metric.key for metric in overall()]
    validated = [row for row in rows if row.get(keys[0]) is not None]
    scored, scores = ("val", validated[-1]) if validated else ("", {})
    if Path(folder.path / "scores.json").exists():
        scored, scores = "test", folder.read_json("scores.json")
    return RunRow(
        run=folder.path.name,
        complete=folder.complete,
        epochs=len(rows),
        seconds=sum(float(row["seconds"]) for row in rows),
        scored=scored,
        scores={key: scores.get(key) for key in keys if scored},
        intervals={key: (scores.get("intervals") or {}).get(key) for key in keys if scored},
    )


def settings_of_run(config: RunConfig) -> dict[str, Any]:
    """Settings by name, those of the network among them, and what computed the run; others change nothing."""
    # Settings that an earlier version did not know yet had their defaults; of published weights none is known, and an
    # average has none: those of its members are in their rows.
    train = {**(TrainConfig().to_dict() if config.has_training else {}), **config.train}
    train.pop("ensemble", None)
    options: Mapping[str, Any] = train.pop("model_options", None) or {}
    kept = {key: value for key, value in train.items() if f"train.{key}" not in MAY_DIFFER or key == "init"}
    data = config.data
    return {
        **kept,
        **options,
        "model": config.network_title,
        "inputs": "+".join((*data.primary, *data.auxiliary)),
        "protocol": data.protocol,
        **({} if config.published else {"tiles": data.tiles, "shards": data.shards_hash}),
        **computed_on(config.computing),
    }


def computed_on(computing: Sequence[Computing]) -> dict[str, str]:
    """What computed a run, and the versions of packages, by name; ``1 x cpu, then 2 x cuda`` where that changed.

    Runs of earlier versions do not record all of it.
    """
    columns: dict[str, list[str]] = {}
    for one in computing:
        name = f" {one.device_name}" if one.device_name else ""
        known = {"devices": f"{one.processes} x {one.device}{name}", "computed_in": one.precision, **one.versions}
        for column, value in known.items():
            columns.setdefault(column, []).append(value)
    return {column: ", then ".join(dict.fromkeys(values)) for column, values in columns.items()}


def different(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of settings that are not the same in all, in the order in which they come."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings)]
