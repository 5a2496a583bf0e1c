"""The real client against the local Earth Engine, over http: tiles, errors, tokens, limits, faults, and its end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import ee
import numpy as np
import pytest
import rasterio
import requests
from dwplus.pipeline.errors import ServiceError
from dwplus.pipeline.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.local_ee.releases_http import ReleaseFiles, parse_range
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from local_ee_fixtures import NORTH, S1, S2, SOUTH, Place, centres

FIXTURES = Path(__file__).with_name("local_ee_fixtures.py")
PLANET: dict[str, Any] = {"kind": "python", "file": str(FIXTURES), "function": "world"}
S2_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
SIZE = 96
DAY = datetime(2019, 5, 2)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(PLANET, workers=2) as running:
        connect(running)
        yield running
        ee.Reset()


@pytest.fixture
def faults(server: LocalEarthEngine) -> Iterator[LocalEarthEngine]:
    """A server whose faults end with the test, and a client that does not retry."""
    ee.data.setMaxRetries(0)
    yield server
    server.set_faults([])
    ee.data.setMaxRetries(5)


def connect(running: LocalEarthEngine) -> None:
    credentials = service_account.Credentials.from_service_account_file(
        running.credentials_file, scopes=["https://www.googleapis.com/auth/earthengine"]
    )
    ee.Initialize(credentials, url=running.url, project=running.project)


@contextmanager
def connected(**settings: Any) -> Iterator[LocalEarthEngine]:
    """Another server for the length of a block; the client goes back to the first one's address afterwards."""
    before = ee.data._get_state()
    kept = (before.credentials, before.cloud_api_base_url, before.cloud_api_user_project)
    with LocalEarthEngine(workers=1, **{"planet": PLANET, **settings}) as other:
        connect(other)
        try:
            yield other
        finally:
            ee.Initialize(kept[0], url=kept[1], project=kept[2])


def tile_image(place: Place, product: str, *, by: str = "system:index", size: int = SIZE, day: datetime = DAY) -> Any:
    """The request for one tile: 11 bands of a Sentinel-2 scene, mean and number of 360 days of Sentinel-1."""
    a, _, c, _, e, f = place.affine()
    region = ee.Geometry.Rectangle([c, f + e * size, c + a * size, f], proj=place.crs, geodesic=False)
    s2 = ee.ImageCollection(S2).filter(ee.Filter.eq(by, product)).first()
    s2 = ee.Image(s2).select(S2_BANDS).resample("bilinear").round().unmask(0, False).toUint16()
    start, end = day - timedelta(days=180), day + timedelta(days=180)
    scenes = (
        ee.ImageCollection(S1)
        .filterDate(start.isoformat(), end.isoformat())
        .filterBounds(region)
        .filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
        .select(["VV", "VH"])
        .map(lambda image: image.resample("bilinear"))
    )
    blank = ee.Image.constant([0, 0]).rename(["VV", "VH"]).toFloat().updateMask(0)
    scenes = scenes.merge(ee.ImageCollection([blank]))
    mean = scenes.mean().unmask(0, False).toFloat()
    number = scenes.select(["VV"]).count().rename(["S1_N"]).unmask(0, False).toUint16()
    return s2.addBands(mean).addBands(number)


def fetch(image: Any, place: Place, size: int = SIZE, **more: Any) -> Any:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    grid = {
        "crsCode": place.crs,
        "affineTransform": dict(zip(names, place.affine(), strict=True)),
        "dimensions": {"width": size, "height": size},
    }
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid, **more})


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


@pytest.mark.usefixtures("server")
def test_half_a_pixel_is_seen() -> None:
    with connected(planet={**PLANET, "shift_m": 5.0}):
        errors = off_by(fetch(tile_image(NORTH, "NORTH"), NORTH), NORTH)

    assert all(1.5 <= errors[band] <= 2.5 for band in S2_BANDS)  # half of 4 DN, and rounding


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


def raw(running: LocalEarthEngine, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """HTTP code, headers and body of a request without any client."""
    request = urllib.request.Request(running.url + path, data=body, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


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
    with connected() as other:
        key = json.loads(other.credentials_file.read_text())
        assert other.credentials_file.stat().st_mode & 0o077 == 0
    key["token_uri"] = f"{server.url}/token"
    stranger = service_account.Credentials.from_service_account_info(key, scopes=["x"])

    with pytest.raises(RefreshError, match="invalid_grant"):
        stranger.refresh(Request())


@pytest.mark.usefixtures("server")
def test_tokens_expire() -> None:
    with connected(token_s=1.0) as other:
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


# Faults and limits ----------------------------------------------------------------------------------------------------


def test_errors_on_purpose_come_as_often_as_planned(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "status": 503, "times": 2}])
    for _ in range(2):
        with pytest.raises(ee.EEException, match="currently unavailable"):
            ee.Number(1).getInfo()
    assert ee.Number(1).getInfo() == 1


def test_quota_errors_carry_retry_after(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "status": 429, "skip": 1, "times": 1, "retry_after": 7}])
    assert ee.Number(1).getInfo() == 1
    with pytest.raises(ee.EEException, match="Quota exceeded") as caught:
        ee.Number(1).getInfo()
    assert caught.value.__context__.resp["retry-after"] == "7"
    assert caught.value.__context__.resp.status == 429


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"drop": True}, ConnectionError),
        ({"truncate": 1000}, ConnectionError),
        ({"short": 1000}, ValueError),
        ({"html": True}, ValueError),
    ],
)
def test_broken_answers_break_the_client_as_real_ones_do(
    faults: LocalEarthEngine, fault: dict[str, Any], error: type[Exception]
) -> None:
    faults.set_faults([{"match": "computePixels", "times": 1, **fault}])
    image = ee.Image(f"{S2}/NORTH").select(["B2"])

    with pytest.raises(error):
        fetch(image, NORTH)
    assert fetch(image, NORTH).shape == (SIZE, SIZE)


def test_a_delay_runs_into_the_deadline(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "body": "918273", "delay_s": 2.0}])
    ee.data.setDeadline(500)
    try:
        with pytest.raises(TimeoutError):
            ee.Number(918273).getInfo()
        assert ee.Number(1).getInfo() == 1
    finally:
        ee.data.setDeadline(0)


def test_a_plan_that_cannot_be_read_is_refused(server: LocalEarthEngine) -> None:
    with pytest.raises(ServiceError, match="Unknown field of a fault: colour"):
        server.set_faults([{"colour": "red"}])


@pytest.mark.usefixtures("server")
def test_more_requests_than_allowed_get_429() -> None:
    with connected(max_concurrent=2, latency_s=0.3) as other:
        ee.data.setMaxRetries(0)

        def code(_: int) -> int:
            try:
                ee.Number(1).getInfo()
            except ee.EEException as error:
                return int(error.__context__.resp.status)
            return 200

        with ThreadPoolExecutor(6) as threads:
            codes = list(threads.map(code, range(6)))
        ee.data.setMaxRetries(5)
        assert sorted(set(codes)) == [200, 429]
        assert max(entry["running"] for entry in other.log()["requests"]) <= 2


# Start and end --------------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_start_says_why() -> None:
    broken = LocalEarthEngine({"kind": "python", "file": str(FIXTURES), "function": "missing"}, workers=1)

    with pytest.raises(ServiceError, match=r"did not start: .*KeyError: 'missing'"):
        broken.start()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the process table in /proc")
def test_server_workers_and_files_end_with_a_parent_that_is_killed() -> None:
    program = f"""
        import sys, time
        from pathlib import Path
        from dwplus.pipeline.local_ee.launch import LocalEarthEngine
        running = LocalEarthEngine({PLANET!r}, workers=2).start()
        print(running.pid, running.credentials_file, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, credentials = parent.stdout.readline().split()
        processes = [int(pid), *children(int(pid))]
        assert len(processes) >= 3
        os.kill(parent.pid, signal.SIGKILL)

    limit = time.monotonic() + 5
    while any(alive(process) for process in processes) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not [process for process in processes if alive(process)]
    assert not Path(credentials).parent.exists()


def test_the_end_of_a_block_ends_the_server_and_interrupts_do_not(server: LocalEarthEngine) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)  # Ctrl-C in a terminal reaches one process group
    os.kill(server.pid, signal.SIGINT)
    assert ee.Number(1).getInfo() == 1
    with LocalEarthEngine(PLANET, workers=1) as other:
        pid, folder = other.pid, other.credentials_file.parent
    assert not alive(pid)
    assert not folder.exists()


def test_the_environment_points_an_unmodified_client_here(server: LocalEarthEngine) -> None:
    program = """
        import os, ee
        ee.Initialize(url=os.environ["EE_URL"], project=os.environ["EE_PROJECT_ID"])
        print(ee.Number(20).add(1).multiply(2).getInfo())
    """
    environment = {**os.environ, **server.environment()}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "42", done.stderr


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=2-", (2, 10)),
        ("bytes=2-4", (2, 5)),
        ("bytes=-3", (7, 10)),
        ("bytes=5-99", (5, 10)),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_first_and_last_byte(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == part


def test_a_range_beyond_the_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="range"):
        parse_range("bytes=10-", 10)


class Archive:
    """One file of ten bytes, for ``ReleaseFiles``."""

    def open(self, path: str) -> tuple[Any, int, str] | None:
        return (io.BytesIO(b"0123456789"), 10, "application/zip") if path == "a/b.zip" else None


@pytest.fixture
def archive_url() -> Iterator[str]:
    files = ReleaseFiles({}, 1, Path())
    files._source = Archive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.serve(self, None)

        def do_HEAD(self) -> None:
            files.serve(self, None)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/releases/"
        http.shutdown()
        thread.join()


def test_archives_are_served_in_parts_without_a_token(archive_url: str) -> None:
    whole = requests.get(archive_url + "a/b.zip", timeout=5)
    rest = requests.get(archive_url + "a/b.zip", headers={"Range": "bytes=4-"}, timeout=5)
    again = {"Range": "bytes=4-6", "If-Range": whole.headers["ETag"]}
    changed = {"Range": "bytes=4-6", "If-Range": '"another file"'}

    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Type"]) == ("bytes", "application/zip")
    assert (rest.status_code, rest.content, rest.headers["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    assert requests.get(archive_url + "a/b.zip", headers=again, timeout=5).content == b"456"
    assert requests.get(archive_url + "a/b.zip", headers=changed, timeout=5).content == b"0123456789"
    head = requests.head(archive_url + "a/b.zip", timeout=5)
    assert (head.headers["Content-Length"], head.content) == ("10", b"")
    beyond = requests.get(archive_url + "a/b.zip", headers={"Range": "bytes=10-"}, timeout=5)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */10")
    assert requests.get(archive_url + "nothing", timeout=5).status_code == 404
