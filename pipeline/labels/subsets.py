"""Which tiles the paper kept: hypotheses, counted from workbook and manifest before any pixel is requested.

The paper keeps 16,893 + 299 patches of about 24,194 + 409 that are published, and names one rule: both sensors must
cover a tile. Every combination of a few plausible rules is counted; the nearest to the paper's two numbers is a guess,
not a finding: several rules can give one number. Comes after ``ingest``; ``build --subset paper`` takes the nearest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...manifests import load_toml
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError
from ..files.atomic import read_json, write_json
from .metadata import Metadata, read_metadata
from .releases import releases

MOST_RULES = 3
"""Rules in one combination: with more, some combination fits any number."""

_WHOLE = 0.9
"""Share of the published number from which on a release counts as whole: that of non-experts is known as "about"."""

SUBSET_FILE = "subset.json"

NEAR = 0.02
"""Distance up to which a combination would explain the paper's numbers as well as another."""

WELL_MARKED = 0.7
"""Share of a tile that annotators were asked to mark, at least. Source: Brown et al. 2022."""


@dataclass(frozen=True)
class Candidate:
    """A published tile, and what is known of it before its pixels are.

    Attributes:
        split: ``train`` or ``test``, as released.
        year: of the label.
        markups: how many people's labels of it are published.
        expert: one of them is an expert's.
        kept: its split is not in doubt: it overlaps no tile of the test release.
        marked_share: of the label that is used; None where it is not known.
        crs_matches: the label's scene is named, and lies in the label's own UTM zone; None where no scene is named.
        has_s1: whether Sentinel-1 was found; None before a build asked.
    """

    id: str
    split: str
    year: int
    markups: int = 1
    expert: bool = False
    kept: bool = True
    marked_share: float | None = None
    crs_matches: bool | None = None
    has_s1: bool | None = None


@dataclass(frozen=True)
class Rule:
    """A reason to keep a tile.

    Attributes:
        keeps: of a tile: True, False, or None where it is not known; such a tile is kept.
    """

    title: str
    keeps: Callable[[Candidate], bool | None]


RULES: Mapping[str, Rule] = {
    "2019": Rule("labels of 2019 only", lambda tile: tile.year == 2019),
    "no-2017": Rule("no labels of 2017", lambda tile: tile.year != 2017),
    "experts": Rule("training tiles that an expert drew", lambda tile: tile.split == "test" or tile.expert),
    "non-experts": Rule("training tiles that no expert drew", lambda tile: tile.split == "test" or not tile.expert),
    "no-overlap": Rule("no ground of another split", lambda tile: tile.kept),
    "marked": Rule(
        f"at least {WELL_MARKED:.0%} marked",
        lambda tile: None if tile.marked_share is None else tile.marked_share >= WELL_MARKED,
    ),
    "crs": Rule("scene in the label's own UTM zone", lambda tile: tile.crs_matches),
    "scene": Rule("scene named in the release", lambda tile: tile.crs_matches is not None),
    "s1": Rule("Sentinel-1 within the window", lambda tile: tile.has_s1),
}
"""Name -> rule. ``each-markup`` is no rule but a way to count: every person's label of a tile is a patch of its own."""

EACH_MARKUP = "each-markup"


@dataclass(frozen=True)
class Hypothesis:
    """A combination of rules, counted.

    Attributes:
        rules: names; ``each-markup`` among them where labels are counted and not tiles. Empty: everything.
        train, test: tiles or labels that it keeps.
        unknown: tiles of which a rule does not know; they are kept.
        distance: sum of the two relative deviations from the target.
    """

    rules: tuple[str, ...]
    train: int
    test: int
    unknown: int
    distance: float

    @property
    def title(self) -> str:
        """``labels of 2019 only; scene named in the release; one tile per id``."""
        rules = [RULES[name].title for name in self.rules if name != EACH_MARKUP]
        return "; ".join([*rules, "every markup counts" if EACH_MARKUP in self.rules else "one tile per id"])


@dataclass(frozen=True)
class Target:
    """The numbers to come near: the paper's, or their share of a release that is smaller than the published one.

    Attributes:
        scaled: it is a share.
    """

    train: int
    test: int
    scaled: bool

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Target:
        """The paper's numbers where as many tiles are there as are published, or nearly; otherwise in proportion."""
        section = load_toml("paper")["section3"]
        paper = {"train": section["training_tiles"]["value"], "test": section["test_tiles"]["value"]}
        there = {split: sum(one.markups for one in candidates if one.split == split) for split in paper}
        published = {
            split: sum(file.tiles or 0 for release in releases() for file in release.files if file.split == split)
            for split in paper
        }
        if all(there[split] > _WHOLE * published[split] or not there[split] for split in paper):
            train, test = (paper[split] if there[split] else 0 for split in ("train", "test"))
            return cls(train, test, scaled=False)
        train, test = (round(paper[split] * there[split] / published[split]) for split in ("train", "test"))
        return cls(train, test, scaled=True)

    def distance(self, train: int, test: int) -> float:
        """Sum of the relative deviations; a release without tiles of one kind is compared in the other alone."""
        pairs = ((train, self.train), (test, self.test))
        return sum(abs(found - wanted) / wanted for found, wanted in pairs if wanted)


# --- candidates -------------------------------------------------------------------------------------------------------


def candidates_of(root: DataRoot) -> list[Candidate]:
    """Every released tile of a data root, by what manifest, workbook and ledger say.

    Raises:
        DataError: there is no manifest yet, or it holds no released tiles.
    """
    rows = [row for row in root.manifest().rows if row.release in ("train", "test")]
    if not rows:
        raise DataError(f"{root} holds no released tiles; run 'dwplus labels index' first, or name another --data")
    asked = {
        tile: row.reason != "no_s1"
        for tile, row in root.ledger().items()
        if row.state == "done" or row.reason == "no_s1"
    }
    return candidates_from(rows, read_metadata(root.releases), asked)


def candidates_from(
    rows: Sequence[ManifestRow], metadata: Metadata, has_s1: Mapping[str, bool] | None = None
) -> list[Candidate]:
    """Candidates of manifest rows.

    Args:
        metadata: what the publisher says; (labeler, id) of a training tile is one markup.
        has_s1: tile -> whether Sentinel-1 was found, of the tiles for which a build asked.
    """
    drawn: dict[str, set[str]] = {}
    for labeler, tile in metadata:
        drawn.setdefault(tile, set()).add(labeler)
    found = []
    for row in rows:
        labelers = {row.labeler, *(drawn.get(row.tile.id, set()) - {"consensus"})} if row.release == "train" else set()
        found.append(
            Candidate(
                id=row.tile.id,
                split=row.release,
                year=row.tile.date.year,
                markups=max(1, len(labelers)),
                expert="expert" in labelers,
                kept=row.discard not in ("test_overlap", "split_border"),
                marked_share=row.marked_share,
                crs_matches=crs_matches(row.tile.crs, row.s2_product_id or row.s2_index),
                has_s1=(has_s1 or {}).get(row.tile.id),
            )
        )
    return found


_MGRS = re.compile(r"(?:^|_)T(\d{2})([C-X])[A-Z]{2}(?:_|$)")


def crs_matches(crs: str, scene: str) -> bool | None:
    """Whether a scene lies in a tile's UTM zone, by the granule in its name; None where no granule is named.

    Args:
        crs: ``EPSG:32720``.
        scene: product id or Earth Engine's index: ``..._T20MMA_...``.
    """
    granule = _MGRS.search(scene)
    if granule is None:
        return None
    zone, band = int(granule[1]), granule[2]
    return crs.upper() == f"EPSG:{(32600 if band >= 'N' else 32700) + zone}"


# --- the subset of a data root ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subset:
    """Tiles that a data root is narrowed to.

    Attributes:
        hypothesis: that chose them.
        ids: of the tiles.
    """

    hypothesis: Hypothesis
    ids: frozenset[str]

    def __str__(self) -> str:
        counts = f"{self.hypothesis.train:,} + {self.hypothesis.test:,}"
        return f"subset paper, a guess: {self.hypothesis.title} ({counts}; 'dwplus labels subsets' has others)"


def paper_subset(root: DataRoot) -> Subset:
    """The tiles that the paper probably kept; the rules are those that were recorded first, or the nearest now.

    Sentinel-1 is no rule here: a build discards tiles without it, and what it found must not change the choice.

    Raises:
        DataError: there is no manifest yet, it holds no released tiles, or the record cannot be read.
    """
    candidates = [replace(one, has_s1=None) for one in candidates_of(root)]
    chosen = _recorded(root, candidates) or nearest(candidates)
    return Subset(chosen, tiles_of(candidates, chosen.rules))


def record_subset(root: DataRoot, subset: Subset) -> None:
    """Write ``subset.json``, so that later builds take the same rules."""
    path = root.folder / SUBSET_FILE
    if not path.is_file():
        write_json(
            path, {"subset": "paper", "guess": True, "title": subset.hypothesis.title, **asdict(subset.hypothesis)}
        )


def _recorded(root: DataRoot, candidates: Sequence[Candidate]) -> Hypothesis | None:
    path = root.folder / SUBSET_FILE
    if not path.is_file():
        return None
    document = read_json(path)
    rules = tuple(document["rules"]) if isinstance(document, dict) and isinstance(document.get("rules"), list) else None
    if rules is None or not {*rules} <= {*RULES, EACH_MARKUP}:
        raise DataError(f"{path} names no rules that this version knows; delete it to choose anew")
    kept = tiles_of(candidates, rules)
    train, test = (
        sum(one.markups if EACH_MARKUP in rules else 1 for one in candidates if one.id in kept and one.split == split)
        for split in ("train", "test")
    )
    return Hypothesis(rules, train, test, 0, Target.of(candidates).distance(train, test))


# --- counting ---------------------------------------------------------------------------------------------------------


def hypotheses(candidates: Sequence[Candidate], target: Target | None = None) -> list[Hypothesis]:
    """Every combination of up to ``MOST_RULES`` rules, the nearest to the target first; of equal ones that of fewest.

    A rule that keeps all tiles, or none, adds nothing and is left out.
    """
    target = target or Target.of(candidates)
    kept, unknown = _tables(candidates)
    train = np.array([one.split == "train" for one in candidates], dtype=bool)
    markups = np.array([one.markups for one in candidates], dtype=np.int64)
    useful = [name for name, keeps in kept.items() if keeps.any() and not keeps.all()]
    ways = [False, True] if (markups > 1).any() else [False]
    found = []
    for number in range(MOST_RULES + 1):
        for rules in combinations(useful, number):
            if {"experts", "non-experts"} <= {*rules} or {"2019", "no-2017"} <= {*rules}:
                continue  # the one excludes, or contains, the other
            keeps = np.ones(len(candidates), dtype=bool)
            doubt = np.zeros(len(candidates), dtype=bool)
            for name in rules:
                keeps &= kept[name]
                doubt |= unknown[name]
            for each in ways:
                weights = markups if each else np.ones_like(markups)
                counts = int(weights[keeps & train].sum()), int(weights[keeps & ~train].sum())
                names = (*rules, EACH_MARKUP) if each else rules
                found.append(Hypothesis(names, *counts, int((doubt & keeps).sum()), target.distance(*counts)))
    return sorted(found, key=lambda one: (one.distance, len(one.rules), one.rules))


def _tables(candidates: Sequence[Candidate]) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]:
    """Rule -> bool (tiles,): kept; and whether it is not known."""
    said = {name: [rule.keeps(one) for one in candidates] for name, rule in RULES.items()}
    kept = {name: np.array([value is not False for value in values], dtype=bool) for name, values in said.items()}
    unknown = {name: np.array([value is None for value in values], dtype=bool) for name, values in said.items()}
    return kept, unknown


def nearest(candidates: Sequence[Candidate], target: Target | None = None) -> Hypothesis:
    """The combination whose numbers are nearest to the target: a guess."""
    return hypotheses(candidates, target)[0]


def tiles_of(candidates: Sequence[Candidate], rules: Sequence[str]) -> frozenset[str]:
    """Ids of the tiles that rules keep."""
    wanted = [RULES[name] for name in rules if name != EACH_MARKUP]
    return frozenset(one.id for one in candidates if all(rule.keeps(one) is not False for rule in wanted))
