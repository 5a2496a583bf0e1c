"""The real client against the local Earth Engine, over http: pixels, values, errors, tokens."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import urlencode

import ee
import numpy as np
import pytest
import rasterio
import requests
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server import handler
from dwplus.local_ee.server.faults import FaultPlan
from dwplus.local_ee.server.handler import Server
from dwplus.local_ee.server.quotas import Quotas
from dwplus.local_ee.server.request_log import Log
from dwplus.local_ee.server.routes import Reply
from dwplus.local_ee.server.tokens import MAX_TOKENS, Account
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from support.local_ee_client import (
    PLANET,
    S2_BANDS,
    SIZE,
    connected,
    fetch,
    raw,
    serving,
    tile_image,
)
from support.local_ee_scenes import NORTH, S1, S2, SOUTH, Place, centres


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


# Strangers ------------------------------------------------------------------------------------------------------------


def test_only_this_machine_can_connect(server: LocalEarthEngine) -> None:
    port = int(server.url.rsplit(":", 1)[1])

    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    for address in ("127.0.0.2", socket.gethostbyname(socket.gethostname())):
        if address != "127.0.0.1":
            with pytest.raises(OSError, match=r"refused|unreachable|assign"):
                socket.create_connection((address, port), 5)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "", "127.0.0.1.evil.example"])
def test_a_page_of_another_name_gets_nothing(server: LocalEarthEngine, host: str) -> None:
    token = {"Authorization": f"Bearer {server._ready['token']}"}

    for path in ("/$discovery/rest", "/releases/x.zip", "/admin/log"):
        code, _, content = raw(server, path, None, Host=host, **token)
        assert (code, json.loads(content)["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert raw(server, "/admin/log", None, Host=server.url.replace("http://127.0.0.1", "localhost"), **token)[0] == 200


def exchange(server: LocalEarthEngine, assertion: str) -> tuple[int, Any]:
    body = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}).encode()
    code, _, content = raw(server, "/token", body)
    return code, json.loads(content)


def test_assertions_are_verified(server: LocalEarthEngine) -> None:
    key = json.loads(server.credentials_file.read_text())
    signer, now = RSASigner.from_service_account_info(key), int(time.time())
    claims = {"iss": key["client_email"], "aud": key["token_uri"], "iat": now, "exp": now + 600}
    good = jwt.encode(signer, claims).decode()
    head, payload, signature = good.split(".")
    other = jwt.encode(signer, {**claims, "sub": "somebody"}).decode().split(".")[1]

    def forged(algorithm: str) -> str:
        return base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).decode().rstrip("=")

    assert exchange(server, good)[0] == 200
    for assertion in (
        f"{head}.{other}.{signature}",
        f"{head}.{payload}.",
        f"{forged('none')}.{payload}.",
        f"{forged('ES256')}.{payload}.{signature}",
        f"{forged('HS256')}.{payload}.{signature}",
        jwt.encode(signer, {**claims, "iss": "somebody@else"}).decode(),
        jwt.encode(signer, {**claims, "aud": "https://elsewhere"}).decode(),
        jwt.encode(signer, {**claims, "iat": now - 7200, "exp": now - 3600}).decode(),
        "nonsense",
        "",
    ):
        code, answer = exchange(server, assertion)
        assert (code, answer["error"]) == (400, "invalid_grant")


def test_tokens_do_not_pile_up_and_one_letter_less_is_none() -> None:
    account = Account("http://127.0.0.1:1", "p")
    key = json.loads(account.key_file())
    now = int(time.time())
    claims = {"iss": key["client_email"], "aud": key["token_uri"], "iat": now, "exp": now + 600}
    assertion = jwt.encode(RSASigner.from_service_account_info(key), claims).decode()
    body = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}).encode()

    tokens = [account.exchange(body)["access_token"] for _ in range(MAX_TOKENS + 1)]

    account.check(f"Bearer {tokens[-1]}")
    account.check(f"Bearer {account.admin_token}")
    for wrong in (tokens[0], tokens[-1][:-1], tokens[-1] + "x", "", "é"):
        with pytest.raises(Refusal, match="invalid authentication"):
            account.check(f"Bearer {wrong}")


@pytest.mark.parametrize(
    "path", ["/releases/../../etc/passwd", "/releases/%2e%2e/%2e%2e/etc/passwd", "/releases//etc/passwd"]
)
def test_no_path_leads_out_of_the_releases(server: LocalEarthEngine, path: str) -> None:
    assert raw(server, path)[0] == 404


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "crs",
    [
        "+proj=longlat +nadgrids=/etc/passwd +type=crs",
        "+init=/etc/passwd:1",
        "init=/etc/passwd:1",
        "+proj=utm +zone=33 +geoidgrids=@/etc/passwd",
        '{"type": "GeographicCRS", "name": "x"}',
        'GEOGCS["x",EXTENSION["PROJ4","+nadgrids=/etc/passwd"]]',
    ],
)
def test_files_that_a_crs_names_are_not_touched(crs: str) -> None:
    grid = {"crsCode": crs, "affineTransform": {"scaleX": 1, "scaleY": -1}, "dimensions": {"width": 1, "height": 1}}
    image = ee.Image(f"{S2}/NORTH").select(["B2"])
    ee.data.setMaxRetries(0)
    with pytest.raises(ee.EEException, match="CRS of a map projection could not be parsed"):
        ee.data.computePixels({"expression": image, "fileFormat": "NPY", "grid": grid})
    with pytest.raises(ee.EEException, match="CRS of a map projection could not be parsed"):
        ee.Projection(crs).nominalScale().getInfo()
    ee.data.setMaxRetries(5)


# Bounds ---------------------------------------------------------------------------------------------------------------


def graph_of(depth: int) -> bytes:
    values: dict[str, Any] = {"0": {"constantValue": 1}}
    for number in range(1, depth):
        values[str(number)] = {"arrayValue": {"values": [{"valueReference": str(number - 1)}]}}
    return json.dumps({"expression": {"result": str(depth - 1), "values": values}}).encode()


def test_graphs_are_bounded_in_depth_size_and_answer(server: LocalEarthEngine) -> None:
    token = {"Authorization": f"Bearer {server._ready['token']}"}
    compute = f"/v1/projects/{server.project}/value:compute"
    wide = {"arrayValue": {"values": [{"constantValue": 1}] * 200_000}}
    nested = b'{"expression": {"result": "0", "values": {"0": {"constantValue": ' + b'{"a":' * 5000 + b"1" + b"}" * 5003

    assert raw(server, compute, graph_of(50), **token)[0] == 200
    code, _, content = raw(server, compute, graph_of(2000), **token)
    assert (code, "nested more than" in content.decode()) == (400, True)
    code, _, content = raw(
        server, compute, json.dumps({"expression": {"result": "0", "values": {"0": wide}}}).encode(), **token
    )
    assert (code, "more than 100000 nodes" in content.decode()) == (400, True)
    assert raw(server, compute, nested, **token)[0] in (200, 400)
    loop = {"result": "0", "values": {"0": {"valueReference": "0"}}}
    code, _, content = raw(server, compute, json.dumps({"expression": loop}).encode(), **token)
    assert (code, "refers to itself" in content.decode()) == (400, True)


def spoken(server: LocalEarthEngine, head: str, body: bytes = b"") -> bytes:
    """What a server says to bytes on a socket, until it closes the connection."""
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("GET / HTTP/1.1\nHost: HERE\nX: " + "x" * 70_000 + "\n\n", 431),
        ("GET / HTTP/1.1\nHost: HERE\n" + "X: y\n" * 200 + "\n", 431),
        ("GET /" + "x" * 70_000 + " HTTP/1.1\nHost: HERE\n\n", 414),
        ("POST /token HTTP/1.1\nHost: HERE\nContent-Length: 99999999999\n\n", 400),
        ("POST /token HTTP/1.1\nHost: HERE\nContent-Length: -1\n\n", 400),
        ("POST /token HTTP/1.1\nHost: HERE\nContent-Length: 1\nContent-Length: 2\n\n", 400),
        ("POST /token HTTP/1.1\nHost: HERE\nTransfer-Encoding: chunked\n\n", 400),
        ("PUT / HTTP/1.1\nHost: HERE\n\n", 501),
        ("nonsense\n\n", 400),
    ],
)
def test_malformed_and_oversized_heads_get_an_answer(server: LocalEarthEngine, head: str, code: int) -> None:
    answer = spoken(server, head.replace("HERE", server.url.removeprefix("http://")))

    content = answer if answer.startswith(b"{") else answer.partition(b"\r\n\r\n")[2]
    assert json.loads(content)["error"]["code"] == code


class StubRouter:
    """What ``Handler`` needs of a server, answering with whatever a test puts there."""

    def __init__(self) -> None:
        self.log, self.plan, self.quotas, self.releases = Log(), FaultPlan(), Quotas(), self
        self.answer: Callable[[], Any] = lambda: Reply(200, "text/plain", b"fine")

    def check_host(self, host: str | None) -> None:
        pass

    def reply(self, *_: Any) -> Any:
        return self.answer()

    def serve(self, handler: Any, fault: Any) -> tuple[int, int]:
        self.answer()
        raise AssertionError


@pytest.fixture
def stub() -> Iterator[tuple[StubRouter, str]]:
    router = StubRouter()
    with Server(0) as http:
        http.router = router
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield router, f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/v1/x", "/releases/x.zip"])
def test_a_defect_is_a_500_and_a_line_on_stderr(
    stub: tuple[StubRouter, str], path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    router, url = stub
    router.answer = lambda: 1 / 0

    answer = requests.get(url + path, timeout=60)

    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (500, "INTERNAL")
    assert "ZeroDivisionError" in error["message"]
    # The line may follow the answer by a moment.
    said, until = "", time.monotonic() + 60
    while "ZeroDivisionError" not in said and time.monotonic() < until:
        said += capfd.readouterr().err
        time.sleep(0.02)
    assert f"local Earth Engine: GET {path}: ZeroDivisionError" in said
    assert router.log.encoded()["requests"][0]["code"] == 500
    router.answer = lambda: Reply(200, "text/plain", b"fine")
    assert requests.get(url, timeout=60).text == "fine"


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nHost: x\r\nX-", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc", b""],
    ids=["head", "body", "nothing"],
)
def test_a_client_that_sends_drop_by_drop_is_let_go(
    stub: tuple[StubRouter, str], sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_S", "HEAD_S", "BODY_S"):
        monkeypatch.setattr(handler, name, 0.3)
    monkeypatch.setattr(handler.BoundedReader.expect_body, "__defaults__", (0.3,))
    port = int(stub[1].rsplit(":", 1)[1])

    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(sent)
        if not sent:
            assert connection.recv(10) == b""
        # Each drop comes in time: it is one deadline for all of them that lets the client go.
        with pytest.raises(OSError, match=r"Broken pipe|reset") if sent else nullcontext():
            while sent and time.monotonic() < begun + 60:
                connection.sendall(b"a")
                time.sleep(0.05)
    assert time.monotonic() - begun > 0.2


def test_connections_beyond_the_limit_are_told_so(
    stub: tuple[StubRouter, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert requests.get(stub[1], timeout=60).status_code == 200
    with Server(0) as other:
        other._places = BoundedSemaphore(1)
        other.router = stub[0]
        thread = Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{other.server_address[1]}"
        with requests.Session() as first:
            token = {"Authorization": "Bearer good"}
            assert first.get(f"{url}/v1/x", headers=token, timeout=60).text == "fine"  # keeps its connection
            assert requests.get(url, timeout=60).status_code == 503
        other.shutdown()
        thread.join()


def test_idle_connections_without_a_token_keep_nobody_out(
    stub: tuple[StubRouter, str],
) -> None:
    with Server(0) as other, ExitStack() as open_connections:
        other._places = BoundedSemaphore(8)
        other.router = stub[0]
        thread = Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        port = int(other.server_address[1])
        heads = (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /token HTTP/1.1\r\nContent-Length: 9\r\n\r\na")
        for number in range(24):
            connection = open_connections.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            connection.sendall(heads[number % 3])

        begun = time.monotonic()
        codes = [requests.get(f"http://127.0.0.1:{port}/v1/x", timeout=60).status_code for _ in range(10)]

        assert codes == [200] * 10
        assert time.monotonic() - begun < 5
        other.shutdown()
        thread.join()


def test_a_connection_without_a_token_is_closed_soon_and_one_with_a_token_is_kept(
    stub: tuple[StubRouter, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "FIRST_S", 0.3)
    port = int(stub[1].rsplit(":", 1)[1])
    head = b"GET /v1/x HTTP/1.1\r\nHost: x\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), 5) as without,
        socket.create_connection(("127.0.0.1", port), 5) as with_token,
    ):
        without.sendall(head + b"\r\n")
        with_token.sendall(head + b"Authorization: Bearer good\r\n\r\n")
        assert b"200 OK" in without.recv(65_536)
        assert b"200 OK" in with_token.recv(65_536)

        assert without.recv(10) in (b"", b"fine")
        time.sleep(0.7)
        with suppress(OSError):
            assert without.recv(10) == b""
        with_token.sendall(head + b"\r\n")
        answer = with_token.recv(65_536)
        assert b"200 OK" in answer or b"fine" in answer
