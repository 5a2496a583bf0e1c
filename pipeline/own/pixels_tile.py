"""The pixels of one tile: its best day of each sensor, checked, merged with what is there, encoded as its shard.

Comes after ``pixels_choice``; ``pixels`` writes what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset.added_pixels import PROCESSING, AddedPixels, Resampling
from ..dataset.root import DataRoot
from ..errors import DataError
from ..raster.geotiff import encode_shard, grid_of, header_of, open_raster
from ..spec.bands import BANDS, NODATA, SHARD_BANDS, Sensor
from ..spec.radar import Radar
from ..spec.sources import Source
from ..spec.tiles import Tile
from ..spec.version import __version__
from .pixels_bands import SENSOR_BANDS, sensor_title
from .pixels_choice import FULL, Choice, Day
from .pixels_products import Product
from .pixels_resample import resampled, whole_numbers
from .pixels_units import OFFSET_RULES, Unit, broken_rule, misread, remedy_of


class BrokenRuleError(DataError):
    """Pixels break a rule of validation.

    Attributes:
        rule: its name.
        pixels: (bands, H, W), those pixels.
    """

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True)
class Making:
    """How the shards of an addition are made.

    Attributes:
        added: the record of the data set, with the sensors and radars of this addition.
        radar: of the Sentinel-1 of this addition; None where it has none.
        sha256: name of a product -> hash of its files.
        accept_offset: pass over rules about the offset of Sentinel-2.
        licence: of the pixels of this addition, as their user says.
    """

    added: AddedPixels
    radar: Radar | None
    sha256: Mapping[Product, str]
    accept_offset: bool = False
    licence: str = ""


@dataclass(frozen=True, eq=False)
class Taken:
    """Pixels of one sensor for one tile.

    Attributes:
        pixels: float64 (bands, H, W) in the order of ``SENSOR_BANDS``, reflectance or dB, NaN = no data.
        share: of the tile's pixels with data in all bands that are not absent.
        day: that they are of.
        used: its products that gave pixels, the topmost first.
        absent: bands that one of these lacks; they are NaN everywhere.
    """

    pixels: NDArray[np.float64]
    share: float
    day: Day
    used: tuple[Product, ...]
    absent: tuple[str, ...] = ()

    @property
    def sensor(self) -> Sensor:
        return self.used[0].sensor

    @property
    def present(self) -> tuple[str, ...]:
        """Bands that are not absent."""
        return tuple(band for band in SENSOR_BANDS[self.sensor] if band not in self.absent)


def take(tile: Tile, choice: Choice, method: Resampling, *, accept_offset: bool = False) -> Taken | None:
    """The pixels of the first day that covers the tile, or else of the one that covers most; None where none has any.

    Raises:
        BrokenRuleError: they break a rule of validation; says which file, and what to do.
        DataError: a file is damaged.
    """
    best: Taken | None = None
    for day in choice.days:
        if best is not None and (best.share >= FULL or day.covered <= best.share):
            continue
        taken = _of_day(tile, day, method)
        if taken is not None and (best is None or taken.share > best.share):
            best = taken
    if best is not None:
        _check(tile, best, accept_offset=accept_offset)
    return best


def _of_day(tile: Tile, day: Day, method: Resampling) -> Taken | None:
    """Products of one day, the first on top, gaps filled from the next ones; None where no pixel has data."""
    top: NDArray[np.float64] | None = None
    used: list[Product] = []
    for product in day.products:
        pixels = physical_of(tile, product, method)
        if top is None:
            if np.isfinite(pixels).any():
                top = pixels
                used.append(product)
            continue
        gaps = _complete(pixels, (product,)) & ~_complete(top, used)
        if gaps.any():
            top[:, gaps] = pixels[:, gaps]
            used.append(product)
    if top is None:
        return None
    absent = _absent(used)
    top[[SENSOR_BANDS[used[0].sensor].index(band) for band in absent]] = np.nan
    return Taken(top, float(_complete(top, used).mean()), day, tuple(used), absent)


def _absent(products: Sequence[Product]) -> tuple[str, ...]:
    """Bands that one of several products of a sensor lacks."""
    lacking = {band for product in products for band in product.absent}
    return tuple(band for band in SENSOR_BANDS[products[0].sensor] if band in lacking)


def _complete(pixels: NDArray[np.float64], products: Sequence[Product]) -> NDArray[np.bool_]:
    """Where every band that all of these products hold has data: bool (H, W)."""
    absent = _absent(products)
    places = [n for n, band in enumerate(SENSOR_BANDS[products[0].sensor]) if band not in absent]
    found: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(pixels[places]))
    return found


def physical_of(tile: Tile, product: Product, method: Resampling) -> NDArray[np.float64]:
    """Reflectance or dB of one product on the grid of a tile: float64 (bands, H, W), NaN = no data."""
    names = SENSOR_BANDS[product.sensor]
    out = np.full((len(names), *tile.shape), np.nan)
    for path in product.files:
        held = [band for band, place in product.bands.items() if place.path == path]
        out[[names.index(band) for band in held]] = _of_file(tile, product, path, held, method)
    return out


def stored_band(tile: Tile, product: Product, band: str, method: Resampling) -> NDArray[np.uint16]:
    """Stored values of one band of a product on the grid of a tile: uint16 (H, W), 0 = no data.

    Whole numbers on the tile's own grid are looked up in a table of all of them, which gives the same several times as
    fast as computing each pixel's physical value.

    Raises:
        DataError: the file is damaged, or its values are none of their unit.
    """
    stored = np.full(tile.shape, NODATA, dtype=np.uint16)
    if band not in product.bands:
        return stored
    place = product.bands[band]
    # Values of power are judged pixel by pixel (``misread``).
    numbers = None if place.unit.power else whole_numbers(place.path, place.number, tile)
    table = None if numbers is None else _stored_numbers(band, place.unit, numbers.dtype.name)
    values = _values_of(tile, product, place.path, [band], method)[0] if numbers is None else numbers
    # Physical values, and places in a table, take several times the room of stored ones: some rows at a time.
    for start in range(0, len(stored), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        if table is None:
            stored[rows] = BANDS[band].stored(place.unit.physical(values[rows]))
        else:
            stored[rows] = table[_places(values[rows])]
    return stored


_ROWS_AT_ONCE = 64


@lru_cache(maxsize=32)
def _stored_numbers(band: str, unit: Unit, dtype: str) -> NDArray[np.uint16]:
    """Stored value of every number of a type of 8 or 16 bits, in the order of ``_places``."""
    info = np.iinfo(dtype)
    numbers = np.arange(info.max - info.min + 1).astype(dtype)  # those of a signed type wrap, as their places do
    values = numbers.astype(np.float32)
    if unit.nodata is not None:
        values[values == np.float32(unit.nodata)] = np.nan
    return BANDS[band].stored(unit.physical(values))


def _places(numbers: NDArray[Any]) -> NDArray[Any]:
    """The same bits as unsigned numbers: places in a table."""
    return numbers.view(np.uint16) if numbers.dtype == np.int16 else numbers


def _of_file(
    tile: Tile, product: Product, path: Path, bands: Sequence[str], method: Resampling
) -> list[NDArray[np.float64]]:
    """Bands of one file of a product, float64 (H, W) each."""
    values = _values_of(tile, product, path, bands, method)
    return [product.bands[band].unit.physical(one) for band, one in zip(bands, values, strict=True)]


def _values_of(
    tile: Tile, product: Product, path: Path, bands: Sequence[str], method: Resampling
) -> NDArray[np.float32]:
    """The same in the units of the file, float32 (bands, H, W), NaN = no data."""
    places = [product.bands[band] for band in bands]
    values = resampled(path, [one.number for one in places], [one.unit for one in places], tile, method)
    for place, one in zip(places, values, strict=True):
        fault = misread(one, place.unit)
        if fault:
            raise BrokenRuleError(f"{product.name} on tile {tile.id}: {fault}; say --s1-unit dB", rule="s1-linear")
    return values


def _check(tile: Tile, taken: Taken, *, accept_offset: bool) -> None:
    sensor, names = taken.sensor, SENSOR_BANDS[taken.sensor]
    places = [names.index(band) for band in taken.present]
    rule, message = broken_rule(sensor, taken.pixels[places] if taken.absent else taken.pixels, taken.present)
    if rule and not (accept_offset and rule in OFFSET_RULES):
        raise BrokenRuleError(f"{taken.used[0].name} on tile {tile.id} {message}; {remedy_of(rule)}", rule=rule)


# --- the shard --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Held:
    """What the shard of a tile holds.

    Attributes:
        pixels: uint16 (bands, H, W) in the order of ``SHARD_BANDS``.
        tags: provenance, without what is of all sensors.
    """

    pixels: NDArray[np.uint16]
    tags: Mapping[str, str] = field(default_factory=dict)

    def has(self, sensor: Sensor) -> bool:
        return bool(self.tags.get(f"{sensor}_SCENES"))

    def rank(self, sensor: Sensor) -> tuple[float, int]:
        """Lower is better: the share of the tile that is missing (0 where it is covered), then the days between."""
        return _rank(float(self.tags.get(f"{sensor}_COVERED_SHARE", 0)), int(self.tags.get(f"{sensor}_DAYS", 0)))


def _rank(share: float, days: int) -> tuple[float, int]:
    return (0.0 if share >= FULL else round(1 - share, 4)), days


def held_of(root: DataRoot, tile: Tile, added: AddedPixels) -> Held | None:
    """The shard of a tile as an earlier addition left it; None where there is none that fits."""
    path = root.own_shard(tile)
    if not path.is_file():
        return None
    try:
        with open_raster(path) as file:
            header = header_of(file)
            same = (header.tags.get("DWPLUS_SOURCE"), header.tags.get("DWPLUS_RECIPE")) == (added.source, added.hash)
            if not same or header.grid != grid_of(tile) or header.bands != SHARD_BANDS:
                return None
            return Held(file.read(), {k: v for k, v in header.tags.items() if k[:3] in ("S2_", "S1_")})
    except DataError:
        # A damaged shard is made again.
        return None


def merged(tile: Tile, held: Held | None, taken: Mapping[Sensor, Taken], making: Making) -> Held | None:
    """What a shard holds after an addition: new pixels where they are as good as those that are there, or better."""
    pixels = np.zeros((len(SHARD_BANDS), *tile.shape), np.uint16) if held is None else held.pixels.copy()
    tags = {} if held is None else dict(held.tags)
    for sensor, one in taken.items():
        if held is not None and held.has(sensor) and held.rank(sensor) < _rank(round(one.share, 4), one.day.days):
            continue
        for name, band in zip(SENSOR_BANDS[sensor], one.pixels, strict=True):
            pixels[SHARD_BANDS.index(name)] = BANDS[name].stored(band)
        tags = {name: value for name, value in tags.items() if not name.startswith(f"{sensor}_")}
        tags |= _tags_of(sensor, one, making)
        if sensor == "S1" and making.radar is not None:
            seen = np.isfinite(one.pixels).all(axis=0)  # no band of Sentinel-1 is optional
            vv_vh = [SHARD_BANDS.index(name) for name in SENSOR_BANDS["S1"]]
            pixels[vv_vh] = np.where(seen, pixels[vv_vh], NODATA)
            pixels[SHARD_BANDS.index("S1_N")] = np.where(seen, making.radar.scenes or 1, NODATA)
    return Held(pixels, tags) if tags else None


def _tags_of(sensor: Sensor, taken: Taken, making: Making) -> dict[str, str]:
    """Where the pixels of one sensor come from, and how they were made."""
    product = taken.used[0]
    unit = next(iter(product.bands.values())).unit
    tags = {
        "COLLECTION": making.added.source,
        "SCENE": product.name,
        "SCENES": " ".join(one.name.replace(" ", "_") for one in taken.used),
        "FILES": " ".join(making.sha256[one][:12] for one in taken.used),
        "DATE": taken.day.day.isoformat(),
        "DAYS": str(taken.day.days),
        "COVERED_SHARE": f"{taken.share:.4f}",
        "SCALE": f"{unit.scale:.12g}",
        "OFFSET": f"{unit.offset:.12g}",
        "LICENCE": making.licence,
        "ABSENT": " ".join(taken.absent),
    }
    if sensor == "S1" and making.radar is not None:
        radar = making.radar
        tags |= {
            "UNIT": "linear" if unit.power else "dB",
            "CALIBRATION": radar.calibration,
            "MEAN": radar.mean,
            "NUMBER": str(radar.scenes or 1),
            "PASSES": ",".join(radar.passes),
        }
    return {f"{sensor}_{name}": value for name, value in tags.items() if value}


def encoded(tile: Tile, held: Held, making: Making) -> bytes:
    """The shard of a tile as the bytes of a GeoTIFF."""
    added = making.added
    days = sorted(date.fromisoformat(held.tags[f"{sensor}_DATE"]) for sensor in SENSOR_BANDS if held.has(sensor))
    years = " to ".join(sorted({str(days[0].year), str(days[-1].year)}))
    licences = dict.fromkeys(held.tags[name] for name in ("S2_LICENCE", "S1_LICENCE") if name in held.tags)
    tags = {
        "DWPLUS_SOURCE": added.source,
        "DWPLUS_VERSION": __version__,
        "DWPLUS_RECIPE": added.hash,
        "DWPLUS_RECIPE_FIELDS": json.dumps({"resampling": added.resampling}, sort_keys=True),
        "DWPLUS_PROCESSING": PROCESSING,
        "TILE": tile.id,
        "DATE": tile.date.isoformat(),
        "HEMISPHERE": tile.hemisphere,
        "BIOME": str(tile.biome),
        **dict(sorted(held.tags.items(), reverse=True)),
        "LICENCE": "; ".join((Source.of(added.source).licence.format(years=years), *licences)),
    }
    return encode_shard(held.pixels, tile, tags, _titles(held.tags))


def _titles(tags: Mapping[str, str]) -> dict[str, str]:
    """Titles of the bands of Sentinel-1 as it was calibrated; those of the band table say sigma0."""
    calibration = tags.get("S1_CALIBRATION", "sigma0")
    return {band: BANDS[band].title.replace("sigma0", calibration) for band in SENSOR_BANDS["S1"]}


def missing_sensors(held: Held | None, added: AddedPixels) -> tuple[Sensor, ...]:
    """Sensors of the data set that a shard holds nothing of."""
    return tuple(sensor for sensor in added.sensors if held is None or not held.has(sensor))


def why_missing(sensor: Sensor, choice: Choice | None) -> str:
    """Why a tile has no pixels of a sensor, as text."""
    if choice is None:
        return f"no {sensor_title(sensor)} file was added for it"
    return choice.why_none or f"the {sensor_title(sensor)} files that overlap it have no data here"
