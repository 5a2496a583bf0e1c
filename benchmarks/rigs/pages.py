"""Parts of the documentation that are measured: where they stand in a page, and how they are written anew.

A part begins with ``<!-- figures: NAME -->`` and ends with ``<!-- end of figures -->``, each on a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_PART = r"(?<=<!-- figures: {name} -->\n).*?(?=<!-- end of figures -->)"


def names_in(page: str) -> list[str]:
    """Names of the measured parts of a page."""
    return re.findall(r"^<!-- figures: (\w+) -->$", page, re.MULTILINE)


def replaced(page: str, name: str, lines: Sequence[str]) -> str:
    """A page with other lines in one of its measured parts.

    Raises:
        ValueError: the page has no such part.
    """
    text = "".join(f"{line}\n" for line in ("", *lines, ""))
    found, count = re.subn(_PART.format(name=name), lambda _: text, page, count=1, flags=re.DOTALL)
    if count == 0:
        raise ValueError(f"no part '<!-- figures: {name} -->' in this page")
    return found


def write(path: Path, name: str, lines: Sequence[str]) -> None:
    """Write a measured part of a page anew."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, lines), encoding="utf-8")
