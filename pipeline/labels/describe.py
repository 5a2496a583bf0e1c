"""What is known of label tiles, for the user: counts over a manifest, and one tile by its name or its file.

Reads what ``ingest`` wrote; changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset.ledger import LedgerRow
from ..dataset.manifest import Manifest, ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.remote import Place
from ..raster.geotiff import read_codes, read_header
from ..raster.label_raster import read_label
from ..spec.classes import CODE_UNMARKED, DYNAMIC_WORLD, ClassTable
from ..spec.test_tiles import biome_of, is_test_tile
from ..spec.tiles import Tile, biome_names, hemisphere_of, parse_tile_id, tile_id_of

# Counts over a manifest -----------------------------------------------------------------------------------------------

_COUNTED: dict[str, Callable[[ManifestRow], str]] = {
    "release": lambda row: row.release,
    "labeler": lambda row: row.labeler,
    "split (strict)": lambda row: row.split_strict,
    "region": lambda row: row.tile.region,
    "biome": lambda row: _biome_as_text(row.tile.biome),
    "scene named by": lambda row: "index" if row.s2_index else "product id" if row.s2_product_id else "nothing",
    "left out": lambda row: row.discard,
}


def count_rows(rows: Iterable[ManifestRow]) -> dict[str, dict[str, int]]:
    """Property -> value -> number of tiles, values in their order; tiles that are left out count there alone."""
    rows = tuple(rows)
    counts: dict[str, dict[str, int]] = {}
    for name, key in _COUNTED.items():
        counted = rows if name == "left out" else [row for row in rows if not row.discard]
        found = Counter(value for row in counted if (value := key(row)))
        counts[name] = {value.strip(): number for value, number in sorted(found.items())}
    return counts


def _biome_as_text(number: int) -> str:
    return f"{number:2} {biome_names().get(number, 'not known')}"


# One tile -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelFacts:
    """Everything that is known of one label tile.

    Attributes:
        codes: uint8 (H, W), codes of the class table.
        row: of the manifest; None for a file that is in none.
        labelers: whose markup of this tile is in the data root.
        ledger: its status; None where it was never requested.
        source: ``SANDBOX`` where the label is of a synthetic planet.
        classes: of the label.
    """

    tile: Tile
    path: Place
    codes: NDArray[np.uint8]
    row: ManifestRow | None = None
    labelers: tuple[str, ...] = field(default=())
    ledger: LedgerRow | None = None
    source: str = ""
    classes: ClassTable = DYNAMIC_WORLD

    @property
    def title(self) -> str:
        return f"{self.tile.id}\n{', '.join(self.labelers) or 'labeler not known'}"

    @property
    def class_shares(self) -> dict[str, float]:
        """Class -> share (0..1) of the pixels that carry one of the classes, largest first."""
        counts = np.bincount(self.codes.ravel(), minlength=self.classes.ignored_code + 1)
        marked = max(1, int(counts[1 : self.classes.ignored_code].sum()))
        shares = {c.name: float(counts[c.code]) / marked for c in self.classes.classes if counts[c.code]}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object; what is not known is left out."""
        tile, row = self.tile, self.row
        lon, lat = tile.centre
        size = self.codes.size
        known: dict[str, Any] = {
            "dw_id": tile.id,
            "source": self.source,
            "label": str(self.path),
            "labelers": list(self.labelers),
            "date": tile.date.isoformat(),
            "crs": tile.crs,
            "transform": list(tile.transform),
            "shape": list(tile.shape),
            "lon": round(lon, 6),
            "lat": round(lat, 6),
            "hemisphere": tile.hemisphere,
            "region": tile.region,
            "biome": _biome_as_text(tile.biome).strip() if tile.biome else "",
            "test_tile": is_test_tile(tile.id),
            "marked_share": round(self.classes.marked_share(self.codes), 4),
            "unmarked_share": round(int(np.count_nonzero(self.codes == CODE_UNMARKED)) / size, 4),
            f"{self.classes.code_names[-1]}_share": round(
                int(np.count_nonzero(self.codes == self.classes.ignored_code)) / size, 4
            ),
            "class_shares": {name: round(share, 4) for name, share in self.class_shares.items()},
        }
        if row is not None:
            known |= {
                "release": row.release,
                "split_strict": row.split_strict,
                "split_paper": row.split_paper,
                "left_out": row.discard,
                "s2_index": row.s2_index,
                "s2_product_id": row.s2_product_id,
                "period": row.period,
                "annotator": row.annotator,
            }
        if self.ledger is not None:
            known |= {"state": self.ledger.state, "reason": self.ledger.reason, "scene": self.ledger.scene}
        return {name: value for name, value in known.items() if value not in ("", [], {})}


def describe_file(path: Path) -> LabelFacts:
    """What a label tile says by itself: a file as released, or one below ``labels/``.

    Raises:
        DataError: it is not a label tile.
    """
    tile_id = tile_id_of(path.stem)
    raster = read_label(path)
    named = parse_tile_id(tile_id)
    folder = path.parent.parent.name
    tile = Tile(
        id=tile_id,
        crs=raster.crs,
        transform=raster.transform,
        shape=raster.shape,
        date=named.date,
        hemisphere="EH" if folder == "EH" else "WH" if folder == "WH" else hemisphere_of(named.lon),
        biome=biome_of(tile_id, path.parent.name),
    )
    tags = read_header(path).tags
    labelers = tuple(filter(None, [tags.get("LABELER")]))
    return LabelFacts(tile, path, raster.codes, labelers=labelers, source=tags.get("SOURCE", ""))


def describe_tiles(root: DataRoot, ids: Sequence[str]) -> list[LabelFacts]:
    """What a data root knows of tiles.

    Raises:
        UsageError: it has no tile of that name; says which come close.
        DataError: the root holds no manifest, or a label cannot be read.
    """
    manifest = root.manifest()
    ledger = root.ledger()
    rows = {row.tile.id: row for row in manifest.rows}
    return [_describe_row(root, _row_of(one, rows, manifest, root), ledger) for one in ids]


def _row_of(given: str, rows: dict[str, ManifestRow], manifest: Manifest, root: DataRoot) -> ManifestRow:
    try:
        tile_id = tile_id_of(given.removesuffix(".tif"))
    except DataError:
        tile_id = given
    if tile_id in rows:
        return rows[tile_id]
    close = [row.tile.id for row in manifest.rows if given and given in row.tile.id]
    if len(close) == 1:
        return rows[close[0]]
    hint = f"; {len(close)} tiles hold that text, for example {', '.join(close[:3])}" if close else ""
    raise UsageError(f"{root} knows no label tile {given!r}, and there is no such file{hint}")


def _describe_row(root: DataRoot, row: ManifestRow, ledger: dict[str, LedgerRow]) -> LabelFacts:
    tile, path = row.tile, root.label(row)
    if isinstance(path, Path) and not path.is_file():
        raise DataError(f"{path} is missing; run 'dwplus labels index' to write it again")
    classes = root.classes()
    there = root.labels.glob(f"*/{tile.hemisphere}/{tile.biome}/{tile.id}.tif")
    others = {found.relative_to(root.labels).parts[0] for found in there} - {row.labeler}
    return LabelFacts(
        tile=tile,
        path=path,
        codes=read_codes(path) if row.release == "own" else read_label(path).codes,
        row=row,
        labelers=(row.labeler, *sorted(others)),
        ledger=ledger.get(tile.id),
        source=read_header(path).tags.get("SOURCE", ""),
        classes=classes,
    )
