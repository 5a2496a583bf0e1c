"""What a request cost, as the service tells it: the client's own profiling, unmodified."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import ee
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server.profiling import Meter, Profiles, Row, as_json, as_text, get_profiles, merged
from support.local_ee_client import fetch, raw, serving, tile_image
from support.local_ee_scenes import NORTH, S2


@pytest.fixture(scope="module")
def server() -> Iterator[LocalEarthEngine]:
    with serving() as running:
        yield running


def seconds(table: str) -> float:
    """The sum of the first column of a table."""
    return sum(float(line.split()[0]) for line in table.splitlines()[1:])


@pytest.mark.usefixtures("server")
def test_the_client_prints_what_values_and_pixels_cost() -> None:
    printed = io.StringIO()
    begun = time.monotonic()

    with ee.profilePrinting(printed):
        assert ee.Number(1).add(1).getInfo() == 2
        fetch(tile_image(NORTH, "NORTH"), NORTH)

    head, *rows = printed.getvalue().splitlines()
    assert head.split() == ["EECU·s", "PeakMem", "Count", "Description"]
    assert all(re.fullmatch(r" *\d+\.\d{3} +\d+(\.\d)?[kM]? +\d+  \S.*", row) for row in rows)
    assert any(row.endswith("Loading pixels: COPERNICUS/S2_SR_HARMONIZED") for row in rows)
    assert [row for row in rows if re.search(r" 2  \(plumbing\)$", row)], "both requests are in it"
    assert 0 < seconds(printed.getvalue()) < time.monotonic() - begun


@pytest.mark.usefixtures("server")
def test_a_profile_comes_with_refused_requests_too() -> None:
    ids: list[str] = []
    with ee.data.profiling(ids.append), pytest.raises(ee.EEException, match="not found"):
        fetch(ee.Image(f"{S2}/NO_SUCH_SCENE"), NORTH)

    assert len(ids) == 1


def test_nothing_is_measured_that_was_not_asked_for(server: LocalEarthEngine) -> None:
    token = {"Authorization": f"Bearer {server._ready['token']}"}
    path = f"/v1/projects/{server.project}/value:compute"
    body = b'{"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}'

    _, plain, _ = raw(server, path, body, **token)
    _, profiled, _ = raw(server, path, body, **token, **{"X-Earth-Engine-Computation-Profiling": "1"})

    assert "x-earth-engine-computation-profile" not in plain
    assert re.fullmatch("[0-9a-f]{32}", profiled["x-earth-engine-computation-profile"])


@pytest.mark.usefixtures("server")
def test_an_unknown_profile_is_an_error_and_json_has_columns() -> None:
    ids: list[str] = []
    get: Any = ee.ApiFunction.lookup("Profile.getProfiles").call
    with ee.data.profiling(ids.append):
        ee.Number(1).getInfo()

    table = get(ids=ids, format="json").getInfo()

    assert [column["label"] for column in table["cols"]] == ["EECU·s", "PeakMem", "Count", "Description"]
    assert table["rows"][0][3] == "(plumbing)"
    with pytest.raises(ee.EEException, match="Profile '0000' not found"):
        get(ids=["0000"]).getInfo()


def test_rows_add_up_to_all_that_was_spent() -> None:
    clock = iter([0.0, 1.0, 3.0, 4.0, 4.5, 10.0])
    meter = Meter(clock=lambda: next(clock))
    meter.call("reading", lambda: b"12", len)  # 1.0 to 3.0
    meter.call("reading", lambda: b"1", len)  # 4.0 to 4.5

    profile = meter.profile(answer_bytes=7)  # 0.0 to 10.0

    assert profile == (Row("reading", 2.5, 2, 2), Row("(plumbing)", 7.5, 7, 1))


def test_profiles_are_added_row_by_row_and_the_cheapest_rows_become_one() -> None:
    one = (Row("a", 1.0, 10, 1), Row("b", 3.0, 5, 2))
    other = (Row("a", 1.0, 20, 1), Row("c", 0.5, 1, 4))

    assert merged([one, other]) == (Row("b", 3.0, 5, 2), Row("a", 2.0, 20, 2), Row("c", 0.5, 1, 4))
    assert merged([one, other], limit=2) == (Row("b", 3.0, 5, 2), Row("(...)", 2.5, 20, 6))
    assert as_text(merged([other])).splitlines()[1] == "  1.000      20      1  a"
    assert as_text((Row("a", 0, 83_400, 1), Row("b", 0, 1_500, 1))).split()[5::4] == ["83k", "1.5k"]
    assert as_json(one)["rows"] == [[1.0, 10, 1, "a"], [3.0, 5, 2, "b"]]


def test_old_profiles_are_forgotten() -> None:
    profiles = Profiles(kept=2)
    names = [profiles.add((Row("a", number, 0, 1),)) for number in range(3)]

    asked = profiles.named_in(b'{"functionName": "Profile.getProfiles", "ids": ' + repr(names).encode())

    assert asked is not None
    assert asked.keys() == set(names[1:])
    assert profiles.named_in(b"value:compute of something else " + names[1].encode()) is None
    with pytest.raises(Refusal, match="not found"):
        get_profiles(asked)(names[:1])
