"""What the client ships of Earth Engine: the discovery document, and the signatures of all server functions.

Both come out of the installed ``earthengine-api`` wheel, so client and server always speak of the same functions.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

LIST_FILTERS = ("filter", "view")
"""Query parameters that the client sends to ``listAssets`` and that the shipped discovery document does not know."""


def _shipped(name: str) -> Any:
    spec = importlib.util.find_spec("ee")
    assert spec is not None
    assert spec.submodule_search_locations
    return json.loads((Path(next(iter(spec.submodule_search_locations))) / "tests" / name).read_text("utf-8"))


def discovery_document() -> dict[str, Any]:
    """The shipped document (v1alpha), spoken as v1; says of its pixels that they are synthetic."""
    document: dict[str, Any] = json.loads(
        json.dumps(_shipped("cloud_api_discovery_document.json")).replace("v1alpha", "v1")
    )
    projects = document["resources"]["projects"]
    for resource in (projects, projects["resources"]["assets"]):
        parameters = resource["methods"]["listAssets"]["parameters"]
        parameters |= {name: {"location": "query", "type": "string"} for name in LIST_FILTERS}
    # A client that asks what pixels of this server are called finds it here.
    document["pixelSource"] = "SANDBOX"
    return document


def algorithms_document() -> dict[str, Any]:
    """``{"algorithms": [{name, returnType, arguments, ...}]}``."""
    document: dict[str, Any] = _shipped("algorithms.json")
    return document
