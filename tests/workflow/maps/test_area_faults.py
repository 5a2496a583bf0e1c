"""Maps of areas on a machine that fails: a full disk, Ctrl-C. Nothing is half written, the rest has the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.planet.planet import VERSION
from dwplus.pipeline.dataset.ledger import read_ledger
from dwplus.pipeline.spec.radar import Radar
from support.dask_processes import dask_processes
from support.fixture_types import Run as CommandLine
from support.runs import lay_out, make_run
from support.small_disk import no_file_above

pytestmark = pytest.mark.slow

TALL = "9.0,45.0,9.0005,45.1"  # three blocks, one above the other


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _environment(engine: LocalEarthEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_run("net")
    ten = Radar("sigma0", "dB", 2, ("ASCENDING", "DESCENDING"))
    data = replace(made.config.data, source="SANDBOX", radars=(ten,), planet=VERSION)
    return lay_out(replace(made, config=replace(made.config, data=data)), tmp_path_factory.mktemp("root") / "runs")


def words(run_dir: Path, path: Path) -> tuple[str, ...]:
    return ("predict", str(run_dir), "--bbox", TALL, "--date", "2024-07-01", "--confidence", "-o", str(path))


@pytest.fixture(scope="module")
def whole(run_dir: Path, engine: LocalEarthEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a map that nothing went wrong with, by their ending."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(
        [sys.executable, "-m", "dwplus.cli", *words(run_dir, folder / "town.tif")],
        cwd=folder, env={**os.environ, **engine.environment()}, check=True, capture_output=True,
    )  # fmt: skip
    return files_of(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    """Rasters and their names; the item holds the time."""
    return {path.name: path.read_bytes() for path in folder.glob("town*") if path.suffix in (".tif", ".xml")}


def test_wherever_the_disk_is_full_while_blocks_download_nothing_is_half_written(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path, whole: dict[str, bytes]
) -> None:
    command = words(run_dir, tmp_path / "town.tif")
    said: list[str] = []
    # The plan is larger than the first line of the ledger, blocks are larger still.
    for size in (200, 2_000, 4_000, 10_000, 30_000, 100_000, 300_000):
        with no_file_above(size):
            code, _, err = dwplus(*command)
        assert code in (0, 1), err
        if code:
            said.append(err.splitlines()[-1])
            assert said[-1].startswith("dwplus: cannot write "), err
            # The folder lies beside the map: another one is named with another map.
            assert "--data" not in said[-1], err
        for name, content in files_of(tmp_path).items():
            assert content == whole[name], (size, name)
        for path in tmp_path.glob(".town.tif.pixels/*/*.tif"):
            with rasterio.open(path) as file:
                file.read()

    code, _, err = dwplus(*command)

    assert code == 0, err
    places = ("/plan.json", ".tif.pixels/32632/")
    assert all(any(place in one for one in said) for place in places), said
    assert files_of(tmp_path) == whole
    assert not list(tmp_path.glob(".*"))


def test_a_cluster_maps_an_area_to_the_same_bytes(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path, whole: dict[str, bytes]
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    with dask_processes(folder, workers=2) as cluster:
        code, _, err = dwplus(*words(run_dir, Path("town.tif")), "--scheduler", cluster.address)

    assert code == 0, err
    assert files_of(tmp_path) == whole
    assert not list(tmp_path.glob(".*"))


def test_ctrl_c_while_blocks_download_resumes_to_the_same_bytes(
    dwplus: CommandLine, tmp_path: Path, run_dir: Path, engine: LocalEarthEngine, whole: dict[str, bytes]
) -> None:
    command = words(run_dir, tmp_path / "town.tif")
    engine.set_faults([{"match": "computePixels", "delay_s": 0.5}])
    process = subprocess.Popen(
        [sys.executable, "-m", "dwplus.cli", *command, "--concurrency", "1"],
        cwd=tmp_path, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    pixels = tmp_path / ".town.tif.pixels"
    ledger = pixels / "ledger.jsonl"
    while process.poll() is None and (not ledger.is_file() or ledger.stat().st_size == 0):
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    engine.set_faults([])

    assert process.returncode == 130, err
    done = {name for name, row in read_ledger(pixels).items() if row.state == "done"}
    assert 1 <= len(done) < 6
    assert {path.stem for path in pixels.glob("*/*.tif")} == done
    assert not list(tmp_path.rglob("*.part"))
    assert not files_of(tmp_path)
    code, _, err = dwplus(*command)
    assert code == 0, err
    assert files_of(tmp_path) == whole
