"""What stands beside a run: the paper's row of its own network, variant and inputs; the same network without S1."""

from __future__ import annotations

from typing import Any

import pytest
from dwplus.manifests import load_toml
from dwplus.model.registry import MODELS, SMALL_SETTINGS, spec, table_rows
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.pages import comparison
from dwplus.workflow.pages.comparison import class_rows, cost_rows, paper_row, s1_gains
from support.runs import make_run

PAPER = load_toml("paper")
PUBLISHED = {name: model for name, model in MODELS.items() if model.paper}
IN_TABLES = {"1-3": "1/4, 3/4", "1-1": "1/2, 1/2", "3-1": "3/4, 1/4"}
"""How the ablations of Table VI are called on the command line, and in the paper."""


def scores_of(row: dict[str, Any] | None) -> tuple[float, float, float] | None:
    return None if row is None else (row["miou"], row["oa"], row["f1"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_of_the_paper_stands_beside_its_own_row(name: str) -> None:
    row = paper_row(make_run("a", name, (spec(name).primary, spec(name).auxiliary)).config)

    assert scores_of(row) == scores_of(PAPER["table1"][PUBLISHED[name].paper])
    assert row is not None
    assert row["full_size"]


@pytest.mark.parametrize("name", [name for name in SMALL_SETTINGS if MODELS[name].paper])
def test_a_small_network_stands_beside_the_row_of_its_full_size_and_says_so(name: str) -> None:
    row = paper_row(make_run("a", f"{name}-small").config)

    assert scores_of(row) == scores_of(PAPER["table1"][MODELS[name].paper])
    assert row is not None
    assert not row["full_size"]


@pytest.mark.parametrize("name", table_rows())
def test_every_row_of_the_ablations_is_its_own(name: str) -> None:
    table, _, key = name.partition("/")
    model = spec(name)

    row = paper_row(make_run("a", name, (model.primary, model.auxiliary or "none")).config)

    assert scores_of(row) == scores_of(PAPER[table][IN_TABLES.get(key, key)])


def test_an_ablation_that_was_set_by_hand_has_the_row_of_the_ablation() -> None:
    for model in ("specsar-former", "specsar-former-small"):
        row = paper_row(make_run("a", model, settings={"aggregation": False}).config)

        assert scores_of(row) == scores_of(PAPER["table4"]["ca-sa"])


@pytest.mark.parametrize(
    ("model", "inputs", "settings"),
    [
        ("specsar-former", ("ms11", "sar"), {}),
        ("specsar-former", ("rgb", "sar"), {}),
        ("specsar-former", ("ms10", "sar"), {"cross_order": "sequential"}),
        ("cmx", ("rgb", "sar"), {}),
        ("pspnet", ("ms10", "none"), {}),
        ("dynamic-world-fcn", ("ms10", "sar"), {}),
    ],
)
def test_a_network_or_inputs_that_the_paper_lacks_have_no_row(
    model: str, inputs: tuple[str, str], settings: dict[str, Any]
) -> None:
    assert paper_row(make_run("a", model, inputs, settings=settings).config) is None


def test_one_input_of_all_bands_is_the_same_as_two_that_are_concatenated() -> None:
    one, two = (
        paper_row(make_run("a", "segformer", inputs).config) for inputs in (("ms10sar", "none"), ("ms10", "sar"))
    )

    assert scores_of(one) == scores_of(two) == scores_of(PAPER["table5"]["ms-sar-mono"])


def test_training_and_rounding_make_no_other_network() -> None:
    changed = make_run("a", "segformer", settings={"dropout": 0.3, "drop_path": 0.0, "decoder": "plain"})

    assert scores_of(paper_row(changed.config)) == scores_of(PAPER["table5"]["ms-sar-mono"])


# --- what Sentinel-1 adds ---------------------------------------------------------------------------------------------


def test_the_gain_of_sentinel_1_is_the_difference_of_two_runs_of_one_network() -> None:
    # 40 of 50 right per class: OA 0.8, IoU 40/60; 30 of 50: OA 0.6, IoU 30/70.
    runs = [make_run("a", "segformer-small", hits=40), make_run("b", "segformer-small", ("ms10", "none"), 30)]

    (gain,) = s1_gains(runs)

    assert (gain.run, gain.without) == ("a", "b")
    assert gain.points["oa"] == pytest.approx(0.2)
    assert gain.points["miou"] == pytest.approx(40 / 60 - 30 / 70)
    # Table V: 58.33 with radar in one input, 58.04 without.
    assert gain.paper is not None
    assert gain.paper["miou"] == pytest.approx(0.29)


@pytest.mark.parametrize(
    "other",
    [
        make_run("b", "specsar-former-small", ("rgb", "other9")),
        make_run("b", "pspnet-small", ("ms10", "none")),
        make_run("b", "segformer-small", ("rgb", "none")),
        make_run("b", "segformer-small", ("ms10", "none"), settings={"decoder_width": 32}),
        make_run("b", "segformer-small", ("ms10", "none"), train={"epochs": 99}),
        make_run("b", "segformer-small", ("ms10", "none"), shards_hash="other"),
    ],
    ids=["network", "another network", "bands", "settings", "training", "tiles"],
)
def test_runs_that_differ_in_more_than_their_inputs_are_never_compared(other: Any) -> None:
    assert s1_gains([make_run("a", "segformer-small"), other]) == []
    assert s1_gains([make_run("a", "segformer-small")]) == []


def test_every_pair_of_runs_is_compared_with_its_own_partner() -> None:
    runs = [
        make_run(f"{model}-{radar}", model, ("ms10", radar), hits)
        for model, hits in (("segformer-small", 40), ("pspnet-small", 45))
        for radar in ("sar", "none")
    ]

    pairs = {(gain.run, gain.without) for gain in s1_gains(runs)}

    assert pairs == {("segformer-small-sar", "segformer-small-none"), ("pspnet-small-sar", "pspnet-small-none")}


def test_each_seed_is_compared_with_the_same_seed_without_sentinel_1() -> None:
    runs = [
        make_run(f"{radar}-{seed}", "segformer-small", ("ms10", radar), train={"seed": seed})
        for radar in ("sar", "none")
        for seed in range(20)
    ]

    assert [(gain.run, gain.without) for gain in s1_gains(runs)] == [(f"sar-{n}", f"none-{n}") for n in range(20)]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_papers_ious_are_matched_by_class_name_in_both_readings() -> None:
    rows = class_rows([make_run("a", "segformer-small", ("ms10", "none"), 30)])

    printed, reordered = (dict(zip(DYNAMIC_WORLD.names, row["iou"], strict=True)) for row in rows[1:])
    assert (printed["crops"], printed["shrub_and_scrub"], printed["flooded_vegetation"]) == (46.55, 74.90, 40.36)
    assert (reordered["flooded_vegetation"], reordered["crops"], reordered["shrub_and_scrub"]) == (46.55, 74.90, 40.36)
    assert rows[0]["iou"][0] == pytest.approx(100 * 30 / 70)


def test_a_network_of_table_iii_brings_its_own_ious() -> None:
    rows = class_rows([make_run("a", "cmx-small"), make_run("b", "specsar-former-small")])

    names = [row["name"] for row in rows]
    assert names[:2] == ["a", "b"]
    assert [name for name in names if "CMX" in name] == ["paper, CMX (printed)", "paper, CMX (dynamic-world-order)"]
    assert rows[names.index("paper, CMX (printed)")]["iou"][0] == PAPER["table3"]["iou"]["cmx"][0]


def test_sizes_of_the_papers_networks_are_counted_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every network's own test counts it; here a few are enough.
    few = ["segformer", "multisenseseg", "vit-adapter"]
    published = comparison._published()
    assert {method for _, method in published} == set(PAPER["table2"])
    monkeypatch.setattr(comparison, "_published", lambda: [pair for pair in published if pair[0] in few])

    table = PAPER["table2"]
    rows = {row["name"]: row for row in cost_rows()}

    assert sorted(rows) == sorted(few)
    assert rows.pop("vit-adapter")["note"].startswith("official form")
    for row in rows.values():
        assert round(row["cost"].params_rule / 1e6, 2) == table[row["name"]]["params"]
        assert round(row["cost"].gflops_rule, 2) == table[row["name"]]["flops"]
