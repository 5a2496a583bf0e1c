"""Validate: read every shard and its label to the last byte and say what is wrong with them.

``RULES`` are pure: a ``Look`` at one tile goes in, a message (or nothing) comes out. Comes after ``export`` and before
``normalise``; tiles with an error are left out of statistics and training.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from .bands import BANDS, NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS, decode
from .cluster import Runner
from .errors import DataError
from .files import read_json, write_atomically, write_json
from .landcover import RELEASED_CODES, marked_share
from .ledger import read_ledger
from .manifest import ManifestRow
from .shards import ShardHeader, grid_of, header_of, open_raster, shard_path
from .tiles import Tile

FINDINGS_JSON = "findings.json"
FINDINGS_CSV = "findings.csv"

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with one tile.

    Attributes:
        tile: tile id.
        rule: name of the rule.
        severity: an ``error`` keeps the tile out of statistics and training, a ``warning`` does not.
        message: what was found, in words.
    """

    tile: str
    rule: str
    severity: Severity
    message: str


@dataclass(frozen=True)
class Look:
    """All that the rules may know of one tile.

    Attributes:
        header: what the shard says about itself.
        pixels: uint16 (bands, H, W), as stored.
        label: header of the label raster.
        codes: uint8 (H, W), released codes.
    """

    tile: Tile
    header: ShardHeader
    pixels: NDArray[np.uint16]
    label: ShardHeader
    codes: NDArray[np.uint8]

    def band(self, name: str) -> NDArray[np.uint16]:
        values: NDArray[np.uint16] = self.pixels[SHARD_BANDS.index(name)]
        return values


@dataclass(frozen=True)
class Rule:
    """A name, what a broken rule means, and the check: a message where it is broken, None where it holds."""

    name: str
    severity: Severity
    check: Callable[[Look], str | None]


# --- form: checked on the headers, before any pixel -------------------------------------------------------------------


def _driver(look: Look) -> str | None:
    return None if look.header.driver == "GTiff" else f"is {look.header.driver}, not a GeoTIFF"


def _bands(look: Look) -> str | None:
    if look.header.bands == SHARD_BANDS:
        return None
    return f"holds bands {', '.join(look.header.bands)} instead of {', '.join(SHARD_BANDS)}"


def _dtype(look: Look) -> str | None:
    others = sorted(set(look.header.dtypes) - {"uint16"})
    return f"holds {', '.join(others)} instead of uint16" if others else None


def _grid(look: Look) -> str | None:
    if look.header.grid == grid_of(look.tile):
        return None
    return f"lies on {look.header.grid}, its tile on {grid_of(look.tile)}"


def _label_grid(look: Look) -> str | None:
    if look.label.grid == look.header.grid:
        return None
    return f"label lies on {look.label.grid}, the shard on {look.header.grid}"


def _encoding(look: Look) -> str | None:
    scales = tuple(BANDS[b].scale for b in SHARD_BANDS)
    offsets = tuple(BANDS[b].offset for b in SHARD_BANDS)
    if (look.header.scales, look.header.offsets, look.header.nodata) == (scales, offsets, NODATA):
        return None
    return "scale, offset or nodata differ from the band table"


def _provenance(look: Look) -> str | None:
    needed = ("DWPLUS_SOURCE", "DWPLUS_RECIPE", "S2_SCENE", "S1_WINDOW", "S1_MEAN")
    missing = [tag for tag in needed if not look.header.tags.get(tag)]
    return f"tags {', '.join(missing)} are missing" if missing else None


# --- content ----------------------------------------------------------------------------------------------------------


def _codes(look: Look) -> str | None:
    strange = sorted(set(np.unique(look.codes).tolist()) - RELEASED_CODES)
    return f"label holds codes {strange}, not only 0..10" if strange else None


def _empty_band(look: Look) -> str | None:
    empty = [b for b in SHARD_BANDS if not look.band(b).any()]
    return f"bands {', '.join(empty)} hold no pixel" if empty else None


def _stuck_band(look: Look) -> str | None:
    stuck = [b for b in (*S2_BANDS, *S1_BANDS) if look.band(b).any() and np.ptp(look.band(b)) == 0]
    return f"bands {', '.join(stuck)} hold one value only" if stuck else None


def _gaps(look: Look) -> str | None:
    missing = {b: float(np.mean(look.band(b) == NODATA)) for b in ("B2", "VV")}
    wide = {b: share for b, share in missing.items() if 0.01 < share < 1}
    return ", ".join(f"{share:.0%} of {b} has no data" for b, share in wide.items()) or None


def _sar_range(look: Look) -> str | None:
    for name in S1_BANDS:
        decibel = decode(look.band(name)[None], (name,))
        if np.all(np.isnan(decibel)):
            continue
        median = float(np.nanmedian(decibel))
        if not -45.0 < median < 10.0:
            return f"median {name} is {median:.1f} dB: linear power, or another unit?"
    return None


def _unmarked(look: Look) -> str | None:
    share = marked_share(look.codes)
    return f"only {share:.1%} of the label is marked" if share < 0.3 else None


RULES: tuple[Rule, ...] = (
    Rule("driver", "error", _driver),
    Rule("bands", "error", _bands),
    Rule("dtype", "error", _dtype),
    Rule("grid", "error", _grid),
    Rule("label-grid", "error", _label_grid),
    Rule("encoding", "error", _encoding),
    Rule("provenance", "error", _provenance),
    Rule("codes", "error", _codes),
    Rule("empty-band", "error", _empty_band),
    Rule("stuck-band", "error", _stuck_band),
    Rule("sar-range", "error", _sar_range),
    Rule("gaps", "warning", _gaps),
    Rule("unmarked", "warning", _unmarked),
)
_FORM = frozenset({"driver", "bands", "dtype", "grid", "label-grid", "encoding", "provenance"})


def judge(look: Look) -> list[Finding]:
    """All findings of one tile; where its form is wrong, its content is not judged."""
    form = _broken(look, [rule for rule in RULES if rule.name in _FORM])
    if any(finding.severity == "error" for finding in form):
        return form
    return form + _broken(look, [rule for rule in RULES if rule.name not in _FORM])


def _broken(look: Look, rules: Sequence[Rule]) -> list[Finding]:
    results = ((rule, rule.check(look)) for rule in rules)
    return [Finding(look.tile.id, rule.name, rule.severity, message) for rule, message in results if message]


# --- reading ----------------------------------------------------------------------------------------------------------


def validate_tile(row: ManifestRow, root: Path) -> list[Finding]:
    """Findings of one tile; a file that cannot be read to its end is a finding too."""
    try:
        with open_raster(shard_path(root, row.tile)) as shard, open_raster(root / row.label) as label:
            look = Look(row.tile, header_of(shard), shard.read(), header_of(label), label.read(1))
    except (DataError, RasterioError) as error:
        return [Finding(row.tile.id, "readable", "error", str(error))]
    return judge(look)


@dataclass(frozen=True)
class ValidateBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: Path

    def __call__(self, rows: Sequence[ManifestRow]) -> list[Finding]:
        return [finding for row in rows for finding in validate_tile(row, self.root)]


def validate(
    rows: Sequence[ManifestRow],
    *,
    root: Path,
    run: Runner,
    all_again: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> list[Finding]:
    """Findings of all tiles, ordered by tile and rule; also written to ``findings.json`` and ``findings.csv``.

    Args:
        all_again: read also what the last validation saw in the same state, which a build need not.
    """
    ledger = read_ledger(root)
    seen = {row.tile.id: _state_of(row, ledger[row.tile.id].sha256) for row in rows if row.tile.id in ledger}
    before = {} if all_again else _validated_states(root)
    same = {tile for tile, state in seen.items() if before.get(tile) == state}
    fresh = [row for row in rows if row.tile.id not in same]
    if not fresh and before.keys() == seen.keys() and (root / FINDINGS_JSON).is_file():
        return read_findings(root)
    findings = [f for f in read_findings(root) if f.tile in same] if same else []
    for tiles, part in run(ValidateBatch(root), fresh):
        findings += part
        if on_batch is not None:
            on_batch(tiles)
    findings.sort(key=lambda f: (f.tile, f.rule))
    document = {"tiles": len(rows), "findings": [asdict(f) for f in findings], "validated": seen}
    write_json(root / FINDINGS_JSON, document)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "rule", "severity", "message"])
    writer.writerows([f.tile, f.rule, f.severity, f.message] for f in findings)
    write_atomically(root / FINDINGS_CSV, text.getvalue().encode())
    return findings


def read_findings(root: Path) -> list[Finding]:
    """Findings of the last validation.

    Raises:
        DataError: the data set was not validated yet.
    """
    return [Finding(**finding) for finding in _read_document(root)["findings"]]


def _state_of(row: ManifestRow, shard_sha256: str) -> str:
    """What was looked at: a shard with its label."""
    return f"{shard_sha256} {row.label_sha256}"


def _validated_states(root: Path) -> dict[str, str]:
    return dict(_read_document(root)["validated"]) if (root / FINDINGS_JSON).is_file() else {}


def to_validate(rows: Sequence[ManifestRow], *, root: Path) -> int:
    """How many of these tiles the last validation did not see as they are now."""
    ledger, before = read_ledger(root), _validated_states(root)
    return sum(
        before.get(row.tile.id) != _state_of(row, ledger[row.tile.id].sha256) for row in rows if row.tile.id in ledger
    )


def validated_tiles(root: Path) -> dict[str, str]:
    """Tile id -> hash of its shard, of every tile that the last validation saw.

    Raises:
        DataError: the data set was not validated yet.
    """
    return {tile: state.split(" ")[0] for tile, state in _read_document(root)["validated"].items()}


def _read_document(root: Path) -> dict[str, Any]:
    path = root / FINDINGS_JSON
    if not path.is_file():
        raise DataError(f"{root} is not validated yet; run 'dwplus validate'")
    document = read_json(path)
    if not isinstance(document, dict) or not {"findings", "validated"} <= set(document):
        raise DataError(f"{path} holds no findings; run 'dwplus validate' again")
    return document


def unreadable_tiles(root: Path) -> frozenset[str]:
    """Tiles whose shard the last validation could not read to its end; none where there was no validation."""
    if not (root / FINDINGS_JSON).is_file():
        return frozenset()
    seen, ledger = validated_tiles(root), read_ledger(root)
    broken = (f.tile for f in read_findings(root) if f.rule == "readable")
    # A shard that was written anew since then is another one.
    return frozenset(tile for tile in broken if tile in ledger and ledger[tile].sha256 == seen.get(tile))


def bad_tiles(findings: Sequence[Finding]) -> frozenset[str]:
    """Ids of tiles with an error."""
    return frozenset(finding.tile for finding in findings if finding.severity == "error")
