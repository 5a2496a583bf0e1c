"""Arguments of server functions: whatever comes, the answer is a result or a refusal, never an accident."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from dwplus.local_ee.evaluator.functions import built
from dwplus.local_ee.evaluator.signatures import Argument, signatures
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server.pixels import compute_pixels, compute_value
from support import conformity_scenes
from support.local_ee_scenes import S2, call, collection, expression, node, value

WORLD = conformity_scenes.world()
IMAGE = call("Image.load", id=f"{S2}/row")
IMAGES = collection(S2, call("Filter.inList", leftField="system:index", rightValue=["day1", "day2"]))

KINDS: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 3,
    "negative": -1,
    "fraction": 2.5,
    "huge": 1e300,
    "text": "x",
    "list": [1, "a"],
    "empty list": [],
    "ring": [[1, 2], [3, 4], [5, 6]],
    "dictionary": {"a": 1},
    "image": IMAGE,
    "image without bands": call("Image.slice", image=IMAGE, start=1),
    "collection": IMAGES,
    "empty collection": call("Collection.limit", collection=IMAGES, limit=0),
    "date": call("Date", value=0),
    "range": call("DateRange", start=0, end=5),
    "geometry": call("GeometryConstructors.Point", coordinates=[1, 2]),
    "feature": call("Feature", geometry=None),
    "projection": call("Projection", crs="EPSG:4326"),
    "filter": call("Filter.equals", leftField="a", rightValue=1),
    "function": {"functionDefinitionValue": {"argumentNames": ["x"], "body": "one"}},
    "reducer": call("Reducer.toList"),
    "reducer of pixels": call("Reducer.minMax"),
    "margin": call("ErrorMargin", value=1),
    "images": [IMAGE, IMAGE],
}
FITTING = {
    "Image": "image",
    "ImageCollection": "collection",
    "FeatureCollection": "collection",
    "Element": "image",
    "Feature": "feature",
    "String": "text",
    "Boolean": "boolean",
    "Dictionary": "dictionary",
    "Projection": "projection",
    "Geometry": "geometry",
    "Date": "date",
    "DateRange": "range",
    "ErrorMargin": "margin",
    "Filter": "filter",
    "Algorithm": "function",
    "Reducer": "reducer",
    "List": "list",
}
PIXELS = {
    "grid": {
        "crsCode": conformity_scenes.ZONE,
        "affineTransform": {
            "scaleX": 10,
            "translateX": conformity_scenes.X,
            "scaleY": -10,
            "translateY": conformity_scenes.Y,
        },
        "dimensions": {"width": 2, "height": 2},
    },
    "fileFormat": "NPY",
}


def fitting(argument: Argument, name: str) -> Any:
    if argument.type == "Reducer" and name.startswith("Image."):
        return KINDS["reducer of pixels"]
    return KINDS[FITTING.get(argument.type.split("<")[0], "integer")]


@pytest.mark.parametrize("name", built())
def test_an_argument_of_any_kind_gives_a_result_or_a_refusal(name: str) -> None:
    arguments = signatures()[name].arguments
    usual = {argument.name: fitting(argument, name) for argument in arguments if not argument.optional}
    for argument in arguments:
        for kind in KINDS.values():
            given = {key: node(item) for key, item in {**usual, argument.name: kind}.items()}
            called = {"functionInvocationValue": {"functionName": name, "arguments": given}}
            graph = expression(called, one={"constantValue": 1})
            for answer in (compute_value, compute_pixels):
                with suppress(Refusal):
                    answer(WORLD, {"expression": graph, **PIXELS})


def test_arguments_are_checked_where_nothing_is_computed() -> None:
    wrong = call("Image.select", input={"argumentReference": "x"}, bands=["b"])
    function = {"functionDefinitionValue": {"argumentNames": ["x"], "body": "wrong"}}
    mapped = call("Collection.map", collection=KINDS["empty collection"], baseAlgorithm=function)

    with pytest.raises(Refusal, match="Unknown argument 'bands'"):
        value(WORLD, mapped, wrong=wrong)
    with pytest.raises(Refusal, match="Parameter 'input' is required"):
        value(WORLD, call("If", condition=1, trueCase=1, falseCase=call("Image.select", bandSelectors=["b"])))


def test_a_function_that_is_not_built_costs_nothing_where_it_is_not_needed() -> None:
    assert value(WORLD, call("If", condition=1, trueCase=1, falseCase=call("Image.entropy", image=1, kernel=1))) == 1
