"""The ledger: append-only, one writer, torn lines."""

from pathlib import Path

import pytest
from dwplus.pipeline.dataset.ledger import FAILURES_FILE, Ledger, LedgerRow, count_states, read_ledger, write_failures
from dwplus.pipeline.errors import DwplusError


def test_the_last_row_of_a_tile_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRow("a", "failed", "no_answer"))
        ledger.append(LedgerRow("b", "discarded", "no_s1"))
        ledger.append(LedgerRow("a", "done", bytes=7))

    rows = read_ledger(tmp_path)

    assert (rows["a"].state, rows["a"].bytes) == ("done", 7)
    assert count_states(rows) == {"done": 1, "no_s1": 1}


def test_a_torn_last_line_is_dropped_and_the_ledger_goes_on(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRow("a", "done"))
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"tile": "b", "sta')

    assert set(read_ledger(tmp_path)) == {"a"}
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRow("c", "done"))

    assert set(read_ledger(tmp_path)) == {"a", "c"}


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(DwplusError, match="another build is writing"), Ledger(tmp_path):
        pass


def test_missing_tiles_are_listed_with_their_reason(tmp_path: Path) -> None:
    rows = [
        LedgerRow("b", "failed", "no_answer", "HTTP 500"),
        LedgerRow("a", "discarded", "no_s1", "none"),
        LedgerRow("c", "done"),
    ]

    assert write_failures(tmp_path, rows) == 2
    assert (tmp_path / FAILURES_FILE).read_text().splitlines() == [
        "tile,state,reason,attempts,detail",
        "a,discarded,no_s1,0,none",
        "b,failed,no_answer,0,HTTP 500",
    ]


@pytest.mark.parametrize(
    "line",
    ['{"tile": 5, "state": "done"}', '{"tile": "a", "state": "done", "bytes": "7"}', '{"tile": "a", "state": 1}',
     '{"tile": "a", "state": "done", "time": "garbage"}', "[1]", "null", '{"state": "done"}'],
)  # fmt: skip
def test_a_line_that_is_no_row_is_left_out(tmp_path: Path, line: str) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRow("b", "done", seconds=1.5))
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write(line + "\n")

    assert set(read_ledger(tmp_path)) == {"b"}
