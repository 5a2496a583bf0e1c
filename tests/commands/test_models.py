"""``dwplus models`` and ``dwplus cost``."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from dwplus.manifests import load_toml
from dwplus.model import registry, speed
from dwplus.model.registry import MODELS, build, configure, spec, table_rows
from dwplus.pipeline.errors import UsageError
from support.fixture_types import Run

KEYS = {"name", "params", "params_rule", "gflops_rule", "gflops", "paper_params_m", "paper_gflops"}


@pytest.mark.slow  # every network's own test counts it too
def test_the_costs_of_table_ii_are_the_papers_to_every_printed_digit(dwplus: Run) -> None:
    rows = json.loads(dwplus("cost", "--json")[1])

    assert {row["name"] for row in rows} == set(load_toml("paper")["table2"])
    check_costs(rows)


def test_the_costs_of_single_networks_stand_beside_the_papers(dwplus: Run) -> None:
    rows = json.loads(dwplus("cost", "segformer", "vit-adapter", "--json")[1])

    assert [row["name"] for row in rows] == ["segformer", "vit-adapter"]
    check_costs(rows)


def check_costs(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row.keys() >= KEYS
        if row["name"] == "vit-adapter":
            assert row["params"] == 133_530_665  # its own stated value
            continue
        assert round(row["params_rule"] / 1e6, 2) == row["paper_params_m"], row["name"]
        assert round(row["gflops_rule"], 2) == row["paper_gflops"], row["name"]


def test_eleven_spectral_bands_cost_more(dwplus: Run) -> None:
    (ten,), (eleven,) = (
        json.loads(dwplus("cost", "segformer-small", *bands, "--json")[1]) for bands in ((), ("--spectral-bands", "11"))
    )

    # One band more in the first convolution: 7 x 7 to 32 channels, at 128 x 128 places.
    assert eleven["params"] - ten["params"] == 7 * 7 * 32
    assert eleven["gflops_rule"] - ten["gflops_rule"] == pytest.approx(2 * 7 * 7 * 32 * 128 * 128 / 1e9)


def test_a_table_for_people_shows_both_countings(dwplus: Run) -> None:
    printed = dwplus("cost", "segformer-small", "cmtfnet")[1]

    assert {"with", "attention"} <= set(printed.split())
    assert "34.93" in printed
    assert "69.86 as they do" in printed


def test_speed_is_measured_in_a_process_of_its_own(dwplus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given images of 64 px, and steps that are not repeated for seconds.
    monkeypatch.setattr(speed, "measure", partial(speed.measure, size=64, longest_s=0.0))

    (row,) = json.loads(dwplus("cost", "dynamic-world-fcn-small", "--speed", "--json", "-q")[1])

    check_speed(row["speed"], size=64)


@pytest.mark.slow  # the same at full size
def test_speed_is_measured_on_tiles_of_510_px(dwplus: Run) -> None:
    (row,) = json.loads(dwplus("cost", "dynamic-world-fcn-small", "--speed", "--json", "-q")[1])

    check_speed(row["speed"], size=510)


def check_speed(found: dict[str, Any], *, size: int) -> None:
    assert (found["precision"], found["size"], found["batch"]) == ("fp32", size, 2)
    assert found["frames_per_second"] > 0 < found["samples_per_second"]
    assert 0 < found["inference_mb"] <= found["training_mb"]


def test_models_are_listed_with_inputs_size_and_citation(dwplus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry of three networks: each is counted at its full size.
    monkeypatch.setattr(registry, "MODELS", {name: MODELS[name] for name in ("cmx", "pspnet", "segformer-small")})

    listed = {row["name"]: row for row in json.loads(dwplus("models", "--json")[1])}

    assert list(listed) == ["cmx", "pspnet", "segformer-small"]
    assert listed["cmx"]["params"] == 66_583_825
    assert listed["cmx"]["inputs"] == "two: ms10, sar"
    assert listed["pspnet"]["inputs"] == "one: ms10 + sar"
    assert "arXiv 2203.04838" in listed["cmx"]["citation"]


def test_an_unknown_model_ends_with_a_usage_error(dwplus: Run) -> None:
    code, _, error = dwplus("cost", "specsar")

    assert code == 2
    assert "unknown model 'specsar'" in error


@pytest.mark.parametrize("name", table_rows())
def test_rows_of_the_ablations_are_networks_by_name(name: str) -> None:
    table, _, row = name.partition("/")
    counted = load_toml("paper")["counted"][table]
    import torch

    with torch.device("meta"):
        params = sum(p.numel() for p in build(name).parameters())

    splits = {"1-3": "1/4, 3/4", "1-1": "1/2, 1/2", "3-1": "3/4, 1/4"}
    assert params == counted[splits.get(row, row)]["params"]


def test_a_row_of_table_v_brings_its_bands() -> None:
    assert (spec("table5/rgb-other").primary, spec("table5/rgb-other").auxiliary) == ("rgb", "other9")
    assert configure("table5/rgb").primary_bands == 3
    with pytest.raises(UsageError, match="did you mean table5/rgb"):
        spec("table5/rbg")
