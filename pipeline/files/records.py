"""Records: JSON documents of a data root, read as the dataclass that says what they hold.

One reader for all of them: whatever a document holds (a list, null, a string where a number belongs, a thousand nested
brackets, a flipped bit), the answer is that dataclass or one ``DataError``. Fields that a dataclass does not know, as
of a later version, are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DataError, in_brief
from .atomic import read_json, write_json
from .checksums import SEAL, check_seal, sealed

T = TypeVar("T")


def read_record(path: Path, kind: type[T], *, remedy: str) -> T:
    """The document in a file, once it is known to be whole and of the right shape.

    Args:
        kind: a dataclass, or any other type of which JSON can hold a value.
        remedy: what to do where the document cannot be used.

    Raises:
        DataError: it is missing, no JSON, of another shape, or was changed since it was written.
        MachineError: it is there and cannot be read.
    """
    try:
        return as_record(read_json(path), kind, path, remedy=remedy)
    except DataError as error:
        raise DataError(f"{error}" if remedy in str(error) else f"{error}; {remedy}") from None


def as_record(document: Any, kind: type[T], path: Path, *, remedy: str) -> T:
    """A document that was read already, as its dataclass; see ``read_record``."""
    if isinstance(document, dict):
        check_seal(document, path, remedy=remedy)
        document = {key: value for key, value in document.items() if key != SEAL}
    return of_shape(document, kind, path, remedy=remedy)


def of_shape(document: Any, kind: type[T], path: Path, *, remedy: str) -> T:
    """A document that carries no checksum, because what it says is compared with files, as its dataclass.

    Raises:
        DataError: it is of another shape.
    """
    # Imported late: networks are trained where no data set is built, and this package need not be there.
    import msgspec

    try:
        return msgspec.convert(document, kind, strict=True)
    except (msgspec.ValidationError, RecursionError, ValueError, TypeError) as error:
        raise DataError(f"{path} does not hold what it should ({in_brief(error)}); {remedy}") from None


def write_record(path: Path, document: Any, *, option: str = "--data") -> None:
    """Write a dataclass or mapping as a JSON document that carries its own checksum.

    Args:
        option: see ``atomic.write_atomically``.
    """
    content: Mapping[str, Any] = (
        asdict(document) if is_dataclass(document) and not isinstance(document, type) else document
    )
    write_json(path, sealed(content), option=option)
