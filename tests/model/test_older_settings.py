"""Records of runs: what an older version recorded is read as what it built, and resumed as that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dwplus.model.config import to_mapping
from dwplus.model.registry import MODELS, SMALL_SETTINGS, build, configure, older_form, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import load
from dwplus.model.training.beginning import check_same_run
from dwplus.pipeline.errors import UsageError
from torch import nn

CHANGED = ("pspnet", "deeplabv3plus", "cmtfnet", "vit-adapter", "multisenseseg")
"""Networks that older versions built in another form."""

DATA = DataCard(
    primary=("B2",),
    auxiliary=("VV",),
    protocol="strict",
    source="SANDBOX",
    shards_hash="abc",
    tiles=2,
    class_counts=(1,) * 9,
    statistics={"B2": (0.1, 0.1), "VV": (-10.0, 2.0)},
)


def run_of(model: str, **options: Any) -> RunConfig:
    settings = to_mapping(configure(model, 1, 1, **options))
    return RunConfig("0.1.0", model, settings, {"model_options": options}, DATA)


def as_older(run: RunConfig) -> RunConfig:
    """As a version wrote it that did not know the settings of the older form, but for DeepLabV3+'s ``skip``."""
    kept = {key: value for key, value in run.model_config.items() if key not in older_form(run.model)}
    if run.model.startswith("deeplabv3plus"):
        kept["skip"] = "raw"
    return replace(run, model_config=kept)


def begun(path: Path, run: RunConfig) -> RunFolder:
    """A folder of a run that was interrupted after an epoch."""
    folder = RunFolder(path)
    folder.write_config(run)
    folder.write_checkpoint(1, {})
    return folder


@pytest.mark.parametrize("name", CHANGED)
def test_settings_that_an_older_version_did_not_record_are_read_as_it_built_them(name: str, tmp_path: Path):
    folder = begun(tmp_path, as_older(run_of(f"{name}-small")))

    read = folder.read_config().model_config

    older = older_form(name)
    assert older
    assert {key: read[key] for key in older} == older
    assert read.keys() == run_of(f"{name}-small").model_config.keys()


@pytest.mark.parametrize("name", CHANGED)
def test_settings_that_were_recorded_are_read_as_they_are(name: str, tmp_path: Path):
    run = run_of(f"{name}-small")

    assert begun(tmp_path, run).read_config() == run


def test_networks_that_never_changed_are_read_as_they_are(tmp_path: Path):
    run = run_of("segformer-small")

    assert older_form("segformer-small") == {}
    assert older_form("no such network") == {}
    assert begun(tmp_path, run).read_config() == run


@pytest.mark.parametrize("name", CHANGED)
def test_weights_of_an_older_version_load_and_predict_as_its_network_did(name: str, tmp_path: Path):
    torch.manual_seed(0)
    older = build(f"{name}-small", 1, 1, **older_form(name)).eval()
    folder = begun(tmp_path, as_older(run_of(f"{name}-small")))
    folder.write_weights("model.safetensors", older.state_dict())
    images = torch.randn(1, 1, 64, 64), torch.randn(1, 1, 64, 64)

    network = load(tmp_path, device="cpu").network

    with torch.no_grad():
        assert torch.equal(network(*images), older(*images))


@pytest.mark.parametrize("name", CHANGED)
def test_an_older_run_is_resumed_in_its_own_form(name: str, tmp_path: Path):
    folder = begun(tmp_path, as_older(run_of(f"{name}-small")))

    resumed = run_of(f"{name}-small").resuming(folder.read_config())

    check_same_run(folder, resumed)
    assert {key: resumed.model_config[key] for key in older_form(name)} == older_form(name)


def test_a_newer_form_that_is_asked_for_does_not_resume_an_older_run(tmp_path: Path):
    folder = begun(tmp_path, as_older(run_of("pspnet-small")))
    wanted = run_of("pspnet-small", align_corners=True)

    with pytest.raises(UsageError, match=r"another model_config.align_corners, train.model_options.align_corners"):
        check_same_run(folder, wanted.resuming(folder.read_config()))


def test_another_model_is_refused_as_before(tmp_path: Path):
    folder = begun(tmp_path, as_older(run_of("pspnet-small")))

    with pytest.raises(UsageError, match="holds a run with another model"):
        check_same_run(folder, run_of("cmtfnet-small").resuming(folder.read_config()))


@pytest.mark.parametrize("name", [*MODELS, *(f"{name}-small" for name in SMALL_SETTINGS)])
def test_the_older_form_of_every_network_is_made_of_its_settings_and_can_be_built(name: str):
    settings = configure(name, **older_form(name))

    if not name.startswith("smp/"):
        with torch.device("meta"):
            assert isinstance(spec(name).network(settings), nn.Module)
