"""Xee and geemap, unmodified, against the local Earth Engine; and what they send, replayed without them.

Where a package is installed its program runs over http (`Program.run`). Everywhere, the requests that it sent when
``tests/traces/record.py`` was run last are answered again, and the pixels compared with the planes of the fixtures.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dwplus.local_ee.server.map_tiles import announce_map, map_tile
from dwplus.local_ee.server.pixels import compute_pixels, compute_value
from dwplus.local_ee.server.thumbnails import announce, download
from support.client_programs import LAYER_TILE, PROGRAMS
from support.local_ee_client import serving
from support.local_ee_scenes import world
from support.paths import REPOSITORY

TRACES = REPOSITORY / "tests" / "traces"


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_package_once_sent_is_answered_without_it(name: str) -> None:
    catalogue = world()
    trace = json.loads((TRACES / f"{name}.json").read_text("utf-8"))
    routes = {
        "value:compute": lambda body: compute_value(catalogue, body),
        "image:computePixels": lambda body: compute_pixels(catalogue, body),
        "thumbnails": lambda body: announce(catalogue, body) and download(catalogue, body),
        "maps": lambda body: announce_map(catalogue, body) and map_tile(catalogue, place, body),
    }
    place = "/".join(map(str, LAYER_TILE))

    answers = [routes[request["route"]](request["body"]) for request in trace["requests"]]

    assert trace["client"].split()[0] == PROGRAMS[name].package
    PROGRAMS[name].check(PROGRAMS[name].replay(answers))


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_package_itself_runs_unmodified(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    package = PROGRAMS[name].package
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; the requests that it sent are replayed instead")
    request.getfixturevalue("engine")

    PROGRAMS[name].check(PROGRAMS[name].run(tmp_path))
