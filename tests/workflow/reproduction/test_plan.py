"""Which trainings the paper's rows need, and how machines share them."""

from __future__ import annotations

import pytest
from dwplus.model.settings import profile
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.machines import Machine
from dwplus.workflow.reproduction.numbers import paper_numbers
from dwplus.workflow.reproduction.plan import need_of, share, trainings, wanted, wants_products

BY_NAME = {one.name: one for one in trainings()}


def test_thirty_rows_need_twenty_five_trainings() -> None:
    rows = [row for one in trainings() for row in one.rows]
    tables = [row.partition(".")[0] for row in rows]

    assert {name: tables.count(name) for name in dict.fromkeys(tables)} == {
        "table1": 10,
        "table4": 8,
        "table5": 6,
        "table6": 3,
        "losses": 3,
    }
    assert (len(rows), len(set(rows)), len(trainings()), len(BY_NAME)) == (30, 30, 25, 25)


def test_the_full_network_stands_in_four_tables_and_a_figure() -> None:
    assert BY_NAME["specsar-s1s2"].rows == (
        "table1.specsar-former",
        "table4.ca-sa-mmam",
        "table5.ms-sar-dual",
        "table6.3/4-1/4",
        "losses.focal",
    )
    assert BY_NAME["segformer-s1s2"].rows == ("table1.segformer", "table5.ms-sar-mono")
    assert BY_NAME["segformer-s2"].rows == ("table5.ms",)


@pytest.mark.parametrize("one", trainings(), ids=lambda one: one.name)
def test_every_training_has_settings_that_fit(one) -> None:
    settings = profile("paper", **one.changes)

    assert (settings.model, settings.epochs, settings.loss) == (one.model, 200, one.loss)


def test_tables_and_figures_choose_trainings() -> None:
    assert [one.name for one in wanted([6])] == ["specsar-s1s2", "table6-1-3", "table6-1-1"]
    assert [one.name for one in wanted(figures=[8])] == ["specsar-s1s2", "loss-bce", "loss-ce"]
    assert len(wanted([1])) == len(wanted([3])) == len(wanted(figures=[2])) == 10
    assert wanted([2]) == wanted(figures=[3]) == []
    assert len(wanted()) == 25
    assert [wants_products(*chosen) for chosen in (([], []), ([1], []), ([4], []), ([], [7]), ([], [8]))] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_the_sandbox_trains_three_small_networks_unless_more_is_named() -> None:
    assert [(one.name, one.model) for one in wanted(small=True)] == [
        ("specsar-s1s2", "specsar-former-small"),
        ("segformer-s1s2", "segformer-small"),
        ("segformer-s2", "segformer-small"),
    ]
    assert len(wanted([4], small=True)) == 8


def test_machines_share_everything_and_nothing_twice() -> None:
    shares = [share(trainings(), Machine(number, 4)) for number in (1, 2, 3, 4)]

    assert sorted(one.name for part in shares for one in part) == sorted(BY_NAME)
    hours = [sum(one.gpu_hours(16893, 200) for one in part) for part in shares]
    # The longest training alone is a fifth of all hours.
    assert max(hours) < 1.2 * sum(hours) / 4


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_machine_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write which machine of how many"):
        Machine.parse(text)


def test_gpu_hours_are_operations_over_speed() -> None:
    # 3 passes x 45.7 GFLOP (segformer, folded) x 16,893 tiles x 200 epochs / 10 TFLOP/s / 3600 = 12.9 h; it runs 48.6.
    hours = BY_NAME["segformer-s1s2"].gpu_hours(16893, 200)

    assert hours == pytest.approx(13, abs=1)
    assert BY_NAME["segformer-s1s2"].gpu_hours(16893, 100) == pytest.approx(hours / 2)


def test_a_number_of_any_table_has_a_command_that_makes_it() -> None:
    needs = {number.key: need_of(number) for number in paper_numbers()}

    assert needs["table4.ca.miou"].command.endswith("--scope paper --table IV --project MY-PROJECT")
    assert needs["table3.cmx.water"].gpu_hours == needs["table1.cmx.miou"].gpu_hours > 10
    assert needs["table2.cmx.speed"].command == "dwplus cost cmx --speed"
    assert needs["section6.gain_oa"].gpu_hours == pytest.approx(
        needs["table1.cmx.oa"].gpu_hours + needs["table1.specsar-former.oa"].gpu_hours
    )
    assert needs["section5.epochs"] is None
    assert all(needs[number.key] for number in paper_numbers() if number.kind in ("score", "speed", "gain", "set"))
