"""Where the Dask stages run makes no difference to what comes out."""

import hashlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import (
    TILES_PER_TASK,
    batch_size,
    existing_cluster,
    in_process,
    local_cluster,
    open_cluster,
)
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, ServiceError, UsageError
from dwplus.pipeline.progress import Silent
from support.dask_processes import dask_processes, pid_after_a_while
from support.file_server import serving
from support.fixture_types import LayOut


def results(root: DataRoot) -> dict[str, str]:
    """Hashes of all that validation and statistics leave behind."""
    names = [path for path in root.folder.glob("*.*") if path.name.startswith(("findings", "stats", "groups"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


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


def big_part(batch: Sequence[int]) -> bytes:
    return bytes(1_000_000)


def memory_of_process(_: Sequence[int]) -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def test_results_do_not_pile_up_in_the_workers() -> None:
    with local_cluster(1) as run:
        list(run(big_part, range(64)))
        before = next(run(memory_of_process, range(1)))[1]

        # 150 MB of results, if the cluster kept them
        for _ in run(big_part, range(150 * TILES_PER_TASK)):
            pass

        assert next(run(memory_of_process, range(1)))[1] - before < 50e6


def fails(batch: Sequence[int]) -> int:
    raise DataError(f"tile {batch[0]} is broken")


def test_an_error_of_a_batch_reaches_the_caller_as_itself() -> None:
    with local_cluster(1) as run, pytest.raises(DataError, match="tile 0 is broken"):
        list(run(fails, range(64)))
