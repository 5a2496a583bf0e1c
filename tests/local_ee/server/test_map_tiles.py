"""Map tiles as files: which formats, which places, which pixels are transparent."""

from __future__ import annotations

from typing import Any

import pytest
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server.map_tiles import announce_map, map_tile, tile_grid
from dwplus.local_ee.server.pending_downloads import PendingDownloads
from support.conformity_scenes import world
from support.local_ee_scenes import S2, call, expression
from support.map_tiles import pixels_of_tile, tile_of

WORLD = world()
EVERYWHERE = call("Image.constant", value=[1.0, 0.5, 0.0])
HILL = call("Image.load", id=f"{S2}/hill")


def body(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"expression": expression(result), **more}


def test_the_tile_of_zoom_0_is_the_world_and_each_zoom_halves_its_pixels() -> None:
    whole, quarter = tile_grid((0, 0, 0)), tile_grid((1, 1, 1))

    assert whole.affine[0] * 256 == pytest.approx(40_075_016.6856, abs=1e-3)  # the equator of WGS 84, metres
    assert whole.affine[2] == -whole.affine[5] == pytest.approx(-20_037_508.3428, abs=1e-3)
    assert (quarter.affine[0], quarter.affine[2], quarter.affine[5]) == (whole.affine[0] / 2, 0.0, 0.0)


def test_a_tile_is_png_where_pixels_may_be_transparent_and_jpeg_where_none_is() -> None:
    opaque = map_tile(WORLD, "3/1/2", body(EVERYWHERE))
    half = map_tile(WORLD, "3/1/2", body(call("Image.visualize", image=EVERYWHERE, opacity=0.5)))
    empty = map_tile(WORLD, "3/1/2", body(HILL))
    jpeg = map_tile(WORLD, "3/1/2", body(HILL, fileFormat="JPEG"))

    assert [a.content_type for a in (opaque, half, empty, jpeg)] == [
        "image/jpeg",
        "image/png",
        "image/png",
        "image/jpeg",
    ]
    assert pixels_of_tile(opaque.body).shape == (3, 256, 256)
    assert pixels_of_tile(half.body)[:, 7, 7].tolist() == [255, 128, 0, 128]
    assert not pixels_of_tile(empty.body).any()
    assert not pixels_of_tile(jpeg.body).any()


def test_options_of_a_request_are_applied_after_those_of_the_expression() -> None:
    """What ``ee.data.getMapId`` sends, whose image is not visualised by the client."""
    options = {"ranges": [{"min": 0, "max": 2}], "paletteColors": ["000000", "ff0000"], "opacity": 0.5}
    asked = body(call("Image.constant", value=1.0), fileFormat="PNG", visualizationOptions=options)

    assert pixels_of_tile(map_tile(WORLD, "0/0/0", asked).body)[:, 0, 0].tolist() == [128, 0, 0, 128]


@pytest.mark.parametrize("place", ["25/0/0", "3/8/0", "3/0/8", "3/-1/0", "3/0.5/0", "3/x/0", "999/1/1"])
def test_there_are_no_tiles_beyond_the_world(place: str) -> None:
    with pytest.raises(Refusal, match="Invalid tile"):
        map_tile(WORLD, place, body(EVERYWHERE))


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (body(EVERYWHERE, fileFormat="GEO_TIFF"), 501, "The file format 'GEO_TIFF' of a map"),
        (body(call("String", input="x")), 400, "must give an Image"),
        (body(EVERYWHERE, bandIds=["constant_0", "constant_1"]), 501, "two bands"),
        (body(EVERYWHERE, visualizationOptions=[1]), 400, "visualizationOptions"),
        (body(EVERYWHERE, visualizationOptions={"ranges": [1]}), 400, "ranges"),
        (body(EVERYWHERE, visualizationOptions={"gamma": 1}), 400, "gamma"),
        (body(EVERYWHERE, visualizationOptions={"opacity": "much"}), 400, "opacity"),
        (body(EVERYWHERE, visualizationOptions={"paletteColors": ["red"]}), 400, "palette"),
    ],
)
def test_what_cannot_be_shown_is_refused_when_it_is_announced(asked: dict[str, Any], code: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        announce_map(WORLD, asked)

    assert caught.value.code == code


def test_maps_and_downloads_have_names_of_their_own_and_those_in_use_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr("dwplus.local_ee.server.pending_downloads.MAX_KEPT", 2)
    pending = PendingDownloads()
    names = [pending.keep("p", b"map", "maps").decode().split('"')[3]]
    names.append(pending.keep("p", b"other", "maps").decode().split('"')[3])

    assert pending.tile(f"/v1/{names[0]}/tiles/3/1/2") == ("3/1/2", b"map")  # looked at: now the other one is older
    pending.keep("p", b"third")
    assert pending.tile(f"/v1/{names[0]}/tiles/0/0/0") == ("0/0/0", b"map")
    assert pending.tile(f"/v1/{names[1]}/tiles/0/0/0") is None
    assert pending.tile(f"/v1/{names[0]}/tiles/0/0") is None
    assert pending.body(f"/v1/{names[0]}:getPixels") is None


def test_a_tile_that_shows_much_of_a_scene_is_refused_before_anything_is_read(monkeypatch: Any) -> None:
    monkeypatch.setattr("dwplus.local_ee.server.map_tiles.MAX_READ_PX", 2000)  # this tile shows 35 x 62 px
    x, y = tile_of(15.0, 45.15, 12)

    with pytest.raises(Refusal, match="zoom in"):
        map_tile(WORLD, f"12/{x}/{y}", body(HILL))
