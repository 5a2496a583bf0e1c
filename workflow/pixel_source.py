"""Pixel source: Google's Earth Engine, another server of its API, or the embedded local Earth Engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..pipeline.errors import DataError, UsageError
from ..pipeline.files import read_json, write_json
from ..pipeline.manifest import MANIFEST_FILE
from ..pipeline.session import Session, connect
from ..pipeline.sources import Configuration, SourceName

SANDBOX_BANNER = (
    "SANDBOX: no Earth Engine project is used. Pixels and labels come from the embedded local Earth Engine, a "
    "synthetic planet; every file and number says SANDBOX. To use Google's Earth Engine: run 'earthengine "
    "authenticate', then pass --source earthengine --project YOUR-PROJECT."
)


PLANET_FILE = "planet.json"
"""Which synthetic planet a data root was built on."""


@dataclass(frozen=True)
class Opened:
    """A connected source; ``mirror`` serves its label releases where the publishers are not asked."""

    session: Session
    mirror: str | None


@contextmanager
def open_source(
    name: SourceName, found: Configuration, *, root: Path, tiles: int, seed: int, concurrency: int
) -> Iterator[Opened]:
    """A session with the source; the local Earth Engine runs as long as it is used.

    Args:
        root: data root that the pixels are for.
        tiles: label tiles of the synthetic planet (``sandbox`` alone).
        seed: of the synthetic planet (``sandbox`` alone).
        concurrency: requests in flight.

    Raises:
        UsageError: the root holds another synthetic planet.
        ServiceError: the server cannot be reached or started.
        AuthenticationError: it refuses project or credentials.
    """
    if name == "earthengine":
        yield Opened(connect(found, concurrency=concurrency), None)
        return
    from ..pipeline.local_ee.launch import LocalEarthEngine
    from ..pipeline.local_ee.planet import VERSION

    _check_planet(root, {"seed": seed, "tiles": tiles, "version": VERSION})
    with LocalEarthEngine(planet={"kind": "earth", "seed": seed}, tiles=tiles) as engine:
        # A proxy cannot reach this machine's own address.
        for variable in ("NO_PROXY", "no_proxy"):
            os.environ[variable] = ",".join(filter(None, [os.environ.get(variable), "127.0.0.1"]))
        local = Configuration(url=engine.url, project=engine.project, credentials_file=Path(engine.credentials_file))
        yield Opened(connect(local, concurrency=concurrency), engine.releases_url)


def _check_planet(root: Path, planet: dict[str, int]) -> None:
    """A data root belongs to one planet: tiles of two would stand side by side as if they were one Earth."""
    path = root / PLANET_FILE
    if not path.exists():
        write_json(path, planet)
        return
    held = read_json(path)
    if not isinstance(held, dict):
        raise DataError(f"{path} does not say which planet this is; delete {root} and build again")
    if held != planet:
        raise UsageError(
            f"{root} holds the planet of {_in_words(held)}, this run asks for that of {_in_words(planet)}; name "
            f"another folder with --data, or delete {root}"
        )


def _in_words(planet: dict[str, int]) -> str:
    return f"--seed {planet.get('seed')} --tiles {planet.get('tiles')} (version {planet.get('version')})"


def existing_root(data: Path, source: str) -> Path:
    """The data root that a later stage works on: ``data/<source>``.

    Args:
        data: folder of all sources (``--data``).
        source: ``sandbox``, ``earthengine``, or ``auto`` for the only one there is.

    Raises:
        DataError: there is no data set.
        UsageError: there are several, and none is named.
    """
    if source != "auto":
        root = data / source
        if not (root / MANIFEST_FILE).is_file():
            raise DataError(f"{root} holds no data set; run 'dwplus build --source {source}' first")
        return root
    roots = sorted(path.parent for path in data.glob(f"*/{MANIFEST_FILE}"))
    if not roots:
        raise DataError(f"{data} holds no data set; run 'dwplus build' first, or name another folder with --data")
    if len(roots) > 1:
        names = ", ".join(root.name for root in roots)
        raise UsageError(f"{data} holds several data sets ({names}); name one with --source")
    return roots[0]
