"""Maps on a Dask cluster: the bytes of one machine, whoever computed which rows and whoever was lost meanwhile."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dwplus.model.run_files import weights_hash
from dwplus.model.score import LoadedRun
from dwplus.pipeline.cluster import existing_cluster, in_process
from dwplus.pipeline.dask_workers import Needs
from dwplus.pipeline.errors import DataError, DwplusError, ServiceError
from dwplus.pipeline.progress import Silent, Step
from dwplus.workflow.machines import Machine
from dwplus.workflow.maps.mapping import MapWork, map_image, map_work
from dwplus.workflow.maps.settings import MapOptions
from dwplus.workflow.maps.spread import _follow, _Order, spread
from support.dask_processes import dask_processes, pid_after_a_while
from support.fixture_types import Run as CommandLine
from support.map_images import YEAR, open_image, write_image

OPTIONS = MapOptions(window=96, overlap=0, page=False, confidence=True)
"""A row of windows for each 64 px."""


def work_of(folder: Path, run: LoadedRun, run_dir: Path, height: int) -> MapWork:
    """A map to be made, 60 px wide, beside the same map made by this process: ``map.tif`` and ``whole.tif``."""
    image, digest = open_image(write_image(folder, height, 60)), weights_hash(run_dir / "model.safetensors")
    map_image(run, digest, image, folder / "whole.tif", OPTIONS, radar=YEAR, progress=Silent())
    return MapWork(run, digest, image, folder / "map.tif", OPTIONS, YEAR)


def assert_same(folder: Path) -> None:
    for ending in ("tif", "confidence.tif", "tif.aux.xml"):
        assert (folder / f"map.{ending}").read_bytes() == (folder / f"whole.{ending}").read_bytes()
    assert not list(folder.glob(".map*"))


class Counted(Silent):
    """Keeps how many rows are done."""

    def __init__(self) -> None:
        self.rows = 0

    def stage(self, title: str, *arguments: Any, **settings: Any) -> Any:
        outer, stage = self, super().stage(title, *arguments, **settings)

        class Counting(Step):
            def __enter__(self) -> "Counting":
                stage.__enter__()
                return self

            def __exit__(self, *error: Any) -> Any:
                return stage.__exit__(*error)

            def advance(self, amount: int = 1, note: str = "") -> None:
                outer.rows += amount

        return Counting()


def test_rows_that_lack_are_spread_and_counted_once(tmp_path: Path, run: LoadedRun, run_dir: Path) -> None:
    # Given ten rows of windows, of which the second of three machines has left its own.
    work, counted = work_of(tmp_path, run, run_dir, 640), Counted()
    with work.parts.locked():
        work.compute(Silent(), Machine(2, 3))
    held = work.parts.starts()

    map_work(work, counted, partial(spread, run_dir=run_dir, run=in_process))

    assert held
    assert counted.rows == 640
    assert_same(tmp_path)


@pytest.mark.slow
def test_a_worker_that_dies_midway_changes_no_byte(tmp_path: Path, run: LoadedRun, run_dir: Path) -> None:
    work, counted, killed = work_of(tmp_path, run, run_dir, 2_000), Counted(), []

    with dask_processes(tmp_path, workers=2) as cluster, existing_cluster(cluster.address) as on_workers:

        def run_and_kill(function: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            for part in on_workers(function, items):
                if not killed:
                    # All other parts are on their way: those of this worker are lost with it.
                    cluster.kill_worker(0)
                    killed.append(part)
                yield part

        map_work(work, counted, partial(spread, run_dir=run_dir, run=run_and_kill))

    assert killed
    assert counted.rows == 2_000
    assert_same(tmp_path)


def command(run_dir: Path, s2: str, s1: str, output: str) -> tuple[str, ...]:
    radar = ("--s1-calibration", "sigma0", "--s1-pass", "both", "--accept", "s1")
    settings = ("--window", "96", "--overlap", "0", "--no-page", "--confidence")
    return ("predict", str(run_dir), "--pixels", s2, "--sar", s1, *radar, *settings, "-o", output)


@pytest.mark.slow
def test_the_command_maps_on_a_cluster_of_two_workers(dwplus: CommandLine, tmp_path: Path, run_dir: Path) -> None:
    # Given files by names that mean something in this folder alone, where no worker was started.
    s2, s1 = (path.name for path in write_image(tmp_path, 700, 60))
    here = dwplus(*command(run_dir, s2, s1, "whole.tif"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with dask_processes(elsewhere, workers=2) as cluster:
        there = dwplus(*command(run_dir, s2, s1, "map.tif"), "--scheduler", cluster.address)

    assert here[0] == there[0] == 0, there[2]
    assert there[1] == here[1].replace("whole", "map")
    assert_same(tmp_path)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_said_before_anything_is_done(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path
) -> None:
    s2, s1 = (path.name for path in write_image(tmp_path, 40, 48))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"

    code, _, err = dwplus(*command(run_dir, s2, s1, "map.tif"), "--scheduler", address)

    assert code == 1, err
    assert f"no Dask scheduler answers at {address}" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([s1, s2])


def test_shard_and_scheduler_both_divide_the_work(dwplus: CommandLine, run_dir: Path) -> None:
    words = command(run_dir, "s2.tif", "s1.tif", "map.tif")

    code, _, err = dwplus(*words, "--shard", "1/2", "--scheduler", "tcp://127.0.0.1:8786")

    assert (code, "each divide the work: leave one of them out" in err) == (2, True)


# --- workers that cannot do it ----------------------------------------------------------------------------------------


def test_workers_that_lack_something_are_named_before_they_get_work(tmp_path: Path) -> None:
    other = tmp_path / "other" / "torch-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    with dask_processes(tmp_path, workers=0) as cluster:
        cluster.add_worker(PYTHONPATH=str(other.parent))

        with pytest.raises(ServiceError, match=r"worker tcp://.* has torch 1\.0 instead of .*install on every worker"):
            existing_cluster(cluster.address, patience_s=30, needs=Needs(("torch",))).__enter__()
        with pytest.raises(ServiceError, match=r"worker tcp://.* does not see .*nowhere.*under the same path"):
            existing_cluster(cluster.address, needs=Needs(paths=(tmp_path / "nowhere",))).__enter__()
        with (
            existing_cluster(cluster.address) as on_workers,  # it does not find the folder of tests
            pytest.raises(ServiceError, match=r"a worker lacks support .*install on every worker"),
        ):
            list(on_workers(pid_after_a_while, range(1)))


def test_a_worker_that_sees_another_folder_or_run_does_nothing(tmp_path: Path, run: LoadedRun, run_dir: Path) -> None:
    work = work_of(tmp_path, run, run_dir, 100)
    (tmp_path / "order.pickle").write_bytes(b"of another command")

    with pytest.raises(DwplusError, match=r"does not see .*nowhere.*mount the map's folder under the same path"):
        _follow(_Order(tmp_path / "nowhere" / "order.pickle", ""), [range(1)])
    with pytest.raises(DwplusError, match="is of another command by now"):
        _follow(_Order(tmp_path / "order.pickle", ""), [range(1)])
    with pytest.raises(DataError, match="sees other weights"):
        map_work(replace(work, run_hash="other"), Silent(), partial(spread, run_dir=run_dir, run=in_process))


def test_rows_that_come_late_are_not_kept_for_another_map(tmp_path: Path, run: LoadedRun, run_dir: Path) -> None:
    # Given a worker that did not notice that its command ended, and another command in the same folder.
    late = work_of(tmp_path, run, run_dir, 100)
    other = replace(late, run_hash="other")

    with other.parts.locked(), pytest.raises(DwplusError, match="no longer the folder of this map's rows"):
        late.compute(Silent())
    other.parts.remove()
    with pytest.raises(DwplusError, match="no longer the folder of this map's rows"):
        late.compute(Silent())

    assert not list(tmp_path.glob(".map*"))
