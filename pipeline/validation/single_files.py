"""Single files: judge rasters that dwplus did not write, before anything is built on them.

A file is judged as a shard, Sentinel-2, Sentinel-1 or a label (``--as``, or guessed from its bands), and held against
the grid of a reference where one is named (``--like``). The rules are those of ``rules``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset.findings import Finding
from ..errors import DataError, MachineError, UsageError
from ..files.walk import walk
from ..raster.geotiff import LABEL_BAND, RasterGrid, ShardHeader
from ..spec.tiles import TILE_SIZE_PX, tile_id_of
from .file_view import L2A_BANDS, FileView, Kind, Opened, canonical_names, open_fully
from .rules import BY_NAME, judge

_ENDINGS = (".tif", ".tiff")


@dataclass(frozen=True)
class Verdict:
    """The verdict on one file.

    Attributes:
        kind: what it was judged as; None where that is unknown.
        guessed: why it was judged as that, where the kind was guessed; empty where it was given.
    """

    path: Path
    kind: Kind | None
    guessed: str
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        """Whether no rule with severity ``error`` is broken; warnings do not refuse a file."""
        return not any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class Reference:
    """The grid that files have to lie on, and what it is called."""

    name: str
    grid: RasterGrid


def read_reference(path: Path) -> Reference:
    """Grid of a raster that others are held against.

    Raises:
        UsageError: it cannot be opened, or has no CRS.
    """
    opened = open_fully(path)
    if opened.header is None:
        raise UsageError(f"--like {path} {opened.fault}; name a raster on the grid that is wanted, as a label tile")
    if opened.header.grid.crs == "no CRS":
        raise UsageError(f"--like {path} has no CRS; name a raster on the grid that is wanted, as a label tile")
    return Reference(path.name, opened.header.grid)


def files_below(paths: Sequence[Path]) -> list[Path]:
    """The files named, and every ``.tif`` and ``.tiff`` below the folders named, each once, in order.

    Raises:
        UsageError: a path does not exist, or a folder holds no such file.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise UsageError(f"{path} does not exist; name files or folders that hold .tif files")
        inside = [path]
        if path.is_dir():
            below = walk(path, _ENDINGS)
            # What cannot be opened is judged too: it is refused, by name.
            inside = sorted([*below.files, *below.unusable])
            if not inside:
                raise UsageError(f"{path} holds no .tif or .tiff file; name another folder, or the files themselves")
        found.update(dict.fromkeys(inside))
    return list(found)


def judge_file(path: Path, *, kind: Kind | None = None, like: Reference | None = None) -> Verdict:
    """Accept or refuse one file, with every reason.

    Args:
        kind: the rules that it is held against; None = guessed from its bands.
        like: the grid that it has to lie on; None = any.
    """
    try:
        opened = open_fully(path)
    except MachineError as error:
        if path.exists() and not os.access(path, os.R_OK):
            return Verdict(path, kind, "", (Finding(str(path), "readable", "error", f"cannot be read: {error}"),))
        raise
    if kind is None and opened.header is None:
        rule = "file-size" if opened.too_large else "readable"
        return Verdict(path, None, "", (Finding(str(path), rule, "error", opened.fault),))
    guess, why = (kind, "") if kind is not None or opened.header is None else guess_kind(opened.header)
    if guess is None:
        return Verdict(path, None, "", (*_whatever_it_is(path, opened), Finding(str(path), "kind", "error", why)))
    found = judge(_view(path, opened, kind=guess, like=like))
    return Verdict(path, guess, why, tuple(Finding(str(path), f.rule, f.severity, f.message) for f in found))


def _view(path: Path, opened: Opened, *, kind: Kind, like: Reference | None) -> FileView:
    return FileView(
        kind=kind,
        name=_name_of(path),
        header=opened.header,
        values=opened.values,
        fault=opened.fault,
        too_large=opened.too_large,
        gcps=opened.gcps,
        reference=_wanted_grid(like, opened.header) if like is not None else None,
        reference_name=like.name if like is not None else "",
        sha256=opened.sha256,
    )


def _wanted_grid(like: Reference, header: ShardHeader | None) -> RasterGrid:
    """The reference's grid; what is as large as a tile is held against a 512 px test label without its margin."""
    if header is None or header.grid.shape != (TILE_SIZE_PX,) * 2 or like.grid.shape != (TILE_SIZE_PX + 2,) * 2:
        return like.grid
    a, b, c, d, e, f = like.grid.transform
    return RasterGrid(like.grid.crs, (a, b, c + a + b, d, e, f + d + e), header.grid.shape)


def _whatever_it_is(path: Path, opened: Opened) -> list[Finding]:
    """What is wrong with a file of unknown kind, by rules for any kind."""
    view = _view(path, opened, kind="s2", like=None)
    asked = [BY_NAME[name] for name in ("readable", "driver", "crs", "resolution", "empty-band")]
    results = ((rule, rule.check(view)) for rule in asked)
    return [Finding(str(path), rule.name, rule.severity, message) for rule, message in results if message]


_TILE_NAME = re.compile(r"^dw_-?[\d.]*\d_-?[\d.]*\d-\d{8}")


def _name_of(path: Path) -> str:
    """Tile id where the file's name begins with one (``dw_....s2_l2a.tif``), its stem otherwise."""
    match = _TILE_NAME.match(path.name)
    if match:
        return match[0]
    try:
        return tile_id_of(path.stem)
    except DataError:
        return path.stem


def guess_kind(header: ShardHeader) -> tuple[Kind | None, str]:
    """The likely kind of a file, and why; None with a message where it is unclear."""
    names, count, dtypes = canonical_names(header.bands), len(header.bands), set(header.dtypes)
    optical = [name for name in names if name in L2A_BANDS]
    if header.tags.get("DWPLUS_RECIPE") or "S1_N" in names:
        return "shard", "its tags or its band S1_N"
    if len(optical) > 1 or (optical and count == 1):
        return "s2", f"bands named {', '.join(optical[:3])}"
    if "VV" in names or "VH" in names:
        return "s1", "bands named VV, VH"
    if LABEL_BAND in names or (count == 1 and dtypes == {"uint8"}):
        return "label", f"a band named {LABEL_BAND}" if LABEL_BAND in names else "one band of bytes"
    if not any(names) and count == len(L2A_BANDS) and dtypes <= {"uint16", "int16", "int32", "uint32"}:
        return "s2", f"{count} integer bands without names"
    if not any(names) and count <= 2 and dtypes <= {"float32", "float64"}:
        return "s1", f"{count} float band{'s' * (count != 1)} without names"
    kinds = ", ".join(sorted(dtypes))
    return None, f"could be anything: {count} band{'s' * (count != 1)} of {kinds}; say what it is with --as"


def remedy_of(finding: Finding) -> str:
    """What to do about a finding."""
    rule = BY_NAME.get(finding.rule)
    return rule.remedy if rule else "say what it is: --as shard, s2, s1 or label"
