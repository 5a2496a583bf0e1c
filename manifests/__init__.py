"""Data, not code: the paper's figures, label releases, regions and biomes, ids of the test tiles, coastlines."""

from __future__ import annotations

import csv
import json
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def load_toml(name: str) -> dict[str, Any]:
    """Content of ``manifests/<name>.toml``."""
    return tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def load_csv(name: str) -> tuple[dict[str, str], ...]:
    """Rows of ``manifests/<name>.csv``, as strings."""
    text = (files(__name__) / f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def load_json(name: str) -> dict[str, Any]:
    """Content of ``manifests/<name>.json``."""
    document: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return document
