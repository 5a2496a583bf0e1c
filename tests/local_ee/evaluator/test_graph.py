"""Expression graphs: what is read, what is refused, what is computed once."""

from __future__ import annotations

from typing import Any

import pytest
from dwplus.local_ee.evaluator import graph
from dwplus.local_ee.evaluator.documents import discovery_document
from dwplus.local_ee.evaluator.functions import built
from dwplus.local_ee.evaluator.graph import Graph, Interpreter
from dwplus.local_ee.evaluator.signatures import signatures
from dwplus.local_ee.refusal import Refusal
from support.local_ee_scenes import ArrayCatalogue, call, expression, value

EMPTY = ArrayCatalogue()


def refusal(result: Any, **values: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        value(EMPTY, result, **values)
    return caught.value


def test_every_kind_of_node_has_a_value() -> None:
    result = {
        "dictionaryValue": {
            "values": {
                "constant": {"constantValue": [1, {"a": None}]},
                "integer": {"integerValue": "9007199254740993"},
                "reference": {"valueReference": "shared"},
                "array": {"arrayValue": {"values": [{"constantValue": 2.5}]}},
                "call": call("Number.add", left=1, right=2),
            }
        }
    }
    graph_ = {"result": "0", "values": {"0": result, "shared": {"constantValue": "x"}}}

    assert Interpreter(Graph(graph_), {"Number.add": lambda left, right: left + right}).result() == {
        "constant": [1, {"a": None}],
        "integer": 9007199254740993,
        "reference": "x",
        "array": [2.5],
        "call": 3,
    }


def test_a_shared_node_is_computed_once_but_once_for_each_element_in_a_mapped_function() -> None:
    calls: list[Any] = []
    table = {
        "Date.millis": lambda date: calls.append(date.ms) or date.ms,
        "Number.add": lambda left, right: left + right,
        "List.map": lambda items, function, _: [function.call(item) for item in items],
    }
    mapped = call(
        "List.map", list=[7, 8], baseAlgorithm={"functionDefinitionValue": {"argumentNames": ["x"], "body": "b"}}
    )
    values = {
        "b": call("Number.add", left={"valueReference": "m"}, right={"valueReference": "m"}),
        "m": call("Number.add", left={"valueReference": "fixed"}, right={"valueReference": "own"}),
        "fixed": call("Date.millis", date=0),
        "own": call("Date.millis", date={"argumentReference": "x"}),
    }

    assert Interpreter(Graph(expression(mapped, **values)), table).result() == [14, 16]
    assert calls == [0, 7, 8]  # the fixed node once, the other once for each element although it is used twice


def test_nested_functions_see_the_arguments_around_them() -> None:
    inner = {"functionDefinitionValue": {"argumentNames": ["y"], "body": "sum"}}
    outer = {"functionDefinitionValue": {"argumentNames": ["x"], "body": "row"}}
    values = {
        "row": call("List.map", list=[1, 2], baseAlgorithm=inner),
        "sum": call("Number.add", left={"argumentReference": "x"}, right={"argumentReference": "y"}),
    }

    assert value(EMPTY, call("List.map", list=[10, 20], baseAlgorithm=outer), **values) == [[11, 12], [21, 22]]


def test_if_computes_the_chosen_branch_alone() -> None:
    broken = call("List.get", list=[], index=0)

    assert value(EMPTY, call("If", condition=0, trueCase=broken, falseCase="other")) == "other"
    assert value(EMPTY, call("If", condition="text", trueCase=1, falseCase=broken)) == 1
    assert value(EMPTY, call("If", condition=None, trueCase=1)) is None


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        (call("Image.teleport"), 400, "Unknown function 'Image.teleport'"),
        (call("Image.select", input=1, bands=["B1"]), 400, "Unknown argument 'bands'"),
        (call("Image.select", bandSelectors=["B1"]), 400, "Parameter 'input' is required."),
        (call("Image.select", input=None, bandSelectors=["B1"]), 400, "'input' is required and may not be null."),
        (call("Date.millis", date=[1]), 400, "Expected type: Date.\nActual type: List."),
        (call("Image.select", input="B1", bandSelectors=["B1"]), 400, "Expected type: Image<unknown bands>"),
        (call("Collection.size", collection=3), 400, "Expected type: FeatureCollection"),
        (call("Number.add", left=True, right=1), 400, "Actual type: Boolean"),
        (call("Image.entropy", image=1, kernel=1), 501, "Image.entropy is not implemented by the local Earth Engine."),
        ({"argumentReference": "x"}, 400, "there is no argument 'x'"),
        ({"constantValue": 1, "valueReference": "0"}, 400, "exactly one kind"),
        ({"codeValue": "1+1"}, 400, "not a kind of node"),
        ({"arrayValue": {"values": 5}}, 400, "malformed"),
        ({"valueReference": "nowhere"}, 400, "there is no value 'nowhere'"),
        ({"valueReference": "0"}, 400, "refers to itself"),
        ({"integerValue": "x"}, 400, "not an integer"),
    ],
)
def test_wrong_expressions_are_refused_with_a_reason(result: Any, code: int, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        Interpreter(Graph({"result": "0", "values": {"0": result}}), _table()).result()

    assert caught.value.code == code
    assert message in caught.value.message


def _table() -> Any:
    from dwplus.local_ee.evaluator.functions import functions

    return functions(EMPTY)


def test_depth_nodes_and_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: dict[str, Any] = call("Number.add", left=1, right=1)
    for _ in range(graph.MAX_DEPTH):
        deep = call("Number.add", left=deep, right=1)
    assert "deep" in refusal(deep).message

    monkeypatch.setattr(graph, "MAX_NODES", 10)
    assert "more than 10 nodes" in refusal([call("Number.add", left=1, right=1)] * 6).message

    monkeypatch.setattr(graph, "MAX_CALLS", 2)
    three = call("Number.add", left=call("Number.add", left=1, right=call("Number.add", left=1, right=1)), right=1)
    assert refusal(three).message == "Computation timed out."


def doubled(name: str, first: str, second: str, start: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call whose two arguments are the same call, forty times over: a small graph with a huge result."""
    values = {"v0": start}
    for level in range(40):
        below = {"valueReference": f"v{level}"}
        values[f"v{level + 1}"] = call(name, **{first: below, second: below})
    return {"valueReference": "v40"}, values


def test_small_graphs_with_huge_results_are_stopped() -> None:
    blank = call("ImageCollection.fromImages", images=[call("Image.constant", value=0)])
    merged, values = doubled("ImageCollection.merge", "collection1", "collection2", blank)
    assert "over 5000 elements" in refusal(call("Collection.first", collection=merged), **values).message
    bands, values = doubled("Image.addBands", "dstImg", "srcImg", call("Image.constant", value=0))
    assert "bands is more than" in refusal(bands, **values).message
    nested, values = doubled("Dictionary.fromLists", "keys", "values", {"constantValue": ["a"]})
    assert refusal(nested, **values).code == 400
    lists = {f"v{level + 1}": {"arrayValue": {"values": [{"valueReference": f"v{level}"}] * 2}} for level in range(40)}
    assert refusal({"valueReference": "v40"}, v0={"constantValue": 1}, **lists).message == "User memory limit exceeded."
    square, values = doubled("Number.multiply", "left", "right", {"constantValue": 10})
    assert value(EMPTY, square, **values) == "inf"  # in 64 bits, and then as a float


def test_what_is_built_is_known_to_the_client() -> None:
    assert set(built()) <= set(signatures())


def test_the_discovery_document_speaks_v1_and_lists_with_a_filter() -> None:
    document = discovery_document()
    assets = document["resources"]["projects"]["resources"]["assets"]["methods"]["listAssets"]

    assert document["version"] == "v1"
    assert document["pixelSource"] == "SANDBOX"
    assert assets["path"].startswith("v1/")
    assert {"filter", "view"} <= set(assets["parameters"])
