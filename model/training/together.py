"""Whether the processes of one training see one run folder, the same data and settings; before anything is kept.

A cluster whose nodes have different folders under one path, or a process that was started with another ``--set``, would
otherwise be noticed as weights that mean nothing, or as processes that wait for each other for ever.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object

from ...pipeline.errors import DisagreementError, DwplusError, in_brief
from ...pipeline.files.atomic import cannot_write
from ...pipeline.machine import is_first_process
from ..loader import TileSet
from ..run_config import RunConfig, differing_keys

_VISIBLE_WITHIN_S = 5.0
"""Network file systems show a new file to other machines after some time."""


@dataclass(frozen=True)
class View:
    """What one process sees.

    Attributes:
        host: its machine.
        run_dir: folder of the run.
        batch_per_device: samples at a time.
        run: ``RunConfig``, as plain values.
        tiles: hashes of the training and the validation tiles.
    """

    host: str
    run_dir: str
    batch_per_device: int
    run: dict[str, Any]
    tiles: tuple[str, ...]


def view_of(run: RunConfig, run_dir: Path, splits: Sequence[TileSet | None]) -> View:
    hashes = tuple("none" if split is None else split.tiles_hash for split in splits)
    return View(socket.gethostname(), str(run_dir.resolve()), run.train["batch_per_device"], run.to_dict(), hashes)


def difference(views: Sequence[View]) -> str:
    """Which process sees something else than the first one, and what, as text; empty where all see the same.

    Folders are not compared: a path may mean different folders, and two paths the same.
    """
    first = views[0]
    for rank, view in enumerate(views[1:], 1):
        pairs = {
            **{key: (_of(view.run, key), _of(first.run, key)) for key in differing_keys(view.run, first.run)},
            "dwplus": (view.run["dwplus"], first.run["dwplus"]),
            "batch_per_device": (view.batch_per_device, first.batch_per_device),
            "the training tiles": (view.tiles[0], first.tiles[0]),
            "the validation tiles": (view.tiles[1], first.tiles[1]),
        }
        for name, (found, wanted) in pairs.items():
            if found != wanted:
                return (
                    f"{place(views, rank)} has {name} {in_brief(found, 60)}, {place(views, 0)} {in_brief(wanted, 60)}"
                )
    return ""


def place(views: Sequence[View], rank: int) -> str:
    """``rank 1 (node-b)``; the machine where there are several."""
    hosts = {view.host for view in views}
    return f"rank {rank} ({views[rank].host})" if len(hosts) > 1 else f"rank {rank}"


def _of(run: dict[str, Any], key: str) -> Any:
    found: Any = run
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def check_together(view: View) -> None:
    """Make sure that all processes see what this one sees; each of them has to call it.

    Raises:
        DisagreementError: one sees something else; raised in all of them.
        DwplusError: the first process cannot write where the run shall be.
    """
    views: list[View] = gather_object([view])
    if found := difference(views):
        raise DisagreementError(f"{found}; start all processes of a training with the same command, on the same data")
    sees = _see_one_folder(Path(view.run_dir))
    for rank, one in enumerate(views):
        if not sees[rank]:
            raise DisagreementError(
                f"{place(views, rank)} sees another run folder at {one.run_dir} than {place(views, 0)} at "
                f"{views[0].run_dir}; name a folder that all processes share with --runs"
            )


def _see_one_folder(run_dir: Path) -> list[bool]:
    """Whether each process sees a file that the first one makes, for this moment, where the run is or will be."""
    above = next(place for place in (run_dir, *run_dir.parents) if place.is_dir())
    levels, name, error = 0, "", ""
    if is_first_process():
        levels = len(run_dir.parts) - len(above.parts)
        name = f".together-{secrets.token_hex(8)}.tmp"
        try:
            (above / name).touch()
        except OSError as fault:
            error = str(cannot_write(above / name, fault, option="--runs"))
    levels, name, error = broadcast_object_list([levels, name, error])
    if error:
        raise DwplusError(error)
    mark = [run_dir, *run_dir.parents][min(levels, len(run_dir.parts) - 1)] / name
    seen = _appears(mark)
    found: list[bool] = gather_object([seen])
    if is_first_process():
        mark.unlink(missing_ok=True)
    return found


def _appears(path: Path) -> bool:
    end = time.monotonic() + _VISIBLE_WITHIN_S
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
