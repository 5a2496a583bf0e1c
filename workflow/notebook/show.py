"""``dwplus.show``: a data root, a tile, a run or a map file on a map in a notebook.

Pictures come from files: reprojected to Web Mercator here and held by the map itself, so that a saved notebook keeps
them. Tiles can be shown out of Earth Engine too, Google's or the local one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...pipeline.dataset.makers import makers_of_root
from ...pipeline.dataset.manifest import MANIFEST_FILE, ManifestRow, Protocol
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError, UsageError
from ...pipeline.raster.geotiff import read_bands, read_codes
from ...pipeline.spec.bands import NODATA
from ...pipeline.spec.classes import IGNORE, ClassTable
from ...pipeline.spec.sources import Source
from ...pipeline.spec.words import count_of
from ..pages.pixels import backscatter, class_colours, true_colour
from .canvas import Canvas, geemap_or_refuse
from .outlines import bounds_of, outlines_of
from .pictures import ClassLegend, Picture, legend_of, opaque, place, read_map

if TYPE_CHECKING:
    from ...model.score import LoadedRun

Pixels = Literal["files", "earthengine"]

MOST_TILES = 40
"""Tiles of a run that are drawn: each takes about 50 kB of the notebook, and a second of the network on a CPU."""

_SYNTHETIC = "synthetic pixels: they show nothing of the place on the Earth below them"


def show(
    what: DataRoot | Path | str,
    *,
    tile: str | None = None,
    run: Path | str | None = None,
    data: DataRoot | Path | str | None = None,
    split: str = "test",
    limit: int = MOST_TILES,
    pixels: Pixels = "files",
    device: str | None = None,
    **options: Any,
) -> Any:
    """A map for a notebook: tiles by split and status, a tile in layers, a run's test tiles, or a map file.

    Args:
        what: a data root; the folder of a run; or a GeoTIFF of classes, such as ``dwplus predict`` writes.
        tile: id of a tile of the data root, or its beginning: true colour, VV, label, and what ``run`` predicts.
        run: name or folder of a run of that data root, for ``tile``.
        data: data root of the run that ``what`` is; None = the one it lies in.
        split: of a run, whose tiles are drawn.
        limit: most tiles that are drawn of a run.
        pixels: of a tile: ``files`` (its shard), or ``earthengine``: true colour and VV are computed by the Earth
            Engine that ``ee`` is connected to.
        device: of the network; None = a GPU where there is one.
        options: of ``geemap.Map``, such as ``height="500px"`` or ``basemap``.

    Returns:
        ``geemap.Map``; add layers of your own to it. It says SANDBOX where pixels are synthetic.

    Raises:
        UsageError: geemap is not installed (``pip install 'dwplus[map]'``), or the arguments do not fit together.
        DataError: there is no such data root, tile, run or map, or a file is damaged.
    """
    geemap_or_refuse()
    if pixels not in get_args(Pixels):
        raise UsageError(f"pixels={pixels!r}: choose 'files' or 'earthengine'")
    if not isinstance(what, DataRoot):
        path = Path(what)
        if path.is_file():
            _refuse("a map file", tile=tile, run=run, data=data)
            return _show_map(path, options)
        if (path / "config.json").is_file():
            _refuse("a run", tile=tile, run=run)
            return _show_run(path, _root_of_run(path, data), split, limit, device, options)
        if not (path / MANIFEST_FILE).is_file():
            raise DataError(f"{path} is no data root, run or map: name a folder with {MANIFEST_FILE} or a GeoTIFF")
    _refuse("a data root", data=data)
    root = DataRoot.at(what)
    if tile is None:
        if run is not None:
            raise UsageError("run= needs tile=; to see a run on its test tiles name the folder of the run")
        return _show_root(root, options)
    return _show_tile(root, _row_of(root, tile), run, pixels, device, options)


def _refuse(what: str, **given: object) -> None:
    if names := [name for name, value in given.items() if value is not None]:
        raise UsageError(f"{names[0]}= does not go with {what}")


# --- a data root ------------------------------------------------------------------------------------------------------


def _show_root(root: DataRoot, options: Mapping[str, Any]) -> Any:
    manifest = root.manifest()
    if not manifest.rows:
        raise DataError(f"{root} holds no tile; run 'dwplus build' first")
    canvas = Canvas(bounds_of(manifest.rows), options)
    groups = outlines_of(root)
    for group in groups:
        canvas.outlines(group.name, group.geojson(), group.colour)
    canvas.legend(ClassLegend("Tiles", tuple((group.name, group.colour) for group in groups)))
    complete = len(root.complete())
    canvas.words(str(root), [f"{complete:,} of {count_of(len(manifest.rows), 'tile')} complete"], mark=_mark(root))
    return canvas.map


def _mark(root: DataRoot) -> str:
    """SANDBOX, or another source than Google's; empty where nothing is built yet."""
    try:
        makers = makers_of_root(root)
    except DataError:
        return ""
    return f"{makers.mark}: {_SYNTHETIC}" if makers.synthetic else makers.mark


# --- a tile -----------------------------------------------------------------------------------------------------------


def _row_of(root: DataRoot, tile: str) -> ManifestRow:
    """The tile of that id, or the only one whose id begins so.

    Raises:
        DataError: there is none, or there are several.
    """
    rows = root.manifest().rows
    found = [row for row in rows if row.tile.id == tile] or [row for row in rows if row.tile.id.startswith(tile)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(f"{root} has no tile {tile!r}; show({str(root)!r}) shows all of them")
    raise DataError(
        f"{root} has {len(found)} tiles that begin with {tile!r}: {found[0].tile.id}, {found[1].tile.id}, ..."
    )


def _show_tile(
    root: DataRoot,
    row: ManifestRow,
    run: Path | str | None,
    pixels: Pixels,
    device: str | None,
    options: Mapping[str, Any],
) -> Any:
    known = root.ledger().get(row.tile.id)
    if known is None or known.state != "done":
        why = "it is not built yet" if known is None else f"it is {known.state}: {known.reason or known.detail}"
        raise DataError(f"tile {row.tile.id} has no pixels: {why}; run 'dwplus build'")
    canvas = Canvas(bounds_of([row]), options)
    if pixels != "files":
        _add_earth_engine(canvas, root, row, known.scene)
        ground = None
    else:
        ground = canvas.picture(_true_colour(root, row))
        if root.has_s1():
            canvas.picture(_radar(root, row), shown=False)
    classes = root.classes()
    label = canvas.picture(_label(root, row, classes), shown=run is None or ground is None)
    canvas.legend(legend_of(classes))
    lines = [f"{row.tile.date}, {row.split('strict')}, labels {row.labeler}, biome {row.tile.biome}"]
    right = label
    if run is not None:
        name, loaded = _load(root, run, device)
        right = canvas.picture(_prediction(root, row, name, loaded))
        lines.append(f"prediction of {name}")
        if loaded.config.data.classes.hash != classes.hash:
            canvas.legend(legend_of(loaded.config.data.classes, f"Classes of {name}"), "bottomleft")
    if ground is not None:
        canvas.fade(right)
        lines.append(f"slider: from true colour to the {'label' if run is None else 'prediction'}")
    canvas.words(row.tile.id, lines, mark=_mark(root))
    return canvas.map


def _true_colour(root: DataRoot, row: ManifestRow) -> Picture:
    stored = read_bands(root.shard(row.tile), ("B4", "B3", "B2"))
    rgba = opaque(true_colour(stored), (stored != NODATA).all(axis=0))
    return _placed("Sentinel-2 true colour", rgba, row)


def _radar(root: DataRoot, row: ManifestRow) -> Picture:
    stored = read_bands(root.shard(row.tile), ("VV",))[0]
    return _placed("Sentinel-1 VV, mean", opaque(backscatter(stored), stored != NODATA), row)


def _label(root: DataRoot, row: ManifestRow, classes: ClassTable) -> Picture:
    indices = classes.class_indices(read_codes(root.label(row)))
    return _placed("Label", opaque(class_colours(indices, classes), indices != IGNORE), row)


def _placed(name: str, rgba: NDArray[np.uint8], row: ManifestRow) -> Picture:
    return place(name, rgba, row.tile.crs, row.tile.affine)


def _add_earth_engine(canvas: Canvas, root: DataRoot, row: ManifestRow, scene: str) -> None:
    """Layers of the connected Earth Engine.

    Raises:
        UsageError: it is connected to none, or to one that does not have this data root's pixels.
    """
    from ...pipeline.earthengine.map_layers import connected_to, tile_layers

    host, source, recipe = connected_to(), Source.of(root.source()), root.recipe()
    if source.added or recipe is None or not scene:
        raise UsageError(f"the ledger of {root} names no scene of {row.tile.id}: show it from its files")
    if source.synthetic == host.endswith("googleapis.com"):
        wanted = "the local Earth Engine (dwplus local-ee serve)" if source.synthetic else "Google's Earth Engine"
        raise UsageError(f"pixels of {root} are {source.name}, and ee is connected to {host}; connect to {wanted}")
    for layer in tile_layers(row.tile, scene, recipe, radar=root.has_s1()):
        canvas.earth_engine(layer.image, layer.shown, layer.name)


# --- a run ------------------------------------------------------------------------------------------------------------


def _root_of_run(path: Path, data: DataRoot | Path | str | None) -> DataRoot:
    root = DataRoot.at(path.absolute().parent.parent if data is None else data)
    if not root.manifest_file.is_file():
        raise DataError(f"{path} lies in no data root; name the one that it was trained on with data=")
    return root


def _show_run(
    path: Path, root: DataRoot, split: str, limit: int, device: str | None, options: Mapping[str, Any]
) -> Any:
    from ...model.score import load
    from ..splits import open_as_trained, trained_here

    if limit < 1:
        raise UsageError(f"limit={limit}: at least one tile has to be shown")
    loaded = load(path, device=device)
    config = loaded.config
    dataset = open_as_trained(root, config, split, own=trained_here(root, config))
    rows = dataset.rows[:limit]
    canvas = Canvas(bounds_of(rows), options)
    protocol: Protocol = dataset.protocol
    for group in outlines_of(root, protocol, splits=(split,)):
        canvas.outlines(group.name, group.geojson(), group.colour, filled=False)
    canvas.pictures("Sentinel-2 true colour", [_true_colour(root, row) for row in rows])
    canvas.pictures("Label", [_label(root, row, dataset.classes) for row in rows])
    canvas.pictures(f"Prediction of {path.name}", [_predicted(loaded, dataset[i], row) for i, row in enumerate(rows)])
    canvas.legend(legend_of(config.data.classes))
    lines = [f"{config.model}, predictions on {len(rows)} of {count_of(len(dataset), f'{split} tile')}"]
    canvas.words(path.name, lines, mark=_mark(root) or Source.of(config.data.source).mark)
    return canvas.map


def _load(root: DataRoot, run: Path | str, device: str | None) -> tuple[str, LoadedRun]:
    from ...model.score import load
    from ..seeds import find_run

    path = find_run(root, str(run))
    return path.name, load(path, device=device)


def _prediction(root: DataRoot, row: ManifestRow, name: str, loaded: LoadedRun) -> Picture:
    from ..splits import open_as_trained, trained_here

    config = loaded.config
    split = row.split("paper" if config.data.protocol == "paper" else "strict")
    dataset = open_as_trained(root, config, split, own=trained_here(root, config))
    places: Sequence[str] = [tile.id for tile in dataset.tiles]
    if row.tile.id not in places:
        raise DataError(
            f"tile {row.tile.id} is not among the usable tiles of split {split}: 'dwplus validate' says why"
        )
    return _predicted(loaded, dataset[places.index(row.tile.id)], row, name)


def _predicted(loaded: LoadedRun, sample: Any, row: ManifestRow, name: str = "") -> Picture:
    """What a network predicts where all of its inputs have data."""
    from ...model.score import predict

    indices = predict(loaded, sample)
    seen = np.concatenate([sample.primary, sample.auxiliary]) != NODATA
    rgba = opaque(class_colours(indices, loaded.config.data.classes), seen.all(axis=0))
    return _placed(f"Prediction of {name}" if name else row.tile.id, rgba, row)


# --- a map ------------------------------------------------------------------------------------------------------------


def _show_map(path: Path, options: Mapping[str, Any]) -> Any:
    found = read_map(path)
    canvas = Canvas(found.picture.bounds, options)
    canvas.picture(found.picture)
    canvas.legend(found.legend)
    lines = [f"one pixel here stands for {found.coarser:.1f} of the map along a side"] if found.coarser > 1 else []
    canvas.words(path.name, lines, mark="SANDBOX: the network was trained on synthetic pixels" if found.sandbox else "")
    return canvas.map
