"""Label tiles on disk: found by place and name, read with their grid.

First stage of the flow. ``acquire`` (in ``releases``) downloads the released archives, or ``from_folder``
takes user-supplied tiles; ``index`` lists the label tiles on disk, ``read_label`` opens one, ``read_metadata`` (in
``metadata``) reads what the publisher states about them. The manifest comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError, UsageError
from ..files.walk import walk
from ..raster.geotiff import LABEL_BAND
from ..spec.test_tiles import biome_of, is_test_tile
from ..spec.tiles import TEST_PREFIX, Hemisphere, Labeler, biome_names, hemisphere_of, parse_tile_id, tile_id_of
from .metadata import Metadata, read_metadata
from .releases import ReleaseSplit

# Index ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelFile:
    """One label tile on disk, as known from its folder and name.

    Attributes:
        dw_id: released name, ``dw_<lon>_<lat>-<YYYYMMDD>``; together with ``labeler`` the key of a label.
        hemisphere: the released folder ``EH`` or ``WH``; without one, see ``hemisphere_of``.
        biome: the released folder 1..14; without one, from the metadata or the list of test tiles; 0 = not known.
        split: ``train`` or ``test`` as released, ``inspect`` for user-supplied tiles.
        band: name of the band that holds the label, None where the file has one band only.
    """

    tile_id: str
    labeler: Labeler
    path: Path
    hemisphere: Hemisphere
    biome: int
    split: ReleaseSplit
    band: str | None = None


@dataclass(frozen=True)
class Ignored:
    """A TIFF that is no label tile, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Survey:
    """Every TIFF below a folder: label tiles in the order (labeler, dw_id), and the others."""

    labels: tuple[LabelFile, ...]
    ignored: tuple[Ignored, ...] = ()


_LABELER_OF_FOLDER: dict[str, Labeler] = {
    "experts": "expert",
    "expert": "expert",
    "experts_tiles": "expert",
    "non_expert": "non_expert",
    "non_experts": "non_expert",
    "non_expert_tiles": "non_expert",
    "workforce": "non_expert",
    "dw_test": "consensus",
    "consensus": "consensus",
}
_SPLIT_OF_LABELER: dict[Labeler, ReleaseSplit] = {
    "expert": "train",
    "non_expert": "train",
    "consensus": "test",
    "unknown": "inspect",
}


def labeler_of_folder(name: str) -> Labeler | None:
    """Who annotated the tiles of a folder of that name; None where the name does not say."""
    return _LABELER_OF_FOLDER.get(name.casefold().replace("-", "_"))


def index(folder: Path, *, metadata: Metadata | None = None) -> list[LabelFile]:
    """The label tiles below a folder, in the order (labeler, dw_id); ``survey`` also says what was left out."""
    return list(survey(folder, metadata=metadata).labels)


def survey(folder: Path, *, metadata: Metadata | None = None) -> Survey:
    """Sort every TIFF below a folder into label tiles and the rest, by place and name alone.

    Args:
        metadata: as ``read_metadata`` gives it; gives the biome of tiles outside biome folders.
    """
    labels: dict[tuple[str, str], LabelFile] = {}
    ignored: list[Ignored] = []
    below = walk(folder, (".tif", ".tiff"))
    ignored += [Ignored(path, why) for path, why in below.unusable.items()]
    for path in below.files:
        try:
            label = _label_file(path, folder, metadata or {})
        except DataError as error:
            ignored.append(Ignored(path, str(error)))
            continue
        first = labels.setdefault((label.labeler, label.tile_id), label)
        if first is not label:
            ignored.append(Ignored(path, f"same tile of the same labeler as {first.path}"))
    return Survey(tuple(labels[key] for key in sorted(labels)), tuple(ignored))


def from_folder(folder: Path) -> Survey:
    """User-supplied label tiles (``--labels DIR``): split ``inspect``, whatever their split in the release.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no label tile; says what it holds.
    """
    if not folder.is_dir():
        raise UsageError(f"--labels {folder}: no such folder; name one that holds label tiles (dw_....tif)")
    found = survey(folder, metadata=read_metadata(folder))
    if not found.labels:
        examples = "".join(f"; {i.path.name}: {i.reason}" for i in found.ignored[:3])
        raise DataError(
            f"--labels {folder}: no Dynamic World label tile in it (names look like "
            f"dw_-2.7415152153_5.6549699454-20181226.tif), {len(found.ignored)} other TIFF files{examples}"
        )
    return replace(found, labels=tuple(replace(label, split="inspect") for label in found.labels))


def from_earth_engine(folder: Path, *, metadata: Metadata | None = None) -> list[LabelFile]:
    """Label tiles that ``earth_engine`` downloaded: the list of test tiles, not the folder, gives the split."""
    found = index(folder, metadata=metadata)
    return [replace(label, split="test" if is_test_tile(label.tile_id) else "train") for label in found]


def _label_file(path: Path, folder: Path, metadata: Metadata) -> LabelFile:
    tile_id = tile_id_of(path.stem)
    labeler = _labeler_of(path, folder)
    known = metadata.get((labeler, tile_id), {})
    hemisphere, biome = _place(path)
    return LabelFile(
        tile_id=tile_id,
        labeler=labeler,
        path=path,
        hemisphere=hemisphere or hemisphere_of(parse_tile_id(tile_id).lon),
        biome=biome or biome_of(tile_id, known.get("biome", "")),
        split=_SPLIT_OF_LABELER[labeler],
        band=LABEL_BAND if path.name.startswith(TEST_PREFIX) else None,
    )


def _labeler_of(path: Path, folder: Path) -> Labeler:
    """Who annotated a tile: the innermost folder that says so, else the prefix of test tiles."""
    places = (*reversed(path.relative_to(folder).parts[:-1]), folder.name)
    named = map(labeler_of_folder, places)
    fallback: Labeler = "consensus" if path.name.startswith(TEST_PREFIX) else "unknown"
    return next((labeler for labeler in named if labeler is not None), fallback)


def _place(path: Path) -> tuple[Hemisphere | None, int | None]:
    """Hemisphere and biome of ``.../{EH,WH}/{1..14}/<file>``."""
    hemisphere, biome = path.parent.parent.name, path.parent.name
    if not (biome.isdecimal() and int(biome) in biome_names()):
        return None, None
    if hemisphere == "EH":
        return "EH", int(biome)
    return ("WH", int(biome)) if hemisphere == "WH" else (None, None)
