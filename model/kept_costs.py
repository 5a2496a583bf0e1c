"""Costs of networks, kept from process to process: counting all ten takes seconds, and every report shows them.

A figure is kept under the hash of the code that it was counted by, so that a change of any network counts anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..pipeline.errors import DwplusError
from ..pipeline.files.atomic import read_json, write_json

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where costs are kept: ``dwplus/costs`` in the user's folder of caches (``XDG_CACHE_HOME``, ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dwplus" / "costs"


def kept(name: str, primary: int | None, size: int) -> dict[str, Any] | None:
    """The cost of a network as it was kept, as plain values; None where none is, or where it cannot be read."""
    try:
        document = read_json(_file(name, primary, size))
    except (DwplusError, OSError):
        return None
    return document if isinstance(document, dict) else None


def keep(name: str, primary: int | None, size: int, cost: dict[str, Any]) -> None:
    """Keep the cost of a network; a folder that cannot be written to costs time and nothing else."""
    path = _file(name, primary, size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, cost)
    except (DwplusError, OSError) as error:
        log.debug("the cost of %s is not kept: %s", name, error)


def _file(name: str, primary: int | None, size: int) -> Path:
    key = hashlib.sha256(f"{code_hash()} {torch.__version__} {name} {primary} {size}".encode()).hexdigest()[:16]
    return folder() / f"{name}-{key}.json"


@cache
def code_hash() -> str:
    """Hash of everything that decides what a network of the registry costs: the code of this package's networks."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here / "blocks").rglob("*.py"), *(here / "baselines").rglob("*.py")])
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
