"""The whole way in one test: a build that is killed, started again, trained, scored and reported."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.dataset.root import DataRoot
from support.in_process import run_here

TILES = "8"
TINY = """
model = "specsar-former-small"
epochs = 1
batch = 4
lr = 1e-3
crop_px = 64
workers = 0
device = "cpu"
"""


def dwplus(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dwplus.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500, **options)


def kill_midway(cwd: Path) -> None:
    """Start a build and kill it, without a warning, once three tiles are settled."""
    command = [sys.executable, "-m", "dwplus.cli", "build", "--source", "sandbox", "--tiles", TILES, "--workers", "1"]
    process = subprocess.Popen(command, cwd=cwd, stderr=subprocess.DEVNULL, start_new_session=True)
    ledger = cwd / "data" / "sandbox" / "ledger.jsonl"
    while process.poll() is None and (not ledger.is_file() or ledger.read_bytes().count(b"\n") < 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole way was walked."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "tiny.toml").write_text(TINY)
    kill_midway(folder)
    done = run_here(
        "reproduce", "--source", "sandbox", "--tiles", TILES, "--profile", "tiny.toml", "--workers", "1", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "data/sandbox/report/index.html"
    assert "SANDBOX" in done.stderr
    return folder


@pytest.fixture
def root(folder: Path) -> DataRoot:
    return DataRoot.at(folder / "data" / "sandbox")


def test_every_tile_is_a_whole_shard_or_has_a_reason(root: DataRoot) -> None:
    ledger = root.ledger()
    shards = {path.stem: path for path in (root.folder / "shards").rglob("*.tif")}

    assert set(shards) == {tile for tile, row in ledger.items() if row.state == "done"}
    assert len(shards) >= 6
    for tile, path in shards.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == ledger[tile].sha256
    missing = (root.folder / "failures.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in missing} == set(ledger) - set(shards)
    assert not list(root.folder.rglob("*.part"))


def test_shards_lie_on_the_released_labels_and_say_sandbox(root: DataRoot) -> None:
    for path in (root.folder / "shards").rglob("*.tif"):
        with rasterio.open(path) as shard:
            labels = list((root.folder / "labels").rglob(path.name))
            assert shard.tags()["DWPLUS_SOURCE"] == "SANDBOX"
            for label in labels:
                with rasterio.open(label) as released:
                    assert (shard.transform, shard.crs, shard.shape) == (
                        released.transform,
                        released.crs,
                        released.shape,
                    )
                    assert released.read(1).max() <= 10


def test_no_clock_address_or_path_stands_in_a_shard(root: DataRoot) -> None:
    path = next((root.folder / "shards").rglob("*.tif"))
    content = path.read_bytes()

    for trace in (b"127.0.0.1", b"http", str(root).encode(), b"20" + time.strftime("%y-%m-%dT").encode()):
        assert trace not in content


def test_scores_come_from_one_confusion_matrix_and_say_sandbox(root: DataRoot) -> None:
    for name in ("specsar-s1s2", "segformer-s2"):
        scores = json.loads((root.folder / "runs" / name / "scores.json").read_text())
        counts = np.array(scores["matrix"]["counts"])

        assert (scores["source"], scores["split"]) == ("SANDBOX", "test")
        assert scores["oa"] == pytest.approx(np.trace(counts) / counts.sum())
        assert scores["tiles"] > 0


def test_the_report_shows_scores_tiles_and_what_is_missing(root: DataRoot) -> None:
    page = (root.folder / "report" / "index.html").read_text()

    assert page.count("SANDBOX") > 5
    assert "specsar-s1s2" in page
    assert "segformer-s2" in page
    assert "property of the synthetic planet" in page
    assert "26,704,265" in page
    assert "109.59" in page
    for row in root.ledger().values():
        if row.state != "done":
            assert row.reason in page


def test_running_again_asks_for_nothing_and_changes_nothing(folder: Path, root: DataRoot) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root.folder / "shards").rglob("*.tif")}

    again = run_here("build", "--source", "sandbox", "--tiles", TILES, "--workers", "1", "--json", cwd=folder)

    assert again.returncode == 0
    assert json.loads(again.stdout)["source"] == ["SANDBOX"]
    assert "none to request" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (root.folder / "shards").rglob("*.tif")} == before


def test_another_planet_is_not_mixed_in(folder: Path) -> None:
    other = run_here("build", "--source", "sandbox", "--tiles", "24", cwd=folder)

    assert other.returncode == 2
    assert f"holds the planet of --seed 7 --tiles {TILES}" in other.stderr


def test_nothing_is_left_running(folder: Path) -> None:
    # The killed build's server and its workers watch their parent.
    deadline = time.monotonic() + 10
    while (left := _servers_without_parent()) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert left == []


def _servers_without_parent() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        # Servers of other tests have a living parent.
        if "dwplus.local_ee.server" in command and parent == 1:
            found.append(command)
    return found


# --- again, and killed ------------------------------------------------------------------------------------------------

REPRODUCE = ("reproduce", "--scope", "sandbox", "--tiles", TILES, "--profile", "tiny.toml", "--workers", "1")


def test_a_second_look_changes_no_file(folder: Path) -> None:
    def states() -> dict[Path, tuple[int, int]]:
        files = [path for path in (folder / "data").rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = states()
    done = run_here(*REPRODUCE, cwd=folder)

    assert done.returncode == 0, done.stderr
    assert "is up to date" in done.stderr
    assert states() == before


@pytest.mark.slow  # test_kills kills builds, test_resume trainings
@pytest.mark.parametrize("kills", [1, 10])
def test_a_reproduction_that_is_killed_gives_the_same_verdicts(folder: Path, tmp_path: Path, kills: int) -> None:
    """Killed at moments drawn at random, then run to its end."""
    (tmp_path / "tiny.toml").write_text(TINY)
    rng = np.random.default_rng(kills)

    for _ in range(kills):
        kill_after_lines(tmp_path, int(rng.integers(2, 20)))
    done = dwplus(*REPRODUCE, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    verdicts = [one / "data" / "sandbox" / "report" / "verdicts.json" for one in (folder, tmp_path)]
    assert verdicts[0].read_text() == verdicts[1].read_text()
    assert not list((tmp_path / "data").rglob("*.part"))


def kill_after_lines(cwd: Path, number: int) -> None:
    """Start a reproduction and kill it, without a warning, after it has said so many lines.

    Lines tell of stages, so that moments lie all over the work, whatever the speed of the machine.
    """
    command = [sys.executable, "-m", "dwplus.cli", *REPRODUCE]
    process = subprocess.Popen(
        command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stderr is not None
    for _ in range(number):
        if not process.stderr.readline():
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
