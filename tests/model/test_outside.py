"""Networks from outside: a module's function or an entry point is trained, recorded, and found again by its name."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from dwplus.model import outside
from dwplus.model.registry import build, configure, installed_networks, spec
from dwplus.model.runs import RunFolder
from dwplus.model.score import load, score
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.errors import UsageError
from support.tile_sets import MemoryTiles, table

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

def coarse(primary_bands, auxiliary_bands, classes):
    return Coarse(primary_bands, classes)

class Coarse(nn.Module):
    def __init__(self, bands, classes):
        super().__init__()
        self.head = nn.Conv2d(bands, classes, 4, 4)

    def forward(self, primary, auxiliary):
        return self.head(primary)

def nothing(**settings):
    return None

number = 3
"""
CONFIG = TrainConfig(epochs=1, batch=2, batch_per_device=2, workers=0, device="cpu")
MASK = table("background", "field")


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the current folder, of another name in each test."""
    name = f"net_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    torch.set_num_threads(1)
    return name


@pytest.mark.parametrize("function", ["build", "Net"])
def test_a_function_or_a_class_is_trained_and_scored_under_its_name(module: str, function: str, tmp_path: Path) -> None:
    config = replace(CONFIG, model=f"{module}:{function}", model_options={"width": 3})

    run_dir = train(config, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")
    scores = score(run_dir, MemoryTiles(MASK, "test", 2), workers=0, device="cpu")

    assert scores.model == f"{module}:{function}"
    assert RunFolder(run_dir).read_config().model_config == {
        "primary_bands": 2, "auxiliary_bands": 1, "classes": 2, "options": {"width": 3},
    }  # fmt: skip
    assert load(run_dir).network.encoder.weight.shape == (3, 3, 1, 1)  # type: ignore[union-attr]


def test_its_encoder_may_begin_with_other_bands_and_be_frozen(module: str, tmp_path: Path) -> None:
    config = replace(CONFIG, model=f"{module}:build")
    before = train(config, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "before")
    changed = replace(config, init=str(before), freeze="encoder")

    run_dir = train(changed, dataset_train=MemoryTiles(table("field", "road", "wood")), run_dir=tmp_path / "run")

    initial = RunFolder(run_dir).read_config().initial
    assert initial is not None
    assert initial.classes == ("field",)
    old, new = load(before).network.state_dict(), load(run_dir).network.state_dict()
    assert torch.equal(old["encoder.weight"], new["encoder.weight"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:build", "there is no module 'no_such_module'; start the command in the folder that holds it"),
        ("{}:nowhere", "has no function or class 'nowhere'"),
        ("{}:number", "has no function or class 'number'"),
        ("{}:", "write MODULE:FUNCTION"),
        (":build", "write MODULE:FUNCTION"),
        ("broken:build", r"broken cannot be imported \(SyntaxError"),
        ("needy:build", "needy needs no_such_package, which is not installed"),
    ],
)
def test_what_cannot_be_found_is_one_line(module: str, model: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def build(:")
    (tmp_path / "needy.py").write_text("import no_such_package")

    with pytest.raises(UsageError, match=message) as caught:
        spec(model.format(module))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("build", {"depth": 3}, r"do not fit each other \(.*depth"),
        ("nothing", {}, r"it gives NoneType, not an nn.Module"),
    ],
)
def test_what_is_no_network_is_one_line(module: str, function: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(f"{module}:{function}", 2, 1, **options)


def test_logits_of_another_shape_are_refused_before_anything_is_trained(module: str, tmp_path: Path) -> None:
    config = replace(CONFIG, model=f"{module}:coarse")

    with pytest.raises(UsageError, match=r"gives \(2, 2, 8, 8\) .* must give logits \(2, 2, 32, 32\): batch, classes"):
        train(config, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")


def test_a_run_whose_module_is_gone_says_so(module: str, tmp_path: Path) -> None:
    run_dir = train(replace(CONFIG, model=f"{module}:build"), dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")
    (tmp_path / f"{module}.py").unlink()
    del sys.modules[module]

    with pytest.raises(Exception, match=f"there is no module '{module}'"):
        load(run_dir)


def test_an_installed_package_offers_networks_by_name(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec(f"{module}:build")  # puts the folder among those that modules are found in
    points = [EntryPoint("patch-net", f"{module}:build", outside.GROUP), EntryPoint("odd", "no_such:x", outside.GROUP)]
    monkeypatch.setattr(outside, "entry_points", lambda group: points if group == outside.GROUP else [])
    outside.installed.cache_clear()
    try:
        assert configure("patch-net", 3, 0, labels=5).classes == 5
        assert build("patch-net", 3, 0, labels=5)(torch.zeros(1, 3, 8, 8), torch.zeros(1, 0, 8, 8)).shape == (
            1,
            5,
            8,
            8,
        )
        with pytest.raises(UsageError, match="entry point no_such:x cannot be imported"):
            installed_networks()
        points.pop()
        outside.installed.cache_clear()
        assert set(installed_networks()) == {"patch-net"}
    finally:
        outside.installed.cache_clear()
