"""The real client against the local Earth Engine, over http: pixels, values, errors, tokens."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import ee
import numpy as np
import pytest
import rasterio
from dwplus.pipeline.local_ee.launch import LocalEarthEngine
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from local_ee_client import (
    PLANET,
    S2_BANDS,
    SIZE,
    connected,
    fetch,
    raw,
    serving,
    tile_image,
)
from local_ee_fixtures import NORTH, S1, S2, SOUTH, Place, centres


@pytest.fixture(scope="module")
def server() -> Iterator[LocalEarthEngine]:
    with serving() as running:
        yield running


def off_by(pixels: Any, place: Place) -> dict[str, float]:
    """The largest difference from the planes, DN or dB, of each band."""
    x, y = centres(place.affine(), pixels.shape)
    decibel = place.decibel(x, y, place.crs)
    expected = {band: place.digital_number(x, y) for band in S2_BANDS} | {"VV": decibel, "VH": decibel - 7}
    return {band: float(np.abs(pixels[band] - plane).max()) for band, plane in expected.items()}


# Pixels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "index"), [(NORTH, "NORTH"), (SOUTH, "SOUTH")])
def test_a_tile_has_the_planes_values_at_every_pixel_centre(server: LocalEarthEngine, place: Place, index: str) -> None:
    pixels = fetch(tile_image(place, index), place, workloadTag="dwplus")

    assert pixels.shape == (SIZE, SIZE)
    assert pixels.dtype.names == (*S2_BANDS, "VV", "VH", "S1_N")
    assert [pixels.dtype[name].str for name in ("B1", "VV", "VH", "S1_N")] == ["<u2", "<f4", "<f4", "<u2"]
    # a pixel is 4 DN to the east and 3 to the south, 0.13 dB and 0.06 dB; scenes in two zones, biased by -1 and +1 dB
    errors = off_by(pixels, place)
    assert max(errors[band] for band in S2_BANDS) <= 1
    assert max(errors["VV"], errors["VH"]) < 0.01
    assert (pixels["S1_N"] == 2).all()
    assert server.log()["requests"][-1]["workload_tag"] == "dwplus"


def test_half_a_pixel_is_seen(server: LocalEarthEngine) -> None:
    with connected(server, planet={**PLANET, "shift_m": 5.0}):
        errors = off_by(fetch(tile_image(NORTH, "NORTH"), NORTH), NORTH)

    assert all(1.5 <= errors[band] <= 2.5 for band in S2_BANDS)  # half of 4 DN, and rounding
    assert min(errors["VV"], errors["VH"]) > 0.02  # half of 0.13 dB in one of two scenes


def test_a_scene_is_found_by_its_product_too(server: LocalEarthEngine) -> None:
    by_index = fetch(tile_image(NORTH, "NORTH"), NORTH)
    by_product = fetch(tile_image(NORTH, "S2A_MSIL2A_NORTH", by="PRODUCT_ID"), NORTH)

    assert (by_index == by_product).all()
    assert server.log()["requests"][-1]["code"] == 200


@pytest.mark.usefixtures("server")
def test_a_window_without_sentinel_1_is_an_answer() -> None:
    pixels = fetch(tile_image(NORTH, "NORTH", day=datetime(2016, 1, 1)), NORTH)

    assert not pixels["S1_N"].any()
    assert not pixels["VV"].any()
    assert pixels["B2"].all()


@pytest.mark.usefixtures("server")
def test_a_scene_that_covers_a_part_counts_in_that_part() -> None:
    # window from 2018-01-01 to 2018-12-27: N_half (300 m of the tile) and N_before, N_first (all of it)
    pixels = fetch(tile_image(NORTH, "NORTH", day=datetime(2018, 6, 30)), NORTH)

    assert pixels["S1_N"][:, :29].min() == 3
    assert pixels["S1_N"][:, 31:].max() == 2


@pytest.mark.usefixtures("server")
def test_requests_at_the_same_time_get_the_same_pixels() -> None:
    image = tile_image(NORTH, "NORTH")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: fetch(image, NORTH).tobytes(), range(16)))

    assert len(set(answers)) == 1


@pytest.mark.usefixtures("server")
def test_stored_pixels_are_nearest_neighbours() -> None:
    grid = {"affineTransform": {"scaleX": 10, "translateX": NORTH.x, "scaleY": -10, "translateY": NORTH.y}}
    grid |= {"crsCode": NORTH.crs, "dimensions": {"width": 4, "height": 4}}
    request = {"assetId": f"{S2}/NORTH", "fileFormat": "NUMPY_NDARRAY", "grid": grid, "bandIds": ["B2", "B11"]}
    pixels = ee.data.getPixels(request)

    x, y = centres(NORTH.affine(), (4, 4))
    assert (pixels["B2"] == np.round(NORTH.digital_number(x, y))).all()
    assert (pixels["B11"][:2, :2] == pixels["B11"][0, 0]).all()  # 20 m pixels, four at a time


@pytest.mark.usefixtures("server")
def test_a_geotiff_has_the_same_pixels_and_grid() -> None:
    image = ee.Image(f"{S2}/NORTH").select(["B2", "B11"])
    grid = {"affineTransform": {"scaleX": 10, "translateX": NORTH.x, "scaleY": -10, "translateY": NORTH.y}}
    grid |= {"crsCode": NORTH.crs, "dimensions": {"width": 5, "height": 3}}
    content = ee.data.computePixels({"expression": image, "fileFormat": "GEO_TIFF", "grid": grid})

    with rasterio.open(io.BytesIO(content)) as dataset:
        assert dataset.descriptions == ("B2", "B11")
        assert dataset.crs.to_string() == NORTH.crs
        assert tuple(dataset.transform)[:6] == NORTH.affine()
        assert (dataset.read(1) == fetch(image, NORTH, size=5)["B2"][:3]).all()


# Values and assets ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("server")
def test_info_of_images_collections_and_values() -> None:
    scenes = ee.ImageCollection(S1).filterDate("2018-11-03", "2019-10-29").filterBounds(ee.Geometry.Point(12.1, 45.1))

    assert ee.Image(f"{S2}/NORTH").getInfo()["properties"]["PRODUCT_ID"] == "S2A_MSIL2A_NORTH"
    assert ee.ImageCollection(S2).filter(ee.Filter.eq("system:index", "NORTH")).getInfo()["type"] == "ImageCollection"
    assert scenes.size().getInfo() == len(scenes.aggregate_array("system:index").getInfo())
    assert ee.Date("1970-01-01").advance(1, "day").millis().getInfo() == 86_400_000
    assert ee.List([1, 2]).map(lambda x: ee.Number(x).add(1)).getInfo() == [2, 3]
    assert ee.Image(f"{S2}/NORTH").toDictionary(["PROCESSING_BASELINE"]).getInfo() == {"PROCESSING_BASELINE": "02.12"}
    assert ee.Image(f"{S2}/NORTH").select("B11").projection().nominalScale().getInfo() == 20


@pytest.mark.usefixtures("server")
def test_assets_can_be_shown_and_listed() -> None:
    asset = ee.data.getAsset(f"{S2}/NORTH")
    assert (asset["type"], asset["id"]) == ("IMAGE", f"{S2}/NORTH")
    assert asset["startTime"] == "2019-05-02T10:00:00Z"
    listed = ee.data.listImages({"parent": S1, "startTime": "2019-02-01T00:00:00Z", "endTime": "2019-02-02T00:00:00Z"})
    assert sorted(image["id"] for image in listed["images"]) == [f"{S1}/N_ew", f"{S1}/S_ew"]
    with pytest.raises(ee.EEException, match="not found"):
        ee.data.getAsset(f"{S2}/NOTHING")


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            lambda: tile_image(NORTH, "NO_SUCH_SCENE"),
            "Image.select: Parameter 'input' is required and may not be null.",
        ),
        (lambda: ee.Image(f"{S2}/NO_SUCH_SCENE"), "not found"),
        (lambda: ee.Image(f"{S2}/NORTH").entropy(ee.Kernel.square(2)), "not implemented by the local Earth Engine"),
        (lambda: ee.ImageCollection(S1).mean(), "accumulating over 5000 elements"),
    ],
)
def test_errors_have_earth_engines_shape_and_words(image: Any, message: str) -> None:
    ee.data.setMaxRetries(0)
    with pytest.raises(ee.EEException, match=re.escape(message)) as caught:
        fetch(image(), NORTH)
    ee.data.setMaxRetries(5)

    body = json.loads(caught.value.__context__.content)["error"]
    assert body["code"] == caught.value.__context__.resp.status
    assert body["status"] == ("UNIMPLEMENTED" if body["code"] == 501 else "INVALID_ARGUMENT")


@pytest.mark.usefixtures("server")
def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(ee.EEException, match="must be less than or equal to 50331648 bytes"):
        fetch(tile_image(NORTH, "NORTH"), NORTH, size=2000)


@pytest.mark.parametrize("authorization", [{}, {"Authorization": "Bearer guess"}, {"Authorization": "Basic eDp5"}])
def test_nothing_is_answered_without_a_token(server: LocalEarthEngine, authorization: dict[str, str]) -> None:
    for path, body in (
        ("/v1/projects/local-earth-engine/algorithms", None),
        ("/v1/projects/local-earth-engine/value:compute", b"{}"),
        ("/admin/log", None),
        ("/admin/faults", b"[]"),
    ):
        code, _, content = raw(server, path, body, **authorization)
        assert code == 401
        assert json.loads(content)["error"]["status"] == "UNAUTHENTICATED"


def test_a_key_of_another_server_gets_no_token(server: LocalEarthEngine) -> None:
    with connected(server) as other:
        key = json.loads(other.credentials_file.read_text())
        assert other.credentials_file.stat().st_mode & 0o077 == 0
    key["token_uri"] = f"{server.url}/token"
    stranger = service_account.Credentials.from_service_account_info(key, scopes=["x"])

    with pytest.raises(RefreshError, match="invalid_grant"):
        stranger.refresh(Request())


def test_tokens_expire(server: LocalEarthEngine) -> None:
    with connected(server, token_s=1.0) as other:
        ee.data.setMaxRetries(0)
        token = other.log()["counts"]["POST token 200"]
        assert ee.Number(1).getInfo() == 1
        time.sleep(1.1)
        # google-auth refreshes after a 401, so the client goes on with a new token
        assert ee.Number(2).getInfo() == 2
        assert other.log()["counts"]["POST token 200"] > token
        ee.data.setMaxRetries(5)


def test_requests_that_make_no_sense_are_answered(server: LocalEarthEngine) -> None:
    token = {"Authorization": f"Bearer {server._ready['token']}"}
    compute = f"/v1/projects/{server.project}/value:compute"

    assert raw(server, compute, b"{", **token)[0] == 400
    assert raw(server, compute, b"[]", **token)[0] == 400
    assert raw(server, compute, b"[" * 100_000, **token)[0] == 400
    assert raw(server, "/v1/projects/somebody-else/value:compute", b"{}", **token)[0] == 403
    assert raw(server, "/etc/passwd", None, **token)[0] == 404
    assert raw(server, f"/v1/projects/{server.project}/table:export", b"{}", **token)[0] == 501
    code, _, content = raw(server, compute, b" " * 10_485_761, **token)
    assert (code, "exceeds the limit: 10485760 bytes" in content.decode()) == (400, True)
    assert raw(server, "/releases/nothing.zip")[0] == 404
