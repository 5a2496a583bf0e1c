"""What does the synthetic planet look like? Draws the pictures of ``docs/images`` anew after a change of the planet.

    python benchmarks/planet_pictures.py [--seed 7] [--tiles 132] [--to docs/images] [--data data/sandbox]

``planet-tiles.png``: a test tile of each biome, land cover, true colour and mean VV. ``planet-labels.png``: the truth
of a tile, and what annotators and a model make of it. With ``--data``, a data root that ``make reproduce`` made, also
``report-tiles.png``: test tiles with what each run predicted; and the scores of its runs are printed.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from dwplus.local_ee.catalogue.annotations import annotate
from dwplus.local_ee.catalogue.sites import SandboxTile
from dwplus.local_ee.planet import utm
from dwplus.local_ee.planet.labelling import Annotator
from dwplus.model.score import load, predict
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.raster.geotiff import read_bands
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from dwplus.pipeline.spec.tiles import biome_names
from dwplus.workflow.pages.figures import panels_figure
from dwplus.workflow.pages.pixels import TileView
from dwplus.workflow.pages.sections.panels import varied
from dwplus.workflow.splits import open_as_trained
from numpy.typing import NDArray
from rigs import arguments
from rigs.planet_views import Sandbox, centres

mpl.use("Agg")

GREY = 0.93
_TILES = 4
"""Test tiles of the picture of predictions."""

PEOPLE: tuple[Annotator, ...] = ("consensus", "expert", "non_expert")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=132)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dates", type=int, default=24, help="Sentinel-1 scenes in the mean, at most")
    parser.add_argument("--to", type=Path, default=None, help="folder of the pictures; default: docs/images")
    parser.add_argument("--data", type=Path, default=None, help="data root with runs and a report")
    options = arguments.parse(parser, tiles=4, dates=1)
    with tempfile.TemporaryDirectory() as place:
        folder = options.to or (Path(place) if options.tiny else Path(__file__).parents[1] / "docs" / "images")
        sandbox = Sandbox.of(options.tiles, options.seed)
        tiles = _tile_of_each_biome(sandbox)
        _draw_tiles(sandbox, tiles, options, folder / "planet-tiles.png")
        _draw_labels(sandbox, _most_varied(sandbox, tiles), folder / "planet-labels.png")
        if options.data is not None:
            _draw_predictions(options.data, folder / "report-tiles.png")
            _print_scores(options.data)


def _tile_of_each_biome(sandbox: Sandbox) -> list[SandboxTile]:
    """The first test tile of each biome that both sensors see."""
    found: dict[int, SandboxTile] = {}
    for item in sandbox.tiles:
        usable = "consensus" in item.annotators and item.scene is not None and sandbox.radar_scenes(item.tile, 1)
        if usable and item.tile.biome is not None:
            found.setdefault(item.tile.biome, item)
    return [found[biome] for biome in sorted(found)]


def _most_varied(sandbox: Sandbox, tiles: list[SandboxTile]) -> SandboxTile:
    """The tile with the most classes above 3 %."""
    return max(tiles, key=lambda item: int((np.bincount(_truth(sandbox, item).ravel()) > 0.03 * 512**2).sum()))


def _truth(sandbox: Sandbox, item: SandboxTile) -> NDArray[np.uint8]:
    tile = item.tile
    return sandbox.catalogue.planet.landcover(utm.UtmGrid.of(tile.crs, tile.transform, tile.shape))


def _draw_tiles(sandbox: Sandbox, tiles: list[SandboxTile], options: argparse.Namespace, to: Path) -> None:
    from matplotlib.figure import Figure

    rows = -(-len(tiles) // 2)
    figure = Figure(figsize=(8, 1.45 * rows), dpi=100, layout="constrained")
    axes = figure.subplots(rows, 6, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    names = biome_names()
    for number, item in enumerate(tiles):
        row, first = number // 2, 3 * (number % 2)
        x, y = centres(item.tile)
        assert item.scene is not None
        rgb = [sandbox.at(item.scene, band, item.tile.crs, x, y)[0] / 1e4 for band in ("B4", "B3", "B2")]
        scenes = sandbox.radar_scenes(item.tile, options.dates)
        decibel = sandbox.mean_backscatter("VV", scenes, item.tile.crs, x, y)
        colour = np.clip(np.stack(rgb, axis=-1) / 0.3, 0, 1) ** 0.75
        grey = np.repeat(np.clip((decibel + 25) / 25, 0, 1)[..., None], 3, axis=-1)
        for axis, picture in zip(axes[row, first:], (_coloured(_truth(sandbox, item)), colour, grey), strict=False):
            axis.imshow(picture[::2, ::2])
        title = f"{item.tile.biome} {names[item.tile.biome or 1]}"
        axes[row, first].set_title(title, fontsize=6, loc="left", pad=2)
    _save(figure, to)


def _draw_labels(sandbox: Sandbox, item: SandboxTile, to: Path) -> None:
    from matplotlib.figure import Figure

    planet, tile = sandbox.catalogue.planet, item.tile
    assert item.scene is not None
    views = {"truth": _truth(sandbox, item)}
    for annotator in PEOPLE:
        codes = annotate(planet, sandbox.catalogue, item, annotator)
        views[annotator.replace("_", "-")] = DYNAMIC_WORLD.class_indices(codes)
    views["model"] = planet.model_labels(tile.crs, tile.transform, tile.shape, item.scene.index)
    figure = Figure(figsize=(9.7, 2.1), dpi=100, layout="constrained")
    for axis, (name, classes) in zip(figure.subplots(1, len(views)), views.items(), strict=True):
        axis.set_axis_off()
        axis.imshow(_coloured(classes)[::2, ::2])
        axis.set_title(name, fontsize=8, loc="left", pad=2)
    _save(figure, to)


def _coloured(classes: NDArray[np.uint8]) -> NDArray[np.float64]:
    table = np.full((256, 3), GREY)
    for land_cover in DYNAMIC_WORLD.classes:
        table[land_cover.index] = np.array(land_cover.rgb) / 255
    table[IGNORE] = GREY
    return table[classes]


def _save(figure: object, to: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # type: ignore[attr-defined]
    to.write_bytes(buffer.getvalue())
    print(to)


def _draw_predictions(data: Path, to: Path) -> None:
    """The test tiles that the report draws, each with its label and what every run says of it."""
    root = DataRoot.at(data)
    label = {sample.tile_id: sample.label for sample in Dataset(root, split="test")}
    said: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for folder in sorted(path.parent for path in root.runs.glob("*/scores.json")):
        run = load(folder, device="cpu")
        tiles = open_as_trained(root, run.config, "test")
        said[folder.name] = {sample.tile_id: predict(run, sample) for sample in tiles}
    rows = varied([row for row in root.complete() if row.tile.id in label], _TILES)
    views = [
        TileView(
            row.tile.id,
            read_bands(root.shard(row.tile), ("B4", "B3", "B2")),
            read_bands(root.shard(row.tile), ("VV",))[0],
            label[row.tile.id],
            {name: classes[row.tile.id] for name, classes in said.items()},
        )
        for row in rows
    ]
    to.write_bytes(panels_figure(views, title="Test tiles of the sandbox", mark="SANDBOX"))
    print(to)


def _print_scores(root: Path) -> None:
    for path in sorted(root.glob("runs/*/scores.json")):
        scores = json.loads(path.read_text("utf-8"))
        print(f"{path.parent.name}: OA {100 * scores['oa']:.2f} mIoU {100 * scores['miou']:.2f}")


if __name__ == "__main__":
    main()
