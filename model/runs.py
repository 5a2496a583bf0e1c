"""A run's folder: settings, progress and results. Every file in it is written whole or not at all.

``config.json`` (resolved settings), ``checkpoints/`` (to resume from), ``metrics.jsonl`` (a row an epoch),
``model.safetensors`` (weights after the last epoch: the result; its presence means the run is complete),
``best.safetensors`` (only with ``keep_best``), ``scores.json`` (``score.py``) and ``SHA256SUMS``, which names the hash
of each of them: a file that changed since it was written is refused when it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..pipeline.errors import DataError, DwplusError, UsageError
from ..pipeline.files.atomic import cannot_write, read_json
from ..pipeline.files.checksums import report_unchecked
from ..pipeline.files.locks import lock
from .config import from_mapping, to_mapping
from .loader import Normaliser, TileSet, plain_statistics
from .registry import completed, older_form

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
BEST_WEIGHTS = "best.safetensors"
CHECKPOINTS = "checkpoints"
SUMS = "SHA256SUMS"
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


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def run_name(text: str) -> str:
    """The name of a run, once it is known to be one: it names a folder, a row of tables and a line of figures.

    Raises:
        UsageError: it is empty, too long, or holds something else than letters, digits, ``.``, ``_`` and ``-``.
    """
    if _NAME.fullmatch(text) is None:
        raise UsageError(
            f"{text[:60]!r} is no name of a run: write 1 to 100 letters, digits, '.', '_' and '-', the first of them a "
            "letter, a digit or '_'"
        )
    return text


def check_numbers(state: Mapping[str, Tensor], *, where: str) -> None:
    """Make sure that weights are numbers: a network with others gives one class everywhere.

    Raises:
        DataError: a weight is infinite or not a number; names the first.
    """
    for name, values in state.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise DataError(f"{where}: weights of {name} are not numbers; train again under another name, lower lr")


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one run's folder; decides nothing."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second training of this run out.

        Raises:
            DwplusError: another one has it, or locks do not work here.
        """
        path = self.path / ".lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise cannot_write(path, error, option="--runs") from error
        with file:
            lock(file, held=f"another training writes run {self.path.name}; wait for it, or choose another --name")
            yield

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
        if not path.is_file():
            raise DataError(f"{self.path} is no run: it has no config.json; train one with 'dwplus train'")
        document = self.read_json("config.json")
        try:
            return RunConfig.from_dict(document, where=str(path))
        except (ValueError, UsageError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read: {error}; train again under another name") from None

    def write_config(self, config: RunConfig) -> None:
        self.write_json("config.json", config.to_dict())

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        self._write(name, lambda path: _write_text(path, text))

    def read_json(self, name: str) -> Any:
        """A document of this run, checked against ``SHA256SUMS``.

        Raises:
            DataError: it is missing, damaged or was changed.
        """
        self.check(name)
        return read_json(self.path / name)

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file and its hash. Between the two, and after a kill there, both its hashes are on record."""
        path, sums = self.path / name, self.sums()

        def note(temporary: Path) -> None:
            sums[name] = (*sums.get(name, ())[-1:], _sha256_at(temporary))
            self._write_sums(sums)

        write_whole(path, write, before=note)
        sums[name] = sums[name][-1:]
        self._write_sums({known: hashes for known, hashes in sums.items() if (self.path / known).exists()})

    def sums(self) -> dict[str, tuple[str, ...]]:
        """Name -> SHA-256 on record; several where a write was interrupted. Empty for a run of an earlier version."""
        found: dict[str, tuple[str, ...]] = {}
        try:
            lines = (self.path / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        for line in lines:
            sha256, _, name = line.partition("  ")
            found[name] = (*found.get(name, ()), sha256)
        return found

    def _write_sums(self, sums: Mapping[str, tuple[str, ...]]) -> None:
        text = "".join(f"{one}  {name}\n" for name, hashes in sorted(sums.items()) for one in hashes)
        write_whole(self.path / SUMS, lambda path: _write_text(path, text))

    def check(self, name: str) -> None:
        """Make sure that a file of this run is as it was written.

        Raises:
            DataError: it was changed or damaged since; names file and remedy.
        """
        path, recorded = self.path / name, self.sums().get(name)
        if not path.is_file():
            return
        if recorded is None:
            report_unchecked(str(self.path))
        elif _sha256_at(path) not in recorded:
            raise DataError(f"{path} was changed or damaged since it was written ({SUMS}); {_remedy(name)}")

    def read_rows(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``, one an epoch."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        self.check(path.name)
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}; train again under another name") from None

    def write_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        self._write("metrics.jsonl", lambda path: _write_text(path, text))

    def read_checkpoint(self) -> dict[str, Any] | None:
        """State after the last epoch that was kept and is whole, on the CPU; None where there is none.

        A damaged checkpoint is reported, and the one before is read.

        Raises:
            DataError: there are some, and none can be read.
        """
        faults = []
        for path in reversed(self._checkpoints()):
            try:
                self.check(f"{CHECKPOINTS}/{path.name}")
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                check_numbers(state["network"], where=str(path))
            except Exception as error:  # torch.load raises whatever its parts raise
                reason = " ".join(str(error).split())[:300]
                log.warning("%s cannot be used (%s); resuming from the one before", path, reason)
                faults.append(f"{path.name}: {reason}")
                continue
            return state
        if faults:
            raise DataError(
                f"no checkpoint of {self.path} can be read ({'; '.join(faults)}); train again under another name"
            )
        return None

    def write_checkpoint(self, epochs_done: int, state: Mapping[str, Any]) -> None:
        name = f"{CHECKPOINTS}/epoch-{epochs_done:05d}.pt"
        self._write(name, lambda temporary: torch.save(dict(state), temporary))
        self.keep_checkpoints(KEPT_CHECKPOINTS)

    def keep_checkpoints(self, number: int) -> None:
        """Remove all but the last checkpoints, and what killed saves left behind."""
        for old in self._checkpoints()[:-number]:
            old.unlink()
        for left in (*self.path.glob(".*.tmp"), *(self.path / CHECKPOINTS).glob(".*.tmp")):
            left.unlink(missing_ok=True)

    def write_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        self._write(name, lambda path: save_file(plain, path))

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
        self.check(name)
        try:
            return dict(load_file(path))
        except Exception as error:  # safetensors raises its own error class, torch others
            raise DataError(f"{path} cannot be read: {error}") from error

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / CHECKPOINTS).glob("epoch-*.pt"))


def _remedy(name: str) -> str:
    if name.startswith("scores"):
        return "score the run again with 'dwplus score'"
    if name.startswith(CHECKPOINTS):
        return "remove it to resume from the one before"
    return "bring it back from a copy, or train again under another --name"


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


def write_whole(
    path: Path, write: Callable[[Path], object], *, before: Callable[[Path], object] = lambda _: None
) -> None:
    """Write a file so that ``path`` holds all of it or does not change: temporary name, sync, rename.

    Args:
        before: called with the complete temporary file, before it gets its name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # safetensors writes for the owner alone; others may read what they can list.
        temporary.chmod(0o666 & ~_umask())
        before(temporary)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error, option="--runs") from error
    except (RuntimeError, SafetensorError) as error:  # a full disk: torch and safetensors raise their own
        reason = " ".join(str(error).split())[:200]
        raise DwplusError(f"cannot write {path}: {reason}; free some space and start the same command again") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sha256_at(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
