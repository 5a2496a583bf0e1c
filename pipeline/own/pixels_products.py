"""Files and folders of a user as products: one acquisition (or mean) of one sensor, with all its bands.

A product is a stack of bands in one file, files of one band each whose names end in it (``..._B02.tif``), or a SAFE
folder of Sentinel-2 L2A. Headers are read here, pixels later (``pixels_resample``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..errors import DataError, UsageError
from ..files.walk import walk
from ..raster.geotiff import RasterGrid, ShardHeader, header_of, open_raster
from ..spec.bands import Sensor
from .pixels_bands import SENSOR_BANDS, BandTable, band_of_file, bands_of_stack, listed, missing_bands, sensor_title
from .pixels_dates import Dates, days_in
from .pixels_units import Said, Unit, s1_unit, s2_unit

ENDINGS = (".tif", ".tiff", ".jp2")
_DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "JPEG2000")


@dataclass(frozen=True)
class BandPlace:
    """Where one band is: a file, the number of the band in it from 1, and the unit of its values."""

    path: Path
    number: int
    unit: Unit


@dataclass(frozen=True, eq=False)
class Product:
    """One acquisition of one sensor, or a mean of several; two are the same where they are one object.

    Attributes:
        name: of the file or folder; where no day stands in it, with the folder above.
        day: of the acquisition.
        bands: band -> where it is, in the order of ``SENSOR_BANDS``; optional ones may be absent.
        grid: of its finest band.
    """

    name: str
    sensor: Sensor
    day: date
    bands: Mapping[str, BandPlace]
    grid: RasterGrid

    @property
    def absent(self) -> tuple[str, ...]:
        """Bands of its sensor that it lacks."""
        return tuple(band for band in SENSOR_BANDS[self.sensor] if band not in self.bands)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that hold the bands, each once, in the order of the bands."""
        return tuple(dict.fromkeys(place.path for place in self.bands.values()))


@dataclass(frozen=True)
class Found:
    """What was found in the paths of an addition.

    Attributes:
        products: in the order of sensors, days and names.
        dropped: name of a file -> why it is left out.
    """

    products: tuple[Product, ...]
    dropped: Mapping[str, str]


@dataclass(frozen=True)
class Rules:
    """How files are read.

    Attributes:
        sensors: whose bands are looked for.
        table: which band is which; None = by names.
        either: one of the sensors may have no file.
    """

    sensors: tuple[Sensor, ...]
    dates: Dates
    said: Said
    table: BandTable | None = None
    either: bool = False


def find_products(paths: Iterable[Path], rules: Rules) -> Found:
    """The products in files and folders.

    A file below a folder that holds none of the bands (a label, a mask) is dropped; every other defect is an error, so
    that nothing is added by half.

    Raises:
        UsageError: a path does not exist.
        DataError: a file cannot be used; says which, why, and what to do.
    """
    units = _units_of(paths, by_name=rules.table is None)
    products: list[Product] = []
    dropped: dict[str, str] = {}
    for one in units:
        if one.reason:
            dropped[one.name] = one.reason
            continue
        name = one.name if one.name not in dropped else _product_name(one.path)
        found, reason = _read(one, rules)
        if reason and one.named:
            raise DataError(f"{one.name} {reason}; name the files that hold {_wanted(rules.sensors)}")
        if reason:
            dropped[name] = reason
        products += found
    if not products:
        first = next(iter(dropped.items()), None)
        why = f" ({first[0]} {first[1]}{', ...' * (len(dropped) > 1)})" if first else ""
        raise DataError(f"no file holds bands of {_wanted(rules.sensors)}{why}; name other files, or --bands")
    for sensor in rules.sensors:
        if not rules.either and not any(product.sensor == sensor for product in products):
            raise DataError(
                f"no file holds {', '.join(SENSOR_BANDS[sensor])} of {sensor_title(sensor)}; name the files that hold "
                "them too"
            )
    return Found(tuple(sorted(products, key=_order)), dropped)


def names_below(folder: Path) -> frozenset[str]:
    """Names that products in a folder can have on record, whatever table of bands they were read with."""
    try:
        units = [one for by_name in (True, False) for one in _units_of([folder], by_name=by_name)]
    except DataError:
        # One that cannot be used any more: files by themselves are left.
        units = _units_of([folder], by_name=False) if not folder.name.casefold().endswith(".safe") else []
    return frozenset(name for one in units for name in (one.name, _product_name(one.path)))


def _order(product: Product) -> tuple[str, date, str, str]:
    return product.sensor, product.day, product.name, str(product.files[0])


def _wanted(sensors: Sequence[Sensor]) -> str:
    return " and ".join(map(sensor_title, sensors))


# --- what belongs together --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Unread:
    """What may be one product, before any header is read.

    Attributes:
        path: of the stack, of the SAFE folder, or of what the names of band files have in common.
        bands: band -> its file; empty for a stack.
        named: the user named this very file, not a folder above it.
        safe: it is a SAFE folder.
        reason: why it cannot be used; empty where it may.
    """

    path: Path
    bands: Mapping[str, Path]
    named: bool
    safe: bool = False
    reason: str = ""

    @property
    def name(self) -> str:
        return self.path.name


def _units_of(paths: Iterable[Path], *, by_name: bool) -> list[_Unread]:
    files: dict[Path, bool] = {}
    safes: dict[Path, None] = {}
    unusable: list[_Unread] = []
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise UsageError(f"{path} does not exist; name files, SAFE folders, or folders of them")
        if path.name.casefold().endswith(".zip"):
            raise UsageError(f"{path.name} is an archive; unpack it first, then name the folder")
        if not path.is_dir():
            files[path] = True
            continue
        below = walk(path, ENDINGS)
        unusable += [_Unread(one, {}, named=False, reason=why) for one, why in below.unusable.items()]
        inside = [(one, _safe_above(one, path)) for one in below.files]
        safes |= dict.fromkeys(safe for _, safe in inside if safe is not None)
        if path.name.casefold().endswith(".safe"):
            safes[path] = None
        files = {**dict.fromkeys((one for one, safe in inside if safe is None), False), **files}
    units = [_Unread(safe, _files_of_safe(safe), named=True, safe=True) for safe in sorted(safes)]
    return [*units, *_grouped(files, by_name=by_name), *unusable]


def _safe_above(path: Path, top: Path) -> Path | None:
    """The SAFE folder that a file lies in, at or below a folder."""
    above = [folder for folder in path.parents if folder == top or top in folder.parents]
    return next((folder for folder in above if folder.name.casefold().endswith(".safe")), None)


def _grouped(files: Mapping[Path, bool], *, by_name: bool) -> list[_Unread]:
    """Stacks, and files of one band put together by what their names have in common."""
    single: dict[tuple[Path, str], list[tuple[str, int, Path]]] = defaultdict(list)
    units = []
    for path in sorted(files):
        said = band_of_file(path.stem) if by_name else None
        if said is None or _number_of_bands(path) > 1:
            units.append(_Unread(path, {}, named=files[path]))
        else:
            before, band, metres = said
            single[path.parent, before].append((band, metres, path))
    for (folder, before), members in single.items():
        path = folder / before if before else folder
        named = all(files[one] for _, _, one in members)
        units.append(_Unread(path, _finest(path.name, members), named=named))
    return units


def _number_of_bands(path: Path) -> int:
    """Bands of a file; 1 where it cannot be opened, which its header is asked for later."""
    try:
        with open_raster(path) as file:
            return int(file.count)
    except DataError:
        return 1


def _finest(name: str, members: Iterable[tuple[str, int, Path]]) -> dict[str, Path]:
    """Band -> file; of a band that is there at several pixel sizes, the finest."""
    best: dict[str, tuple[int, Path]] = {}
    for band, metres, path in members:
        other = best.get(band)
        if other is not None and other[0] == metres:
            raise DataError(
                f"{name} holds {band} twice ({other[1].name}, {path.name}); leave one of them out, or name the files"
            )
        if other is None or metres < other[0]:
            best[band] = (metres, path)
    return {band: path for band, (_, path) in best.items()}


def _files_of_safe(folder: Path) -> dict[str, Path]:
    images = [path for path in walk(folder, (".jp2", ".tif")).files if "IMG_DATA" in path.parts]
    if (folder / "MTD_MSIL1C.xml").exists() or "_MSIL1C_" in folder.name:
        raise DataError(f"{folder.name} is top-of-atmosphere reflectance (L1C); take the L2A product of the scene")
    members = [(*said[1:], path) for path in images if (said := band_of_file(path.stem)) is not None]
    if not members:
        raise DataError(f"{folder.name} holds no images (GRANULE/*/IMG_DATA/*/*_B02_10m.jp2); download it again")
    return _finest(folder.name, members)


# --- headers ----------------------------------------------------------------------------------------------------------


def _read(one: _Unread, rules: Rules) -> tuple[list[Product], str]:
    """Products of a stack or of files of one band, and why there are none, as text."""
    if not one.bands:
        return _read_stack(one.path, rules)
    wanted = [sensor for sensor in rules.sensors if set(SENSOR_BANDS[sensor]) & set(one.bands)]
    if not wanted:
        return [], f"holds {listed(list(one.bands))} alone"
    products = []
    offset, scale = _encoding_of_safe(one.path) if one.safe else (None, None)
    said = rules.said if rules.said.scale is not None or scale is None else _with_scale(rules.said, scale)
    for sensor in wanted:
        names = [band for band in SENSOR_BANDS[sensor] if band in one.bands]
        missing = missing_bands(sensor, names)
        if missing:
            raise DataError(
                f"{one.name} lacks {', '.join(missing)} of {sensor_title(sensor)}; it holds {listed(list(one.bands))}: "
                "get the missing bands"
            )
        headers = {band: _header(one.bands[band]) for band in names}
        for band, header in headers.items():
            if len(header.bands) != 1:
                raise DataError(
                    f"{one.bands[band].name} has {len(header.bands)} bands; its name says that it is {band} alone"
                )
        path = one.path if one.safe else one.path.parent / one.name
        day = rules.dates.day_of(path, headers[names[0]].tags, sensor)
        known = _offset(one.bands[names[0]], rules) if offset is None else offset
        places = {
            band: BandPlace(one.bands[band], 1, _unit(sensor, one.bands[band].name, header, 1, said, known))
            for band, header in headers.items()
        }
        products.append(Product(_product_name(path), sensor, day, places, _common_grid(one.name, headers)))
    return products, ""


def _product_name(path: Path) -> str:
    """Name of a product: that of its file or folder, which mostly holds its day; chips are told apart by their folder.

    No other folder enters: the same files give the same shards wherever they lie.
    """
    return path.name if days_in(path.name) else f"{path.absolute().parent.name}/{path.name}"


def _with_scale(said: Said, scale: float) -> Said:
    return Said(scale, said.offset, said.nodata, said.power)


def _read_stack(path: Path, rules: Rules) -> tuple[list[Product], str]:
    header = _header(path)
    held = bands_of_stack(path.name, header.bands, rules.sensors, rules.table)
    if not held:
        unnamed = not any(header.bands)
        return [], "does not name its bands; say with --bands which is which" if unnamed else (
            f"holds {listed(header.bands)} alone"
        )
    offset = _offset(path, rules)
    return [
        Product(
            _product_name(path),
            sensor,
            rules.dates.day_of(path, header.tags, sensor),
            {
                band: BandPlace(path, number, _unit(sensor, path.name, header, number, rules.said, offset))
                for band, number in places.items()
            },
            header.grid,
        )
        for sensor, places in held.items()
    ], ""


def _unit(sensor: Sensor, name: str, header: ShardHeader, number: int, said: Said, offset: float | None) -> Unit:
    if sensor == "S1":
        return s1_unit(name, header, number, said)
    return s2_unit(name, header, number, said, offset=offset)


def _offset(path: Path, rules: Rules) -> float | None:
    row = rules.dates.row(path)
    return None if row is None else row.offset


def _header(path: Path) -> ShardHeader:
    """Header of a raster that lies somewhere on Earth.

    Raises:
        DataError: it is none.
    """
    with open_raster(path) as file:
        header, points = header_of(file), len(file.gcps[0])
        known = file.crs is not None and (file.crs.is_projected or file.crs.is_geographic)
    if header.driver not in _DRIVERS:
        raise DataError(f"{path.name} is {header.driver}; convert it with 'gdal_translate -of GTiff'")
    if points and header.grid.crs == "no CRS":
        raise DataError(
            f"{path.name} has no CRS, only {points} ground control points: raw radar; correct its terrain first "
            "(RTC, or SNAP's Terrain Correction)"
        )
    if header.grid.crs == "no CRS":
        raise DataError(f"{path.name} has no CRS: its place is unknown; set it with 'gdal_edit.py -a_srs'")
    if not known:
        raise DataError(f"{path.name} has the CRS {header.grid.crs[:60]}, which is no place on Earth; reproject it")
    a, b, _, d, e, _ = header.grid.transform
    if a * e - b * d == 0:
        raise DataError(
            f"{path.name} has pixels of no size ({a:g} x {e:g}); set its transform with 'gdal_edit.py -a_ullr'"
        )
    return header


def _common_grid(name: str, headers: Mapping[str, ShardHeader]) -> RasterGrid:
    """Grid of the finest band, once it is known that all bands show one place."""
    grids = {band: header.grid for band, header in headers.items()}
    finest = min(grids.values(), key=_pixel_size)
    for band, grid in grids.items():
        off = max(abs(one - other) for one, other in zip(_corners(grid), _corners(finest), strict=True))
        if grid.crs != finest.crs or off > _pixel_size(grid):
            raise DataError(
                f"{name}: {band} lies elsewhere ({grid}) than the finest band ({finest}); it is of another scene"
            )
    return finest


def _pixel_size(grid: RasterGrid) -> float:
    a, b, _, d, e, _ = grid.transform
    return max(abs(a) + abs(b), abs(d) + abs(e))


def _corners(grid: RasterGrid) -> tuple[float, float, float, float]:
    a, b, x, d, e, y = grid.transform
    rows, columns = grid.shape
    return x, y, x + a * columns + b * rows, y + d * columns + e * rows


# --- SAFE -------------------------------------------------------------------------------------------------------------

_ADD_OFFSET = re.compile(r"<BOA_ADD_OFFSET[^>]*>\s*(-?\d+)\s*<")
_QUANTIFICATION = re.compile(r"<BOA_QUANTIFICATION_VALUE[^>]*>\s*(\d+)\s*<")
_BASELINE = re.compile(r"_N(\d{4})_")
_MOST_METADATA = 20_000_000


def _encoding_of_safe(folder: Path) -> tuple[float, float | None]:
    """Offset that was added to each DN of an L2A product, and reflectance of one DN where it says so.

    Source: Sentinel-2 Products Specification Document, ``BOA_ADD_OFFSET`` (since baseline 04.00: -1000).

    Raises:
        DataError: its bands have several offsets.
    """
    path = folder / "MTD_MSIL2A.xml"
    if not path.is_file() or path.stat().st_size > _MOST_METADATA:
        baseline = _BASELINE.search(folder.name)
        return (1000.0 if baseline and "0400" <= baseline[1] < "9999" else 0.0), None
    text = path.read_text("utf-8", errors="replace")
    offsets = {int(number) for number in _ADD_OFFSET.findall(text)}
    if len(offsets) > 1:
        raise DataError(f"{folder.name}: MTD_MSIL2A.xml names several offsets; take bands with one, or say --offset")
    quantum = _QUANTIFICATION.search(text)
    return float(-next(iter(offsets), 0)), 1 / int(quantum[1]) if quantum and int(quantum[1]) else None
