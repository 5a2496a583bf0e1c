"""A run's folder: settings, progress and results. Every file in it is written whole or not at all.

``config.json`` (resolved settings), ``checkpoints/`` (to resume from), ``metrics.jsonl`` (a row an epoch),
``model.safetensors`` (weights after the last epoch: the result; its presence means the run is complete),
``best.safetensors`` (only with ``keep_best``) and ``scores.json`` (``score.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..pipeline.errors import DataError, DwplusError, UsageError
from .config import from_mapping, to_mapping
from .loader import Normaliser, TileSet, plain_statistics
from .registry import completed, older_form

WEIGHTS = "model.safetensors"
BEST_WEIGHTS = "best.safetensors"
KEPT_CHECKPOINTS = 2

MAY_DIFFER = frozenset({"dwplus", "train.workers", "train.keep_mb", "train.tracker", "train.device"})
"""Keys that do not change what a run learns: a run may be resumed with others."""


@dataclass(frozen=True)
class DataCard:
    """The data that a network was trained on.

    Attributes:
        primary, auxiliary: band names.
        protocol: ``strict`` or ``paper``.
        source: where the pixels came from.
        shards_hash: of the training shards and labels.
        tiles: number of training tiles.
        class_counts: training pixels of each class.
        statistics: (mean, std) in physical units by band.
    """

    primary: tuple[str, ...]
    auxiliary: tuple[str, ...]
    protocol: str
    source: str
    shards_hash: str
    tiles: int
    class_counts: tuple[int, ...]
    statistics: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, tiles: TileSet) -> DataCard:
        return cls(
            primary=tuple(tiles.primary),
            auxiliary=tuple(tiles.auxiliary),
            protocol=tiles.protocol,
            source=tiles.source,
            shards_hash=tiles.statistics.shards_hash,
            tiles=len(tiles),
            class_counts=tuple(int(pixels) for pixels in tiles.statistics.class_counts),
            statistics=plain_statistics(tiles),
        )

    def normaliser(self) -> Normaliser:
        return Normaliser(self.primary, self.auxiliary, self.statistics)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run learns.

    Attributes:
        dwplus: version that started it.
        model: name in the registry.
        model_config: the network's settings, resolved.
        train: ``TrainConfig``, as plain values.
        data: what it is trained on.
        validation: split that is scored after each epoch, or None.
    """

    dwplus: str
    model: str
    model_config: dict[str, Any]
    train: dict[str, Any]
    data: DataCard
    validation: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return to_mapping(self)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str) -> RunConfig:
        """Settings that an older version recorded build the network that it built (``registry.completed``)."""
        config = from_mapping(cls, mapping, where=where)
        return replace(config, model_config=completed(config.model, config.model_config))

    def resuming(self, begun: RunConfig) -> RunConfig:
        """These settings, with those of ``begun`` where a default has changed since then and nobody chose a value."""
        if begun.model != self.model:
            return self
        chosen = self.train.get("model_options") or {}
        kept = {key: begun.model_config[key] for key in older_form(self.model) if key not in chosen}
        return replace(self, model_config={**self.model_config, **kept})


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one run's folder; decides nothing."""

    path: Path

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def complete(self) -> bool:
        return self.weights.exists()

    @property
    def started(self) -> bool:
        return (self.path / "config.json").exists()

    @property
    def has_progress(self) -> bool:
        """Whether there is anything to go on from, or to lose."""
        return self.complete or bool(self._checkpoints())

    def read_config(self) -> RunConfig:
        """Settings of the run.

        Raises:
            DataError: this is no run's folder, or its configuration cannot be read.
        """
        path = self.path / "config.json"
        try:
            return RunConfig.from_dict(json.loads(path.read_text(encoding="utf-8")), where=str(path))
        except FileNotFoundError:
            raise DataError(f"{self.path} is no run: it has no config.json; train one with 'dwplus train'") from None
        except (ValueError, UsageError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read: {error}; train again under another name") from None

    def write_config(self, config: RunConfig) -> None:
        self.write_json("config.json", config.to_dict())

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        write_whole(self.path / name, lambda path: _write_text(path, text))

    def read_rows(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``, one an epoch."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}; train again under another name") from None

    def write_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_whole(self.path / "metrics.jsonl", lambda path: _write_text(path, text))

    def read_checkpoint(self) -> dict[str, Any] | None:
        """State after the last epoch that was kept, on the CPU; None where there is none.

        Raises:
            DataError: it cannot be read.
        """
        paths = self._checkpoints()
        if not paths:
            return None
        try:
            state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever its parts raise
            raise DataError(f"{paths[-1]} cannot be read ({error}); delete it to go on from the one before") from error
        return state

    def write_checkpoint(self, epochs_done: int, state: Mapping[str, Any]) -> None:
        path = self.path / "checkpoints" / f"epoch-{epochs_done:05d}.pt"
        write_whole(path, lambda temporary: torch.save(dict(state), temporary))
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            old.unlink()

    def write_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        write_whole(self.path / name, lambda path: save_file(plain, path))

    def read_weights(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        """Weights by name.

        Raises:
            DataError: the run is not complete, or they cannot be read.
        """
        path = self.path / name
        if not path.exists() and self.complete:
            raise DataError(f"{self.path} kept no {name}; train with --set keep_best=true to have it")
        if not path.exists():
            raise DataError(f"{self.path} has no {name}: the run is not complete; 'dwplus train' resumes it")
        try:
            return dict(load_file(path))
        except Exception as error:  # safetensors raises its own error class, torch others
            raise DataError(f"{path} cannot be read: {error}") from error

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoints").glob("epoch-*.pt"))


def differing_keys(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Dotted keys, sorted, whose values differ; ``MAY_DIFFER`` left out."""
    one, other = _flat(wanted), _flat(found)
    differ = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    return sorted(differ - MAY_DIFFER)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that ``path`` holds all of it or does not change: temporary name, sync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk: torch and safetensors raise their own
        reason = " ".join(str(error).split())[:200]
        raise DwplusError(f"cannot write {path}: {reason}; free some space and start the same command again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
