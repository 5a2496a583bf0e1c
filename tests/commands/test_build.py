"""``dwplus build`` over real HTTP: plans, pilots, budgets, and runs that are ended early."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.dataset.ledger import Ledger
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.raster.geotiff import write_label
from support.fixture_types import Run
from support.tiles import make_tile

TILES = 4
# Slopes so gentle that four tiles stay within reflectances and dB that the validation believes.
SLOPES = {"dn": 3000.0, "dn_east": 0.5, "dn_north": 0.3, "db_east": 0.002}
PLANES = {"kind": "planes", "origin_x": 400000, "origin_y": 5000000, **SLOPES}


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(planet=PLANES, workers=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four label tiles side by side, in one zone."""
    folder = tmp_path_factory.mktemp("labels")
    for number in range(TILES):
        tile = make_tile(f"dw_{7.7 + number / 10:.1f}_45.1-20190502", x=400000.0 + 5100 * number, size=510)
        write_label(folder / f"{tile.id}.tif", np.full((510, 510), 1 + number, np.uint8), tile, {})
    return folder


@pytest.fixture
def run(engine: LocalEarthEngine, dwplus: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command against the server."""
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    yield dwplus
    engine.set_faults([])


def build(labels: Path) -> tuple[str, ...]:
    return "build", "--labels", str(labels), "--workers", "1"


def pixel_requests(engine: LocalEarthEngine) -> int:
    return sum(n for what, n in engine.log()["counts"].items() if "computePixels" in what)


def asked(engine: LocalEarthEngine) -> int:
    return sum(n for what, n in engine.log()["counts"].items() if "log" not in what)


def root_of(folder: Path) -> Path:
    return folder / "data" / "earthengine"


def test_a_dry_run_says_what_it_would_take_and_touches_nothing(
    run: Run, engine: LocalEarthEngine, labels: Path, tmp_path: Path
) -> None:
    before = asked(engine)

    code, out, _ = run(*build(labels), "--dry-run")

    assert code == 0
    assert "4 tiles: 4 to request (4 new)" in out
    assert "requests     8" in out
    assert "not measured" in out
    assert asked(engine) == before
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_is_masked(run: Run, labels: Path) -> None:
    _, masked, _ = run(*build(labels), "--dry-run", "--s1-edge", "2.5km")
    _, off, _ = run(*build(labels), "--dry-run", "--s1-edge", "off")

    assert (
        "4 tiles: 4 to request (4 new); pixels within 2500m of the edge of a Sentinel-1 scene from before March 2018 "
        "are masked\n" in masked
    )
    assert "4 to request (4 new)\n" in off


@pytest.mark.parametrize("width", ["2", "0km", "51km", "wide"])
def test_a_width_without_unit_or_out_of_its_domain_is_refused_in_one_line(run: Run, labels: Path, width: str) -> None:
    code, _, err = run(*build(labels), "--dry-run", "--s1-edge", width)

    told = f"'{width}' is no whole number of metres from 1 to 50,000 with its unit; write 2km or 2000m, or off"
    assert code == 2
    assert [line for line in err.splitlines() if told in line]


def test_a_pilot_measures_and_the_rest_is_estimated_from_it(run: Run, labels: Path, tmp_path: Path) -> None:
    code, out, _ = run(*build(labels), "--pilot", "2", "--json")

    document = json.loads(out)
    rows = DataRoot.at(root_of(tmp_path)).ledger().values()
    assert (code, document["tiles"], len(rows)) == (0, 2, 2)
    assert all(row.eecu_s > 0 for row in rows)
    left = document["left"]
    mean_hours = sum(row.eecu_s for row in rows) / 2 * 2 / 3600
    assert (left["tiles"], left["requests"]) == (2, 4)
    assert left["eecu_hours"]["basis"].startswith("measured on 2 tiles")
    assert left["eecu_hours"]["low"] <= mean_hours <= left["eecu_hours"]["high"]


def test_a_budget_ends_the_run_with_5_and_the_next_run_goes_on(
    run: Run, engine: LocalEarthEngine, labels: Path, tmp_path: Path
) -> None:
    code, out, err = run(*build(labels), "--max-eecu-hours", "0.000001")
    done = sum(row.state == "done" for row in DataRoot.at(root_of(tmp_path)).ledger().values())
    before = pixel_requests(engine)

    # The first tile shows what a tile costs: no other was begun.
    assert (code, done) == (5, 1)
    assert "the budget of --max-eecu-hours 1e-06 is used up" in err + out
    code, _, err = run(*build(labels))

    assert code == 0
    assert f"{TILES} tiles: {done} complete, {TILES - done} to request ({TILES - done} new)" in err
    assert pixel_requests(engine) - before == TILES - done


def test_an_end_that_has_passed_is_refused(run: Run, labels: Path) -> None:
    code, _, err = run(*build(labels), "--until", "2020-01-01T00:00")

    assert (code, "--until 2020-01-01T00:00" in err) == (2, True)


def test_status_counts_what_the_ledger_holds(run: Run, engine: LocalEarthEngine, labels: Path) -> None:
    engine.set_faults([{"match": "computePixels", "skip": 1, "times": 1, "status": 400, "message": "No such band."}])
    code, _, _ = run(*build(labels))
    assert code == 3

    status = json.loads(run("status", "--json")[1])
    text = run("status")[1]

    assert status["states"] == {"done": 3, "failed": 1}
    assert status["reasons"] == {"refused": 1}
    assert status["left"]["tiles"] == 1
    assert "4 tiles: 3 done, 1 failed" in text
    engine.set_faults([])
    code, _, err = run("retry", "--workers", "1")
    assert code == 0
    assert "1 to request (1 requested)" in err
    assert json.loads(run("status", "--json")[1])["states"] == {"done": 4}


def test_two_builds_on_one_folder_exclude_each_other(run: Run, labels: Path, tmp_path: Path) -> None:
    with Ledger(root_of(tmp_path)):
        code, _, err = run(*build(labels))

    assert (code, "another build is writing" in err) == (1, True)


@pytest.mark.parametrize(
    "end",
    [pytest.param(signal.SIGINT, id="Ctrl-C"), pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow)],
)
def test_an_interrupt_finishes_what_is_in_flight(
    run: Run, engine: LocalEarthEngine, labels: Path, tmp_path: Path, end: signal.Signals
) -> None:
    # Given a build with one request in flight, of which each after the first takes at least two seconds: the signal
    # comes while there is work left, also where this process is seldom given a core.
    engine.set_faults([{"match": "computePixels", "skip": 1, "delay_s": 2.0}])
    command = [sys.executable, "-m", "dwplus.cli", *build(labels), "--concurrency", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ledger = root_of(tmp_path) / "ledger.jsonl"
    while process.poll() is None and (not ledger.is_file() or ledger.stat().st_size == 0):
        time.sleep(0.02)

    process.send_signal(end)
    _, err = process.communicate(timeout=120)

    done = {tile for tile, row in DataRoot.at(root_of(tmp_path)).ledger().items() if row.state == "done"}
    shards = {path.stem for path in (root_of(tmp_path) / "shards").rglob("*.tif")}
    assert process.returncode == 130, err
    assert "tiles in flight; interrupt again to leave them" in err
    assert 1 <= len(done) <= TILES
    assert shards == done
    assert not list(tmp_path.rglob("*.part"))
