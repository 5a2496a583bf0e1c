"""Mutations of documents: what defective programs, other versions and strangers leave in a data root or hand in."""

from __future__ import annotations

import copy
import io
import json
import random
import tomllib
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

from dwplus.pipeline.dataset.ledger import encode_line
from dwplus.pipeline.files.checksums import SEAL, seal_of

from support.mutations import delete_part, rename_part, replace_part, swap_parts

DEEP = "DEEP"
"""Stands for a value that is nested more deeply than any program follows; put in where a text is made."""

_CHANGES: tuple[Callable[[Any, random.Random], Any], ...] = (
    replace_part, replace_part, replace_part, delete_part, swap_parts, rename_part,
)  # fmt: skip


def _changed(value: Any, rng: random.Random) -> Any:
    """A copy with one to three changes."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            value = rng.choice(_CHANGES)(value, rng)
        except RecursionError:  # an earlier change nested it deeply: enough is changed
            break
    if rng.random() < 0.04 and isinstance(value, dict) and value:
        value[rng.choice(list(value))] = DEEP
    return value


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some bytes are others, and now and then the end is missing."""
    spoilt = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    return bytes(spoilt[: rng.randrange(len(spoilt))]) if rng.random() < 0.3 else bytes(spoilt)


def _json_text(value: Any) -> str:
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 20_000 + "]" * 20_000)


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Another document; where the first one carries a checksum, mostly with one that fits."""
    if rng.random() < 0.1:
        return mutated_bytes(content, rng)
    document = json.loads(content)
    had_seal = isinstance(document, dict) and document.pop(SEAL, None) is not None
    try:
        document = _changed(document, rng)
        if had_seal and isinstance(document, dict) and rng.random() < 0.8:
            document[SEAL] = seal_of(document)
        return _json_text(document).encode()
    except RecursionError:
        return b"[" * 20_000


def mutated_lines(content: bytes, rng: random.Random) -> bytes:
    """Lines of JSON, one of them another document; lines of a ledger mostly with a checksum that fits."""
    if rng.random() < 0.1:
        return mutated_bytes(content, rng)
    documents = [json.loads(line) for line in content.splitlines()]
    sealed = "crc32" in documents[0]
    place = rng.randrange(len(documents))
    documents[place] = _changed({k: v for k, v in documents[place].items() if k != "crc32"}, rng)
    lines = []
    for document in documents:
        plain = isinstance(document, dict) and bool(document) and DEEP not in document.values()
        if sealed and plain and rng.random() < 0.9:
            lines.append(encode_line({key: value for key, value in document.items() if key != "crc32"}))
        else:
            lines.append(_json_text(document).encode())
    return b"\n".join(lines) + b"\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)


def mutated_toml(content: bytes, rng: random.Random) -> bytes:
    """Other tables, keys and values; numbers of thousands of digits, and lone surrogates that are no UTF-8."""
    if rng.random() < 0.1:
        return mutated_bytes(content, rng)
    document = _changed(tomllib.loads(content.decode()), rng)
    tables = document if isinstance(document, dict) else {"value": document}
    try:
        text = "\n".join(f"{json.dumps(str(key))} = {_toml_value(value)}" for key, value in tables.items())
    except RecursionError:
        text = f'a = "{DEEP}"'
    text = text.replace(f'"{DEEP}"', rng.choice(("[" * 5_000, "9" * 5_000, "{a = " * 2_000)))
    return f"{text}\n".encode("utf-8", "surrogatepass")


CELLS: tuple[Any, ...] = (
    None, True, 0, -1, 10**15, 1e308, "", " ", "nan", "=1/0", "#N/A", "2019-02-31", datetime(2019, 8, 12), time(1, 2),
    "../../x", "dw_", "dw_999_999-20190101", "dw_1.0_1.0-99999999", "\u00b2", "x" * 3000, "B2;B3", 'a"b', "1,5",
)  # fmt: skip


def _mutated_rows(rows: Sequence[Sequence[Any]], rng: random.Random) -> list[list[Any]]:
    changed = [list(row) for row in rows]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(changed) if changed else []
        kind = rng.random()
        if kind < 0.6 and row:
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        elif kind < 0.75 and row:
            del row[rng.randrange(len(row))]
        elif kind < 0.9 and changed:
            changed.insert(rng.randrange(len(changed)), [rng.choice(CELLS)] * rng.randrange(4))
        elif changed:
            del changed[rng.randrange(len(changed))]
    return changed


def mutated_csv(content: bytes, rng: random.Random) -> bytes:
    """Other cells, separators, quotes, ends of lines and encodings."""
    if rng.random() < 0.2:
        return mutated_bytes(content, rng)
    rows = _mutated_rows([line.split(",") for line in content.decode().splitlines()], rng)
    between, end = rng.choice((",", ",", ";", "\t", "|")), rng.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    text = end.join(between.join("" if cell is None else str(cell) for cell in row) for row in rows) + end
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace")


def mutated_workbook(content: bytes, rng: random.Random) -> bytes:
    """Other cells and names of sheets; or bytes of the archive are others."""
    import openpyxl

    if rng.random() < 0.4:
        return mutated_bytes(content, rng)
    book = openpyxl.load_workbook(io.BytesIO(content))
    sheet = rng.choice(book.worksheets)
    rows = _mutated_rows([list(row) for row in sheet.iter_rows(values_only=True)], rng)
    sheet.delete_rows(1, sheet.max_row)
    for row in rows:
        sheet.append(row)
    if rng.random() < 0.2:
        sheet.title = rng.choice(("Experts", "x", "non expert", "\u00b2"))
    changed = io.BytesIO()
    book.save(changed)
    return changed.getvalue()
