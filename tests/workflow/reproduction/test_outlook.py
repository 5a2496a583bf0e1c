"""What a reproduction would do, read off a data root."""

from __future__ import annotations

from pathlib import Path

from dwplus.pipeline.dataset.root import DataRoot
from dwplus.workflow.reproduction.outlook import lines_of_maps, lines_of_trainings, planned, state_of
from dwplus.workflow.reproduction.plan import wanted
from support.runs import lay_out, make_run


def test_a_run_is_to_do_then_begun_then_scored(tmp_path: Path) -> None:
    root = DataRoot.at(tmp_path)
    assert state_of(root, "a") == "to do"

    folder = lay_out(make_run("a"), root.runs, weights=False)
    assert state_of(root, "a") == "begun"

    lay_out(make_run("a"), root.runs)
    assert state_of(root, "a") == "scored"

    (folder / "scores.json").unlink()
    assert state_of(root, "a") == "trained"


def test_what_is_complete_costs_nothing_more(tmp_path: Path) -> None:
    # Given Table VI, whose full network is trained.
    root, chosen = DataRoot.at(tmp_path), wanted([6])
    lay_out(make_run("specsar-s1s2"), root.runs)

    plan = planned(root, chosen, chosen)

    assert [(one.name, one.state) for one in plan] == [
        ("specsar-s1s2", "scored"),
        ("table6-1-3", "to do"),
        ("table6-1-1", "to do"),
    ]
    assert lines_of_trainings(plan, synthetic=False)[-1].startswith("2 of 3 trainings to do here: about 28 GPU hours")
    assert lines_of_trainings(plan, synthetic=True)[-1] == "2 of 3 trainings to do here: about 4 minutes on two cores"


def test_seeds_are_runs_of_their_own(tmp_path: Path) -> None:
    plan = planned(DataRoot.at(tmp_path), wanted(figures=[8]), [], seeds=(0, 1, 2))

    assert [one.name for one in plan][:3] == ["specsar-s1s2-s0", "specsar-s1s2-s1", "specsar-s1s2-s2"]
    assert len(plan) == 9
    assert not any(one.mine for one in plan)


def test_maps_are_scored_or_cost_a_request_a_tile(tmp_path: Path) -> None:
    root = DataRoot.at(tmp_path)
    (tmp_path / "products" / "esri").mkdir(parents=True)
    (tmp_path / "products" / "esri" / "scores.json").write_text("{}")

    first, *_, last = lines_of_maps(root, 409)

    assert first.startswith("dynamic-world  to do: 409 requests")
    assert last.split() == ["esri", "scored"]
    assert next(line.split()[1:] for line in lines_of_maps(root, None)) == ["to", "do"]
