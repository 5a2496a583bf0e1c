"""A data root: where the files of one data set lie, and which of its tiles are complete and usable."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError, UsageError
from ..files.atomic import read_json, write_atomically, write_json
from ..files.remote import WAITS_S, Place, Remote, is_url
from ..spec.recipe import Recipe, recipe_from
from .findings import validated_tiles
from .ledger import read_ledger
from .manifest import Manifest, ManifestRow, Protocol, read_manifest
from .waivers import unfit_tiles

ORIGIN_FILE = "origin.json"
"""In a data root whose shards and labels lie elsewhere: where."""


_ALWAYS = ("manifest.parquet", "ledger.jsonl")


_WHERE_THERE = ("recipe.json",)


_RESULTS = ("findings.json", "findings.csv", "stats-strict.json", "stats-paper.json")
"""Of the origin, until there are own ones."""


def pixels_of(root: Path) -> Place:
    """Where the shards and labels of a data root lie: what tasks on workers read from.

    Raises:
        DataError: ``origin.json`` cannot be read.
    """
    path = root / ORIGIN_FILE
    if not path.is_file():
        # Workers of another cluster have another current folder.
        return root.absolute()
    content = read_json(path)
    if not isinstance(content, dict) or not is_url(str(content.get("url", ""))):
        raise DataError(f"{path} names no URL; remove {root} and name the URL again with --data")
    return Remote(content["url"])


def mirror(url: str, root: Path, *, waits_s: tuple[float, ...] = WAITS_S) -> Path:
    """A local data root of the data set at a URL: its manifest and ledger as they are now; pixels stay where they are.

    Results (findings, statistics) are those of the origin until ``validate`` and ``normalise`` write own ones.

    Raises:
        UsageError: the folder holds another data set.
        DataError: there is no data set at the URL.
        ServiceError, AuthenticationError: it cannot be read.
    """
    origin = Remote(url.rstrip("/"), waits_s)
    _check_own(root, origin.url)
    try:
        contents = {name: (origin / name).read_bytes() for name in _ALWAYS}
    except FileNotFoundError as error:
        raise DataError(
            f"{origin.url} holds no data set: no {Path(str(error)).name or 'manifest.parquet'}; name the folder that "
            "holds manifest.parquet, such as s3://bucket/data/earthengine"
        ) from None
    for name in (*_WHERE_THERE, *(name for name in _RESULTS if not (root / name).exists())):
        try:
            contents[name] = (origin / name).read_bytes()
        except FileNotFoundError:
            continue
    if not (root / ORIGIN_FILE).exists():
        write_json(root / ORIGIN_FILE, {"url": origin.url})
    for name, content in contents.items():
        if not (root / name).exists() or (root / name).read_bytes() != content:
            write_atomically(root / name, content)
    return root


def _check_own(root: Path, url: str) -> None:
    if (root / ORIGIN_FILE).is_file():
        if str(pixels_of(root)) != url:
            raise UsageError(f"{root} belongs to {pixels_of(root)}, not to {url}; name another folder with --out")
    elif root.exists() and any(root.iterdir()):
        raise UsageError(f"{root} holds something else already; name an empty or new folder with --out")


def check_in_sight(place: Place) -> None:
    """Make sure that this machine sees a local data root, before every tile of it is called missing.

    Raises:
        DataError: it does not.
    """
    if isinstance(place, Path) and not (place / _ALWAYS[0]).is_file():
        raise DataError(
            f"{socket.gethostname()} does not see {place}; put the data on a file system that all workers share under "
            "the same path, or name it by a URL"
        )


RECIPE_FILE = "recipe.json"
"""What the shards of a data root were asked for with."""


def recipe_of_root(root: Path) -> Recipe | None:
    """The recipe that a data root was built with; None where there is none yet.

    Raises:
        DataError: it cannot be read.
    """
    path = root / RECIPE_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no recipe; remove it, name the recipe (--s1-mean ...) and build again")
    try:
        return recipe_from({name: value for name, value in content.items() if name != "hash"})
    except DataError as error:
        raise DataError(
            f"{path}: {error}; build with the version that wrote it, or remove the file and name the recipe "
            "(--s1-mean ...)"
        ) from None


def complete_rows(root: Path) -> tuple[ManifestRow, ...]:
    """Tiles whose shard is complete, in manifest order.

    Raises:
        DataError: the root holds no data set.
    """
    ledger = read_ledger(root)
    rows = read_manifest(root).rows
    return tuple(row for row in rows if row.tile.id in ledger and ledger[row.tile.id].state == "done")


def source_of(root: Path) -> str:
    """Who answered for the pixels of a data root: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.

    Raises:
        DataError: no tile is complete.
    """
    done = (row.source for row in read_ledger(root).values() if row.state == "done")
    source = next(done, None)
    if source is None:
        raise DataError(f"{root} holds no complete tile; run 'dwplus build' first")
    return source


def usable_rows(root: Path, manifest: Manifest, split: str, protocol: Protocol) -> tuple[ManifestRow, ...]:
    """Tiles of a split whose shard is complete and was found without error.

    Raises:
        DataError: the data set was not validated yet.
    """
    ledger, bad, seen = read_ledger(root), unfit_tiles(root), validated_tiles(root)

    def usable(tile: str) -> bool:
        last = ledger.get(tile)
        # A shard that was written after the last validation has not been looked at.
        return last is not None and last.state == "done" and tile not in bad and seen.get(tile) == last.sha256

    return tuple(row for row in manifest.of_split(split, protocol) if usable(row.tile.id))


def shards_hash(root: Path, rows: Iterable[ManifestRow]) -> str:
    """Twelve hexadecimal digits that change with any shard or label of these tiles."""
    ledger = read_ledger(root)
    lines = sorted(f"{row.tile.id} {ledger[row.tile.id].sha256} {row.labeler} {row.label_sha256}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
