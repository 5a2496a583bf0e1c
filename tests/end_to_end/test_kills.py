"""Killed and started again, a build leaves what an undisturbed one leaves. Twenty kills: benchmarks/export_kills.py."""

from pathlib import Path

import pytest
from rigs.killed_builds import IN_FLIGHT, INSTEAD, Comparison, Moment, compare, hashes, ledger_states, leftovers

TILES = 6


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Six tiles of the local Earth Engine, built in one go, and built with three kills."""
    return compare(tmp_path_factory.mktemp("kills"), tiles=TILES, kills=3, seed=1)


def test_each_kill_came_at_its_moment(killed: Comparison) -> None:
    # Half-written files are there for milliseconds; where one was missed, the next complete file is the moment.
    labels, shards, findings = killed.outcome.killed

    assert labels in (Moment("label part"), INSTEAD["label part"])
    assert shards in (Moment("shard part"), INSTEAD["shard part"])
    assert findings in (Moment("findings part"), INSTEAD["findings part"])


def test_killed_builds_end_with_the_shards_and_labels_of_an_undisturbed_one(killed: Comparison) -> None:
    assert len(hashes(killed.root)) == TILES
    assert hashes(killed.root) == hashes(killed.undisturbed)
    assert hashes(killed.root, "labels") == hashes(killed.undisturbed, "labels")


def test_killed_builds_leave_no_temporary_file(killed: Comparison) -> None:
    assert leftovers(killed.root.parent) == []


def test_only_tiles_in_flight_at_a_kill_are_fetched_twice(killed: Comparison) -> None:
    assert killed.outcome.needless == set()
    assert killed.outcome.twice <= killed.outcome.in_flight
    assert killed.outcome.widest <= IN_FLIGHT


def test_the_ledger_of_killed_builds_can_be_read_and_says_done(killed: Comparison) -> None:
    states = ledger_states(killed.root)

    assert len(states) == TILES
    assert set(states.values()) == {"done"}


def test_files_half_written_are_seen_as_such(tmp_path: Path) -> None:
    # The check must be able to fail.
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / ".dw_1.tif.7.part").write_bytes(b"half")

    assert leftovers(tmp_path) == ["shards/.dw_1.tif.7.part"]
