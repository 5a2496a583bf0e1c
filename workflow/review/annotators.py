"""Experts against others: how often the labels of each are contradicted by the network, and by one another.

Comes beside ``regions``. Tiles that two kinds of people drew are rare in the archive; where there are some, the network
can be asked whose side it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import IGNORE
from ...pipeline.spec.words import count_of
from .regions import TileCounts


@dataclass(frozen=True)
class OfAnnotator:
    """Tiles of one kind of annotator.

    Attributes:
        annotator: ``expert``, ``non_expert``, ``consensus``, or the name that a user gave.
        tiles: number.
        counts: of all of them together.
    """

    annotator: str
    tiles: int
    counts: TileCounts

    def to_dict(self) -> dict[str, Any]:
        """For JSON; shares of the pixels that count."""
        return {
            "annotator": self.annotator,
            "tiles": self.tiles,
            **asdict(self.counts),
            "wrong_share": self.counts.wrong_share,
            "sure_share": self.counts.sure_share,
        }


def by_annotator(tiles: Iterable[tuple[str, TileCounts]]) -> list[OfAnnotator]:
    """Of tiles with their annotators, in order of the annotators' names."""
    found: dict[str, OfAnnotator] = {}
    for annotator, counts in tiles:
        before = found.get(annotator, OfAnnotator(annotator, 0, TileCounts(0, 0, 0, 0.0)))
        found[annotator] = OfAnnotator(annotator, before.tiles + 1, before.counts + counts)
    return [found[name] for name in sorted(found)]


@dataclass
class Sides:
    """Pixels that both the label and people who are no experts marked.

    Attributes:
        tiles: with such pixels.
        both: pixels.
        differ: those of them where the two say different classes.
        label, others, neither: of these, whom the network agrees with.
    """

    tiles: int = 0
    both: int = 0
    differ: int = 0
    label: int = 0
    others: int = 0
    neither: int = 0

    def add(self, label: NDArray[np.uint8], others: NDArray[np.uint8], predicted: NDArray[np.integer[Any]]) -> None:
        """Count a tile: class indices (H, W), ``IGNORE`` where one says nothing."""
        both = (label != IGNORE) & (others != IGNORE)
        differ = both & (label != others)
        with_label, with_others = (int((differ & (predicted == one)).sum()) for one in (label, others))
        self.tiles += bool(both.any())
        self.both += int(both.sum())
        self.differ += int(differ.sum())
        self.label += with_label
        self.others += with_others
        self.neither += int(differ.sum()) - with_label - with_others


def as_text(annotators: Iterable[OfAnnotator], sides: Sides) -> list[str]:
    """Lines for people."""
    lines = [
        f"{one.annotator or 'annotator not known'}: {count_of(one.tiles, 'tile')}, the network disagrees in "
        f"{one.counts.wrong_share:.2%} of the labelled pixels, and is sure in {one.counts.sure_share:.2%}"
        for one in annotators
    ]
    if not sides.differ:
        return lines
    of_label, of_others, neither = (one / sides.differ for one in (sides.label, sides.others, sides.neither))
    lines.append(
        f"{count_of(sides.tiles, 'tile')} drawn by non-experts too: they differ from the label in "
        f"{sides.differ / sides.both:.2%} of {sides.both:,} pixels; there the network says the label in "
        f"{of_label:.1%}, the non-experts' class in {of_others:.1%}, neither in {neither:.1%}"
    )
    return lines


def sides_as_dict(sides: Sides) -> Mapping[str, int]:
    """For JSON."""
    return asdict(sides)
