"""What changed between two maps: a table of transitions, and a map from which a sample is drawn.

Counting pixels that change class is worse than counting pixels of a class: errors of both maps add up, and most of what
seems to change has not. The table says so, puts what two maps of one year show beside it, and areas of change come from
``area sample`` of the change map. Comes after ``pairs``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ...pipeline.errors import DataError, UsageError, in_brief
from ...pipeline.raster.class_map import RowWriter, colours_of, tags_of, write_names
from ...pipeline.raster.geotiff import RasterGrid
from ...pipeline.spec.classes import CODE_UNMARKED, LandCover
from ...pipeline.spec.version import __version__
from ..area.class_map import sha256_of_file
from ..area.ellipsoid import pixel_hectares
from .record import MapRecord, Rgb

_PIXELS_AT_ONCE = 1 << 22
_MOST_CODES = 255
_CHANGE: Rgb = (112, 20, 90)
OTHER, CHANGE, STABLE = "other_change", "change", "stable"


@dataclass(frozen=True)
class Transition:
    """Pixels that are one class in the first map and one in the second.

    Attributes:
        before, after: names of the classes; equal where nothing changed.
        pixels, hectares: of them; hectares on the ellipsoid.
    """

    before: str
    after: str
    pixels: int
    hectares: float

    @property
    def changed(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class Transitions:
    """Two maps of one grid, pixel by pixel.

    Attributes:
        rows: transitions that occur, in the order of codes.
        unmapped_pixels, unmapped_hectares: without a class in one of the maps, or in both.
    """

    rows: tuple[Transition, ...]
    unmapped_pixels: int
    unmapped_hectares: float

    @property
    def pixels(self) -> int:
        """Pixels with a class in both maps."""
        return sum(row.pixels for row in self.rows)

    @property
    def changed_share(self) -> float:
        """Share of these pixels that have another class; NaN where there are none."""
        changed = sum(row.pixels for row in self.rows if row.changed)
        return changed / self.pixels if self.pixels else float("nan")

    def share_of(self, before: str, after: str) -> float:
        """Share of one transition among these pixels, 0 where it does not occur."""
        found = sum(row.pixels for row in self.rows if (row.before, row.after) == (before, after))
        return found / self.pixels if self.pixels else float("nan")


def transitions(first: MapRecord, second: MapRecord) -> Transitions:
    """Count what two maps show. Memory does not grow with their height.

    Args:
        first, second: of one grid and one class table (``pairs.check_pair``).

    Raises:
        DataError: one of them is damaged.
    """
    size = max(one.code for one in first.classes) + 1
    pixels, hectares = np.zeros(size * size, dtype=np.int64), np.zeros(size * size)
    unmapped_pixels, unmapped_hectares = 0, 0.0
    for start, one, other in _rows_of(first, second):
        areas = pixel_hectares(first.grid, start, len(one))
        mapped = (one != CODE_UNMARKED) & (other != CODE_UNMARKED)
        pair = one[mapped].astype(np.int64) * size + other[mapped]
        pixels += np.bincount(pair, minlength=size * size)
        hectares += np.bincount(pair, areas[mapped], size * size)
        unmapped_pixels += int((~mapped).sum())
        unmapped_hectares += float(areas[~mapped].sum())
    name = {one.code: one.name for one in first.classes}
    rows = [
        Transition(name[at // size], name[at % size], int(pixels[at]), float(hectares[at]))
        for at in np.flatnonzero(pixels).tolist()
    ]
    return Transitions(tuple(rows), unmapped_pixels, unmapped_hectares)


def _rows_of(first: MapRecord, second: MapRecord) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """First row and codes of both maps; ``CODE_UNMARKED`` for every code that is no class."""
    known = np.zeros(256, dtype=np.uint8)
    for one in first.classes:
        known[one.code] = one.code
    grid = first.grid
    step = max(1, min(512, _PIXELS_AT_ONCE // grid.width))
    try:
        with rasterio.open(first.path) as one, rasterio.open(second.path) as other:
            for start in range(0, grid.height, step):
                window = Window(0, start, grid.width, min(step, grid.height - start))
                yield start, known[one.read(1, window=window)], known[other.read(1, window=window)]
    except RasterioError as error:
        raise DataError(f"{first.path} or {second.path} is damaged ({in_brief(error)}); make it again") from None


# --- the change map ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangeClasses:
    """Classes of a change map.

    Attributes:
        classes: code 1.. in order; code 0 = no class in one of the maps.
        lookup: uint8 (256, 256), code for the codes of both maps.
    """

    classes: tuple[LandCover, ...]
    lookup: NDArray[np.uint8]

    @property
    def rare(self) -> tuple[str, ...]:
        """Names of the classes of change, around which a sample needs a buffer."""
        return tuple(one.name for one in self.classes if not one.name.startswith(STABLE))


def change_classes(
    record: MapRecord, found: Transitions, named: Sequence[tuple[str, str]] = (), *, merge_stable: bool = False
) -> ChangeClasses:
    """Stable classes, transitions that are named, and all other change as one class; without those that do not occur.

    Args:
        record: one of the two maps.
        named: (before, after) of transitions that are classes of their own.
        merge_stable: what did not change is one class, whatever it is.

    Raises:
        UsageError: a name is of no class, a transition is none, or there are too many classes.
    """
    by_name = {one.name: one for one in record.classes}
    for before, after in named:
        for name in (before, after):
            if name not in by_name:
                raise UsageError(f"--transition {before}:{after}: no class {name!r}; there are {', '.join(by_name)}")
        if before == after:
            raise UsageError(f"--transition {before}:{after} is no change; name two classes")
    stable_of = {one.name: STABLE if merge_stable else f"{STABLE}_{one.name}" for one in record.classes}
    rest = OTHER if named else CHANGE
    occurring = {(row.before, row.after) for row in found.rows}

    def name_of(before: str, after: str) -> str:
        if before == after:
            return stable_of[before]
        return f"{before}_to_{after}" if (before, after) in named else rest

    shown = {name_of(*pair) for pair in occurring}
    wanted = [*dict.fromkeys(stable_of.values()), *(name_of(*pair) for pair in dict.fromkeys(named)), rest]
    names = [name for name in wanted if name in shown]
    if len(names) > _MOST_CODES:
        raise UsageError(f"{len(names)} classes of change; name fewer with --transition, or use --merge-stable")
    looks = {stable_of[one.name]: (f"Stable: {one.title.lower()}", _pale(one.rgb)) for one in record.classes}
    if merge_stable:
        looks[STABLE] = ("Stable", (225, 225, 220))
    for before, after in named:
        title = f"{by_name[before].title} to {by_name[after].title.lower()}"
        looks[name_of(before, after)] = (title, by_name[after].rgb)
    looks[rest] = ("Other change" if named else "Change", _CHANGE)
    code = {name: number for number, name in enumerate(names, start=1)}
    lookup = np.zeros((256, 256), dtype=np.uint8)
    for before, after in occurring:
        lookup[by_name[before].code, by_name[after].code] = code[name_of(before, after)]
    classes = tuple(
        LandCover(number, name, looks[name][0], "".join(f"{part:02x}" for part in looks[name][1]), number + 1)
        for number, name in enumerate(names)
    )
    return ChangeClasses(classes, lookup)


def _pale(rgb: Rgb) -> Rgb:
    """The colour, two thirds of the way to white: change stands out by its lightness, for everybody."""
    red, green, blue = (round(part + (255 - part) * 2 / 3) for part in rgb)
    return red, green, blue


def write_change(path: Path, first: MapRecord, second: MapRecord, of: ChangeClasses) -> None:
    """Write the change map; the same maps and classes give the same bytes.

    Raises:
        UsageError: another file is there.
        DataError: one of the maps is damaged.
        MachineError: it cannot be written.
    """
    tags = _tags(first, second, of)
    check_free(path, tags["IDENTITY"])
    transform = tuple(first.grid.transform)[:6]
    grid = RasterGrid(_crs_of(first), transform, (first.grid.height, first.grid.width))
    writer = RowWriter(path, grid, nodata=CODE_UNMARKED, overviews="mode", colours=colours_of(of), tags=tags)
    counts = np.zeros(256, dtype=np.int64)
    with writer.open() as file:
        for start, one, other in _rows_of(first, second):
            codes = of.lookup[one, other]
            file.write(start, codes)
            counts += np.bincount(codes.ravel(), minlength=256)
    write_names(path, of, [int(counts[one.code]) for one in of.classes])


def check_free(path: Path, identity: str = "") -> None:
    """Refuse a path where a file is that is not this change map.

    Raises:
        UsageError: it is no .tif, or another file is there.
    """
    if path.suffix.casefold() not in (".tif", ".tiff"):
        raise UsageError(f"-o {path}: a change map is a GeoTIFF; name it {path.with_suffix('.tif').name}")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: the folder {path.parent} does not exist; make it first")
    if path.exists():
        tags = tags_of(path)
        if "CHANGE" not in tags or (identity and tags.get("IDENTITY") != identity):
            raise UsageError(f"{path} exists and is no change map of these maps; name another file with -o")


def _crs_of(record: MapRecord) -> str:
    authority = record.grid.crs.to_authority()
    return ":".join(authority) if authority else record.grid.crs.to_wkt()


def _tags(first: MapRecord, second: MapRecord, of: ChangeClasses) -> dict[str, str]:
    hashes = [sha256_of_file(record.path) for record in (first, second)]
    words = " ".join(f"{one.code}={one.name}" for one in of.classes)
    identity = hashlib.sha256(repr((hashes, words)).encode()).hexdigest()[:16]
    days = [record.days for record in (first, second)]
    kept = ("MODEL", "TRAINED_ON", "RUN", "RECIPE", "SETTINGS", "PIXELS")
    sandbox = first.tags.get("SANDBOX") or second.tags.get("SANDBOX")
    said = {
        "DWPLUS": __version__,
        "IDENTITY": identity,
        "CONTENT": "Change of land cover",
        "CHANGE": f"{first.path.name} ({hashes[0]}) to {second.path.name} ({hashes[1]})",
        "DATE": "/".join(f"{one[0]}" for one in days if one is not None),
        "IMAGES": ", ".join((*first.scenes, *second.scenes)),
        "SANDBOX": sandbox or ("the pixels are synthetic" if first.synthetic or second.synthetic else ""),
        **{key: first.tags[key] for key in kept if first.tags.get(key) and first.tags[key] == second.tags.get(key)},
        "CLASSES": words,
    }
    return {key: value for key, value in said.items() if value}
