"""The paper's tables as data: complete, and consistent with themselves."""

from __future__ import annotations

import pytest
from dwplus.manifests import load_toml
from dwplus.model.registry import MODELS, configure
from dwplus.pipeline.spec.bands import preset
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD

PAPER = load_toml("paper")


def test_tables_have_the_rows_of_the_paper():
    assert [len(PAPER[f"table{n}"]) for n in (1, 2, 4, 5, 6)] == [11, 10, 8, 6, 3]
    assert len(PAPER["table3"]["iou"]) == 10
    assert set(PAPER["table1"]) == set(PAPER["methods"])


@pytest.mark.parametrize("reading", ["printed", "dynamic-world-order"])
def test_both_readings_of_table_iii_name_every_class_once(reading: str):
    assert sorted(PAPER["table3"]["readings"][reading]) == sorted(DYNAMIC_WORLD.names)


def test_readings_of_table_iii_differ_in_three_columns():
    printed, likely = PAPER["table3"]["readings"]["printed"], PAPER["table3"]["readings"]["dynamic-world-order"]

    assert tuple(likely) == DYNAMIC_WORLD.names
    assert [a for a, b in zip(printed, likely, strict=True) if a != b] == [
        "crops",
        "shrub_and_scrub",
        "flooded_vegetation",
    ]


@pytest.mark.parametrize("method", PAPER["table3"]["iou"])
def test_f1_of_table_i_is_the_mean_of_2_iou_over_1_plus_iou_of_table_iii(method: str):
    iou = [value / 100 for value in PAPER["table3"]["iou"][method]]

    f1 = 100 * sum(2 * value / (1 + value) for value in iou) / 9

    assert f1 == pytest.approx(PAPER["table1"][method]["f1"], abs=0.006)


@pytest.mark.parametrize("method", PAPER["table3"]["iou"])
def test_miou_is_the_mean_of_the_classes(method: str):
    mean = sum(PAPER["table3"]["iou"][method]) / 9

    assert mean == pytest.approx(PAPER["table3"]["miou"][method], abs=0.01)
    assert PAPER["table1"][method]["miou"] == PAPER["table3"]["miou"][method]


def test_the_full_network_scores_the_same_in_every_table():
    rows = [PAPER["table1"]["specsar-former"], PAPER["table4"]["ca-sa-mmam"], PAPER["table5"]["ms-sar-dual"]]
    rows.append(PAPER["table6"]["3/4, 1/4"])

    assert {(row["miou"], row["oa"], row["f1"]) for row in rows} == {(59.58, 79.48, 71.68)}


def test_table_v_is_segformer_for_single_inputs():
    mono, segformer = PAPER["table5"]["ms-sar-mono"], PAPER["table1"]["segformer"]

    assert {name: mono[name] for name in segformer} == segformer


@pytest.mark.parametrize("row", PAPER["table5"])
def test_rows_of_table_v_can_be_built(row: str):
    values = PAPER["table5"][row]
    primary, auxiliary = (len(preset(values[key])) if values[key] else 0 for key in ("primary", "auxiliary"))

    config = configure(values["model"], primary, auxiliary)

    assert f"({primary + auxiliary} bands" in values["title"] or f"{primary} bands + {auxiliary}" in values["title"]
    assert config.primary_bands == primary
    assert values["model"] in MODELS
