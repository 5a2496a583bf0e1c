"""The real client and a local Earth Engine for it: helpers of the tests that speak http."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ee
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.errors import TileError
from google.oauth2 import service_account

from support.local_ee_scenes import S1, S2, Place

FIXTURES = Path(__file__).with_name("local_ee_scenes.py")
PLANET: dict[str, Any] = {"kind": "python", "file": str(FIXTURES), "function": "world"}
S2_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
SIZE = 96
DAY = datetime(2019, 5, 2)


def connect(running: LocalEarthEngine) -> None:
    credentials = service_account.Credentials.from_service_account_file(
        running.credentials_file, scopes=["https://www.googleapis.com/auth/earthengine"]
    )
    ee.Initialize(credentials, url=running.url, project=running.project)


@contextmanager
def serving() -> Iterator[LocalEarthEngine]:
    """The server of a file of tests, with the client connected to it."""
    with LocalEarthEngine(PLANET, workers=2) as running:
        connect(running)
        yield running
        ee.Reset()


@contextmanager
def connected(running: LocalEarthEngine, **settings: Any) -> Iterator[LocalEarthEngine]:
    """Another server for the length of a block; afterwards the client is back at the running one."""
    with LocalEarthEngine(workers=1, **{"planet": PLANET, **settings}) as other:
        connect(other)
        try:
            yield other
        finally:
            connect(running)


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


def raw(running: LocalEarthEngine, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """HTTP code, headers and body of a request without any client."""
    request = urllib.request.Request(running.url + path, data=body, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class LabelClient:
    """Asks through the connected client; failures become ours as a session would make them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def value(self, expression: Any) -> Any:
        return self._ask("value", expression.getInfo)

    def pixels(self, parameters: dict[str, Any]) -> Any:
        return self._ask("pixels", lambda: ee.data.computePixels(parameters))

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        self.asked.append(what)
        try:
            return call()
        except ee.EEException as error:
            raise TileError(str(error)) from error
