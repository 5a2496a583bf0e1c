"""The ledger: append-only, one writer, torn lines."""

import errno
import fcntl
import os
import random
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.ledger import (
    FAILURES_FILE,
    Ledger,
    LedgerRow,
    count_states,
    damaged_lines,
    read_ledger,
    write_failures,
)
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


def of_three(folder: Path) -> bytes:
    with Ledger(folder) as ledger:
        for tile in "abc":
            ledger.append(LedgerRow(tile, "done", sha256=tile * 64))
    return (folder / "ledger.jsonl").read_bytes()


def test_no_flipped_byte_of_the_ledger_is_accepted_in_silence(tmp_path: Path) -> None:
    whole = of_three(tmp_path)
    before, path = read_ledger(tmp_path), tmp_path / "ledger.jsonl"
    draw = random.Random(1)
    for number in range(40):
        place = draw.randrange(len(whole) - 1)  # the last byte ends the last line: without it that line is torn
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        os.utime(path, ns=(number, number))

        rows = read_ledger(tmp_path)

        assert rows == before or damaged_lines(tmp_path), place
        assert all(rows[tile] == before[tile] for tile in rows)


def test_a_damaged_line_in_the_middle_is_named_and_set_aside_by_the_next_build(tmp_path: Path) -> None:
    whole = of_three(tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(whole.replace(b"bbbb", b"bbbc", 1))

    assert set(read_ledger(tmp_path)) == {"a", "c"}
    assert damaged_lines(tmp_path) == (2,)
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRow("d", "done"))

    assert damaged_lines(tmp_path) == ()
    assert set(read_ledger(tmp_path)) == {"a", "c", "d"}
    assert b"bbbc" in (tmp_path / "ledger.damaged.jsonl").read_bytes()


def test_a_ledger_without_checksums_is_read_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ledger.jsonl").write_text('{"tile": "a", "state": "done"}\n')

    assert set(read_ledger(tmp_path)) == {"a"}
    assert "no checksum" in caplog.text


def test_a_file_system_without_locks_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(DwplusError, match="cannot be locked"), Ledger(tmp_path):
        pass
