"""What may lie beside the shards, on the same grids: Level-1C reflectance, and public land-cover maps.

``l1c/`` and ``products/<name>/`` of a data root; shards, recipe and hashes know nothing of them. Which maps there are
and how their codes map to Dynamic World's classes: ``manifests/products.toml``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from typing import Any, Literal

import numpy as np

from ...manifests import load_toml
from ..errors import UsageError
from .bands import L1C_BANDS, NODATA
from .tiles import Tile

L1C_COLLECTION = "COPERNICUS/S2_HARMONIZED"

NO_MAP = 255
"""Stored code of a pixel that a map leaves open; no map has it as a code."""


@dataclass(frozen=True)
class Product:
    """A public land-cover map; see the comments in ``manifests/products.toml``.

    Attributes:
        codes: code -> names of Dynamic World's classes, one or two.
        years: of which there are images; empty where there is one for each scene.
    """

    name: str
    title: str
    by: Literal["scene", "year"]
    band: str
    collections: Mapping[str, str]
    years: tuple[int, ...]
    ignored: tuple[int, ...]
    licence: str
    citation: str
    mapping: str
    codes: Mapping[int, tuple[str, ...]]

    def year(self, day: date) -> int:
        """The year of the image for a label of a day: the nearest there is; the label's own for maps of scenes."""
        return min(self.years, key=lambda year: (abs(year - day.year), year)) if self.years else day.year

    def collection(self, day: date) -> str:
        """The collection that holds the image for a label of a day."""
        return self.collections.get(str(self.year(day))) or self.collections["any"]

    @property
    def merged(self) -> frozenset[str]:
        """Classes that it does not tell apart; empty where it tells all nine."""
        return frozenset(name for names in self.codes.values() if len(names) > 1 for name in names)


@dataclass(frozen=True)
class Layer:
    """One kind of files beside the shards.

    Attributes:
        name: for people and records.
        folder: below the data root.
        bands: of each file, in order.
        dtype: of the stored values, ``uint16`` or ``uint8``.
        nodata: stored value of a pixel without data.
        product: the map; None for Level-1C.
    """

    name: str
    folder: str
    bands: tuple[str, ...]
    dtype: Literal["uint16", "uint8"]
    nodata: int
    product: Product | None = None

    def most_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes of a tile of ``shape`` (H, W) without compression: as much as a response can have."""
        return len(self.bands) * np.dtype(self.dtype).itemsize * shape[0] * shape[1]

    @property
    def by_scene(self) -> bool:
        """Whether it belongs to the scene of the label, not to a year."""
        return self.product is None or self.product.by == "scene"

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that decides the stored values."""
        said = asdict(self)
        if said["product"]:
            said["product"] = {key: said["product"][key] for key in ("by", "band", "collections", "years")}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def command(self) -> str:
        """The command that writes it."""
        return "dwplus build --l1c" if self.product is None else "dwplus build --products"

    def wanted(self, tile: Tile, scenes: str) -> str:
        """What a file of it shows: the scenes of the label, or a collection and a year."""
        if self.product is None or self.by_scene:
            return scenes
        return f"{self.product.collection(tile.date)} {self.product.year(tile.date)}"

    def file_name(self, tile: Tile) -> str:
        """Path of a tile's file in its data set."""
        return f"{self.folder}/{tile.hemisphere}/{tile.biome}/{tile.id}.tif"

    def unknown(self, stored: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> tuple[int, ...]:
        """Stored codes that the map's table does not have; none for Level-1C."""
        if self.product is None:
            return ()
        known = {*self.product.codes, *self.product.ignored, self.nodata}
        return tuple(code for code in np.unique(stored).tolist() if code not in known)


L1C = Layer("l1c", "l1c", L1C_BANDS, "uint16", NODATA)


@cache
def products() -> dict[str, Product]:
    """All maps by name."""
    return {name: _product(name, table) for name, table in load_toml("products").items()}


def _product(name: str, table: Mapping[str, object]) -> Product:
    values = dict(table)
    codes = values.pop("codes")
    assert isinstance(codes, Mapping)
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    fields: dict[str, Any] = {**values, **lists}
    return Product(name=name, codes={int(code): tuple(to) for code, to in codes.items()}, **fields)


def product_layer(name: str) -> Layer:
    """The layer of a map.

    Raises:
        UsageError: there is no map of that name.
    """
    if name not in products():
        raise UsageError(f"unknown product {name!r}; choose one of {', '.join(products())}")
    product = products()[name]
    return Layer(name, f"products/{name}", (product.band,), "uint8", NO_MAP, product)
