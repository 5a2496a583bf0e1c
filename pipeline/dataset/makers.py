"""Makers: who made the pixels and the labels of a data root, counted, and what follows for those who use it.

A root may hold pixels of a synthetic planet under labels of the Earth (``--labels FOLDER``, or a local Earth Engine at
``--ee-url``), or labels of several makers. Pages, card, shards and store take their words about it from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import DataError
from ..files.records import read_record
from ..spec.licences import LabelMaker, LabelTerms, released_maker
from ..spec.sources import EARTH_ENGINE, Source
from ..spec.words import count_of
from .inputs import read_inputs
from .ledger import LedgerRow
from .manifest import ManifestRow
from .root import DataRoot

LABEL_MAKERS: dict[LabelMaker, str] = {
    "synthetic": "of the synthetic planet",
    "dynamic-world": "of Dynamic World",
    "user-supplied": "user-supplied",
    "own": "own",
}
"""Maker of a label -> how a count of such labels is named."""


@dataclass(frozen=True)
class Makers:
    """How many tiles have pixels and labels of whom.

    Attributes:
        pixels: name of the source (``earthengine``, ``SANDBOX``, ``UNVERIFIED <host>``) -> tiles.
        labels: maker -> tiles; those without a tile are not in it.
        terms: licences and citations of own labels, each once.
    """

    pixels: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[LabelMaker, int] = field(default_factory=dict)
    terms: tuple[LabelTerms, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(Source.of(name) for name in self.pixels)

    @property
    def synthetic(self) -> bool:
        """Whether any pixel is synthetic."""
        return any(source.synthetic for source in self.sources)

    @property
    def satellite(self) -> bool:
        """Whether any pixel may have been seen by a satellite, so that Copernicus has to be named."""
        return any(not source.synthetic for source in self.sources)

    @property
    def mark(self) -> str:
        """Beside numbers and pictures of all tiles: whose pixels are in them besides Google's; mostly empty."""
        return ", ".join(source.mark for source in self.sources if source.mark)

    @property
    def name(self) -> str:
        """``SANDBOX``; where pixels are of several sources, each with its number of tiles."""
        if len(self.pixels) == 1:
            return next(iter(self.pixels))
        return ", ".join(f"{name} ({number:,})" for name, number in self.pixels.items()) or "not known yet"

    def about_pixels(self) -> str:
        """A sentence about who made the pixels."""
        if len(self.pixels) == 1:
            return f"Every pixel here comes from {_server(self.sources[0])}."
        parts = [f"{count_of(n, 'tile')} from {_server(Source.of(name))}" for name, n in self.pixels.items()]
        return f"Pixels: {', '.join(parts)}."

    def about_labels(self) -> str:
        """A sentence about who made the labels."""
        words = {
            "synthetic": "Every label is computed from the same synthetic planet.",
            "dynamic-world": "The labels are real: they are those of Dynamic World, as released.",
            "user-supplied": "The labels are user-supplied: who made them, and what they are worth, is for their user "
            "to say.",
            "own": "The labels are the user's own: who made them, and what they are worth, is for their user to say.",
        }
        if len(self.labels) == 1:
            return words[next(iter(self.labels))]
        return f"Labels: {self.counted_labels()}." if self.labels else ""

    def counted_labels(self) -> str:
        """``8 of Dynamic World, 3 user-supplied``."""
        return ", ".join(f"{number:,} {LABEL_MAKERS[maker]}" for maker, number in self.labels.items())

    def licence_of_labels(self) -> str:
        """A sentence about the terms under which the labels are."""
        sentences = {
            "synthetic": "Labels {n}of the synthetic planet: no rights are claimed in what is computed.",
            "dynamic-world": "Labels {n}of Dynamic World: CC BY 4.0 (doi 10.1594/PANGAEA.933475; Brown et al. 2022, "
            "doi 10.1038/s41597-022-01307-4).",
            "user-supplied": "User-supplied labels {n}keep the licence of their makers.",
            "own": f"Own labels {{n}}of the user: {self._own_terms()}.",
        }
        mixed = len(self.labels) > 1
        return " ".join(
            sentences[maker].format(n=f"({count_of(number, 'tile')}) " if mixed else "")
            for maker, number in self.labels.items()
        )

    def _own_terms(self) -> str:
        words = "; ".join(one.words for one in self.terms) or LabelTerms().words
        # Braces of a citation are no places to fill in.
        return words.replace("{", "{{").replace("}", "}}").rstrip(".")


def _server(source: Source) -> str:
    if source.added:
        return f"files that a user added ({source.name})"
    if source.synthetic:
        return "the embedded local Earth Engine, a synthetic planet"
    return "Google's Earth Engine" if source == EARTH_ENGINE else f"{source.name}, which is not Google's Earth Engine"


def label_maker(row: ManifestRow, released: LabelMaker) -> LabelMaker:
    """Who made the label of a tile; ``released`` made those that no user supplied."""
    if row.release == "own":
        return "own"
    return "user-supplied" if row.release == "inspect" else released


def terms_of(root: DataRoot, rows: Iterable[ManifestRow]) -> tuple[LabelTerms, ...]:
    """Licences and citations of the own labels among these rows, each once.

    Raises:
        DataError: the record of inputs cannot be read.
    """
    keys = {row.added for row in rows if row.release == "own"}
    return read_inputs(root.folder).terms_of(keys) if keys else ()


def released_maker_of(root: DataRoot, source: str) -> LabelMaker:
    """Who made the labels of a root that no user supplied.

    A root of the sandbox (``planet.json``) has the labels of its planet. Without one, a server of synthetic pixels
    (``--ee-url``) stands beside labels of the publishers, unless they were requested from that server too.
    """
    beside_publishers = Source.of(source).synthetic and not root.planet_file.is_file() and _from_publishers(root)
    return "dynamic-world" if beside_publishers else released_maker(source)


def _from_publishers(root: DataRoot) -> bool:
    """Whether the root says that its released labels are the publishers' archives."""
    try:
        return read_record(root.label_origin_file, _LabelOrigin, remedy="").origin == "releases"
    except DataError:
        return False


@dataclass(frozen=True)
class _LabelOrigin:
    """What is needed here of ``manifest.origin.json``; ``labels.origin`` writes and reads the whole of it."""

    origin: str = ""


def makers_of(
    rows: Iterable[ManifestRow],
    ledger: Mapping[str, LedgerRow],
    *,
    source: str,
    released: LabelMaker | None = None,
    terms: tuple[LabelTerms, ...] = (),
) -> Makers:
    """Who made pixels and labels of these tiles.

    Args:
        source: of the pixels where the ledger names none.
        released: who made labels that no user supplied; None = as the source tells.
        terms: of own labels, see ``terms_of``.
    """
    rows = tuple(rows)
    known = (ledger[row.tile.id].source if row.tile.id in ledger else "" for row in rows)
    pixels = Counter(name or source for name in known)
    labels = Counter(label_maker(row, released or released_maker(source)) for row in rows)
    in_order: dict[LabelMaker, int] = {maker: labels[maker] for maker in LABEL_MAKERS if labels[maker]}
    return Makers(dict(sorted(pixels.items())), in_order, terms)


def makers_of_root(root: DataRoot) -> Makers:
    """Who made pixels and labels of the complete tiles of a data root.

    Raises:
        DataError: the root holds no data set, or no complete tile.
    """
    source = root.source()
    rows = root.complete()
    released = released_maker_of(root, source)
    return makers_of(rows, root.ledger(), source=source, released=released, terms=terms_of(root, rows))
