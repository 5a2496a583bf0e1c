"""A run's folder: settings, progress and results. Every file in it is written whole or not at all.

``config.json`` (resolved settings), ``tiles.json`` (the tiles it was trained on), ``checkpoints/`` (to resume from),
``metrics.jsonl`` (a row an epoch), ``model.safetensors`` (weights after the last epoch: the result; its presence means
the run is complete), ``best.safetensors`` (only with ``keep_best``), ``scores.json`` (``score.py``) and ``SHA256SUMS``,
which names the hash of each of them: a file that changed since it was written is refused when it is read.
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
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..pipeline.errors import DataError, DwplusError, UsageError, in_brief
from ..pipeline.files.atomic import cannot_write, read_json
from ..pipeline.files.checksums import report_unchecked
from ..pipeline.files.locks import lock, lock_soon
from ..pipeline.spec.bands import BANDS
from ..pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from ..pipeline.spec.radar import Radar
from .config import from_mapping, to_mapping
from .loader import Normaliser, TileSet, plain_statistics, radars_of
from .registry import completed, older_form

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
BEST_WEIGHTS = "best.safetensors"
CHECKPOINTS = "checkpoints"
SUMS = "SHA256SUMS"
TILES = "tiles.json"
KEPT_CHECKPOINTS = 2

_WRITING_TAKES_S = 600.0
"""Seconds after which a write is taken for stuck: the checkpoint of the largest network takes some, on a slow disk."""

MAY_DIFFER = frozenset(
    {
        *("dwplus", "train.workers", "train.keep_mb", "train.tracker", "train.device", "computing"),
        *("train.init", "initial.given"),
    }
)
"""Keys that a run may be resumed with others of. ``computing`` is written down each time it changes."""


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
        classes: the class table of the labels; runs of versions that recorded none had Dynamic World's.
        radars: how the Sentinel-1 that was read was made; empty where none was, or in a run of an earlier version.
    """

    primary: tuple[str, ...]
    auxiliary: tuple[str, ...]
    protocol: str
    source: str
    shards_hash: str
    tiles: int
    class_counts: tuple[int, ...]
    statistics: dict[str, tuple[float, float]]
    classes: ClassTable = DYNAMIC_WORLD
    radars: tuple[Radar, ...] = ()

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
            classes=tiles.classes,
            radars=radars_of(tiles),
        )

    def fault(self) -> str:
        """Why no network can have been trained on this, as text; empty where one can."""
        unknown = [name for name in (*self.primary, *self.auxiliary) if name not in BANDS]
        if unknown or not self.primary:
            named = in_brief((*self.primary, *self.auxiliary))
            return f"its bands are {named}; there are {', '.join(BANDS)}"
        if missing := [name for name in (*self.primary, *self.auxiliary) if name not in self.statistics]:
            return f"there are no statistics of band {', '.join(missing)}"
        if not all(isfinite(number) for pair in self.statistics.values() for number in pair):
            return "a mean or a deviation is not a number"
        classes, counts = len(self.classes), (*self.class_counts, self.tiles)
        if len(self.class_counts) != classes or not all(0 <= n < 2**63 for n in counts):
            return f"numbers of tiles and of pixels are counts from 0 on, those of pixels one for each of {classes}"
        return "" if self.protocol in ("strict", "paper") else f"protocol is {in_brief(self.protocol)}"

    def normaliser(self) -> Normaliser:
        return Normaliser(self.primary, self.auxiliary, self.statistics)


@dataclass(frozen=True)
class Initial:
    """What a run began with, where that are weights trained before (``transfer.py``).

    Attributes:
        given: the run or file, as it was named.
        sha256: of its file of weights.
        model: the network of that run; empty for a file that belongs to none.
        taken: number of weights that were taken as they were.
        partly: weights that were taken for some bands or classes.
        anew: weights of which nothing was taken.
        classes: classes that began as those of the same name.
        mapped: (class, class of Dynamic World) of those that began as the class that they map to.
        bands: bands that are read as before, with the statistics of that run.
        tiles_known: it is recorded which tiles the weights were trained on.
        shared_blocks: those of these tiles that share a geographic block with val or test tiles.
        accepted: what of the data differs from what the weights were trained on, and was accepted.
    """

    given: str
    sha256: str
    model: str
    taken: int
    partly: tuple[str, ...]
    anew: tuple[str, ...]
    classes: tuple[str, ...]
    mapped: tuple[tuple[str, str], ...]
    bands: tuple[str, ...]
    tiles_known: bool
    shared_blocks: tuple[str, ...]
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Computing:
    """What a run was computed on: its weights depend on it in their last digits, and with dropout in more.

    Attributes:
        from_epoch: first epoch (from 1) that was computed so.
        processes: how many trained together.
        device: kind of device, ``cpu`` or ``cuda``.
        precision: what the network really computed in, whatever was asked for: ``bf16`` where autocast was on, else
            ``fp32``, or ``fp32, convolutions tf32`` on GPUs that round the inputs of convolutions.
    """

    from_epoch: int
    processes: int
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.processes} x {self.device} in {self.precision}"

    def same_as(self, other: Computing) -> bool:
        """Whether nothing but the first epoch differs."""
        return replace(self, from_epoch=other.from_epoch) == other


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
        initial: weights trained before that it began with, or None.
        computing: what it was computed on, in the order of epochs; empty for a run of an earlier version.
    """

    dwplus: str
    model: str
    model_config: dict[str, Any]
    train: dict[str, Any]
    data: DataCard
    validation: str | None = None
    initial: Initial | None = None
    computing: tuple[Computing, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what runs of earlier versions do not have is left out where it says nothing."""
        document = to_mapping(self)
        if self.data.classes == DYNAMIC_WORLD:
            del document["data"]["classes"]
        if self.initial is None:
            del document["initial"]
        elif not self.initial.accepted:
            del document["initial"]["accepted"]
        return document

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str) -> RunConfig:
        """Settings that an older version recorded build the network that it built (``registry.completed``)."""
        config = from_mapping(cls, mapping, where=where)
        return replace(config, model_config=completed(config.model, config.model_config))

    def resuming(self, begun: RunConfig) -> RunConfig:
        """These settings, with those of ``begun`` where a default has changed since then and nobody chose a value.

        What a run of an earlier version does not record of its data stays unrecorded.
        """
        if not begun.data.radars:
            self = replace(self, data=replace(self.data, radars=()))
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
            raise DataError(f"{path} cannot be read: {in_brief(error)}; train again under another name") from None

    def read_usable_config(self) -> RunConfig:
        """Settings of a run whose network this version can run on data.

        Raises:
            DataError: see ``read_config``; or they name bands, classes or numbers that this version does not know.
        """
        config = self.read_config()
        if fault := config.data.fault():
            raise DataError(f"{self.path / 'config.json'} cannot be used: {fault}; train again under another name")
        return config

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
        with self.writing():
            path, sums = self.path / name, self.sums()

            def note(temporary: Path) -> None:
                sums[name] = (*sums.get(name, ())[-1:], _sha256_at(temporary))
                self._write_sums(sums)

            write_whole(path, write, before=note)
            sums[name] = sums[name][-1:]
            self._write_sums(self._of_files(sums))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the folder to oneself for the moment of a write: two commands that write at once share ``SHA256SUMS``.

        What killed writes left behind is removed.

        Raises:
            DwplusError: another process does not end its write, locks do not work here, or nothing can be written.
        """
        path = self.path / f".{SUMS}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise cannot_write(path, error) from error
        with file:
            held = f"another command does not end its writing in {self.path}; end that command, then run this one again"
            lock_soon(file, held=held, within_s=_WRITING_TAKES_S)
            for left in (*self.path.glob(".*.tmp"), *(self.path / CHECKPOINTS).glob(".*.tmp")):
                left.unlink(missing_ok=True)
            yield

    def prepare(self) -> None:
        """Make sure that files can be written here, before long work; removes what killed writes left behind.

        Raises:
            DwplusError: they cannot.
        """
        with self.writing():
            pass

    def _of_files(self, sums: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The hashes of files that there are."""
        return {name: hashes for name, hashes in sums.items() if (self.path / name).is_file()}

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
        path = self.path / name
        if not path.is_file():
            return
        if name not in self.sums():
            report_unchecked(str(self.path))
        # The second look is for a file that another command wrote between the look at its hash and that at its bytes.
        elif not self._is_on_record(name) and not self._is_on_record(name):
            raise DataError(f"{path} was changed or damaged since it was written ({SUMS}); {_remedy(name)}")

    def _is_on_record(self, name: str) -> bool:
        recorded = self.sums().get(name, ())
        return _sha256_at(self.path / name) in recorded

    def read_rows(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``, one an epoch."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        self.check(path.name)
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} cannot be read: {in_brief(error)}; train again under another name") from None

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
                reason = in_brief(error)
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
        """Remove all but the last checkpoints, and their hashes."""
        with self.writing():
            for old in self._checkpoints()[:-number]:
                old.unlink(missing_ok=True)
            self._write_sums(self._of_files(self.sums()))

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
            raise DataError(f"{path} cannot be read: {in_brief(error)}; {_remedy(name)}") from error

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
        raise DwplusError(
            f"cannot write {path}: {in_brief(error)}; free some space and start the same command again"
        ) from error
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
