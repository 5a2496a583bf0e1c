"""Whatever a client sends, the local Earth Engine answers it, and never with a 500."""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from dwplus.local_ee.evaluator import functions
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.server.worker import RECURSION_LIMIT, Task, answer
from support.local_ee_client import PLANET, raw
from support.local_ee_scenes import S1, world
from support.mutations import PROJECT, call, constant, mutated_requests, spoilt_texts, valid_requests


@pytest.fixture(autouse=True)
def deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(min(RECURSION_LIMIT, 5_000))  # the stack of a test is smaller than that of a worker
    yield
    sys.setrecursionlimit(before)


def task(path: str, body: bytes) -> Task:
    kinds = {"value:compute": "value", "image:computePixels": "pixels", "thumbnails": "announce"}
    what = path.removeprefix(f"/v1/projects/{PROJECT}/")
    if what == "maps":  # as a tile of it, which is what is computed
        return Task("tile", "13/4346/2841", body, {})
    if what in kinds:
        return Task(kinds[what], "", body, {})
    return Task("getPixels", what.removeprefix("assets/").removesuffix(":getPixels"), body, {})


def computed(expression: Any) -> tuple[int, Any]:
    outcome = answer(world(), Task("value", "", json.dumps({"expression": expression}).encode(), {}))
    return outcome.code, json.loads(outcome.body)


def test_requests_that_are_mutated_are_valid_before() -> None:
    codes = {answer(world(), task(path, json.dumps(body).encode())).code for path, body in valid_requests()}

    assert codes == {200}


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_mutated_bodies_are_answered_without_a_500(count: int) -> None:
    catalogue = world()
    outcomes = [(body, answer(catalogue, task(path, body))) for path, body in mutated_requests(count, seed=count)]

    codes = Counter(outcome.code for _, outcome in outcomes)
    assert set(codes) <= {200, 400, 404, 501}
    assert codes[400] > count // 2
    for _, outcome in outcomes:
        if outcome.code != 200:
            assert json.loads(outcome.body)["error"]["code"] == outcome.code


@pytest.mark.parametrize(
    "node",
    [
        {"functionInvocationValue": {"functionName": {"a": 1}, "arguments": {}}},
        {"functionInvocationValue": {"functionName": [], "arguments": {}}},
        {"functionInvocationValue": {"functionReference": {}, "arguments": {}}},
        {"functionInvocationValue": {"arguments": {}}},
        {"functionDefinitionValue": {"argumentNames": [["x"]], "body": "0"}},
        {"functionDefinitionValue": {"argumentNames": [{}], "body": "0"}},
        {"functionDefinitionValue": {"argumentNames": [], "body": ["0"]}},
        {"valueReference": ["0"]},
        {"argumentReference": {"a": 1}},
    ],
)
def test_names_in_a_graph_that_are_no_texts_are_refused(node: Any) -> None:
    code, answered = computed({"result": "0", "values": {"0": node}})

    assert code == 400
    assert answered["error"]["message"].startswith("Invalid expression: ")


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        ([[index / 1e5, index**2 / 1e10] for index in range(100_000)], "A geometry of 100000 points is more than"),
        ([[random.Random(i).random(), random.Random(-i).random()] for i in range(3000)], "cross more than 1000 times"),
        ([[index / 5000, index % 2] for index in range(5000)], "cross more than 1000 times"),
    ],
    ids=["points", "random", "zigzag"],
)
def test_a_geometry_that_would_take_minutes_is_refused_at_once(ring: Any, message: str) -> None:
    near = call(
        "Filter.intersects",
        leftField=constant(".all"),
        rightValue=call("GeometryConstructors.Polygon", coordinates=constant([ring])),
    )
    found = call("Collection.filter", collection=call("ImageCollection.load", id=constant(S1)), filter=near)

    begun = time.process_time()
    code, answered = computed({"result": "0", "values": {"0": call("Collection.size", collection=found)}})

    assert (code, message in answered["error"]["message"]) == (400, True)
    assert time.process_time() - begun < 5


def test_a_polygon_that_crosses_itself_now_and_then_is_sorted_out() -> None:
    bow = call("GeometryConstructors.Polygon", coordinates=constant([[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]))

    code, answered = computed({"result": "0", "values": {"0": bow}})

    assert (code, answered["result"]["type"]) == (200, "MultiPolygon")


def test_constants_of_too_many_values_are_refused() -> None:
    code, answered = computed({"result": "0", "values": {"0": constant([[0] * 1000] * 600)}})

    assert (code, "more than 500000 values" in answered["error"]["message"]) == (400, True)


def test_crossings_are_counted_once_each() -> None:
    import shapely

    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])

    assert functions._crossings(bow, 10) == 1


@pytest.fixture(scope="module")
def server() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(PLANET, workers=2) as running:
        yield running


def said(server: LocalEarthEngine, text: bytes) -> int:
    """Code of the answer to bytes on a socket; 0 where the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 30) as connection:
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            answered = b""
            while chunk := connection.recv(65_536):
                answered += chunk
        except ConnectionError:
            return 0
    if answered.startswith(b"HTTP/1.1 100 "):
        answered = answered.partition(b"\r\n\r\n")[2]
    if not answered.startswith(b"HTTP/1.1 "):
        return int(json.loads(answered)["error"]["code"]) if answered else 0
    return int(answered[9:12])


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_requests_over_http_are_answered_without_a_500(server: LocalEarthEngine, count: int) -> None:
    host, token = server.url.removeprefix("http://"), server._ready["token"]
    codes = Counter(said(server, text) for text in spoilt_texts(count, host=host, token=token, seed=count))

    assert set(codes) <= {0, 200, 400, 401, 403, 404, 405, 408, 413, 414, 416, 431, 501, 505}
    assert codes[400] > 0
    assert codes[200] > 0
    assert raw(server, "/$discovery/rest")[0] == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("http://[/x", 400),
        ("//[", 401),
        ("/releases//[x", 404),
        ("/releases/%00", 404),
        ("/v1/%ff%00/%d8%00", 404),
        ("/token?\u00b2", 401),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(server: LocalEarthEngine, path: str, code: int) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: {server.url.removeprefix('http://')}\r\n"
    token = f"Authorization: Bearer {server._ready['token']}\r\n" if code == 404 else ""

    assert said(server, f"{head}{token}\r\n".encode()) == code
