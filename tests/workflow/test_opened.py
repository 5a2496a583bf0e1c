"""Splits that runs of a page were scored on: opened once, and compared with what was scored."""

from __future__ import annotations

from dataclasses import replace

from dwplus.workflow.pages.opened import OpenedSplits
from support.fixture_types import LayOut
from support.runs import fresh_run, make_run


def test_runs_of_the_same_inputs_share_one_split(ready_root: LayOut) -> None:
    root = ready_root(train=2, test=2, size=32)
    splits = OpenedSplits(root)

    one, other = (
        splits.of(fresh_run(root, name, model)) for name, model in (("a", "specsar-former-small"), ("b", "cmx-small"))
    )
    without = splits.of(fresh_run(root, "c", "segformer-small", inputs=("ms10", "none")))

    assert one is other
    assert without is not one
    assert without.dataset.auxiliary == ()


def test_a_run_of_other_tiles_or_another_training_set_is_stale(ready_root: LayOut) -> None:
    root = ready_root(train=2, test=2, size=32)
    splits, run = OpenedSplits(root), fresh_run(root, "a")

    assert not splits.is_stale(run)
    assert splits.is_stale(replace(run, scores=replace(run.scores, tiles_hash="other")))
    assert splits.is_stale(make_run("a", shards_hash="other", tiles_hash=run.scores.tiles_hash))


def test_every_run_is_stale_where_the_data_set_is_not_validated(data_root: LayOut) -> None:
    assert OpenedSplits(data_root(train=2, test=2)).is_stale(make_run("a"))
