"""Class tables: which classes a data set has, their names, colours and codes. Dynamic World's nine are the default.

Three numbers stand for a class. The *original code* is what the rasters of whoever drew the labels hold. The *code* is
what stored labels and maps hold: 0 = unmarked, 1..n the classes in the order of the table, n + 1 = ignored (cloud, or
an original code that the table ignores). The *class index*, code - 1, is what networks and scores use (0..n - 1, or
``IGNORE``). In Dynamic World's labels code and original code are one: 0 unmarked, 1..9, 10 cloud.

Source of Dynamic World's classes: Brown et al. 2022 (Sci Data 9:251), README of PANGAEA 933475.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .words import count_of

IGNORE = 255
"""Class index of pixels that are neither trained on nor scored (unmarked, cloud)."""

CODE_UNMARKED = 0
"""Code of pixels without a label, in every table."""

FEWEST_CLASSES, MOST_CLASSES = 2, 60

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_COLOUR = re.compile(r"^[0-9a-f]{6}$")
_IGNORED_RGBA = (235, 235, 235, 255)


@dataclass(frozen=True)
class LandCover:
    """One class of a table.

    Attributes:
        index: class index, 0..n - 1.
        name: for files and scores: lower-case letters, digits and ``_``.
        title: for people.
        colour: ``rrggbb``.
        original: code of the class in the rasters that labels are added from.
        values: texts that mean the class in a column of polygons or points; empty = name, title and original code.
        dynamic_world: name of the class of Dynamic World that it belongs to, for transfer and comparison; mostly empty.
    """

    index: int
    name: str
    title: str
    colour: str
    original: int
    values: tuple[str, ...] = ()
    dynamic_world: str = ""

    @property
    def code(self) -> int:
        return self.index + 1

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.colour[0:2], 16), int(self.colour[2:4], 16), int(self.colour[4:6], 16)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Texts that mean the class in a column, without case and outer blanks."""
        return tuple(_plain(text) for text in (self.values or (self.name, self.title, str(self.original))))


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, in the order of their indices.

    Attributes:
        name: of the table.
        classes: 2 to 60.
        unlabelled: original code of pixels without a label; None = the rasters have none.
        ignored: original codes that are neither trained on nor scored.

    Raises:
        UsageError: the classes contradict each other.
    """

    name: str
    classes: tuple[LandCover, ...]
    unlabelled: int | None = CODE_UNMARKED
    ignored: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(land_cover.name for land_cover in self.classes)

    @property
    def titles(self) -> tuple[str, ...]:
        return tuple(land_cover.title for land_cover in self.classes)

    @property
    def ignored_code(self) -> int:
        """Code of stored labels for cloud, and for original codes that the table ignores: n + 1."""
        return len(self.classes) + 1

    @property
    def codes(self) -> frozenset[int]:
        """Every value that a stored label may hold: 0 unmarked, 1..n classes, n + 1 ignored."""
        return frozenset(range(self.ignored_code + 1))

    @property
    def code_names(self) -> tuple[str, ...]:
        """Names of the codes 0..n + 1, as category names of a raster."""
        return ("unmarked", *self.names, "cloud" if self == DYNAMIC_WORLD else "ignored")

    @property
    def code_colours(self) -> dict[int, tuple[int, int, int, int]]:
        """GDAL colour table of a label raster: code -> RGBA."""
        classes = {land_cover.code: (*land_cover.rgb, 255) for land_cover in self.classes}
        return {CODE_UNMARKED: (0, 0, 0, 0), **classes, self.ignored_code: _IGNORED_RGBA}

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with what codes and indices mean: names, their order, original codes.

        Titles, colours, spellings and the mapping to Dynamic World may be changed without making another data set.
        """
        meaning = [self.names, [c.original for c in self.classes], self.unlabelled, sorted(self.ignored)]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:12]

    @cached_property
    def _index_of_code(self) -> NDArray[np.uint8]:
        index = np.full(256, IGNORE, dtype=np.uint8)
        index[1 : self.ignored_code] = np.arange(len(self.classes), dtype=np.uint8)
        return index

    def class_indices(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class index of each code.

        Args:
            codes: uint8 (H, W), 0..n + 1.

        Returns:
            uint8 (H, W), 0..n - 1, or 255 where the code is 0 (unmarked) or n + 1 (ignored).
        """
        indices: NDArray[np.uint8] = self._index_of_code[codes]
        return indices

    def marked_share(self, codes: NDArray[np.uint8]) -> float:
        """Share of pixels (0..1) that carry one of the classes."""
        # As bytes, 0 (unmarked) minus 1 is 255: one comparison separates the classes from everything else.
        return float(np.count_nonzero(codes - np.uint8(1) < len(self.classes)) / codes.size)

    @cached_property
    def code_of_original(self) -> dict[int, int]:
        """Original code -> code of stored labels."""
        known = {land_cover.original: land_cover.code for land_cover in self.classes}
        known |= dict.fromkeys(self.ignored, self.ignored_code)
        return known if self.unlabelled is None else {**known, self.unlabelled: CODE_UNMARKED}

    def stored_codes(self, original: NDArray[Any], *, where: str) -> NDArray[np.uint8]:
        """Codes of stored labels for original codes.

        Args:
            original: integers (or floats that are whole numbers) (H, W), original codes.
            where: names the raster in an error.

        Raises:
            DataError: a code that the table does not have.
        """
        values, inverse = np.unique(original, return_inverse=True)
        alien = [f"{value:g}" for value in values.tolist() if value not in self.code_of_original]
        if alien:
            raise DataError(
                f"{where} holds {'the code' if len(alien) == 1 else 'the codes'} {', '.join(alien[:5])}"
                f"{', ...' * (len(alien) > 5)}, which class table {self.name!r} does not have "
                f"({_listed(self.code_of_original)}); add a class, or name it under 'ignored' or 'unlabelled'"
            )
        lookup = np.array([self.code_of_original[int(value)] for value in values.tolist()], dtype=np.uint8)
        return lookup[inverse].reshape(original.shape)

    @cached_property
    def code_of_value(self) -> dict[str, int]:
        """Text of a column, without case and outer blanks -> code of stored labels."""
        return {text: land_cover.code for land_cover in self.classes for text in land_cover.spellings}

    def code_of_text(self, value: object) -> int | None:
        """Code of a value of a column (text or number); None where the table does not have it.

        ``3``, ``3.0`` and ``"3"`` are one value.
        """
        text = f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
        code = self.code_of_value.get(_plain(text))
        if code is None and _plain(text).lstrip("-").isdecimal():
            code = self.code_of_original.get(int(text))
        return code

    def difference(self, other: ClassTable) -> str:
        """What differs in meaning between two tables, in words; empty where they mean the same."""
        if self.hash == other.hash:
            return ""
        if len(self) != len(other):
            words = f"{count_of(len(self), 'class', 'classes')} against {len(other)}"
        else:
            words = f"{count_of(len(self), 'class', 'classes')} each"
        pairs = zip(self.classes, other.classes, strict=False)
        unlike = [
            f"code {one.code} is {one.name} ({one.original}) against {two.name} ({two.original})"
            for one, two in pairs
            if (one.name, one.original) != (two.name, two.original)
        ]
        if unlike:
            return f"{words}; {'; '.join(unlike[:3])}{'; ...' * (len(unlike) > 3)}"
        if len(self) != len(other):
            return words
        return (
            f"{words}; unlabelled {self.unlabelled} against {other.unlabelled}, ignored {_listed(self.ignored)} "
            f"against {_listed(other.ignored)}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The table as a JSON object; ``class_table_of`` reads it."""
        return asdict(self)

    def to_dynamic_world(self) -> tuple[int | None, ...]:
        """Class index of Dynamic World for each class, None where the table maps it to none."""
        if self == DYNAMIC_WORLD:
            return tuple(range(len(self)))
        return tuple(DYNAMIC_WORLD.names.index(c.dynamic_world) if c.dynamic_world else None for c in self.classes)


def class_table_of(content: Mapping[str, Any]) -> ClassTable:
    """The table out of ``ClassTable.as_dict``.

    Raises:
        DataError: it is no such object.
    """
    try:
        classes = tuple(LandCover(**{**one, "values": tuple(one.get("values", ()))}) for one in content["classes"])
        found = ClassTable(str(content["name"]), classes, content["unlabelled"], tuple(content["ignored"]))
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise DataError(f"not a class table: {error}") from None
    return DYNAMIC_WORLD if found == DYNAMIC_WORLD else found


def _plain(text: str) -> str:
    return text.strip().casefold()


def _listed(codes: Sequence[int] | Mapping[int, int]) -> str:
    """``0..9, 255``: codes in order, neighbours joined."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and code == runs[-1][-1] + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs) or "none"


def _check(table: ClassTable) -> None:
    """Refuse a table whose classes contradict each other.

    Raises:
        UsageError: says which, and why.
    """

    def refuse(what: str) -> None:
        raise UsageError(f"class table {table.name!r}: {what}")

    if not FEWEST_CLASSES <= len(table.classes) <= MOST_CLASSES:
        number = count_of(len(table.classes), "class", "classes")
        refuse(f"{number}; a table has {FEWEST_CLASSES} to {MOST_CLASSES}")
    for position, one in enumerate(table.classes):
        if one.index != position:
            refuse(f"class {one.name!r} has the index {one.index} at position {position}")
        if not _NAME.match(one.name):
            refuse(f"{one.name!r} is no name of a class: lower-case letters, digits and _, a letter first, at most 40")
        if not _COLOUR.match(one.colour):
            refuse(f"class {one.name!r} has the colour {one.colour!r}; write #rrggbb")
        if one.dynamic_world and one.dynamic_world not in _DYNAMIC_WORLD_NAMES:
            refuse(
                f"class {one.name!r} maps to {one.dynamic_world!r}; Dynamic World has {', '.join(_DYNAMIC_WORLD_NAMES)}"
            )
    _refuse_twice([c.name for c in table.classes], "the name", refuse)
    codes: list[int] = [c.original for c in table.classes] + list(table.ignored)
    _refuse_twice(codes if table.unlabelled is None else [*codes, table.unlabelled], "the code", refuse)
    _refuse_twice([text for c in table.classes for text in sorted(set(c.spellings))], "the value", refuse)


def _refuse_twice(items: Sequence[object], what: str, refuse: Any) -> None:
    twice = [item for item, count in Counter(items).items() if count > 1]
    if twice:
        refuse(f"{what} {twice[0]!r} stands there twice")


_DYNAMIC_WORLD_CLASSES = (
    ("water", "Water", "419bdf"),
    ("trees", "Trees", "397d49"),
    ("grass", "Grass", "88b053"),
    ("flooded_vegetation", "Flooded vegetation", "7a87c6"),
    ("crops", "Crops", "e49635"),
    ("shrub_and_scrub", "Shrub and scrub", "dfc35a"),
    ("built", "Built area", "c4281b"),
    ("bare", "Bare ground", "a59b8f"),
    ("snow_and_ice", "Snow and ice", "b39fe1"),
)
_DYNAMIC_WORLD_NAMES = tuple(name for name, _, _ in _DYNAMIC_WORLD_CLASSES)

DYNAMIC_WORLD = ClassTable(
    "Dynamic World",
    tuple(LandCover(i, *words, original=i + 1) for i, words in enumerate(_DYNAMIC_WORLD_CLASSES)),
    unlabelled=CODE_UNMARKED,
    ignored=(10,),
)
"""The nine classes of Dynamic World with their official colours, as released: 0 unmarked, 1..9, 10 cloud."""


def spread_colours(count: int) -> tuple[str, ...]:
    """``count`` colours (``rrggbb``) that differ as far as possible in hue and lightness, for tables that name none."""
    import colorsys

    golden = 0.61803398875
    colours = []
    for number in range(count):
        hue = (0.58 + number * golden) % 1
        light, full = ((0.45, 0.65), (0.62, 0.55), (0.33, 0.55))[number % 3]
        rgb = colorsys.hls_to_rgb(hue, light, full)
        colours.append("".join(f"{round(part * 255):02x}" for part in rgb))
    return tuple(colours)
