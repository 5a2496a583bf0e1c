"""Expression graphs: read, check against the limits, and evaluate.

A graph is ``{"result": KEY, "values": {KEY: node}}``; each node holds exactly one of ``constantValue``,
``integerValue``, ``valueReference``, ``argumentReference``, ``arrayValue``, ``dictionaryValue``,
``functionDefinitionValue`` and ``functionInvocationValue``. Source:
https://developers.google.com/earth-engine/reference/rest/v1/Expression

A node is computed once for each set of arguments that it can see: one that refers to no argument of a mapped function
once in all, the body of a mapped function once for each element.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from ..refusal import Refusal, not_built
from .signatures import signatures
from .values import Function

MAX_NODES = 100_000
MAX_CONSTANTS = 500_000
MAX_DEPTH = 400
"""Bounds of a graph; Earth Engine has its own, which it does not publish."""

MAX_CALLS = 2_000_000
MAX_SECONDS = 270.0
"""Beyond these an evaluation has timed out; Earth Engine's limit for interactive requests is 5 minutes.
Source: https://developers.google.com/earth-engine/guides/computation_overview"""

VALUE_ERRORS = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, ShapelyError, ProjError,
)  # fmt: skip
"""What Python and the geometry libraries raise over values that they cannot use."""

Table = Mapping[str, Callable[..., Any]]
Scope = dict[str, Any]


class Graph:
    """A checked graph: every reference leads somewhere, no loops, within the limits; every function is one that Earth
    Engine has, called with arguments that it knows and with all that it needs. Their types are checked as they come."""

    def __init__(self, expression: Any) -> None:
        if not isinstance(expression, dict) or not isinstance(expression.get("values"), dict):
            raise Refusal("Invalid expression: an object with 'result' and 'values' is needed.")
        self.values: dict[str, Any] = expression["values"]
        self.result = str(expression.get("result"))
        self._nodes = self._constants = 0
        self._facts: dict[str, tuple[frozenset[str], int]] = {}
        self._open: set[str] = set()
        self._key(self.result)
        self.free: dict[str, frozenset[str]] = {key: facts[0] for key, facts in self._facts.items()}

    def _key(self, key: Any) -> tuple[frozenset[str], int]:
        """Arguments that a named node refers to without defining them, and its depth."""
        if not isinstance(key, str) or key not in self.values:
            raise Refusal(f"Invalid expression: there is no value '{str(key)[:50]}'.")
        if key not in self._facts:
            if key in self._open:
                raise Refusal(f"Invalid expression: value '{key}' refers to itself.")
            self._open.add(key)
            self._facts[key] = self._node(self.values[key])
            self._open.discard(key)
        return self._facts[key]

    def _node(self, node: Any) -> tuple[frozenset[str], int]:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Refusal(f"Invalid expression: more than {MAX_NODES} nodes.")
        kind, body = kind_of(node)
        if kind in ("constantValue", "integerValue"):
            self._count(body)
            return frozenset(), 1
        if kind == "argumentReference":
            return frozenset((str(body),)), 1
        if kind == "valueReference":
            return self._deeper([self._key(body)])
        if kind == "functionDefinitionValue":
            free, depth = self._deeper([self._key(body.get("body"))])
            return free - frozenset(body.get("argumentNames", ())), depth
        if kind == "arrayValue":
            return self._deeper([self._node(item) for item in body.get("values", [])])
        if kind == "dictionaryValue":
            return self._deeper([self._node(item) for item in body.get("values", {}).values()])
        parts = [self._node(item) for item in body.get("arguments", {}).values()]
        if "functionReference" in body:
            parts.append(self._key(body["functionReference"]))
        elif body.get("functionName") not in signatures():
            raise Refusal(f"Unknown function '{str(body.get('functionName'))[:100]}'.")
        else:
            signatures()[body["functionName"]].check_names(body.get("arguments", {}))
        return self._deeper(parts)

    def _count(self, constant: Any) -> None:
        """Add the values of a constant to those of the request, and refuse the request when they become too many."""
        rest = [constant]
        while rest:
            item = rest.pop()
            self._constants += 1
            if self._constants > MAX_CONSTANTS:
                raise Refusal(f"Invalid expression: constants of more than {MAX_CONSTANTS} values.")
            if isinstance(item, list | dict):
                rest.extend(item if isinstance(item, list) else item.values())

    def _deeper(self, parts: list[tuple[frozenset[str], int]]) -> tuple[frozenset[str], int]:
        depth = 1 + max((part[1] for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise Refusal(f"Invalid expression: nested more than {MAX_DEPTH} deep.")
        return frozenset().union(*(part[0] for part in parts)), depth


KINDS: dict[str, Any] = {
    "constantValue": object,
    "integerValue": str | int,
    "valueReference": str,
    "argumentReference": str,
    "arrayValue": dict,
    "dictionaryValue": dict,
    "functionDefinitionValue": dict,
    "functionInvocationValue": dict,
}


def kind_of(node: Any) -> tuple[str, Any]:
    """The one kind that a node is of, and its content.

    Raises:
        Refusal: it is of none, of several, or its content is malformed.
    """
    if not isinstance(node, dict) or len(node) != 1:
        raise Refusal("Invalid expression: a node must hold exactly one kind of value.")
    kind, body = next(iter(node.items()))
    if kind not in KINDS or not isinstance(body, KINDS[kind]):
        raise Refusal(f"Invalid expression: '{str(kind)[:50]}' is not a kind of node, or its content is malformed.")
    _check_names(kind, body)
    parts: dict[str, tuple[str, type]] = {"arrayValue": ("values", list), "dictionaryValue": ("values", dict)}
    parts |= {"functionDefinitionValue": ("argumentNames", list), "functionInvocationValue": ("arguments", dict)}
    if kind in parts:
        name, wanted = parts[kind]
        if not isinstance(body.get(name, wanted()), wanted):
            raise Refusal(f"Invalid expression: '{name}' of a node of kind '{kind}' is malformed.")
    return kind, body


def _check_names(kind: str, body: Any) -> None:
    """Refuse names that are no texts: of functions, of what they are computed by, and of arguments."""
    if kind == "functionInvocationValue":
        names = [body[key] for key in ("functionName", "functionReference") if key in body]
        if len(names) != 1:
            raise Refusal("Invalid expression: a call needs either 'functionName' or 'functionReference'.")
    elif kind == "functionDefinitionValue":
        listed = body.get("argumentNames", [])
        names = [body.get("body"), *(listed if isinstance(listed, list) else [])]
    else:
        return
    for name in names:
        if not isinstance(name, str):
            raise Refusal(f"Invalid expression: {str(name)[:50]!r} in a node of kind '{kind}' is not a name.")


class Interpreter:
    """The values of one graph.

    Args:
        graph: checked.
        table: functions by name, called with all arguments in the order of their signature; a name that is
            missing there is known and not built.
    """

    def __init__(self, graph: Graph, table: Table) -> None:
        self._graph, self._table = graph, table
        self._known: dict[str, Any] = {}
        self._calls = 0
        self._deadline = time.monotonic() + MAX_SECONDS

    def result(self) -> Any:
        """The value of the whole expression.

        Raises:
            Refusal: it cannot be computed.
        """
        return self._value(self._graph.result, {}, {})

    def _value(self, key: str, scope: Scope, local: dict[str, Any]) -> Any:
        known = local if self._graph.free[key] else self._known
        if key not in known:
            known[key] = self._node(self._graph.values[key], scope, local)
        return known[key]

    def _node(self, node: Any, scope: Scope, local: dict[str, Any]) -> Any:
        kind, body = next(iter(node.items()))
        if kind == "constantValue":
            return body
        if kind == "integerValue":
            return self._integer(body)
        if kind == "valueReference":
            return self._value(body, scope, local)
        if kind == "argumentReference":
            if body not in scope:
                raise Refusal(f"Invalid expression: there is no argument '{body[:50]}' here.")
            return scope[body]
        if kind == "arrayValue":
            return [self._node(item, scope, local) for item in body.get("values", [])]
        if kind == "dictionaryValue":
            return {name: self._node(item, scope, local) for name, item in body.get("values", {}).items()}
        if kind == "functionDefinitionValue":
            return self._function(body, scope)
        return self._call(body, scope, local)

    def _integer(self, body: Any) -> int:
        try:
            return int(body)
        except ValueError:
            raise Refusal(f"Invalid expression: '{str(body)[:50]}' is not an integer.") from None

    def _function(self, body: dict[str, Any], scope: Scope) -> Function:
        names, key = body.get("argumentNames", []), body["body"]

        def call(*arguments: Any) -> Any:
            return self._value(key, {**scope, **dict(zip(names, arguments, strict=False))}, {})

        return Function(call, len(names))

    def _call(self, body: dict[str, Any], scope: Scope, local: dict[str, Any]) -> Any:
        self._calls += 1
        if self._calls > MAX_CALLS or time.monotonic() > self._deadline:
            raise Refusal("Computation timed out.")
        nodes = body.get("arguments", {})
        if "functionName" not in body:
            raise not_built("A call of a function that is itself computed (Image.expression)")
        name = body["functionName"]
        if name not in self._table:
            raise not_built(name)
        signature = signatures()[name]
        if name == "If":  # only the branch that is chosen is computed
            return self._if(nodes, scope, local)
        given = {argument: self._node(node, scope, local) for argument, node in nodes.items()}
        try:
            return self._table[name](*signature.bind(given).values())
        except VALUE_ERRORS as error:
            # Values of the right type that the function cannot use: of any length, sign or shape.
            reason = str(error)[:200]
            raise Refusal(f"{name}: Invalid arguments ({type(error).__name__}: {reason}).") from error

    def _if(self, nodes: dict[str, Any], scope: Scope, local: dict[str, Any]) -> Any:
        condition = self._node(nodes["condition"], scope, local) if "condition" in nodes else None
        chosen = "trueCase" if _true(condition) else "falseCase"
        return self._node(nodes[chosen], scope, local) if chosen in nodes else None


def _true(value: Any) -> bool:
    """Zero, null and the empty string are false."""
    return bool(value) if value is None or isinstance(value, bool | int | float | str) else True
