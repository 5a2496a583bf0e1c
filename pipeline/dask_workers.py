"""The workers of a Dask cluster: whether they can do the work that is here. ``cluster`` asks before it sends any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ServiceError


@dataclass(frozen=True)
class Needs:
    """What work takes on each worker, besides this dwplus.

    Attributes:
        packages: that are installed in the same version, but for its build (``+cu126``).
        paths: absolute, of files that are seen under the same path.
        unit: what a batch of the work is called.
        memory: of a worker, for the advice where it has run out.
    """

    packages: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    unit: str = "a batch of tiles"
    memory: str = "1 GB"


def check_workers(client: Any, needs: Needs) -> None:
    """Refuse a cluster whose workers could not do the work, or would do it differently.

    Raises:
        ServiceError: a worker has other versions, or does not see a file; says which.
    """
    look = _look_by_value(needs.packages)
    here = look()
    # A function that is sent by its code is read only by the same Python: check that first, with Dask's function.
    known = client.get_versions()["workers"]
    pythons = {address: {"Python": _minor(found["host"]["python"])} for address, found in known.items()}
    _compare(pythons, {"Python": here["Python"]}, here["dwplus"])
    _compare(client.run(look), here, here["dwplus"])
    if needs.paths:
        for address, missing in client.run(_missing_by_value([str(path) for path in needs.paths])).items():
            if missing:
                raise ServiceError(
                    f"worker {address} does not see {missing[0]}, which is there: mount its folder under the same path "
                    "on every worker"
                )


def lacks(error: ImportError) -> ServiceError:
    """The error of a worker that joined later, and cannot import what the work needs."""
    return ServiceError(
        f"a worker lacks {error.name or 'a package'} ({error}); install on every worker what runs here and start it "
        "again, then run the command again"
    )


def _compare(workers: Mapping[str, Mapping[str, str]], here: Mapping[str, str], version: str) -> None:
    for address, there in workers.items():
        differing = [name for name in here if there[name] != here[name]]
        if differing:
            differences = ", ".join(f"{name} {there[name] or 'missing'} instead of {here[name]}" for name in differing)
            raise ServiceError(
                f"worker {address} has {differences}; install on every worker what runs here "
                f"(pip install dwplus=={version}) and start it again"
            )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _look_by_value(packages: Sequence[str]) -> Callable[[], dict[str, str]]:
    """A function that returns versions, also where dwplus is missing: inner functions are sent by their code."""

    def look() -> dict[str, str]:
        import importlib
        import importlib.metadata
        import sys

        found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
        for name in ("dwplus", "distributed"):
            try:
                found[name] = str(importlib.import_module(name).__version__)
            except ImportError:
                found[name] = ""
        for name in packages:  # not imported: that takes seconds
            try:
                found[name] = importlib.metadata.version(name).partition("+")[0]
            except importlib.metadata.PackageNotFoundError:
                found[name] = ""
        return found

    return look


def _missing_by_value(paths: Sequence[str]) -> Callable[[], list[str]]:
    """A function that returns which of some paths are not there."""

    def missing() -> list[str]:
        import pathlib

        return [path for path in paths if not pathlib.Path(path).exists()]

    return missing
