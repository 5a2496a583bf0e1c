"""Class tables of users: a TOML file, checked and read.

::

    name = "crops of the valley"
    unlabelled = 255                  # optional: code of pixels without a label; default 0, where 0 is no class
    ignored = [254]                   # optional: codes that are neither trained on nor scored

    [[class]]
    code = 1                          # in the rasters that labels are added from; 0 may be a class
    name = "wheat"                    # lower-case letters, digits and _
    title = "Winter wheat"            # optional: for people
    colour = "#e49635"                # optional
    values = ["WW", "winter wheat"]   # optional: texts of a column of polygons or points; default name, title, code
    dynamic_world = "crops"           # optional: class of Dynamic World that it belongs to

Comes before ``own``, which adds labels under a table; the manifest keeps the table (``manifest.Manifest.classes``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..spec.classes import CODE_UNMARKED, DYNAMIC_WORLD, ClassTable, LandCover, spread_colours

_KEYS = {"name", "unlabelled", "ignored", "class"}
_CLASS_KEYS = {"code", "name", "title", "colour", "values", "dynamic_world"}

DYNAMIC_WORLD_NAME = "dynamic-world"
"""Said in place of a file: the nine classes of Dynamic World."""


def read_class_table(path: Path | str) -> ClassTable:
    """The class table in a TOML file, or Dynamic World's for ``dynamic-world``.

    Raises:
        UsageError: there is no such file.
        DataError: it is no class table; says where and why.
    """
    if str(path) == DYNAMIC_WORLD_NAME:
        return DYNAMIC_WORLD
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(
            f"{path} is no file; write a class table (docs/own-labels.md shows one), or name {DYNAMIC_WORLD_NAME}"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not TOML: {error}; docs/own-labels.md shows a class table") from None
    try:
        return _table(content, path.stem)
    except UsageError as error:
        raise DataError(f"{path}: {error}") from None


def _table(content: Mapping[str, Any], name: str) -> ClassTable:
    _only(content, _KEYS, "the table")
    rows = content.get("class", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError("classes are written as [[class]], one after the other")
    colours = spread_colours(len(rows))
    classes = tuple(_land_cover(row, index, colours[index]) for index, row in enumerate(rows))
    codes = {land_cover.original for land_cover in classes}
    ignored = content.get("ignored", [])
    if not isinstance(ignored, list):
        raise UsageError(f"'ignored' is {ignored!r}; write a list of codes, such as [254]")
    ignored = tuple(_whole(code, "'ignored'") for code in ignored)
    unlabelled = content.get("unlabelled")
    if unlabelled is not None:
        unlabelled = _whole(unlabelled, "'unlabelled'")
    elif CODE_UNMARKED not in codes and CODE_UNMARKED not in ignored:
        unlabelled = CODE_UNMARKED
    return ClassTable(_text(content.get("name", name), "'name'"), classes, unlabelled, ignored)


def _land_cover(row: Mapping[str, Any], index: int, colour: str) -> LandCover:
    where = f"class {index + 1}"
    _only(row, _CLASS_KEYS, where)
    missing = sorted({"code", "name"} - set(row))
    if missing:
        raise UsageError(f"{where} has no {' and no '.join(missing)}")
    name = _text(row["name"], f"{where}: 'name'")
    values = row.get("values", [])
    if not isinstance(values, list) or not all(isinstance(value, str | int | float) for value in values):
        raise UsageError(f'{where}: \'values\' is {values!r}; write a list of texts, such as ["WW", "winter wheat"]')
    return LandCover(
        index=index,
        name=name,
        title=_text(row.get("title", name.replace("_", " ").capitalize()), f"{where}: 'title'"),
        colour=_text(row.get("colour", colour), f"{where}: 'colour'").removeprefix("#").lower(),
        original=_whole(row["code"], f"{where}: 'code'"),
        values=tuple(map(str, values)),
        dynamic_world=_text(row.get("dynamic_world", ""), f"{where}: 'dynamic_world'"),
    )


def _only(content: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(content) - known)
    if unknown:
        raise UsageError(f"{where} has the key {unknown[0]!r}; known are {', '.join(sorted(known))}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > 200 or (value and not value.isprintable()):
        raise UsageError(f"{what} is {str(value)[:40]!r}; write one line of text")
    return value


_LARGEST_CODE = 2**31 - 1


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_CODE:
        raise UsageError(f"{what} is {str(value)[:40]!r}; write a whole number")
    return value
