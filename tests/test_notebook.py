"""The notebook of ``docs/examples`` is executed as it is, on a small data set of the sandbox."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dwplus.pipeline.dataset.root import DataRoot
from support.map_tiles import pixels_of_tile
from support.paths import REPOSITORY
from support.runs import fresh_run, lay_out

NOTEBOOK = REPOSITORY / "docs" / "examples" / "show.ipynb"


def sources(kind: str) -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_the_notebook_is_kept_without_results_and_its_code_compiles() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]

    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    for number, source in enumerate(sources("code")):
        compile(source, f"cell {number}", "exec")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/sandbox``: 12 tiles and a network that nobody trained."""
    folder = tmp_path_factory.mktemp("notebook")
    for command in ("build --source sandbox --tiles 12", "normalise"):
        words = [sys.executable, "-m", "dwplus.cli", *command.split(), "--workers", "1", "-q"]
        subprocess.run(words, cwd=folder, check=True, timeout=500, capture_output=True)
    root = DataRoot.at(folder / "data" / "sandbox")
    lay_out(fresh_run(root, "net"), root.runs)
    return folder


@pytest.mark.slow
def test_every_cell_runs_and_every_map_has_its_layers(folder: Path) -> None:
    pytest.importorskip("geemap", reason="geemap is not installed (pip install 'dwplus[map]')")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})

    client.execute()

    widgets = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    maps = [
        widgets[output["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    names = [[layer["name"] for layer in layers_of(one, widgets)] for one in maps]
    assert len(maps) == len([source for source in sources("code") if "dwplus.show" in source])
    assert any(name.startswith("test (") for name in names[0])
    assert {"Sentinel-2 true colour", "Sentinel-1 VV, mean", "Label"} <= set(names[1])
    assert "Prediction of net" in names[2]
    assert "Prediction of net" in names[3]
    assert names[5][1:] == ["Sentinel-2 true colour (Earth Engine)", "VV, mean (Earth Engine)", "Label", "NDVI"]
    truth = next(layer for layer in layers_of(maps[1], widgets) if layer["name"] == "Sentinel-2 true colour")
    assert pixels_of_tile(base64.b64decode(truth["url"].split(",")[1]))[3].mean() > 200  # nearly all of it is seen
    assert "SANDBOX" in json.dumps(widgets)


def layers_of(shown: dict[str, Any], widgets: dict[str, Any]) -> list[dict[str, Any]]:
    """Layers of a map, as a notebook keeps them."""
    return [widgets[reference.removeprefix("IPY_MODEL_")]["state"] for reference in shown["layers"]]
