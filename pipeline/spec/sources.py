"""Where pixels come from, and what that means for everything that is made from them.

A source is named in every shard, ledger row and score. Code that depends on it uses the ``Source``, never the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError

_COPERNICUS = (
    "Contains modified Copernicus Sentinel data {years}; labels CC BY 4.0 (Tait et al. 2021, doi "
    "10.1594/PANGAEA.933475; Brown et al. 2022, doi 10.1038/s41597-022-01307-4)"
)
"""What users of a shard have to state; the years are those of its scenes, as the Sentinel terms demand."""

_SYNTHETIC = (
    "SANDBOX: synthetic pixels and labels, no Copernicus data; a tile of the synthetic planet is cited by the version "
    "of dwplus that made it"
)


_ADDED = (
    "Contains modified Copernicus Sentinel data {years}; pixels were added by a user, labels keep the licence of their "
    "makers"
)

ADDED_PREFIX = "user:"
"""Names of sources of added pixels begin with it."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Source:
    """Where pixels came from.

    Attributes:
        name: as it is written in records: ``earthengine``, ``SANDBOX``, ``UNVERIFIED <host>`` or ``user:<word>``.
        folder: of its data root below ``--data``, and its name on the command line; empty for added pixels, whose data
            root is ``--data`` itself.
        mark: shown beside every number and picture; empty for Google's service alone.
        synthetic: no satellite has seen these pixels.
        verified: what the pixels show is known: Google's service, or the synthetic planet.
        licence: what users of the pixels have to state, with ``{years}`` of the scenes.
        added: a user added the pixels from files (``dwplus pixels add``); nothing is requested.
    """

    name: str
    folder: str
    mark: str
    synthetic: bool
    verified: bool
    licence: str
    added: bool = False

    @property
    def tag(self) -> str:
        """The mark in brackets, as it is printed beside numbers; empty where there is none."""
        return f"[{self.mark}]" if self.mark else ""

    @classmethod
    def of(cls, name: str) -> Source:
        """The source that a record names; any name that is not known is of an unverified server."""
        if name in (EARTH_ENGINE.name, SANDBOX.name):
            return EARTH_ENGINE if name == EARTH_ENGINE.name else SANDBOX
        if name.startswith(ADDED_PREFIX):
            return cls(name, "", name, synthetic=False, verified=False, licence=_ADDED, added=True)
        return cls(name, EARTH_ENGINE.folder, name, synthetic=False, verified=False, licence=_COPERNICUS)

    @classmethod
    def unverified(cls, host: str) -> Source:
        """A server of Earth Engine's API that is neither Google's nor the local one."""
        return cls.of(f"UNVERIFIED {host}")

    @classmethod
    def added_as(cls, text: str) -> Source:
        """The source of pixels that a user adds: ``user:<word>``, or the word alone.

        Raises:
            UsageError: it is no word.
        """
        word = text.removeprefix(ADDED_PREFIX)
        if _WORD.fullmatch(word) is None:
            raise UsageError(
                f"{text[:60]!r} names no source of added pixels; write {ADDED_PREFIX}WORD, of letters, digits, '_' and "
                "'-', 40 at most"
            )
        return cls.of(f"{ADDED_PREFIX}{word}")


EARTH_ENGINE = Source("earthengine", "earthengine", "", synthetic=False, verified=True, licence=_COPERNICUS)
SANDBOX = Source("SANDBOX", "sandbox", "SANDBOX", synthetic=True, verified=True, licence=_SYNTHETIC)
CHOICES: dict[str, Source] = {source.folder: source for source in (SANDBOX, EARTH_ENGINE)}
"""What ``--source`` can name, besides ``auto``."""
