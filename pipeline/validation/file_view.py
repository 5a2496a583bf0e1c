"""File view: one file as the rules of validation see it, read once from its first byte to its last.

Whatever a file holds is brought to the integers that shards store (DN, (dB + 100) x 100, 0 = missing), so that one rule
serves shards and files that dwplus did not write; one histogram per band answers nearly everything that rules and
statistics need.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from ..errors import in_brief
from ..files.atomic import sha256_of
from ..files.remote import Place
from ..raster.compiled_loops import count_values
from ..raster.gdal import check_machine, fixed_options
from ..raster.geotiff import LABEL_BAND, RasterGrid, ShardHeader, header_of, plain_cause, unreadable
from ..raster.geotiff_blocks import read_blocks
from ..raster.targets import Targets
from ..spec.bands import BANDS, NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS

Kind = Literal["shard", "s2", "s1", "label"]
KINDS: tuple[Kind, ...] = ("shard", "s2", "s1", "label")

L2A_BANDS: tuple[str, ...] = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
"""Order of an L2A stack, by which twelve bands without names are told apart."""

UNNAMED_ORDER: dict[Kind, tuple[str, ...]] = {"s2": L2A_BANDS, "s1": S1_BANDS, "shard": (), "label": (LABEL_BAND,)}
"""What bands without names are taken for, where the file has exactly this many."""

PHYSICAL_RANGE: dict[Kind, tuple[float, float]] = {"s2": (-2000.0, 32_000.0), "s1": (-90.0, 50.0)}
"""What ground, water, cloud and the noise of the sensor can give: DN (an offset of 1000 may have been taken away from
dark pixels), dB. A value beyond that many pixels share is a fill value, whichever it is."""

USUAL_FILLS: dict[Kind, tuple[float, ...]] = {"s2": (-999.0, -99.0), "s1": (0.0,)}
"""Fill values within that range (0 dB to the last bit is one)."""

_FILL_SHARES: dict[Kind, float] = {"s2": 0.01, "s1": 0.001}
"""Share of one band's pixels from which on a value is a fill value: a DN of -99 occurs after an offset was removed."""

_MAX_BYTES = 1 << 30
"""A tile has some megabytes; what is a hundred times larger is another thing and is not read into memory."""

_S2_NAME = re.compile(r"^b0?(\d{1,2}a?)$", re.IGNORECASE)
_FLOOR = 0.001


@dataclass(frozen=True)
class BandFacts:
    """What a histogram says of one band, in stored values; all 0 where no pixel is valid.

    Attributes:
        pixels, valid: number of pixels, and of those that are not 0.
        floor: 0.1th percentile: the darkest pixels without single outliers.
        low, median: 1st and 50th percentile.
    """

    pixels: int
    valid: int
    minimum: int
    maximum: int
    floor: int
    low: int
    median: int

    @property
    def missing_share(self) -> float:
        return 1 - self.valid / self.pixels if self.pixels else 1.0


def facts_of(counts: NDArray[np.int64]) -> BandFacts:
    """Facts of one band.

    Args:
        counts: int64 (n,), pixels per stored value, n at most 65536.
    """
    ranks = np.cumsum(counts[1:])
    valid = int(ranks[-1]) if ranks.size else 0
    pixels = int(counts[0]) + valid if counts.size else 0
    if valid == 0:
        return BandFacts(pixels, 0, 0, 0, 0, 0, 0)
    at = [1, *(int(np.ceil(share * valid)) for share in (_FLOOR, 0.01, 0.5)), valid]
    minimum, floor, low, median, maximum = (1 + np.searchsorted(ranks, at)).tolist()
    return BandFacts(pixels, valid, minimum, maximum, floor, low, median)


@dataclass(frozen=True, eq=False)
class FileView:
    """All that the rules may know of one file.

    Attributes:
        kind: what it is judged as.
        name: tile id, or the file's name without ending.
        header: what the file says about itself; None where it cannot be opened.
        values: (bands, H, W) as in the file; None where it cannot be read to its end.
        fault: why it cannot be opened or read; empty where it can.
        too_large: that is its size.
        gcps: number of ground control points.
        reference: the grid that it must lie on; None = no other file decides.
        reference_name: what that grid belongs to, as text.
        label: header of the label beside a shard.
        label_codes: (H, W), codes of the label beside a shard.
        label_fault: why that label cannot be read; empty where it can.
        label_sha256, expected_label_sha256: of the label's bytes on disk, and by the manifest; empty = it says nothing.
        sha256, expected_sha256: of the bytes on disk, and by the ledger; empty = the ledger says nothing.
        targets: which pixels count, and the classes of the label.
        own: the label was added by a user (``dwplus labels add``): few of its pixels may be marked.
    """

    kind: Kind
    name: str
    header: ShardHeader | None
    values: NDArray[Any] | None
    fault: str = ""
    too_large: bool = False
    gcps: int = 0
    reference: RasterGrid | None = None
    reference_name: str = "its tile"
    label: ShardHeader | None = None
    label_codes: NDArray[Any] | None = None
    label_fault: str = ""
    label_sha256: str = ""
    expected_label_sha256: str = ""
    sha256: str = ""
    expected_sha256: str = ""
    targets: Targets = field(default_factory=Targets)
    own: bool = False

    @property
    def has_s1(self) -> bool:
        """Whether the data set has Sentinel-1; without it those bands of its shards are empty."""
        return self.targets.has_s1

    @cached_property
    def named(self) -> bool:
        """Whether the file itself says which band is which."""
        return self.header is not None and any(self.names_in_file)

    @cached_property
    def names_in_file(self) -> tuple[str, ...]:
        """Names of the bands, ``B02`` and ``vv`` as ``B2`` and ``VV``; empty where a band has none."""
        return canonical_names(self.header.bands) if self.header is not None else ()

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names that the bands are taken for: their own, or by their order where they have none."""
        usual = UNNAMED_ORDER[self.kind]
        return usual if not self.named and len(usual) == len(self.names_in_file) else self.names_in_file

    @cached_property
    def fills(self) -> dict[float, float]:
        """Undeclared fill value -> share of all pixels, where they are too many to be measured ones."""
        if self.values is None or self.header is None or self.kind not in PHYSICAL_RANGE:
            return {}
        found: dict[float, float] = {}
        for place, name in enumerate(self.bands):
            # Other bands, as the angle of incidence or B9, have other ranges.
            if name in SHARD_BANDS:
                for value, share in _fills_of(self.values[place], self.kind).items():
                    if value != self.header.nodata:
                        found[value] = max(share, found.get(value, 0.0))
        return dict(sorted(found.items()))

    def has(self, *bands: str) -> bool:
        """Whether pixels of all these bands could be read."""
        return self.values is not None and set(bands) <= set(self.bands)

    def stored(self, band: str) -> NDArray[np.uint16]:
        """uint16 (H, W), one band as a shard would store it, 0 = missing."""
        cache: dict[str, NDArray[np.uint16]] = self.__dict__.setdefault("_stored", {})
        if band not in cache:
            cache[band] = self._to_stored(band)
        return cache[band]

    def _to_stored(self, band: str) -> NDArray[np.uint16]:
        assert self.values is not None
        raw = self.values[self.bands.index(band)]
        if self.kind == "shard" and raw.dtype == np.uint16:
            values: NDArray[np.uint16] = raw
            return values
        missing = self._missing(raw)
        if self.kind == "s1":
            return BANDS["VV"].stored(np.where(missing, np.nan, raw.astype(np.float64)))
        numbers = np.where(missing, 0.0, raw.astype(np.float64))
        return np.where(missing, NODATA, np.clip(np.rint(numbers), 1, 65535)).astype(np.uint16)

    def _missing(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        nodata = self.header.nodata if self.header is not None else None
        values = set(self.fills) | ({nodata} if nodata is not None else set()) | ({0.0} if self.kind == "s2" else set())
        missing = np.isin(raw, [v for v in values if np.isfinite(v)])
        return missing | ~np.isfinite(raw) if np.issubdtype(raw.dtype, np.floating) else missing

    def counts(self, band: str) -> NDArray[np.int64]:
        """int64 (largest value + 1,), pixels per stored value of one band; counted once."""
        cache: dict[str, NDArray[np.int64]] = self.__dict__.setdefault("_counts", {})
        if band not in cache:
            cache[band] = count_values(self.stored(band))
        return cache[band]

    def facts(self, band: str) -> BandFacts:
        """What the histogram of one band says; worked out once."""
        cache: dict[str, BandFacts] = self.__dict__.setdefault("_facts", {})
        if band not in cache:
            cache[band] = facts_of(self.counts(band))
        return cache[band]

    @cached_property
    def s2_bands(self) -> tuple[str, ...]:
        """The Sentinel-2 bands of a shard that this file has, but for those that its data set lacks."""
        known = [band for band in S2_BANDS if band not in self.targets.absent]
        return tuple(b for b in known if self.has(b)) if self.kind in ("shard", "s2") else ()

    @cached_property
    def s1_bands(self) -> tuple[str, ...]:
        """VV and VH, as far as this file has them."""
        return tuple(b for b in S1_BANDS if self.has(b)) if self.kind in ("shard", "s1") and self.has_s1 else ()

    @cached_property
    def codes(self) -> NDArray[Any] | None:
        """(H, W), codes of the label: of the file itself, or of the one beside a shard."""
        if self.kind != "label":
            return self.label_codes
        if self.values is None or not len(self.values):
            return None
        codes: NDArray[Any] = self.values[self.bands.index(LABEL_BAND) if LABEL_BAND in self.bands else 0]
        return codes

    @cached_property
    def code_counts(self) -> NDArray[np.int64] | None:
        """int64 (256,), pixels per code; None where there is no label or its codes are no bytes."""
        return None if self.codes is None or self.codes.dtype != np.uint8 else self._counted(self.codes)

    @cached_property
    def counted_code_counts(self) -> NDArray[np.int64] | None:
        """``code_counts`` of a shard's label; pixels without data in a needed band count as unmarked."""
        whole = all(self.facts(band).valid == self.facts(band).pixels for band in self.targets.needed)
        if whole or self.code_counts is None or self.codes is None or self.values is None:
            return self.code_counts
        return self._counted(self.targets.counted_codes(self.codes, self.values))

    def _counted(self, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
        largest = self.targets.classes.ignored_code
        if codes.size and largest <= _FEW_CODES and codes.max() <= largest:
            # Few values in long runs: eleven passes take 0.3 ms, bincount waits on its own counters for 1.4 ms.
            counts = np.zeros(256, dtype=np.int64)
            counts[: largest + 1] = [np.count_nonzero(codes == code) for code in range(largest + 1)]
            return counts
        return np.bincount(codes.ravel(), minlength=256)


_FEW_CODES = 20


def _fills_of(band: NDArray[Any], kind: Kind) -> dict[float, float]:
    """Fill value -> share of the pixels of one band, where that is too large to be chance."""
    low, high = PHYSICAL_RANGE[kind]
    beyond = band[(band < low) | (band > high)]
    usual = band[np.isin(band, USUAL_FILLS[kind])]
    values, counts = np.unique(np.concatenate([beyond, usual]), return_counts=True)
    least = _FILL_SHARES[kind] * band.size
    return {float(value): int(count) / band.size for value, count in zip(values, counts, strict=True) if count > least}


def canonical_names(names: Sequence[str]) -> tuple[str, ...]:
    """``B02`` -> ``B2``, ``b8a`` -> ``B8A``, ``vv`` -> ``VV``; one name for all bands says nothing: empty."""
    known = tuple(_canonical_name(name.strip()) for name in names)
    says_nothing = len(names) > 1 and len(set(known)) == 1 and known[0] not in (*L2A_BANDS, *SHARD_BANDS)
    return ("",) * len(names) if says_nothing else known


def _canonical_name(name: str) -> str:
    match = _S2_NAME.match(name)
    if match:
        return f"B{match[1].upper()}"
    return name.upper() if name.upper() in SHARD_BANDS else name


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Opened:
    """Content of one file, as far as it could be read.

    Attributes:
        fault: why not all of it could be read; empty where it could.
        too_large: the fault is its size.
    """

    sha256: str = ""
    header: ShardHeader | None = None
    values: NDArray[Any] | None = None
    gcps: int = 0
    fault: str = ""
    too_large: bool = False


def open_fully(path: Place) -> Opened:
    """Read one raster to its last byte; nothing is raised for what a file may hold.

    Raises:
        MachineError: the file is there and this process cannot read it, or GDAL or PROJ does not work here.
    """
    try:
        if isinstance(path, Path) and path.is_symlink() and not path.exists():
            return Opened(fault=f"is a link to {path.readlink()}, which does not exist; get the content first")
        if isinstance(path, Path) and path.stat().st_size > _MAX_BYTES:
            return Opened(fault=f"has {path.stat().st_size / 1e9:.1f} GB; a tile has some megabytes", too_large=True)
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Opened(fault="does not exist")
    except IsADirectoryError:
        return Opened(fault="is a folder")
    except OSError as error:
        raise unreadable(path, error) from None
    digest = sha256_of(content)
    if not content:
        return Opened(digest, fault="is empty (0 bytes)")
    if content.lstrip()[:1] == b"<":
        # Among others a VRT, which would make GDAL open whatever it names.
        return Opened(digest, fault=_no_raster(content))
    try:
        with (
            fixed_options(),
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            MemoryFile(content) as memory,
            memory.open() as file,
        ):
            return _read(file, digest, content)
    except RasterioError:
        check_machine()
        return Opened(digest, fault=_no_raster(content))
    except ValueError as error:
        # Names and tags that are no text: a flipped byte is enough, and the stage must continue.
        return Opened(digest, fault=f"has a damaged header: {in_brief(error)}")


def _read(file: DatasetReader, digest: str, content: bytes) -> Opened:
    header, gcps = header_of(file), len(file.gcps[0])
    needed = file.count * file.height * file.width * np.dtype(file.dtypes[0]).itemsize
    if needed > _MAX_BYTES:
        fault = f"would take {needed / 1e9:.1f} GB of memory ({file.count} bands, {file.width} x {file.height} px)"
        return Opened(digest, header, None, gcps, fault, too_large=True)
    try:
        blocks = read_blocks(file, content, file.indexes)
        return Opened(digest, header, file.read() if blocks is None else blocks, gcps)
    except RasterioError as error:
        check_machine()
        cause = f": {plain_cause(error)}" if error.__cause__ else ""
        fault = f"opens but cannot be read to its end: cut off or damaged ({len(content)} bytes on disk{cause})"
        return Opened(digest, header, None, gcps, fault)


_PAGE = re.compile(rb"^\s*(<!doctype html|<html|<\?xml|\{)", re.IGNORECASE)


def _no_raster(content: bytes) -> str:
    """What a file is that no raster driver opens."""
    start = content[:2000]
    if b"<VRTDataset" in start:
        return "is a VRT, which names other files, and holds no pixels itself"
    if _PAGE.match(start) or (b"\0" not in start and b"<" in start and b">" in start):
        text = re.sub(r"<[^>]*>", " ", start.decode("utf-8", errors="replace"))
        return f"holds text, not an image; a server's error page? It begins: {' '.join(text.split())[:80]!r}"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return f"begins as a TIFF and cannot be opened: cut off or damaged ({len(content)} bytes on disk)"
    return f"is no image that can be read ({len(content)} bytes, beginning with {start[:8].hex(' ')})"
