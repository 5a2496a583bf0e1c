"""Downloads: images that are announced first and fetched by name, as ``getDownloadURL`` does."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import rasterio
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server import pending_downloads
from dwplus.local_ee.server.pending_downloads import PendingDownloads
from dwplus.local_ee.server.thumbnails import announce, download
from support.conformity_scenes import CLASSES, ROW, ZONE, X, Y, world
from support.local_ee_scenes import S2, call, expression

WORLD = world()


def body(result: dict[str, Any], form: str = "ZIPPED_GEO_TIFF", **more: Any) -> dict[str, Any]:
    return {"expression": expression(result), "fileFormat": form, **more}


def image(index: str) -> dict[str, Any]:
    return call("Image.load", id=f"{S2}/{index}")


def test_an_image_as_it_is_stored_comes_as_a_zipped_geotiff() -> None:
    answer = download(WORLD, body(image("row"), filenamePrefix="../a tile"))

    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.namelist() == [".._a_tile.tif"]  # no name leads out of a folder
    with rasterio.open(io.BytesIO(archive.read(".._a_tile.tif"))) as opened:
        assert (opened.crs.to_string(), opened.transform.c, opened.transform.f) == (ZONE, X, Y)
        assert (opened.read(1) == ROW).all()


def test_a_file_per_band_is_named_after_it() -> None:
    answer = download(WORLD, body(image("land"), "ZIPPED_GEO_TIFF_PER_BAND", bandIds=["SCL", "red"]))

    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.namelist() == ["land.SCL.tif", "land.red.tif"]
    with rasterio.open(io.BytesIO(archive.read("land.SCL.tif"))) as opened:
        assert (opened.read(1) == CLASSES).all()


def test_numpy_and_a_single_geotiff() -> None:
    assert (np.load(io.BytesIO(download(WORLD, body(image("row"), "NPY")).body))["b"] == ROW).all()
    with rasterio.open(io.BytesIO(download(WORLD, body(image("row"), "GEO_TIFF")).body)) as opened:
        assert opened.descriptions == ("b",)


def test_a_region_without_a_scale_is_cut_out_of_the_pixels_as_they_are() -> None:
    region = call("GeometryConstructors.Rectangle", coordinates=[X + 12, Y - 10, X + 28, Y], crs=ZONE, geodesic=False)
    cut = call("Image.clipToBoundsAndScale", input=image("row"), geometry=region)

    assert np.load(io.BytesIO(download(WORLD, body(cut, "NPY")).body))["b"].tolist() == [[10, 30]]


def test_bands_of_different_pixel_sizes_go_into_one_file_at_a_common_scale() -> None:
    both = call("Image.addBands", dstImg=image("row"), srcImg=image("coarse"))
    region = call("GeometryConstructors.Rectangle", coordinates=[X, Y - 10, X + 40, Y], crs=ZONE, geodesic=False)
    cut = call("Image.clipToBoundsAndScale", input=both, geometry=region, scale=10)

    pixels = np.load(io.BytesIO(download(WORLD, body(cut, "NPY")).body))
    assert pixels["b"].tolist() == ROW.tolist()
    assert pixels["b_1"].tolist() == [[100, 100, 200, 200]]


@pytest.mark.parametrize(
    ("result", "form", "code", "words"),
    [
        (image("row"), "PNG", 501, "The file format 'PNG' of a thumbnail"),
        (call("Image.constant", value=1), "NPY", 501, "without bounds or scale"),
        (call("Image.addBands", dstImg=image("row"), srcImg=image("coarse")), "NPY", 501, "on different grids"),
        (
            call("Image.clipToBoundsAndScale", input=image("hill"), scale=0.05),
            "NPY",
            400,
            "Pixel grid dimensions (12000x12000) must be less than or equal to 10000.",
        ),
        (
            call("Image.clipToBoundsAndScale", input=image("hill"), scale=0.1),
            "NPY",
            400,
            "Total request size (144000000 bytes) must be less than or equal to 33554432 bytes.",
        ),
        (call("Image.load", id="nowhere"), "NPY", 400, "not found"),
    ],
)
def test_what_cannot_be_downloaded_is_refused_when_it_is_announced(
    result: dict[str, Any], form: str, code: int, words: str
) -> None:
    with pytest.raises(Refusal) as caught:
        announce(WORLD, body(result, form))

    assert caught.value.code == code
    assert words in caught.value.message


def test_names_cannot_be_guessed_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_downloads, "MAX_KEPT", 2)
    kept = PendingDownloads()
    names = [json.loads(kept.keep("p", text))["name"] for text in (b"first", b"second", b"third")]

    assert [kept.body(f"/v1/{name}:getPixels") for name in names] == [None, b"second", b"third"]
    assert len(set(names)) == 3
    assert kept.body("/v1/projects/p/thumbnails/0000:getPixels") is None
    assert kept.body("/v1/projects/p/value:compute") is None
