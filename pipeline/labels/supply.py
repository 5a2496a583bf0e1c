"""Where a data root's labels come from: the publishers' archives or Earth Engine's collection, downloaded.

``ingest`` gets the files on disk from a ``Supply``, and reads what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files.archives import members_path, read_members
from ..files.atomic import sha256_of
from ..progress import Progress
from ..spec.sources import Source
from .index import LabelFile, from_earth_engine, index
from .metadata import Metadata, read_metadata
from .origin import LabelOrigin
from .releases import Acquired, Mirror, acquire, releases, unpacked_folder

if TYPE_CHECKING:
    from .earth_engine import LabelClient


@dataclass(frozen=True)
class LabelSource:
    """One origin of labels or metadata on disk: an archive, the workbook, the collection of Earth Engine.

    Attributes:
        name: ``<release>/<file>``.
        fingerprint: changes with its content.
        folder: of its label tiles; None where it has none.
    """

    name: str
    fingerprint: str
    folder: Path | None


@dataclass(frozen=True)
class Supply:
    """Downloads the labels of some splits, and lists what is then on disk."""

    folder: Path
    splits: tuple[str, ...]
    origin: LabelOrigin
    mirror: Mirror | None
    client: LabelClient | None
    source: str
    progress: Progress

    def __call__(self, *, verify: bool) -> tuple[tuple[LabelSource, ...], Mapping[str, str]]:
        """What is on disk now, and failed tiles with the reason."""
        return self._from_earth_engine(verify) if self.origin == "earth-engine" else self._from_releases(verify)

    @property
    def label_origin(self) -> str:
        """The source that a label names: the server it came from, or the planet whose mirror serves it."""
        of_planet = self.mirror is not None and Source.of(self.source).synthetic
        return self.source if of_planet or self.origin == "earth-engine" else ""

    def _from_releases(self, verify: bool) -> tuple[tuple[LabelSource, ...], Mapping[str, str]]:
        with self.progress.stage("Downloading label releases", None, unit="bytes") as step:
            brought = acquire(
                releases(),
                self.folder,
                mirror=self.mirror,
                splits=self.splits,
                verify=verify,
                progress=lambda _name, done, total: step.set(done, total),
            )
        return tuple(_source_of(one, self.folder) for one in brought if one.path is not None), {}

    def _from_earth_engine(self, verify: bool) -> tuple[tuple[LabelSource, ...], Mapping[str, str]]:
        # Imports the client, which the archives do not need.
        from .earth_engine import EARTH_ENGINE_FOLDER, fetch_label_assets

        if self.client is None:
            raise UsageError("labels from Earth Engine need a session with it; this call has none")
        with self.progress.stage("Downloading labels from Earth Engine", None) as step:
            fetched = fetch_label_assets(
                self.client, self.folder, source=self.source, splits=self.splits, verify=verify, progress=step.set
            )
        record = members_path(fetched.folder).read_bytes()
        return (LabelSource(EARTH_ENGINE_FOLDER, sha256_of(record), fetched.folder),), fetched.failed

    def labels(self, sources: Sequence[LabelSource]) -> tuple[list[LabelFile], Metadata]:
        """The label tiles of the sources, and what their publishers say of them."""
        files: list[LabelFile] = []
        metadata: Metadata = {}
        places = [self.folder / source.name.split("/")[0] for source in sources]
        for place in dict.fromkeys(places):
            metadata.update(read_metadata(place))
        for source in sources:
            if source.folder is not None:
                find = from_earth_engine if self.origin == "earth-engine" else index
                files += find(source.folder, metadata=metadata)
        return files, metadata


def _source_of(one: Acquired, folder: Path) -> LabelSource:
    """An archive or workbook is known by the SHA-256 that its record holds, and by what was left out of it."""
    file = one.file
    fingerprint = sha256_of(f"{one.sha256} {file.skip} {file.labeler} {file.split}".encode())
    return LabelSource(
        f"{file.release}/{file.name}", fingerprint, unpacked_folder(file, folder) if file.kind == "labels" else None
    )


def fingerprints(sources: Iterable[LabelSource]) -> dict[str, str]:
    return {source.name: source.fingerprint for source in sources}


def expected_hashes(sources: Iterable[LabelSource]) -> dict[Path, str]:
    """SHA-256 of each unpacked file, as it was when it was unpacked."""
    expected: dict[Path, str] = {}
    for source in sources:
        record = read_members(source.folder) if source.folder is not None else None
        if record is not None and source.folder is not None:
            expected |= {source.folder / path: member.sha256 for path, member in record.members.items()}
    return expected
