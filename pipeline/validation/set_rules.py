"""Rules about the whole set: what is wrong with the set as a whole, though every tile of it may be sound.

``CHECKS`` are pure: a ``SetView`` goes in, findings come out. The stage (what is read, where findings are written) is
``audit``. Comes after ``validate`` and before ``normalise``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..dataset.findings import Finding
from ..dataset.ledger import LedgerRow
from ..dataset.manifest import SPLITS, ManifestRow
from ..spec.classes import DYNAMIC_WORLD, ClassTable
from ..spec.overlaps import nearest_km
from ..spec.sources import Source
from ..spec.tiles import biome_names
from ..spec.words import count_of
from .manifest_checks import check_manifest
from .shift import SetShift, Shift, set_shift
from .tile_summaries import TileSummary

SET_RULES: Mapping[str, str] = {
    "duplicate-id": "no tile stands twice in the manifest",
    "duplicate-label": "no two tiles have the same label file",
    "duplicate-ground": "no ground is there twice on one day",
    "split-overlap": "no ground is in two splits",
    "test-overlap": "training tiles on test ground are left out",
    "test-missing": "all 409 released test tiles are there",
    "zone": "a tile lies in the zone of its grid",
    "name": "a tile lies where its name says",
    "hemisphere": "a tile lies in the hemisphere of its folder",
    "biome": "the biome of each tile is known",
    "date": "the date is that of the name and within Sentinel-2's time",
    "same-scene": "no Sentinel-2 scene is in two splits",
    "split-distance": "splits lie apart",
    "mixed-recipe": "all shards have one source and one recipe",
    "class-missing": "each class is in each split that learns or scores",
    "class-balance": "splits have classes in like shares",
    "biome-missing": "each biome of the test split is trained on",
    "s1-few": "Sentinel-1 was averaged over enough observations",
    "s1-cover": "Sentinel-1 covers the tile",
    "shift": "optics, radar and label of a tile lie on each other",
    "set-shift": "optics, radar and labels lie on each other over all",
}
"""Rules of the audit -> what holds where nothing is found."""

NEAR_KM = 10.0
"""Centres of two splits nearer than this are worth knowing: two tile widths; weather, soil and fields are the same."""

FEW_OBSERVATIONS = 10
"""A mean over fewer is speckled: 10 observations of 4.4 looks each (IW GRD) leave a standard deviation of 0.7 dB. 360
days hold 30 passes of each orbit of one satellite, 60 of two."""

LEAST_COVER = 0.99

LEAST_CLASS_DISTANCE = 0.25
"""Total variation (half the sum of absolute differences, 0..1) between class shares of two splits worth knowing."""

SHIFT_PX = 0.4
"""A tile is out of place where it lies this far from the set's median."""

SET_SHIFT_PX = 0.25
"""A whole set is out of place where its median is this far from zero, and from its own error."""

SPREADS = 4.0
"""And where it lies this many robust standard deviations of single tiles away: sensors differ in what they see."""

PAIRS: Mapping[str, str] = {
    "s1": "Sentinel-1 against Sentinel-2",
    "label": "edges of the label against Sentinel-2",
}
"""Measured pairs: name -> as text; a shift says where that lies, seen from Sentinel-2."""


@dataclass(frozen=True)
class SetView:
    """All that the checks may know.

    Attributes:
        rows: complete tiles, in manifest order.
        left_out: tiles that the manifest says not to use.
        ledger: last row of each tile.
        summaries: tile id -> its numbers.
        shifts: pair -> tile id -> measured shift, None where nothing could be compared; of a sample of tiles.
        today: no label is of a later day.
        classes: of the labels.
    """

    rows: tuple[ManifestRow, ...]
    left_out: tuple[ManifestRow, ...]
    ledger: Mapping[str, LedgerRow]
    summaries: Mapping[str, TileSummary]
    shifts: Mapping[str, Mapping[str, Shift | None]] = field(default_factory=dict)
    today: date | None = None
    classes: ClassTable = DYNAMIC_WORLD

    def by_split(self) -> dict[str, list[ManifestRow]]:
        """Split (``strict``) -> its tiles; splits without tiles are left out."""
        groups: dict[str, list[ManifestRow]] = defaultdict(list)
        for row in self.rows:
            groups[row.split_strict].append(row)
        return {split: groups[split] for split in SPLITS if groups.get(split)}

    def compared(self) -> dict[str, list[ManifestRow]]:
        """Splits that must not know each other: all but user-supplied tiles."""
        return {split: rows for split, rows in self.by_split().items() if split != "inspect"}


def audit(view: SetView) -> list[Finding]:
    """All findings about the set, by tile and rule; those about the set as a whole (no tile) first."""
    findings = [finding for check in CHECKS for finding in check(view)]
    return sorted(findings, key=lambda f: (f.tile, f.rule, f.message))


# --- manifest ---------------------------------------------------------------------------------------------------------


def _manifest(view: SetView) -> Iterator[Finding]:
    """The checks of the manifest, over complete tiles. Little marked labels are found by the rules for one tile."""
    release = {row.tile.id: row.release for row in view.rows}
    for found in check_manifest((*view.rows, *view.left_out), today=view.today):
        if found.rule == "unmarked":
            continue
        about_set = found.rule in ("test-overlap", "test-missing")
        # Of two tiles that clash, the one that is not a test tile is named, and left out where it is an error.
        ordered = sorted(found.tiles, key=lambda tile: (release.get(tile) == "test", tile))
        tile = "" if about_set else ordered[0]
        others = "" if about_set or len(ordered) < 2 else f" (with {', '.join(ordered[1:4])})"
        yield Finding(tile, found.rule, found.severity, found.message + others)


def _recipes(view: SetView) -> Iterator[Finding]:
    for what in ("source", "recipe"):
        values = sorted({getattr(view.ledger[row.tile.id], what) for row in view.rows})
        if len(values) > 1:
            yield Finding("", "mixed-recipe", "error", f"shards are of {len(values)} {what}s: {', '.join(values)}")


# --- splits -----------------------------------------------------------------------------------------------------------


def _same_scene(view: SetView) -> Iterator[Finding]:
    """One finding per tile of the split that learns: it could be left out, a test tile could not."""
    by_scene: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for split, rows in view.compared().items():
        for row in rows:
            if scene := view.ledger[row.tile.id].scene:
                by_scene[scene][split].append(row.tile.id)
    for scene, splits in by_scene.items():
        for first, second in combinations([s for s in SPLITS if s in splits], 2):
            others = splits[second]
            words = f"{len(others)} {second} tile{'s' * (len(others) > 1)} ({', '.join(sorted(others)[:2])}"
            for tile in splits[first]:
                more = ", ..." if len(others) > 2 else ""
                message = f"{first} tile of scene {scene}, which is also that of {words}{more})"
                yield Finding(tile, "same-scene", "warning", message)


def distances(view: SetView) -> dict[tuple[str, str], NDArray[np.float64]]:
    """(split, other split) -> float64 (tiles of the first): km from each centre to the nearest one of the other."""
    centres = {split: np.array([row.tile.centre for row in rows]) for split, rows in view.compared().items()}
    # From the smaller, scored split to the one that is learned from.
    return {(b, a): nearest_km(centres[b], centres[a]) for a, b in combinations(centres, 2)}


def _distances(view: SetView) -> Iterator[Finding]:
    for (split, other), km in distances(view).items():
        near = int((km < NEAR_KM).sum())
        if near:
            words = f"{near} of {len(km)} {split} tiles lie within {NEAR_KM:g} km of a {other} tile (centres); "
            yield Finding("", "split-distance", "warning", f"{words}the nearest at {km.min():.1f} km")


# --- classes and biomes -----------------------------------------------------------------------------------------------


def class_counts(rows: Sequence[ManifestRow], view: SetView) -> NDArray[np.int64]:
    """int64 (classes,): marked pixels of each class."""
    counts = [view.summaries[row.tile.id].classes for row in rows if row.tile.id in view.summaries]
    total: NDArray[np.int64] = np.array(counts, dtype=np.int64).reshape(-1, len(view.classes)).sum(axis=0)
    return total


def class_distance(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Total variation between the class shares of two counts: 0 = the same shares, 1 = no class in common."""
    shares = [counts / max(1, counts.sum()) for counts in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _classes(view: SetView) -> Iterator[Finding]:
    counts = {split: class_counts(rows, view) for split, rows in view.compared().items()}
    for land_cover in view.classes.classes:
        there = [split for split, of in counts.items() if of[land_cover.index]]
        for split in counts:
            if there and split not in there:
                words = f"no pixel of {land_cover.name} in {split}, but in {' and '.join(there)}"
                yield Finding("", "class-missing", "warning", words)
    for first, second in combinations(counts, 2):
        distance = class_distance(counts[first], counts[second])
        if distance > LEAST_CLASS_DISTANCE and counts[first].any() and counts[second].any():
            shares = [counts[split] / counts[split].sum() for split in (first, second)]
            worst = view.classes.classes[int(np.argmax(np.abs(shares[0] - shares[1])))]
            words = (
                f"class shares of {first} and {second} differ by {distance:.0%} (total variation), most: {worst.name}, "
                f"{shares[0][worst.index]:.1%} and {shares[1][worst.index]:.1%}"
            )
            yield Finding("", "class-balance", "warning", words)


def _biomes(view: SetView) -> Iterator[Finding]:
    splits = view.compared()
    trained = {row.tile.biome for row in splits.get("train", [])}
    if not trained:
        return
    for biome in sorted({row.tile.biome for row in splits.get("test", [])} - trained):
        words = f"biome {biome} ({biome_names().get(biome, 'not known')}) is tested, but no training tile is of it"
        yield Finding("", "biome-missing", "warning", words)


# --- Sentinel-1 -------------------------------------------------------------------------------------------------------


def _sentinel_1(view: SetView) -> Iterator[Finding]:
    for tile, summary in view.summaries.items():
        # How Sentinel-1 was made is declared for pixels of a user; a data set of them may have none.
        added = Source.of(view.ledger[tile].source).added
        if summary.s1_covered == 0 and added:
            continue
        if summary.s1_median < FEW_OBSERVATIONS and not added:
            words = f"Sentinel-1 is a mean of {summary.s1_median:g} observations (median pixel), fewer than "
            yield Finding(tile, "s1-few", "warning", f"{words}{FEW_OBSERVATIONS}")
        if summary.s1_covered < LEAST_COVER:
            words = f"Sentinel-1 covers {summary.s1_covered:.1%} of the tile only"
            yield Finding(tile, "s1-cover", "warning", words)


# --- shift ------------------------------------------------------------------------------------------------------------


def set_shifts(view: SetView) -> dict[str, SetShift]:
    """Pair -> what the measured tiles say together."""
    return {pair: set_shift(of.values()) for pair, of in view.shifts.items() if of}


def _shifts(view: SetView) -> Iterator[Finding]:
    for pair, middle in set_shifts(view).items():
        length = float(np.hypot(middle.dx, middle.dy))
        if length > SET_SHIFT_PX and length > 3 * middle.error:
            words = (
                f"{PAIRS[pair]}: {_where(middle.dx, middle.dy)} in the median of {count_of(middle.clear, 'tile')} "
                f"(+-{middle.error:.2f} px; one tile +-{np.hypot(middle.spread_x, middle.spread_y):.2f} px)"
            )
            yield Finding("", "set-shift", "warning", words)
        allowed = max(SHIFT_PX, SPREADS * float(np.hypot(middle.spread_x, middle.spread_y)))
        for tile, shift in view.shifts[pair].items():
            if shift is None or not shift.clear:
                continue
            if np.hypot(shift.dx - middle.dx, shift.dy - middle.dy) > allowed:
                words = (
                    f"{PAIRS[pair]}: {_where(shift.dx, shift.dy)} (peak {shift.clarity:.0f} standard deviations high; "
                    f"median of the set {middle.dx:+.2f}, {middle.dy:+.2f} px)"
                )
                yield Finding(tile, "shift", "warning", words)


def _where(dx: float, dy: float) -> str:
    return f"{abs(dx):.2f} px {'east' if dx >= 0 else 'west'} and {abs(dy):.2f} px {'south' if dy >= 0 else 'north'}"


CHECKS: tuple[Callable[[SetView], Iterator[Finding]], ...] = (
    _manifest,
    _recipes,
    _same_scene,
    _distances,
    _classes,
    _biomes,
    _sentinel_1,
    _shifts,
)
