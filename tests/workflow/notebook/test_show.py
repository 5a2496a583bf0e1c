"""``dwplus.show``: what lies on the map, and what is refused."""

import base64
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus import predict, show
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.class_map import colours_of
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.map_tiles import pixels_of_tile
from support.roots import lay_out_root
from support.runs import fresh_run, lay_out

# Looked for and not imported: every process of a test run reads this file, and geemap takes seconds.
pytestmark = pytest.mark.skipif(
    find_spec("geemap") is None, reason="geemap is not installed (pip install 'dwplus[map]')"
)

SIZE = 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    made = lay_out_root(tmp_path_factory.mktemp("data") / "sandbox", train=3, test=2, size=SIZE)
    validate_root(made, run=in_process, progress=Silent())
    normalise_root(made, run=in_process, progress=Silent())
    return made


@pytest.fixture(scope="module")
def run(root: DataRoot) -> Path:
    return lay_out(fresh_run(root, "net"), root.runs)


def layers(shown: Any) -> dict[str, Any]:
    """Layers by name, without the base map."""
    return {layer.name: layer for layer in shown.layers[1:]}


def texts(shown: Any) -> str:
    """All words in the corners of a map."""
    return " ".join(str(getattr(control.widget, "value", "")) for control in widgets(shown))


def widgets(shown: Any) -> Iterator[Any]:
    return (control for control in shown.controls if hasattr(control, "widget"))


def legend(shown: Any) -> dict[str, str]:
    """Title -> colour, out of all legends of a map."""
    return {
        title: colour for colour, title in re.findall(r"background:(#[0-9a-f]{6})'></span>([^<]*)</div>", texts(shown))
    }


def colours(layer: Any) -> set[tuple[int, ...]]:
    """Colours of a picture, without its transparent pixels."""
    pixels = pixels_of_tile(base64.b64decode(layer.url.split(",")[1]))
    return {tuple(one[:3]) for one in pixels.reshape(4, -1).T.tolist() if one[3]}


def test_a_data_root_is_shown_as_its_tiles_by_split(root: DataRoot) -> None:
    shown = show(root.folder)

    names = list(layers(shown))
    assert [name.split()[0] for name in names] == ["train", "val", "test"][: len(names) - 1] + ["test"]
    assert sum(len(layer.data["features"]) for layer in layers(shown).values()) == 5
    assert list(legend(shown)) == names
    assert "SANDBOX" in texts(shown)
    assert "5 of 5 tiles complete" in texts(shown)


def test_what_is_known_of_a_tile_is_said_while_the_pointer_is_on_it(root: DataRoot) -> None:
    shown = show(root)
    layer = shown.layers[-1]
    feature = layer.data["features"][0]

    # what the browser sends
    layer._handle_mouse_events(None, {"event": "mouseover", "properties": feature["properties"], "id": "0"}, [])

    assert f"tile: {feature['properties']['tile']}" in texts(shown)


def test_a_tile_is_shown_in_layers_with_a_slider_between_them(root: DataRoot) -> None:
    tile = root.manifest().rows[0].tile

    shown = show(str(root.folder), tile=tile.id)

    found = layers(shown)
    assert list(found) == ["Sentinel-2 true colour", "Sentinel-1 VV, mean", "Label"]
    (slider,) = [one.widget for one in widgets(shown) if type(one.widget).__name__ == "FloatSlider"]
    assert (slider.min, slider.value, slider.max) == (0, found["Label"].opacity, 1)
    assert colours(found["Label"]) <= {one.rgb for one in DYNAMIC_WORLD.classes}
    assert legend(shown)["Water"].lower().endswith("419bdf")
    assert "SANDBOX" in texts(shown)
    (south, west), (north, east) = found["Sentinel-2 true colour"].bounds
    assert south < tile.centre[1] < north
    assert west < tile.centre[0] < east


def test_the_prediction_of_a_run_is_a_layer_in_the_colours_of_its_classes(root: DataRoot, run: Path) -> None:
    dataset = Dataset(root, split="test")
    expected = {DYNAMIC_WORLD.classes[i].rgb for i in np.unique(predict(run, dataset[0]))}

    shown = show(root, tile=dataset.tiles[0].id, run="net", device="cpu")

    assert list(layers(shown))[-1] == "Prediction of net"
    assert colours(layers(shown)["Prediction of net"]) <= expected
    assert not layers(shown)["Label"].visible


def test_a_run_is_shown_on_its_test_tiles(run: Path) -> None:
    shown = show(run, limit=1, device="cpu", height="300px")

    found = layers(shown)
    assert list(found) == ["test (2)", "Sentinel-2 true colour", "Label", "Prediction of net"]
    assert len(found["Prediction of net"].layers) == 1
    assert "predictions on 1 of 2 test tiles" in texts(shown)
    assert "SANDBOX" in texts(shown)


def test_a_map_file_is_shown_with_its_legend(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 40, "width": 40, "nodata": 0}
    affine = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with rasterio.open(tmp_path / "town.tif", "w", **profile, crs="EPSG:32632", transform=affine) as file:
        file.write(np.full((40, 40), 5, np.uint8), 1)
        file.write_colormap(1, colours_of(DYNAMIC_WORLD))
        file.update_tags(CLASSES="5=crops", SANDBOX="the network was trained on synthetic pixels")

    shown = show(tmp_path / "town.tif")

    assert colours(layers(shown)["town.tif"]) == {DYNAMIC_WORLD.classes[4].rgb}
    assert list(legend(shown)) == ["crops"]
    assert "SANDBOX" in texts(shown)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tile": "dw_99"}, DataError, "has no tile 'dw_99'"),
        ({"tile": "dw_"}, DataError, "has 5 tiles that begin with 'dw_'"),
        ({"run": "net"}, UsageError, "run= needs tile="),
        ({"pixels": "google"}, UsageError, "choose 'files' or 'earthengine'"),
        ({"data": "data"}, UsageError, "data= does not go with a data root"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(root: DataRoot, arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        show(root, **arguments)


def test_a_folder_that_is_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data root, run or map"):
        show(tmp_path)


def test_a_run_outside_a_data_root_needs_to_know_its_own(root: DataRoot, tmp_path: Path) -> None:
    path = lay_out(fresh_run(root, "away"), tmp_path / "runs")

    with pytest.raises(DataError, match="with data="):
        show(path)
    assert "Prediction of away" in layers(show(path, data=root, limit=1, device="cpu"))


def test_earth_engine_has_to_be_connected_first(root: DataRoot) -> None:
    ee.Reset()  # another test of this process may have connected it
    with pytest.raises(UsageError, match="not connected"):
        show(root, tile=root.manifest().rows[0].tile.id, pixels="earthengine")
