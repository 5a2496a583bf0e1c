"""A run's folder: settings, progress and results. Every file in it is written whole or not at all.

``config.json`` (resolved settings), ``tiles.json`` (the tiles it was trained on), ``checkpoints/`` (to resume from),
``metrics.jsonl`` (a row an epoch), ``pictures/`` (a few validation tiles), ``model.safetensors`` (weights after the
last epoch: the result; its presence means the run is complete), ``best.safetensors`` (only with ``keep_best``),
``average.safetensors`` (only with ``average_last``), ``scores.json`` (``score.py``) and ``SHA256SUMS``, which names the
hash of each of them: a file that changed since it was written is refused when it is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..pipeline.errors import DataError, UsageError, in_brief
from ..pipeline.files.atomic import cannot_write
from ..pipeline.files.locks import lock
from .run_config import RunConfig
from .run_files import CHECKPOINTS, RunFiles, remedy, write_text

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
BEST_WEIGHTS = "best.safetensors"
AVERAGE_WEIGHTS = "average.safetensors"
KEPT_BY = {BEST_WEIGHTS: "keep_best=true", AVERAGE_WEIGHTS: "average_last=8"}
"""File of weights that a run may keep -> the setting that makes it."""

TILES = "tiles.json"
KEPT_CHECKPOINTS = 2


def check_numbers(state: Mapping[str, Tensor], *, where: str) -> None:
    """Make sure that weights are numbers: a network with others gives one class everywhere.

    Raises:
        DataError: a weight is infinite or not a number; names the first.
    """
    for name, values in state.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise DataError(f"{where}: weights of {name} are not numbers; train again under another name, lower lr")


class RunFolder(RunFiles):
    """Reads and writes one run's folder; decides nothing."""

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
            held = f"another training writes run {self.path.name}; wait for it, or choose another --name"
            lock(file, held=held, option="--runs")
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
        self.write("metrics.jsonl", lambda path: write_text(path, text))

    def read_checkpoint(self) -> dict[str, Any] | None:
        """The last state that was kept and is whole, on the CPU; None where there is none.

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

    def write_checkpoint(self, epochs_done: int, state: Mapping[str, Any], *, steps: int = 0) -> None:
        """Keep the state after some epochs, and some steps of the next one."""
        within = f"-step-{steps:07d}" if steps else ""
        name = f"{CHECKPOINTS}/epoch-{epochs_done:05d}{within}.pt"
        self.write(name, lambda temporary: torch.save(dict(state), temporary))
        self.keep_checkpoints(KEPT_CHECKPOINTS)

    def keep_checkpoints(self, number: int) -> None:
        """Remove all but the last checkpoints, and their hashes."""
        with self.writing():
            for old in self._checkpoints()[:-number]:
                old.unlink(missing_ok=True)
            self._write_sums(self._of_files(self.sums()))

    def write_weights(self, name: str, state: Mapping[str, Tensor]) -> None:
        plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        self.write(name, lambda path: save_file(plain, path))

    def read_weights(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        """Weights by name.

        Raises:
            DataError: the run is not complete, or they cannot be read.
        """
        path = self.weights_path(name)
        self.check(name)
        try:
            return dict(load_file(path))
        except Exception as error:  # safetensors raises its own error class, torch others
            raise DataError(f"{path} cannot be read: {in_brief(error)}; {remedy(name)}") from error

    def weights_path(self, name: str = WEIGHTS) -> Path:
        """The file of weights.

        Raises:
            DataError: there is none of that name.
        """
        path = self.path / name
        if not path.exists() and self.complete:
            how = f"; train with --set {KEPT_BY[name]} to have it" if name in KEPT_BY else ""
            raise DataError(f"{self.path} kept no {name}{how}")
        if not path.exists():
            raise DataError(f"{self.path} has no {name}: the run is not complete; 'dwplus train' resumes it")
        return path

    def _checkpoints(self) -> list[Path]:
        """From the first to the last: ``epoch-00003.pt`` comes before ``epoch-00003-step-0000120.pt``."""
        return sorted((self.path / CHECKPOINTS).glob("epoch-*.pt"), key=lambda path: path.stem)
