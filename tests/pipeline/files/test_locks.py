"""Locks: another writer, and a file system without locks, are two things."""

import errno
import fcntl
import threading
import time
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DwplusError, MachineError
from dwplus.pipeline.files.locks import lock, lock_soon


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("ab") as first, path.open("ab") as second:
        lock(first, held="another build is writing")
        with pytest.raises(DwplusError, match="another build is writing"):
            lock(second, held="another build is writing")
    with path.open("ab") as third:
        lock(third, held="another build is writing")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_no_other_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with (
        (tmp_path / "x").open("ab") as file,
        pytest.raises(MachineError, match=r"cannot be locked.* with -o,"),
    ):
        lock(file, held="another map is written; wait for it", option="-o")


def test_work_of_a_moment_waits_for_the_other_writer(tmp_path: Path) -> None:
    path, ended = tmp_path / "x", []
    first = path.open("ab")
    lock(first, held="")

    def end() -> None:
        time.sleep(0.1)
        ended.append(True)
        first.close()

    thread = threading.Thread(target=end)
    thread.start()
    with path.open("ab") as second:
        lock_soon(second, held="it does not end", within_s=30)
        assert ended
    thread.join()


def test_a_writer_that_does_not_end_is_named_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("ab") as first, path.open("ab") as second:
        lock(first, held="")
        with pytest.raises(DwplusError, match="it does not end"):
            lock_soon(second, held="it does not end", within_s=0.05)
