"""Maps of areas by every kind of run: of fixed windows, on own classes, from outside, and the published network."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.model.config import to_mapping
from dwplus.model.published import import_dynamic_world
from dwplus.model.registry import configure
from dwplus.model.runs import RunFolder
from dwplus.model.score import load
from dwplus.pipeline.areas.outline import outline_of_box
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.bands import L1C_BANDS
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.workflow.maps.area_map import map_area
from dwplus.workflow.maps.area_request import Inputs, Wish, inputs_of
from dwplus.workflow.maps.rasters import MapMade
from dwplus.workflow.maps.settings import MapOptions
from support.dynamic_world import made_up_variables
from support.own_labels import crops
from support.runs import lay_out, make_run
from support.tensor_bundles import write_bundle

pytestmark = pytest.mark.slow

FEW = Inputs(s2=True, level="L2A", recipe=Recipe(half_window_days=12))

MINE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, primary_bands, auxiliary_bands, classes, width=4):
        super().__init__()
        self.encoder = nn.Conv2d(primary_bands + auxiliary_bands, width, 1)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, primary, auxiliary):
        return self.head(self.encoder(torch.cat([primary, auxiliary], 1)).relu())

def build(**settings):
    return Net(**settings)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


def run_of(folder: Path, model: str, *, classes: ClassTable = DYNAMIC_WORLD) -> Path:
    """The run of a network that nobody trained."""
    made = make_run("net")
    network = to_mapping(configure(model, 10, 2, labels=len(classes)))
    data = replace(made.config.data, classes=classes, class_counts=(1,) * len(classes.classes))
    config = replace(made.config, model=model, model_config=network, data=data)
    path = lay_out(replace(made, config=config), folder, weights=False)
    RunFolder(path).write_weights("model.safetensors", config.network(where="the test").state_dict())
    return path


def mapped(run_dir: Path, engine: LocalEarthEngine, path: Path, inputs: Inputs = FEW) -> MapMade:
    run = load(run_dir, device="cpu")
    session = connect(Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file))
    made = map_area(
        run, "hash", Wish(outline_of_box("9.0,45.0,9.0025,45.002"), day=date(2024, 7, 1)), path, MapOptions(),
        inputs=inputs, source="SANDBOX", connect=lambda: session, concurrency=2, today=date(2026, 11, 28),
        progress=Silent(),
    )  # fmt: skip
    (one,) = made.maps
    with rasterio.open(one.path) as file:
        codes = file.read(1)
        assert file.tags()["MODEL"] == run.config.model
        assert file.tags()["CLASSES"].split()[0] == f"1={run.config.data.classes.names[0]}"
    assert np.array_equal(np.unique(codes[codes > 0]), 1 + np.nonzero(one.pixels)[0])
    assert sum(one.pixels) > 0.5 * codes.size
    assert len(one.pixels) == len(run.config.data.classes.classes)
    return one


def test_a_network_of_fixed_windows_maps_an_area_that_is_smaller(tmp_path: Path, engine: LocalEarthEngine) -> None:
    mapped(run_of(tmp_path / "runs", "ftransunet"), engine, tmp_path / "town.tif")


def test_a_run_on_own_classes_maps_an_area(tmp_path: Path, engine: LocalEarthEngine) -> None:
    table = crops(tmp_path)

    one = mapped(run_of(tmp_path / "runs", "specsar-former-small", classes=table), engine, tmp_path / "town.tif")

    assert len(one.pixels) == 3
    names = (tmp_path / "town.tif.aux.xml").read_text()
    assert all(each.title in names for each in table.classes)


def test_a_network_from_outside_maps_an_area(
    tmp_path: Path, engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_module_of_maps.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])

    mapped(run_of(tmp_path / "runs", "my_module_of_maps:build"), engine, tmp_path / "town.tif")


def test_the_published_network_maps_an_area_from_level_1c(tmp_path: Path, engine: LocalEarthEngine) -> None:
    import_dynamic_world(write_bundle(tmp_path / "variables", made_up_variables()), tmp_path / "run")
    wanted = inputs_of(RunFolder(tmp_path / "run").read_config().data)

    assert (wanted.level, wanted.recipe) == ("L1C", None)
    assert set(RunFolder(tmp_path / "run").read_config().data.primary) <= set(L1C_BANDS)
    mapped(tmp_path / "run", engine, tmp_path / "town.tif", wanted)
