"""Numbers of the own labels of a data root, for people: what each class has, and which have too little.

Reads what ``add`` wrote; changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..dataset.inputs import LabelInput, read_inputs
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError
from ..spec.classes import LandCover
from ..spec.tiles import RESOLUTION_M, locate
from .add import OWN, SPLIT_BORDER
from .blocks import SPLITS, block_of

FEW_BLOCKS = 10
"""Below this number of places, a class has too few for its scores to say much."""

NOT_A_MAP = (
    "Scores on labels that were drawn by hand are not the accuracy of a map: labels are drawn where a class is easy to "
    "see, edges and mixed pixels are left out, and classes are not as frequent as on the ground. The accuracy of a map "
    "needs a random sample of its pixels."
)


@dataclass(frozen=True)
class ClassFacts:
    """What the labels of one class amount to.

    Attributes:
        pixels: marked with it.
        km2: the same as area.
        features: polygons or points; 0 where its labels are rasters.
        tiles, blocks: that hold it.
        dates: different days or periods.
        first, last: day of them.
        of_split: split -> pixels, of tiles that are used.
        too_few: it lies in fewer than 10 blocks.
    """

    name: str
    title: str
    colour: str
    pixels: int
    km2: float
    features: int
    tiles: int
    blocks: int
    dates: int
    first: str
    last: str
    of_split: Mapping[str, int]
    too_few: bool


@dataclass(frozen=True)
class LabelReport:
    """What own labels a data root holds.

    Attributes:
        table: name of the class table.
        block_km: side of the blocks.
        tiles: split -> tiles that are used.
        left_out_tiles: training tiles beside a val or test tile.
        ignored_pixels: where features of two classes overlap, or whose code the table ignores.
    """

    root: str
    table: str
    table_hash: str
    block_km: float
    tiles: Mapping[str, int]
    left_out_tiles: int
    ignored_pixels: int
    classes: tuple[ClassFacts, ...]
    inputs: tuple[LabelInput, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def too_few(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.classes if one.too_few)

    def to_dict(self) -> dict[str, Any]:
        """As one JSON object; tiles of inputs as their number."""
        inputs = [{**asdict(one), "tiles": len(one.tiles)} for one in self.inputs]
        return {**asdict(self), "inputs": inputs, "too_few": list(self.too_few), "note": NOT_A_MAP}


def report_labels(root: DataRoot) -> LabelReport:
    """The report of a data root.

    Raises:
        DataError: it holds no own labels.
    """
    manifest, inputs = root.manifest(), read_inputs(root.folder)
    rows = {row.tile.id: row for row in manifest.rows if row.release == OWN}
    if not rows:
        raise DataError(f"{root} holds no own labels; add some with 'dwplus labels add'")
    locate(row.tile for row in rows.values())
    counts = {tile: numbers for one in inputs.labels for tile, numbers in one.tiles.items() if tile in rows}
    features: Counter[str] = Counter()
    for one in inputs.labels:
        features.update(one.features)
    used = [row for row in rows.values() if not row.discard]
    return LabelReport(
        root=str(root),
        table=manifest.classes.name,
        table_hash=manifest.classes.hash,
        block_km=inputs.block_km,
        tiles={split: sum(row.split_strict == split for row in used) for split in SPLITS},
        left_out_tiles=sum(row.discard == SPLIT_BORDER for row in rows.values()),
        ignored_pixels=sum(numbers[manifest.classes.ignored_code] for numbers in counts.values()),
        classes=tuple(
            _facts(one, rows, counts, features[one.name], inputs.block_km) for one in manifest.classes.classes
        ),
        inputs=tuple(sorted(inputs.labels, key=lambda one: one.file)),
        refused=inputs.refused,
    )


def _facts(
    one: LandCover,
    rows: Mapping[str, ManifestRow],
    counts: Mapping[str, list[int]],
    features: int,
    block_km: float,
) -> ClassFacts:
    holders = [rows[tile] for tile, numbers in counts.items() if numbers[one.code]]
    pixels: dict[str, int] = defaultdict(int)
    for row in holders:
        if not row.discard:
            pixels[row.split_strict] += counts[row.tile.id][one.code]
    days = sorted({row.period or str(row.tile.date) for row in holders})
    total = sum(counts[row.tile.id][one.code] for row in holders)
    blocks = len({block_of(row.tile, block_km) for row in holders})
    return ClassFacts(
        name=one.name,
        title=one.title,
        colour=one.colour,
        pixels=total,
        km2=round(total * RESOLUTION_M**2 / 1e6, 4),
        features=features,
        tiles=len(holders),
        blocks=blocks,
        dates=len(days),
        first=days[0].split("/")[0] if days else "",
        last=max((day.split("/")[-1] for day in days), default=""),
        of_split={split: pixels[split] for split in SPLITS},
        too_few=blocks < FEW_BLOCKS,
    )
