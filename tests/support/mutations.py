"""Valid requests to a local Earth Engine, and mutations of them: what a defective or hostile client sends."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable
from typing import Any

from support.local_ee_scenes import NORTH, S1, S2

PROJECT = "local-earth-engine"
GRID = {
    "crsCode": NORTH.crs,
    "affineTransform": dict(
        zip(("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY"), NORTH.affine(), strict=True)
    ),
    "dimensions": {"width": 8, "height": 8},
}

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**40), 0.5, 1e308, -1e308, float("nan"), float("inf"),
    "", "0", "\u0000", "\ud800", "\u202e\U0001f30d\u00b2", "x" * 5000, "EPSG:4326", "2019-13-45", "9999999999999", "B2",
    [], {}, [[]], [None], [1, "a", None], {"a": {}}, [[[1, 2], [3]]], {"values": []}, {"": None},
    {"constantValue": None}, {"valueReference": "0"}, {"valueReference": []}, {"argumentReference": {}},
    {"functionInvocationValue": {"functionName": [], "arguments": {}}},
    {"functionInvocationValue": {"functionName": {}, "arguments": {"a": 1}}},
    {"functionInvocationValue": {"functionReference": [], "arguments": {}}},
    {"functionDefinitionValue": {"argumentNames": [[1], {}], "body": "0"}},
    {"functionDefinitionValue": {"argumentNames": [], "body": {}}},
    {"arrayValue": {"values": {}}}, {"dictionaryValue": {"values": {"a": 1}}}, {"integerValue": "9" * 5000},
    {"integerValue": True},
)  # fmt: skip
"""What takes the place of a part of a request."""


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value: Any) -> dict[str, Any]:
    return {"constantValue": value}


def reference(name: str) -> dict[str, Any]:
    return {"valueReference": name}


def argument(name: str) -> dict[str, Any]:
    return {"argumentReference": name}


def _expression(**values: Any) -> dict[str, Any]:
    return {"result": next(iter(values)), "values": values}


def _scene() -> dict[str, Any]:
    return call("Image.load", id=constant(f"{S2}/NORTH"))


def _scenes() -> dict[str, Any]:
    window = call("DateRange", start=constant("2019-01-01"), end=constant("2019-12-31"))
    timed = call("Filter.dateRangeContains", leftValue=window, rightField=constant("system:time_start"))
    ring = [[11.0, 48.0], [11.2, 48.0], [11.2, 48.2], [11.0, 48.2], [11.0, 48.0]]
    place = call("GeometryConstructors.Polygon", coordinates=constant([ring]), evenOdd=constant(True))
    near = call("Filter.intersects", leftField=constant(".all"), rightValue=place)
    either = call("Filter.or", filters={"arrayValue": {"values": [timed, near]}})
    whole = call("ImageCollection.load", id=constant(S1))
    return call(
        "Collection.filter", collection=call("Collection.filter", collection=whole, filter=timed), filter=either
    )


VALUE_EXPRESSIONS: tuple[dict[str, Any], ...] = (
    _expression(a=call("Image.bandNames", image=_scene())),
    _expression(a=call("Collection.size", collection=_scenes())),
    _expression(
        a=call("Collection.limit", collection=_scenes(), limit={"integerValue": "2"}, key=constant("system:index"))
    ),
    _expression(
        a=call("Collection.toList", collection=call("Collection.map", collection=_scenes(), baseAlgorithm={
            "functionDefinitionValue": {"argumentNames": ["image"], "body": "b"}}), count=constant(2)),
        b=call("Image.select", input=argument("image"), bandSelectors=constant(["VV"])),
    ),
    _expression(
        a={"dictionaryValue": {"values": {
            "date": call("Date.advance", date=call("Date", value=constant("2019-05-02")), delta=constant(3),
                         unit=constant("month")),
            "ymd": call("Date.fromYMD", year=constant(2019), month=constant(5), day=constant(2)),
            "sum": call("Number.add", left=constant(1), right={"integerValue": "2"}),
            "list": call("List.slice", list=constant([1, 2, 3]), start=constant(0), end=constant(2)),
            "item": call("List.get", list=constant([1, 2]), index=constant(1)),
            "get": call("Dictionary.get", dictionary=constant({"k": 1}), key=constant("k")),
            "zip": call("Dictionary.fromLists", keys=constant(["a"]), values=constant([1])),
            "if": call("If", condition=constant(1), trueCase=constant("yes"), falseCase=constant("no")),
            "scale": call("Projection.nominalScale", proj=call("Projection", crs=constant("EPSG:32632"),
                          transform=constant([10, 0, 600000, 0, -10, 5300000]))),
        }}},
    ),
    _expression(
        a=call("Feature", geometry=call("GeometryConstructors.Rectangle", coordinates=constant([[1, 2], [3, 4]]),
               crs=call("Projection", crs=constant("EPSG:4326")), geodesic=constant(False)),
               metadata=constant({"name": "x"})),
    ),
    _expression(
        a=call("Geometry.area", geometry=call("Geometry.bounds", geometry=call("Geometry.buffer",
               geometry=call("Image.geometry", feature=_scene()), distance=constant(-100), maxError=call("ErrorMargin",
               value=constant(5), unit=constant("meters")))), maxError=constant(1), proj=constant("EPSG:32632")),
    ),
    _expression(
        a=call("Image.reduceRegion", image=call("Image.reduce", image=call("Image.select", input=_scene(),
               bandSelectors=constant(["B2", "B3"])), reducer=call("Reducer.mean")), reducer=call("Reducer.minMax"),
               geometry=call("GeometryConstructors.Point", coordinates=constant([12.1, 45.1])), scale=constant(10),
               maxPixels=constant(1000)),
    ),
    _expression(
        a=call("List.sequence", start=constant(0), end=constant(5), step=constant(2)),
    ),
    _expression(
        a=call("Date.format", date=call("Date", value=constant(0)), format=constant("yyyy-MM-dd'T'HH:mm")),
    ),
    _expression(
        a=call("Collection.reduceColumns", collection=_scenes(), reducer=call("Reducer.repeat", reducer=call(
               "Reducer.toList"), count=constant(2)), selectors=constant(["system:index", "system:time_start"])),
    ),
    _expression(a=call("Element.toDictionary", element=call("Element.set", object=_scene(), key=constant("k"),
                       value=constant([1])), properties=constant(["k"]))),
)  # fmt: skip

PIXEL_EXPRESSIONS: tuple[dict[str, Any], ...] = (
    _expression(a=call("Image.select", input=_scene(), bandSelectors=constant(["B2", "B3"]))),
    _expression(
        a=call("Image.addBands", dstImg=call("Image.toFloat", value=call("Image.unmask", input=call("reduce.mean",
               collection=reference("b")), value=constant(0), sameFootprint=constant(False))),
               srcImg=call("Image.constant", value=constant([1, 2.5]))),
        b=call("Collection.map", collection=call("Collection.limit", collection=_scenes(), limit=constant(2)),
               baseAlgorithm={"functionDefinitionValue": {"argumentNames": ["image"], "body": "c"}}),
        c=call("Image.resample", image=call("Image.select", input=argument("image"), bandSelectors=constant(["VV"])),
               mode=constant("bilinear")),
    ),
    _expression(
        a=call("Image.clip", input=call("Image.reproject", image=call("Image.select", input=_scene(),
               bandSelectors=constant(["B4"])), crs=call("Projection", crs=constant("EPSG:32632")),
               scale=constant(20)), geometry=call("GeometryConstructors.Polygon",
               coordinates=constant([[[11, 48], [11.2, 48], [11.2, 48.2], [11, 48]]]))),
    ),
    _expression(
        a=call("Image.remap", image=call("Image.add", image1=call("Image.select", input=_scene(),
               bandSelectors=constant(["B2"])), image2=call("Image.constant", value=constant(3))),
               **{"from": constant([1, 2]), "to": constant([3, 4]), "defaultValue": constant(0)}),
    ),
)  # fmt: skip


def valid_requests() -> list[tuple[str, Any]]:
    """(path, body) of requests that are answered with 200."""
    base = f"/v1/projects/{PROJECT}"
    requests: list[tuple[str, Any]] = []
    requests += [(f"{base}/value:compute", {"expression": one}) for one in VALUE_EXPRESSIONS]
    for number, one in enumerate(PIXEL_EXPRESSIONS):
        form = ("NPY", "GEO_TIFF")[number % 2]
        requests.append((f"{base}/image:computePixels", {"expression": one, "fileFormat": form, "grid": GRID}))
    stored = {"fileFormat": "NPY", "bandIds": ["B2"], "grid": GRID}
    requests.append((f"{base}/assets/{S2}/NORTH:getPixels", stored))
    cut = call(
        "Image.clipToBoundsAndScale",
        input=PIXEL_EXPRESSIONS[0]["values"]["a"],
        geometry=call("GeometryConstructors.Rectangle", coordinates=constant([[11.0, 48.0], [11.001, 48.001]])),
        scale=constant(20),
    )
    requests.append((f"{base}/thumbnails", {"expression": _expression(a=cut), "fileFormat": "ZIPPED_GEO_TIFF"}))
    options = {"ranges": [{"min": 0, "max": 3000}], "paletteColors": ["blue", "ff0000"], "gamma": {"value": 1.2}}
    shown = {"expression": _expression(a=cut), "bandIds": ["B2"], "fileFormat": "PNG", "visualizationOptions": options}
    requests.append((f"{base}/maps", shown))
    return requests


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all parts of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def parent_of(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def _nested(rng: random.Random) -> Any:
    value: Any = 1
    for _ in range(rng.choice((10, 500))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def replace_part(value: Any, rng: random.Random) -> Any:
    found = places(value)[1:]
    path = rng.choice(found) if found else ()
    if not path:
        return rng.choice(VALUES)
    new = _nested(rng) if rng.random() < 0.05 else copy.deepcopy(rng.choice(VALUES))
    parent_of(value, path)[path[-1]] = new
    return value


def delete_part(value: Any, rng: random.Random) -> Any:
    found = places(value)[1:]
    if found:
        path = rng.choice(found)
        del parent_of(value, path)[path[-1]]
    return value


def swap_parts(value: Any, rng: random.Random) -> Any:
    """Put a copy of one part in place of another one."""
    found = places(value)[1:]
    if found:
        source, target = rng.choice(found), rng.choice(found)
        part = copy.deepcopy(parent_of(value, source)[source[-1]])
        parent_of(value, target)[target[-1]] = part
    return value


def rename_part(value: Any, rng: random.Random) -> Any:
    named = [path for path in places(value)[1:] if isinstance(path[-1], str)]
    if named:
        path = rng.choice(named)
        parent = parent_of(value, path)
        parent[rng.choice(("", "\u00b2", "arguments", "values", "x" * 300, "result"))] = parent.pop(path[-1])
    return value


def _constant(value: Any, rng: random.Random) -> Any:
    """Another constant: the call stays as it is, and its argument has another type, length or size."""
    found = [path for path in places(value) if path and path[-1] in ("constantValue", "integerValue")]
    if found:
        path = rng.choice(found)
        inner = places(parent_of(value, path)[path[-1]])
        whole = (*path, *rng.choice(inner))
        parent_of(value, whole)[whole[-1]] = copy.deepcopy(rng.choice(VALUES))
    return value


def _function(value: Any, rng: random.Random) -> Any:
    """Call another function with the same arguments, or the same one without checking who fits."""
    from dwplus.local_ee.evaluator.functions import built

    calls = [path for path in places(value) if path and path[-1] == "functionName"]
    if calls:
        path = rng.choice(calls)
        parent_of(value, path)[path[-1]] = rng.choice(built())
    return value


MUTATIONS: tuple[Callable[[Any, random.Random], Any], ...] = (
    replace_part, _constant, _constant, _constant, delete_part, swap_parts, rename_part, _function,
)  # fmt: skip


def mutated(body: Any, rng: random.Random) -> Any:
    """A copy with one to four mutations."""
    value = copy.deepcopy(body)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = rng.choice(MUTATIONS)(value, rng)
    return value


def as_bytes(value: Any, rng: random.Random) -> bytes:
    """A JSON text, now and then with bytes that are wrong, missing or too many."""
    text = json.dumps(value).encode()
    kind = rng.random()
    if kind < 0.04:
        return text[: rng.randrange(len(text) + 1)]
    if kind < 0.08:
        place = rng.randrange(len(text) + 1)
        return text[:place] + rng.choice((b"\xff\xfe", b"\x00", b"}", b'"', b"NaN", b"-")) + text[place:]
    return text


def mutated_requests(count: int, seed: int) -> list[tuple[str, bytes]]:
    """(path, body) of mutated requests, the same ones for the same seed."""
    rng, whole = random.Random(seed), valid_requests()
    chosen = [rng.choice(whole) for _ in range(count)]
    return [(path, as_bytes(mutated(body, rng), rng)) for path, body in chosen]


def spoilt_texts(count: int, *, host: str, token: str, seed: int) -> list[bytes]:
    """Requests as bytes on a connection, mutated in path, headers, length or body."""
    rng = random.Random(seed)
    return [_spoilt_text(rng, host, token) for _ in range(count)]


def _spoilt_text(rng: random.Random, host: str, token: str) -> bytes:
    path, body, method = _target(rng)
    headers = {
        "Host": host,
        "Authorization": f"Bearer {token}",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice((*headers, "Range", "If-Range", "Transfer-Encoding", "X-\u00b2", "Expect"))
        headers[name] = rng.choice(HEADERS)
    if rng.random() < 0.2:
        headers.pop(rng.choice(tuple(headers)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace") + body


def _target(rng: random.Random) -> tuple[str, bytes, str]:
    """Path, body and method of a request."""
    kind = rng.random()
    if kind < 0.6:
        ((path, body),) = mutated_requests(1, rng.randrange(2**32))
        return (path, body, "POST")
    if kind < 0.8:
        return ("/token", _grant(rng), "POST")
    return (rng.choice(PATHS), b"", rng.choice(("GET", "GET", "HEAD", "POST", "get", "\u00b2")))


def _grant(rng: random.Random) -> bytes:
    """What asks for a token, with an assertion that is malformed in one of its parts."""
    parts = [rng.choice((b'{"alg":"RS256"}', b"[]", b"1", b'{"alg":[]}', b"\xff", b"[" * 3000)) for _ in range(2)]
    assertion = b".".join([*(base64.urlsafe_b64encode(part) for part in parts), rng.choice((b"", b"eA==", b"\xb2"))])
    grant = rng.choice((b"urn:ietf:params:oauth:grant-type:jwt-bearer", b"", b"%00"))
    return b"grant_type=" + grant + rng.choice((b"&assertion=", b"&assertion=a&assertion=", b"&")) + assertion


HEADERS = (
    "", "0", "-1", "\u00b2", "99999999999999999999", "1e3", "bytes=0-", "bytes=\u00b2-", "bytes=9-1", "bytes=-0",
    "bytes=" + "9" * 5000 + "-", "chunked", "Bearer", "Bearer \ud800", "Basic eA==", "x" * 3000, "100-continue", "\x00",
    "keep-alive, close",
)  # fmt: skip

PATHS = (
    "/", "//[", "/releases/", "/releases/%00", "/releases/../../etc/passwd", "/releases//[", "/admin/log", "/%ff%fe",
    "/admin/faults", f"/v1/projects/{PROJECT}/assets/{S2}:listAssets?pageSize=-1&pageToken=\u00b2",
    f"/v1/projects/{PROJECT}/assets/{S2}:listAssets?pageSize={10**50}&pageToken={'9' * 5000}",
    f"/v1/projects/{PROJECT}/assets/{S2}:listAssets?filter=startTime%3E%3D%22%00%22",
    f"/v1/projects/{PROJECT}/assets/{S2}:listAssets?filter=endTime%3C%22{'9' * 400}%22",
    f"/v1/projects/{PROJECT}/assets/{S2}/NORTH", f"/v1/projects/{PROJECT}/assets/%00", f"/v1/projects/{PROJECT}/",
    f"/v1/projects/{PROJECT}/maps/{'a' * 32}/tiles/1/0/\u00b2", f"/v1/projects/{PROJECT}/maps//tiles/0/0/0",
    "/v1/projects/other/algorithms", f"/v1/projects/{PROJECT}/thumbnails/{'a' * 32}:getPixels", "/$discovery/rest?[",
)  # fmt: skip
