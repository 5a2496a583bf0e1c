"""Pixel source: Google's Earth Engine, another server of its API, or the embedded local Earth Engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..pipeline.dataset.manifest import MANIFEST_FILE
from ..pipeline.dataset.root import DataRoot
from ..pipeline.earthengine.clear_scenes import ClearScene
from ..pipeline.earthengine.configuration import Configuration, answered_by
from ..pipeline.earthengine.connection import connect, declared_source, service_url
from ..pipeline.earthengine.scene_choice import SceneHint, SceneRef
from ..pipeline.earthengine.session import Request, Session, Tally
from ..pipeline.errors import DataError, UsageError
from ..pipeline.files.records import write_record
from ..pipeline.files.remote import Remote
from ..pipeline.spec.layers import Layer
from ..pipeline.spec.periods import Period
from ..pipeline.spec.recipe import Recipe
from ..pipeline.spec.sources import SANDBOX, Source
from ..pipeline.spec.tiles import Tile


def sandbox_banner(*, user_labels: bool = False) -> str:
    """What a command says before it works in the sandbox.

    Args:
        user_labels: labels are the user's own, not the synthetic planet's.
    """
    what = "Pixels come" if user_labels else "Pixels and labels come"
    return (
        f"SANDBOX: no Earth Engine project is used. {what} from the embedded local Earth Engine, a synthetic planet; "
        "every file and number says SANDBOX. To use Google's Earth Engine: run 'earthengine authenticate', then pass "
        "--source earthengine --project YOUR-PROJECT."
    )


class LazySource:
    """A pixel source that is connected when it is first asked; a ``PixelSource``. Threads may share it.

    A finished data set needs no server, and the sandbox's takes seconds to start.

    Args:
        name: who will answer.
        connect: makes the connection.
    """

    def __init__(self, name: str, connect: Callable[[], Session]) -> None:
        self.name = name
        self._connect = connect
        self._lock = threading.Lock()
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The connection, made now if need be.

        Raises:
            ServiceError: the server cannot be reached or started.
            AuthenticationError: it refuses project or credentials.
        """
        with self._lock:
            if self._session is None:
                self._session = self._connect()
            return self._session

    def resolve(self, tile: Tile, hint: SceneHint, recipe: Recipe, tally: Tally) -> SceneRef | None:
        return self.session.resolve(tile, hint, recipe, tally)

    def clear_scene(
        self, tile: Tile, marked: NDArray[np.bool_], period: Period, searched: Period, tally: Tally
    ) -> ClearScene | None:
        return self.session.clear_scene(tile, marked, period, searched, tally)

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        return self.session.request(tile, recipe, scene)

    def fetch(self, request: Request, tally: Tally) -> NDArray[np.uint16]:
        return self.session.fetch(request, tally)

    def fetch_layer(self, tile: Tile, layer: Layer, scenes: Sequence[str], tally: Tally) -> NDArray[np.generic]:
        return self.session.fetch_layer(tile, layer, scenes, tally)

    def settle(self, tally: Tally) -> None:
        self.session.settle(tally)

    def stop(self) -> None:
        if self._session is not None:
            self._session.stop()


@dataclass(frozen=True)
class Opened:
    """A source to build from; ``mirror`` gives the address of its label releases where publishers are not asked."""

    pixels: LazySource
    mirror: Callable[[], str] | None


@contextmanager
def open_source(
    source: Source,
    found: Configuration,
    *,
    root: DataRoot,
    concurrency: int,
    tiles: int | None = None,
    seed: int | None = None,
) -> Iterator[Opened]:
    """A source that is connected when it is first asked; the local Earth Engine runs as long as it is used.

    Args:
        root: data root that the pixels are for.
        concurrency: requests in flight.
        tiles, seed: of the synthetic planet (``sandbox`` alone); None = those of the root, or the defaults.

    Raises:
        UsageError: the root holds another synthetic planet.
        ServiceError: the server cannot be reached (an address that is not Google's is looked at right away: it tells
            what its pixels are called).
    """
    if not source.synthetic:
        url = service_url(found)
        called = answered_by(url) if found.is_google else answered_by(url, declared=declared_source(url))
        yield Opened(LazySource(called, lambda: connect(found, concurrency=concurrency)), None)
        return
    planet = planet_of(root, tiles=tiles, seed=seed)
    _check_planet(root, planet)
    with ExitStack() as stack:

        @cache
        def local() -> Configuration:
            return stack.enter_context(local_earth_engine(tiles=planet["tiles"], seed=planet["seed"]))

        yield Opened(
            LazySource(SANDBOX.name, lambda: connect(local(), concurrency=concurrency)),
            lambda: f"{local().url}/releases",
        )


@contextmanager
def open_pixels(
    source: Source, found: Configuration, *, planet: Mapping[str, int], concurrency: int
) -> Iterator[LazySource]:
    """Pixels that belong to no data root, connected when they are first asked; see ``open_source``.

    Args:
        planet: seed and tiles of the synthetic one, see ``planet_of``.
    """
    if not source.synthetic:
        url = service_url(found)
        called = answered_by(url) if found.is_google else answered_by(url, declared=declared_source(url))
        yield LazySource(called, lambda: connect(found, concurrency=concurrency))
        return
    with ExitStack() as stack:

        def local() -> Session:
            engine = stack.enter_context(local_earth_engine(tiles=planet["tiles"], seed=planet["seed"]))
            return connect(engine, concurrency=concurrency)

        yield LazySource(SANDBOX.name, local)


_DEFAULT_PLANET = {"seed": 7, "tiles": 132}


def planet_of(root: DataRoot, *, tiles: int | None = None, seed: int | None = None) -> dict[str, int]:
    """Seed, tiles and version of the synthetic planet that is meant: what is named, then what the root holds.

    Raises:
        DataError: the root does not say which planet it holds.
    """
    from ..local_ee.planet.planet import VERSION

    held = _held_planet(root)
    named = {"seed": seed, "tiles": tiles}
    known = {key: held.get(key, default) for key, default in _DEFAULT_PLANET.items()}
    return {**known, **{key: value for key, value in named.items() if value is not None}, "version": VERSION}


def _held_planet(root: DataRoot) -> dict[str, int]:
    return root.planet() or {}


def _check_planet(root: DataRoot, planet: dict[str, int]) -> None:
    """A data root belongs to one planet: tiles of two would stand side by side as if they were one Earth."""
    path = root.planet_file
    if not path.exists():
        write_record(path, planet)
        return
    held = _held_planet(root)
    if held.get("version") != planet["version"]:
        raise UsageError(
            f"{root} holds version {held.get('version')} of the synthetic planet, this dwplus makes version "
            f"{planet['version']}: tiles of the two must not stand side by side; name another folder with "
            f"--data, or delete {root} (what it holds can still be trained on and scored)"
        )
    if held != planet:
        raise UsageError(
            f"{root} holds the planet of {_as_text(held)}, this run would use that of {_as_text(planet)}; name "
            f"another folder with --data, or delete {root}"
        )


def _as_text(planet: dict[str, int]) -> str:
    return f"--seed {planet.get('seed')} --tiles {planet.get('tiles')}"


def root_with_runs(data: Path | str, source: str, runs: Path | None) -> DataRoot:
    """``existing_root``, with training runs in another folder where one is named."""
    return replace(existing_root(data, source), runs_folder=runs)


def existing_root(data: Path | str, source: str, *, out: Path | None = None) -> DataRoot:
    """The data root that a later stage works on: ``data/<source>``, or the one that ``data`` is itself.

    Args:
        data: folder of all sources, a data root, or the URL of a data root (``--data``).
        out: folder for the results over a URL; None = one called like the URL's last part, here.
        source: ``sandbox``, ``earthengine``, or ``auto`` for the only one there is.

    Raises:
        DataError: there is no data set.
        UsageError: there are several, and none is named.
    """
    if isinstance(data, str):
        return DataRoot.mirror(data, out or Path(Remote(data).name))
    if out is not None:
        raise UsageError(f"--out is for data at a URL; the results over {data} stay in it")
    if (data / MANIFEST_FILE).is_file():
        return DataRoot.at(data)
    if source != "auto":
        root = DataRoot.at(data / source)
        if not root.manifest_file.is_file():
            raise DataError(f"{root} holds no data set; run 'dwplus build --source {source}' first")
        return root
    roots = sorted(path.parent for path in data.glob(f"*/{MANIFEST_FILE}"))
    if not roots:
        raise DataError(f"{data} holds no data set; run 'dwplus build' first, or name another folder with --data")
    if len(roots) > 1:
        names = ", ".join(root.name for root in roots)
        raise UsageError(f"{data} holds several data sets ({names}); name one with --source")
    return DataRoot.at(roots[0])


def own_root(data: Path) -> DataRoot | None:
    """The data root that a folder is itself, where it holds labels that a user added; None for any other folder.

    Raises:
        DataError: its manifest cannot be read.
    """
    if not (data / MANIFEST_FILE).is_file():
        return None
    root = DataRoot.at(data)
    return root if root.added_pixels() is not None or root.holds_own_labels() else None


def check_not_by_chance(root: DataRoot, source: Source, typed: str) -> None:
    """Make sure that own labels get synthetic pixels only where somebody typed so.

    Args:
        typed: what ``--source`` says.

    Raises:
        UsageError: nobody did.
    """
    if source.synthetic and typed != source.folder and root.holds_own_labels():
        raise UsageError(
            f"{root} holds labels of your own, and no Earth Engine project is configured; synthetic pixels do not show "
            "their ground: add pixels with 'dwplus pixels add', pass --project, or type --source sandbox to try the "
            "commands (nothing is trained on that)"
        )


@contextmanager
def local_earth_engine(*, tiles: int, seed: int) -> Iterator[Configuration]:
    """How to connect to a local Earth Engine, which runs as long as this is used; no data root is touched.

    Raises:
        ServiceError: it does not start.
    """
    from ..local_ee.launch import LocalEarthEngine

    with LocalEarthEngine(planet={"kind": "earth", "seed": seed}, tiles=tiles) as engine:
        # A proxy cannot reach this machine's own address.
        for variable in ("NO_PROXY", "no_proxy"):
            os.environ[variable] = ",".join(filter(None, [os.environ.get(variable), "127.0.0.1"]))
        yield Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
