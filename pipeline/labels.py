"""Label tiles on disk: found by place and name, read with their grid.

First stage of the flow. ``acquire`` (in ``label_releases``) brings the released archives to disk, or ``from_folder``
takes tiles given by hand; ``index`` says which label tiles are there, ``read_label`` opens one, ``read_metadata`` (in
``label_metadata``) tells what the publisher knows of them. The manifest comes next.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from rasterio import Env
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from ..manifests import load_csv
from .archives import extract
from .downloads import Patience
from .errors import DataError, UsageError
from .files import sha256_of
from .label_metadata import Metadata, read_metadata
from .label_releases import (
    TEST_PREFIX,
    Acquired,
    Labeler,
    Release,
    ReleaseFile,
    ReleaseSplit,
    acquire,
    dw_id_of,
    fetch,
    find_release,
    releases,
)
from .landcover import RELEASED_CODES
from .shards import LABEL_BAND
from .tiles import RESOLUTION_M, TILE_SIZE_PX, Hemisphere, biome_names, parse_tile_id

__all__ = [
    "Acquired",
    "Ignored",
    "LabelFile",
    "LabelRaster",
    "Labeler",
    "Metadata",
    "Patience",
    "Release",
    "ReleaseFile",
    "ReleaseSplit",
    "Survey",
    "acquire",
    "biome_of",
    "extract",
    "fetch",
    "find_release",
    "from_earth_engine",
    "from_folder",
    "hemisphere_of",
    "index",
    "is_test_tile",
    "labeler_of_folder",
    "read_label",
    "read_metadata",
    "releases",
    "survey",
]
"""The whole stage, wherever its parts live."""


# Index ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelFile:
    """One label tile on disk, as far as its place and name tell.

    Attributes:
        dw_id: released name, ``dw_<lon>_<lat>-<YYYYMMDD>``; together with ``labeler`` the key of a label.
        hemisphere: the released folder ``EH`` or ``WH``; without one, see ``hemisphere_of``.
        biome: the released folder 1..14; without one, from the metadata or the list of test tiles; 0 = not known.
        split: ``train`` or ``test`` as released, ``inspect`` for tiles given by hand.
        band: name of the band that holds the label, None where the file has one band only.
    """

    dw_id: str
    labeler: Labeler
    path: Path
    hemisphere: Hemisphere
    biome: int
    split: ReleaseSplit
    band: str | None = None


@dataclass(frozen=True)
class Ignored:
    """A TIFF that is no label tile, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Survey:
    """Every TIFF below a folder: label tiles in the order (labeler, dw_id), and the others."""

    labels: tuple[LabelFile, ...]
    ignored: tuple[Ignored, ...]


_LABELER_OF_FOLDER: dict[str, Labeler] = {
    "experts": "expert",
    "expert": "expert",
    "experts_tiles": "expert",
    "non_expert": "non_expert",
    "non_experts": "non_expert",
    "non_expert_tiles": "non_expert",
    "workforce": "non_expert",
    "dw_test": "consensus",
    "consensus": "consensus",
}
_SPLIT_OF_LABELER: dict[Labeler, ReleaseSplit] = {
    "expert": "train",
    "non_expert": "train",
    "consensus": "test",
    "unknown": "inspect",
}

_WEST_OF_LON = -20.0


def labeler_of_folder(name: str) -> Labeler | None:
    """Who annotated the tiles of a folder of that name; None where the name does not say."""
    return _LABELER_OF_FOLDER.get(name.casefold().replace("-", "_"))


def index(folder: Path, *, metadata: Metadata | None = None) -> list[LabelFile]:
    """The label tiles below a folder, in the order (labeler, dw_id); ``survey`` also says what was left out."""
    return list(survey(folder, metadata=metadata).labels)


def survey(folder: Path, *, metadata: Metadata | None = None) -> Survey:
    """Sort every TIFF below a folder into label tiles and the rest, by place and name alone.

    Args:
        metadata: as ``read_metadata`` gives it; tells the biome of tiles that lie in no biome folder.
    """
    labels: dict[tuple[str, str], LabelFile] = {}
    ignored: list[Ignored] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.casefold() in (".tif", ".tiff") and p.is_file()):
        try:
            label = _label_file(path, folder, metadata or {})
        except DataError as error:
            ignored.append(Ignored(path, str(error)))
            continue
        first = labels.setdefault((label.labeler, label.dw_id), label)
        if first is not label:
            ignored.append(Ignored(path, f"same tile of the same labeler as {first.path}"))
    return Survey(tuple(labels[key] for key in sorted(labels)), tuple(ignored))


def from_folder(folder: Path) -> list[LabelFile]:
    """Label tiles given by hand (``--labels DIR``): split ``inspect``, whatever they are in their release.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no label tile; says what it holds.
    """
    if not folder.is_dir():
        raise UsageError(f"--labels {folder}: no such folder; name one that holds label tiles (dw_....tif)")
    found = survey(folder, metadata=read_metadata(folder))
    if not found.labels:
        examples = "".join(f"; {i.path.name}: {i.reason}" for i in found.ignored[:3])
        raise DataError(
            f"--labels {folder}: no Dynamic World label tile in it (names look like "
            f"dw_-2.7415152153_5.6549699454-20181226.tif), {len(found.ignored)} other TIFF files{examples}"
        )
    return [replace(label, split="inspect") for label in found.labels]


def from_earth_engine(folder: Path, *, metadata: Metadata | None = None) -> list[LabelFile]:
    """Label tiles that ``label_assets`` brought: nobody's folder says train or test, the list of test tiles does."""
    found = index(folder, metadata=metadata)
    return [replace(label, split="test" if is_test_tile(label.dw_id) else "train") for label in found]


def is_test_tile(dw_id: str) -> bool:
    """Whether a tile is one of the 409 of the test release."""
    return dw_id in _biomes_of_test_tiles()


def _label_file(path: Path, folder: Path, metadata: Metadata) -> LabelFile:
    dw_id = dw_id_of(path.stem)
    labeler = _labeler_of(path, folder)
    known = metadata.get((labeler, dw_id), {})
    hemisphere, biome = _place(path)
    return LabelFile(
        dw_id=dw_id,
        labeler=labeler,
        path=path,
        hemisphere=hemisphere or hemisphere_of(parse_tile_id(dw_id).lon),
        biome=biome or biome_of(dw_id, known.get("biome", "")),
        split=_SPLIT_OF_LABELER[labeler],
        band=LABEL_BAND if path.name.startswith(TEST_PREFIX) else None,
    )


def _labeler_of(path: Path, folder: Path) -> Labeler:
    """Who annotated a tile: the innermost folder that says so, else the prefix of test tiles."""
    places = (*reversed(path.relative_to(folder).parts[:-1]), folder.name)
    named = map(labeler_of_folder, places)
    fallback: Labeler = "consensus" if path.name.startswith(TEST_PREFIX) else "unknown"
    return next((labeler for labeler in named if labeler is not None), fallback)


def _place(path: Path) -> tuple[Hemisphere | None, int | None]:
    """Hemisphere and biome of ``.../{EH,WH}/{1..14}/<file>``."""
    hemisphere, biome = path.parent.parent.name, path.parent.name
    if not (biome.isdecimal() and int(biome) in biome_names()):
        return None, None
    if hemisphere == "EH":
        return "EH", int(biome)
    return ("WH", int(biome)) if hemisphere == "WH" else (None, None)


def hemisphere_of(lon: float) -> Hemisphere:
    """Folder of a tile that lies in none: ``WH`` west of 20W, ``EH`` from there on.

    Brown et al. 2022 draw the line between the Western Hemisphere and Eastern Hemisphere 1 at 20W, not at Greenwich,
    and all 409 test tiles keep to it.
    """
    return "WH" if lon < _WEST_OF_LON else "EH"


def biome_of(dw_id: str, stated: str) -> int:
    """RESOLVE biome of a tile, 1..14: as stated, else from the list of test tiles; 0 = not known."""
    if stated.isdecimal() and int(stated) in biome_names():
        return int(stated)
    return _biomes_of_test_tiles().get(dw_id, 0)


@cache
def _biomes_of_test_tiles() -> dict[str, int]:
    numbers = {name: number for number, name in biome_names().items()}
    return {row["dw_id"]: numbers.get(row["BIOME_NAME"], 0) for row in load_csv("test_409")}


# Read ----------------------------------------------------------------------------------------------------------------

_TEST_SIZE_PX = 512
_LARGEST_LABEL_FILE = 64 << 20
"""Bytes: a released tile has at most 0.6 MB; anything far larger is something else and is not read into memory."""


@dataclass(frozen=True)
class LabelRaster:
    """Pixels and grid of one label tile.

    Attributes:
        codes: uint8 (510, 510), released codes 0..10 (0 unmarked, 10 cloud).
        crs: ``EPSG:326zz`` or ``EPSG:327zz``.
        transform: (a, b, c, d, e, f) of pixel corners, metres: x = a col + b row + c, y = d col + e row + f.
        sha256: of the file.
    """

    codes: NDArray[np.uint8]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    sha256: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]


def read_label(path: Path) -> LabelRaster:
    """Open a label tile as released: 510 x 510 px, or 512 x 512 px, which loses one pixel on each side.

    The file is read once, so that hash and pixels belong together; it is opened as GeoTIFF, whatever its name says.

    Raises:
        DataError: it is not a label tile; says what it has and what is expected.
    """
    content = _content(path)
    try:
        with (
            Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            MemoryFile(content) as memory,
            memory.open(driver="GTiff") as raster,
        ):
            crs, transform = _grid(raster, path)
            band = _label_band(raster, path)
            codes = _checked_codes(raster.read(band), path)
    except RasterioError as error:
        raise DataError(f"{path} cannot be read as a GeoTIFF ({error}); is it complete? get it again") from error
    margin = (codes.shape[0] - TILE_SIZE_PX) // 2
    a, b, c, d, e, f = transform
    return LabelRaster(
        codes=np.ascontiguousarray(codes[margin : margin + TILE_SIZE_PX, margin : margin + TILE_SIZE_PX]),
        crs=crs,
        transform=(a, b, c + margin * a, d, e, f + margin * e),
        sha256=sha256_of(content),
    )


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= _LARGEST_LABEL_FILE:
            raise DataError(f"{path} has {size} bytes; a label tile has some thousand")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _grid(raster: DatasetReader, path: Path) -> tuple[str, tuple[float, float, float, float, float, float]]:
    """CRS and transform of a raster with a grid that label tiles have.

    That the origin is a multiple of 10 m is not asked for: the grid of the label is the authority, wherever it lies.
    """
    shape = (raster.height, raster.width)
    if shape not in ((TILE_SIZE_PX,) * 2, (_TEST_SIZE_PX,) * 2):
        raise DataError(
            f"{path} has {raster.width} x {raster.height} px; a label tile has {TILE_SIZE_PX} x {TILE_SIZE_PX} "
            f"(test release: {_TEST_SIZE_PX} x {_TEST_SIZE_PX})"
        )
    epsg = None if raster.crs is None else _utm_epsg(raster.crs.to_wkt())
    if epsg is None:
        raise DataError(
            f"{path} has the CRS {_crs_name(raster.crs)}; a label tile has UTM on WGS 84 (EPSG:326zz, 327zz)"
        )
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    if not np.allclose((a, b, d, e), (RESOLUTION_M, 0, 0, -RESOLUTION_M), rtol=0, atol=1e-6):
        raise DataError(f"{path} has pixels of ({a:g}, {b:g}, {d:g}, {e:g}) m; a label tile has 10 m, north up")
    return f"EPSG:{epsg}", (RESOLUTION_M, 0.0, c, 0.0, -RESOLUTION_M, f)


@lru_cache(maxsize=256)
def _utm_epsg(wkt: str) -> int | None:
    """EPSG code of UTM on WGS 84, or None for any other CRS; tiles carry the full text of theirs."""
    code = pyproj.CRS.from_wkt(wkt).to_epsg()
    return code if code is not None and code // 100 in (326, 327) and 1 <= code % 100 <= 60 else None


def _crs_name(crs: Any) -> str:
    return "none" if crs is None else str(pyproj.CRS.from_wkt(crs.to_wkt()).name)


def _label_band(raster: DatasetReader, path: Path) -> int:
    """Number (from 1) of the band that holds the label, by name where there are several."""
    names = tuple(raster.descriptions)
    if LABEL_BAND in names:
        return names.index(LABEL_BAND) + 1
    if names == (None,):
        return 1
    listed = ", ".join(str(name or "unnamed") for name in names)
    raise DataError(f"{path} has the bands {listed}; a label tile has one without a name, or one named {LABEL_BAND!r}")


def _checked_codes(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if values.dtype == np.uint8 and values.max() <= max(RELEASED_CODES):
        return values  # nearly all tiles: sorting out which codes there are takes a hundred times as long
    found = np.unique(values)
    alien = [value for value in found.tolist() if value not in RELEASED_CODES]
    if alien:
        listed = ", ".join(f"{value:g}" for value in alien[:5])
        raise DataError(f"{path} holds the values {listed}; a label tile holds the codes 0..10 only")
    return values.astype(np.uint8)
