"""Where the Dask stages run makes no difference to what comes out."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.pipeline import cluster as cluster_module
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import (
    TILES_PER_TASK,
    batch_size,
    default_workers,
    existing_cluster,
    in_process,
    local_cluster,
    open_cluster,
    open_to_others,
)
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, MachineError, ServiceError, UsageError
from dwplus.pipeline.progress import Silent
from support.batches import big_part, dies_always, dies_once, fails, memory_of_process
from support.dask_processes import dask_processes, pid_after_a_while
from support.file_server import serving
from support.fixture_types import LayOut


def results(root: DataRoot) -> dict[str, str]:
    """Hashes of all that validation and statistics leave behind."""
    names = [path for path in root.folder.glob("*.*") if path.name.startswith(("findings", "stats", "groups"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


@pytest.mark.slow  # the next test kills one too, without a data set
def test_a_worker_that_dies_midway_changes_no_byte_of_the_result(data_root: LayOut, tmp_path: Path) -> None:
    root = data_root(train=24, test=2)
    broken = root.manifest().rows[3]
    root.shard(broken.tile).write_bytes(b"II*\0 this is no raster")
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    expected = results(root)

    with dask_processes(tmp_path, workers=2) as cluster, existing_cluster(cluster.address) as run:
        killed = []

        def run_and_kill(function: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            for part in run(function, items):
                if not killed:
                    # Its share of the other batches is on its way or done; both are lost with it.
                    cluster.kill_worker(0)
                    killed.append(part)
                yield part

        validate_root(root, run=run_and_kill, progress=Silent())
        normalise_root(root, run=run, progress=Silent())
        with serving(root.folder.parent) as server:
            # The worker that is left reads from the server; manifest and results are here.
            over_url = ["--data", f"{server.url}/sandbox", "--out", str(tmp_path / "out"), "--quiet"]
            environment = {"DWPLUS_SCHEDULER": cluster.address}
            codes = [
                CliRunner().invoke(cli, [command, *over_url], env=environment).exit_code
                for command in ("validate", "normalise")
            ]

    assert killed
    assert len(expected) == 6
    assert results(root) == expected
    assert codes == [3, 0]
    # The command also audits the set, whose findings stand in the same files.
    statistics = {name: digest for name, digest in expected.items() if not name.startswith("findings")}
    assert statistics.items() <= results(DataRoot.at(tmp_path / "out")).items()


def test_batches_of_a_dead_worker_are_done_by_the_other_one(tmp_path: Path) -> None:
    with dask_processes(tmp_path, workers=2) as cluster, existing_cluster(cluster.address) as run:
        while len({pid for _, (pid, _) in run(pid_after_a_while, range(64))}) < 2:
            pass  # the second worker is still starting
        seen = []
        for count, (pid, total) in run(pid_after_a_while, range(1000)):
            seen.append((count, pid, total))
            if len(seen) == 10:
                cluster.kill_worker(0)

    assert sum(count for count, _, _ in seen) == 1000
    assert sum(total for _, _, total in seen) == 999 * 500
    assert seen[-1][1] == cluster.workers[1].pid


def test_a_scheduler_that_dies_ends_the_command_in_words(tmp_path: Path) -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        dask_processes(tmp_path, workers=1) as cluster,
        existing_cluster(cluster.address, patience_s=5) as run,
    ):
        parts = run(pid_after_a_while, range(2000))
        next(parts)
        cluster.kill_scheduler()

        with pytest.raises(ServiceError, match="connection to the Dask scheduler is lost; run the command again"):
            list(parts)


def test_a_worker_with_another_dwplus_is_named_and_refused(tmp_path: Path) -> None:
    old = tmp_path / "old" / "dwplus"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text('__version__ = "0.0.1"\n')
    with dask_processes(tmp_path, workers=0) as cluster:
        cluster.add_worker(PYTHONPATH=str(old.parent))

        with pytest.raises(ServiceError, match=r"worker tcp://.* has dwplus 0\.0\.1 instead of .*pip install dwplus=="):
            existing_cluster(cluster.address, patience_s=30).__enter__()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://192.0.2.7:8786", True),
        ("192.0.2.7:8786", True),
        ("tcp://[2001:db8::7]:8786", True),
        ("tcp://scheduler.example.org:8786", True),
        ("ws://scheduler.example.org:8786", True),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://127.8.9.10:8786", False),
        ("localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://[::1:8786", False),
    ],
)
def test_a_scheduler_that_others_reach_without_tls_is_one_line_of_warning(
    address: str, warned: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutWorkers:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

        def wait_for_workers(self, *_: object, **__: object) -> None:
            raise TimeoutError

    monkeypatch.setattr("distributed.Client", WithoutWorkers)

    with pytest.raises(ServiceError, match="has no worker"), existing_cluster(address):
        pass

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == warned
    assert all(line.startswith(f"{address} is not encrypted") and "\n" not in line for line in warnings)


def test_an_address_with_tls_is_closed_to_others() -> None:
    assert not open_to_others("tls://192.0.2.7:8786")
    assert not open_to_others("wss://scheduler.example.org:8786")


def test_a_scheduler_with_tls_and_no_certificate_here_is_one_line() -> None:
    with (
        pytest.raises(
            UsageError, match=r"tls://127\.0\.0\.1:8786: no certificate is .* DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
        ),
        existing_cluster("tls://127.0.0.1:8786", patience_s=0.3),
    ):
        pass


def test_an_address_where_no_scheduler_answers_is_told() -> None:
    with (
        pytest.raises(ServiceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1"),
        existing_cluster(f"tcp://127.0.0.1:{free_port()}", patience_s=0.3),
    ):
        pass


def test_workers_of_a_foreign_cluster_cannot_be_counted_out() -> None:
    with pytest.raises(UsageError, match="leave one out"), open_cluster(workers=2, scheduler="tcp://127.0.0.1:8786"):
        pass


@pytest.mark.parametrize(
    ("left", "threads", "expected"), [(20_000, 2, TILES_PER_TASK), (100, 2, 12), (20_000, 1000, 5), (3, 2, 1)]
)
def test_the_last_batches_are_small_so_that_all_workers_end_together(left: int, threads: int, expected: int) -> None:
    assert batch_size(left, threads) == expected


def test_results_do_not_pile_up_in_the_workers() -> None:
    with local_cluster(1) as run:
        list(run(big_part, range(64)))
        before = next(run(memory_of_process, range(1)))[1]

        # 150 MB of results, if the cluster kept them
        for _ in run(big_part, range(150 * TILES_PER_TASK)):
            pass

        assert next(run(memory_of_process, range(1)))[1] - before < 50e6


def test_an_error_of_a_batch_reaches_the_caller_as_itself() -> None:
    with local_cluster(1) as run, pytest.raises(DataError, match="tile 0 is broken"):
        list(run(fails, range(64)))


def _listening(pids: set[int]) -> set[int]:
    """Ports on which processes of a tree listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith("socket:"):
                inodes.add(target[8:-1])
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def test_no_port_is_opened_that_another_user_of_the_machine_could_reach() -> None:
    import psutil

    me = psutil.Process()
    before = _listening({me.pid})
    with local_cluster(2) as run:
        seen = set()
        for _ in run(pid_after_a_while, range(200)):
            seen |= _listening({me.pid, *(child.pid for child in me.children(recursive=True))})

    assert seen <= before


def test_a_local_worker_that_dies_is_started_again_and_no_item_is_lost(tmp_path: Path) -> None:
    with local_cluster(2) as run:
        assert sum(done for _, done in run(dies_once, [str(tmp_path)] * 100)) == 100


def test_workers_that_always_die_end_the_command_with_what_to_do() -> None:
    with (
        local_cluster(1) as run,
        pytest.raises(MachineError, match=r"died 4 times .* memory has run out; run again with"),
    ):
        list(run(dies_always, range(40)))


def test_a_machine_that_starts_no_processes_does_the_work_in_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")  # semaphores without /dev/shm

    monkeypatch.setattr(cluster_module, "ProcessPoolExecutor", refuse)

    with local_cluster(2) as run:
        assert sum(count for count, _ in run(big_part, range(100))) == 100
    assert "working in one process" in caplog.text


def test_local_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, time\n"
        "from dwplus.pipeline.cluster import local_cluster\n"
        "from support.dask_processes import pid_after_a_while\n"
        "if __name__ == '__main__':\n"
        "    with local_cluster(2) as run:\n"
        "        parts = run(pid_after_a_while, range(100000))\n"
        "        print(*{next(parts)[1][0] for _ in range(40)}, flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "main.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.wait()

    assert workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text() for pid in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.05)


def test_cores_are_those_of_the_batch_job_and_memory_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "usable_cores", lambda: 8)
    for memory, expected in ((None, 8), (3 << 30, 3), (100 << 20, 1), (64 << 30, 8)):
        monkeypatch.setattr(cluster_module, "usable_memory_bytes", lambda memory=memory: memory)
        assert default_workers() == expected
