"""The session over real HTTP: connecting, patience, and what each failure of the service means."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect, declared_source
from dwplus.pipeline.earthengine.decoding import stored_values
from dwplus.pipeline.earthengine.graphs import tile_image
from dwplus.pipeline.earthengine.scene_choice import SceneHint, SceneRef
from dwplus.pipeline.earthengine.session import RequestRetries, Session, Tally, quarters
from dwplus.pipeline.errors import AuthenticationError, ServiceError, TileError
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.recipe import REQUEST_BANDS, S1_FILL, Recipe
from dwplus.pipeline.spec.tiles import Tile

QUICK = RequestRetries(deadline_s=20, attempts=4, first_wait_s=0.01, longest_wait_s=0.05)
TILE = Tile(
    "dw_111.8412562864_-8.1289167721-20190713", "EPSG:32749", (10.0, 0.0, 590130.0, 0.0, -10.0, 9103900.0), (32, 32),
    date(2019, 7, 13), "EH", 1,
)  # fmt: skip
PIXELS = "image:computePixels"


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def session(engine: LocalEarthEngine) -> Session:
    found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
    return connect(found, retries=QUICK)


@pytest.fixture
def scene(engine: LocalEarthEngine, session: Session) -> Iterator[SceneRef]:
    found = session.resolve(TILE, SceneHint(), Recipe(), Tally())
    assert found is not None
    yield found
    engine.set_faults([])


def asked(engine: LocalEarthEngine) -> int:
    """How often pixels were asked for; the log waits for the entry of an answer that a client has read."""
    return sum(number for what, number in engine.log()["counts"].items() if PIXELS in what)


def test_the_session_calls_its_pixels_after_who_answers(session: Session) -> None:
    assert session.name == "SANDBOX"


def test_a_scene_is_found_by_day_or_by_index_and_none_where_there_is_none(session: Session, scene: SceneRef) -> None:
    assert (scene.index, scene.rule) == ("20190713T023559_20190713T025403_T49MEM", "same-day")
    hinted = session.resolve(TILE, SceneHint(index=scene.index), Recipe(), Tally())
    assert hinted is not None
    assert hinted.rule == "index"
    assert session.resolve(replace(TILE, date=date(2019, 7, 12)), SceneHint(), Recipe(), Tally()) is None


def test_a_tile_arrives_whole(session: Session, scene: SceneRef) -> None:
    stored = session.fetch(session.request(TILE, Recipe(), scene), Tally())

    assert (stored.shape, stored.dtype) == ((len(SHARD_BANDS), 32, 32), np.uint16)
    assert (stored > 0).all()


def test_every_request_gives_the_same_pixels_where_tiles_overlap(session: Session, scene: SceneRef) -> None:
    # Given the same ground asked for as one tile and as a tile that begins 16 pixels further east.
    east = replace(TILE, transform=(10.0, 0.0, 590130.0 + 160, 0.0, -10.0, 9103900.0))

    # When both are asked for at once.
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda t: session.fetch(session.request(t, Recipe(), scene), Tally()), (TILE, east))

    np.testing.assert_array_equal(first[:, :, 16:], second[:, :, :16])


def test_the_tile_request_keeps_to_few_functions(session: Session) -> None:
    from ee import serializer

    graph = serializer.encode(
        tile_image(TILE, Recipe(s1_mean="linear"), SceneRef("COPERNICUS/S2_SR_HARMONIZED", "x", "index")),
        for_cloud_api=True,
    )
    functions = {
        node["functionInvocationValue"]["functionName"] for node in _nodes(graph) if "functionInvocationValue" in node
    }

    assert functions <= {
        "Image.load", "Image.select", "Image.resample", "Image.round", "Image.add", "Image.unmask", "Image.toUint16",
        "Image.toFloat", "Image.toDouble", "Image.log10", "Image.multiply", "Image.rename", "Image.addBands",
        "Image.constant", "Image.updateMask", "ImageCollection.load", "ImageCollection.merge", "reduce.mean",
        "ImageCollection.fromImages", "reduce.count", "Collection.filter", "Collection.map", "Filter.equals",
        "Filter.listContains", "Filter.dateRangeContains", "Filter.intersects", "DateRange", "Feature",
        "GeometryConstructors.Rectangle", "Projection",
    }  # fmt: skip


def _nodes(value: object) -> Iterator[dict[str, dict[str, str]]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


PASSING = {
    "429": {"status": 429},
    "503": {"status": 503},
    "dropped connection": {"drop": True},
    "body cut off": {"truncate": 1000},
    "short body of matching length": {"short": 1000},
    "page of HTML": {"html": True},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_can_get_better_is_asked_again(
    engine: LocalEarthEngine, session: Session, scene: SceneRef, fault: dict[str, object]
) -> None:
    engine.set_faults([{"match": PIXELS, "times": 2, **fault}])
    before = asked(engine)

    stored = session.fetch(session.request(TILE, Recipe(), scene), Tally())

    assert (stored > 0).all()
    assert asked(engine) - before == 3


def test_a_service_that_keeps_failing_fails_the_tile(
    engine: LocalEarthEngine, session: Session, scene: SceneRef
) -> None:
    engine.set_faults([{"match": PIXELS, "status": 503}])

    with pytest.raises(TileError, match=r"no answer after 4 attempts, last: HTTP 503"):
        session.fetch(session.request(TILE, Recipe(), scene), Tally())


MEMORY = {"match": PIXELS, "status": 400, "message": "User memory limit exceeded."}


def test_what_is_too_heavy_is_asked_again_once(engine: LocalEarthEngine, session: Session, scene: SceneRef) -> None:
    engine.set_faults([{**MEMORY, "times": 1}])
    tally = Tally()

    stored = session.fetch(session.request(TILE, Recipe(), scene), tally)

    assert (stored > 0).all()
    assert tally.requests == 2


def test_what_stays_too_heavy_is_asked_for_in_parts_that_are_the_whole(
    engine: LocalEarthEngine, session: Session, scene: SceneRef
) -> None:
    # Given a tile of 130 px that the service can compute in parts of 65 px only.
    tile = replace(TILE, shape=(130, 130))
    whole = session.fetch(session.request(tile, Recipe(), scene), Tally())
    engine.set_faults([{**MEMORY, "body": '"width": 130'}])
    tally = Tally()

    parts = session.fetch(session.request(tile, Recipe(), scene), tally)

    np.testing.assert_array_equal(parts, whole)
    assert tally.requests == 2 + 4


def test_a_tile_that_is_too_heavy_in_parts_fails_with_advice(
    engine: LocalEarthEngine, session: Session, scene: SceneRef
) -> None:
    engine.set_faults([MEMORY])
    before = asked(engine)

    with pytest.raises(TileError, match=r"too heavy .* 32 x 32 px.*--s1-max-scenes") as caught:
        session.fetch(session.request(TILE, Recipe(), scene), Tally())

    assert caught.value.reason == "too_heavy"
    assert asked(engine) - before == 2


def test_four_parts_are_the_whole_without_overlap() -> None:
    seen = np.zeros((511, 7), dtype=int)

    for row, col, height, width in quarters((0, 0, 511, 7)):
        seen[row : row + height, col : col + width] += 1

    assert (seen == 1).all()


def test_what_a_tile_costs_is_told_where_it_is_asked(session: Session, scene: SceneRef) -> None:
    measured, unmeasured = Tally(measure=True), Tally()
    for tally in (measured, unmeasured):
        session.fetch(session.request(TILE, Recipe(), scene), tally)
        session.settle(tally)

    assert measured.eecu_s is not None
    assert 0 < measured.eecu_s < 60
    assert unmeasured.eecu_s is None
    assert measured.received_bytes > 32 * 32 * 32


def test_a_refused_request_is_not_asked_again(engine: LocalEarthEngine, session: Session, scene: SceneRef) -> None:
    before = asked(engine)

    with pytest.raises(TileError, match="refused the request"):
        session.fetch(
            session.request(TILE, Recipe(), replace(scene, index="20000101T000000_20000101T000000_T49MEM")), Tally()
        )

    assert asked(engine) - before == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_stop_the_run(
    engine: LocalEarthEngine, session: Session, scene: SceneRef, status: int
) -> None:
    engine.set_faults([{"match": PIXELS, "status": status}])

    with pytest.raises(AuthenticationError, match="refused the credentials or the project"):
        session.fetch(session.request(TILE, Recipe(), scene), Tally())


def test_the_wait_that_the_service_asks_for_is_kept_by_all_threads(
    engine: LocalEarthEngine, session: Session, scene: SceneRef
) -> None:
    engine.set_faults([{"match": PIXELS, "times": 1, "status": 429, "retry_after": 1.0}])
    started = time.monotonic()
    session.fetch(session.request(TILE, Recipe(), scene), Tally())

    assert time.monotonic() - started >= 1.0


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ServiceError, match=rf"cannot reach Earth Engine at http://127\.0\.0\.1:{port}.*--ee-url"):
        connect(Configuration(url=f"http://127.0.0.1:{port}", project="p"), retries=QUICK)


def test_a_password_in_an_address_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"at http://127.0.0.1:1/ \(ConnectionError\)") as told:
        connect(Configuration(url="http://me:secret@127.0.0.1:1/?key=secret", project="p"), retries=QUICK)

    assert "secret" not in str(told.value)


def test_a_server_of_something_else_is_named(engine: LocalEarthEngine) -> None:
    with pytest.raises(ServiceError, match=r"HTTP 401"):
        connect(Configuration(url=f"{engine.url}/nothing", project="p"))


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"html": True}, {"drop": True}])
def test_trouble_of_the_service_at_the_start_is_not_taken_for_bad_credentials(
    engine: LocalEarthEngine, fault: dict[str, object]
) -> None:
    found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
    engine.set_faults([{"match": "algorithms", "times": 1, **fault}])
    assert connect(found, retries=QUICK).name == "SANDBOX"

    engine.set_faults([{"match": "algorithms", **fault}])
    with pytest.raises(ServiceError, match="does not start a session"):
        connect(found, retries=QUICK)
    engine.set_faults([])
    connect(found, retries=QUICK)


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429, "retry_after": 0.01}, {"drop": True}])
def test_a_description_of_the_server_that_is_late_is_requested_again(
    engine: LocalEarthEngine, fault: dict[str, object]
) -> None:
    engine.set_faults([{"match": "discovery", "times": 2, **fault}])
    assert declared_source(engine.url, retries=QUICK) == "SANDBOX"

    engine.set_faults([{"match": "discovery", **fault}])
    with pytest.raises(ServiceError, match="cannot reach Earth Engine"):
        declared_source(engine.url, retries=QUICK)
    engine.set_faults([{"match": "discovery", "times": 1, "status": 404}])
    with pytest.raises(ServiceError, match="HTTP 404"):
        declared_source(engine.url, retries=QUICK)
    engine.set_faults([])


@pytest.mark.parametrize("content", ["[]", "{", '{"type": "service_account"}'])
def test_a_damaged_key_is_named(engine: LocalEarthEngine, tmp_path: Path, content: str) -> None:
    key = tmp_path / "key.json"
    key.write_text(content)

    with pytest.raises(AuthenticationError, match=r"key\.json, which is no usable key"):
        connect(Configuration(url=engine.url, project="p", credentials_file=key))


def test_an_answer_is_checked_before_it_is_believed() -> None:
    types = [(b, "<u2" if b.startswith("B") or b == "S1_N" else "<f4") for b in REQUEST_BANDS]
    answer = np.zeros(TILE.shape, dtype=types)

    with pytest.raises(ValueError, match="pixels instead of"):
        stored_values(answer[:-1], TILE.shape)
    with pytest.raises(ValueError, match="bands"):
        stored_values(answer[list(REQUEST_BANDS[:-1])], TILE.shape)


def test_no_data_stays_apart_from_values() -> None:
    # Given a pixel without anything, one with DN 0 (sent as 1), and one seen by radar at 0 dB.
    answer = np.zeros((1, 3), dtype=[(b, "<u2" if b.startswith("B") or b == "S1_N" else "<f4") for b in REQUEST_BANDS])
    answer["VV"] = answer["VH"] = [[S1_FILL, S1_FILL, 0.0]]
    answer["S1_N"] = [[0, 0, 5]]
    answer["B2"] = [[0, 1, 2501]]

    stored = stored_values(answer, (1, 3))

    assert stored[SHARD_BANDS.index("B2")].tolist() == [[0, 1, 2500]]
    assert stored[SHARD_BANDS.index("VV")].tolist() == [[0, 0, 10000]]


def test_a_quota_below_what_is_asked_loses_no_tile() -> None:
    # Given a service that takes two requests at a time, and twelve threads.
    planet = {"kind": "planes", "origin_x": 592680, "origin_y": -898650}
    with LocalEarthEngine(planet=planet, workers=1, max_concurrent=2) as engine:
        found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        session = connect(found, retries=QUICK, concurrency=12)
        scene = session.resolve(TILE, SceneHint(), Recipe(), Tally())
        assert scene is not None

        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(lambda _: session.fetch(session.request(TILE, Recipe(), scene), Tally()), range(24))
            )

        refused = sum(number for what, number in engine.log()["counts"].items() if "429" in what)

    assert len(answers) == 24
    assert refused > 0
