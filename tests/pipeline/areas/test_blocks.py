"""Pixels of areas over real HTTP: those of a build, block by block, resumed, with cloud marked."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.areas.blocks import CLEAR, S1_FILE_BANDS, Cache, Sought, download, parts_of, read_rows
from dwplus.pipeline.areas.grids import ZoneGrid, zone_grids
from dwplus.pipeline.areas.image import AreaImage
from dwplus.pipeline.areas.outline import outline_of_box
from dwplus.pipeline.areas.scenes import Choice, choose_scenes, days_of_area, tile_of
from dwplus.pipeline.build.budget import Budget
from dwplus.pipeline.earthengine.clear_scenes import hidden_cells
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.graphs import area_search
from dwplus.pipeline.earthengine.scene_choice import SceneRef, scenes_of_day
from dwplus.pipeline.earthengine.session import Request, RequestRetries, Session, Tally
from dwplus.pipeline.errors import DataError, MachineError, QuotaError, TileError
from dwplus.pipeline.spec.bands import L1C_BANDS, S2_BANDS, SHARD_BANDS
from dwplus.pipeline.spec.layers import L1C
from dwplus.pipeline.spec.periods import Period
from dwplus.pipeline.spec.recipe import Recipe

QUICK = RequestRetries(deadline_s=30, attempts=2, first_wait_s=0.01, longest_wait_s=0.05)
JUNE = Period(date(2024, 6, 20), date(2024, 7, 10))
SIDE = 128
FEW = Recipe(half_window_days=12)


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


def open_session(engine: LocalEarthEngine) -> Session:
    found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
    return connect(found, retries=QUICK)


@pytest.fixture
def session(engine: LocalEarthEngine) -> Session:
    """Of one test: a session ends with the first download that fails."""
    return open_session(engine)


@pytest.fixture(scope="module")
def zone() -> ZoneGrid:
    """A box of 20 x 23 px, read with its surroundings as 128 x 128 px."""
    (one,) = zone_grids(outline_of_box("9.0,45.0,9.0025,45.002"))
    return one


@pytest.fixture(scope="module")
def choice(engine: LocalEarthEngine, zone: ZoneGrid) -> Choice:
    found = choose_scenes([zone], JUNE, date(2024, 7, 1), session=open_session(engine), what="a box", tally=Tally())
    assert found is not None
    return found


def sought(choice: Choice, **changes: Any) -> Sought:
    return replace(Sought("key", "SANDBOX", (choice,), recipe=FEW, s1_day=choice.days[0].day), **changes)


def test_pixels_of_an_area_are_those_that_a_build_downloads(
    tmp_path: Path, session: Session, zone: ZoneGrid, choice: Choice
) -> None:
    wanted = sought(choice)
    parts = parts_of(zone, wanted)
    # What a build requests for a tile on the same grid, in one request.
    tile = replace(tile_of(zone, choice.days[0].day), id="whole")
    top, *others = scenes_of_day(tile, choice.days[0].scenes)
    scene = SceneRef("COPERNICUS/S2_SR_HARMONIZED", top.index, "index", neighbours=tuple(others))
    built = session.fetch(Request(tile, scene, FEW), Tally())

    cache = download(parts, wanted, Cache(tmp_path / "pixels"), session=session, concurrency=2)

    image = AreaImage(zone, wanted, parts, cache)
    assert len(parts) == 2
    assert np.array_equal(image.read(SHARD_BANDS, 0, SIDE), built)
    assert np.array_equal(image.read(("B4", "VH"), 30, 61), built[[S2_BANDS.index("B4"), 12], 30:61])
    assert image.scenes == tuple(sorted(one.index for one in (top, *others)))
    # By an independent look at the cloud of the whole grid.
    (score,) = session.clouds(
        tile, [[s.index for s in (top, *others)]], cloud_score=choice.days[0].score, tally=Tally()
    )
    hidden = hidden_cells(score, cloud_score=choice.days[0].score).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(image.shown(0, SIDE), zone.belongs(0, SIDE) & ~hidden)
    numbers = built[-1][zone.belongs(0, SIDE)]
    assert image.observations() == (numbers.min(), (numbers < 10).mean())


def test_the_clearest_day_of_the_window_is_the_one_that_a_plain_search_finds(
    session: Session, zone: ZoneGrid, choice: Choice
) -> None:
    tile = tile_of(zone, date(2024, 7, 1))
    days = days_of_area([session.value(area_search(tile, JUNE))])
    inside = np.zeros((SIDE // 2, SIDE // 2), bool)
    inside[(zone.rows[0] // 2) : -(-zone.rows[1] // 2), (zone.columns[0] // 2) : -(-zone.columns[1] // 2)] = True
    shares = {}
    for one in days:
        (score,) = session.clouds(tile, [[s.index for s in one.scenes]], cloud_score=True, tally=Tally())
        shares[one.day] = ((score >= 60) & (score != 255))[inside].mean()

    best = max(int(100 * share) for share in shares.values())

    assert len(days) >= 3
    assert int(100 * shares[choice.days[0].day]) >= best - 1
    assert choice.clear_share == pytest.approx(shares[choice.days[0].day], abs=0.02)


def test_level_1c_lies_beside_its_cloud(tmp_path: Path, session: Session, zone: ZoneGrid, choice: Choice) -> None:
    wanted = sought(choice, level="L1C", recipe=None)
    parts = parts_of(zone, wanted)

    cache = download(parts, wanted, Cache(tmp_path), session=session, concurrency=1)

    (part,) = parts
    scenes = [one.index for one in scenes_of_day(part.tile, choice.days[0].scenes)]
    assert np.array_equal(
        read_rows(cache.path(part), L1C_BANDS, 0, SIDE), session.fetch_layer(part.tile, L1C, scenes, Tally())
    )
    assert set(np.unique(read_rows(cache.path(part), [CLEAR], 0, SIDE))) <= {0, 1}


def test_what_was_downloaded_is_not_requested_again(
    tmp_path: Path, engine: LocalEarthEngine, session: Session, zone: ZoneGrid, choice: Choice
) -> None:
    wanted = sought(choice)
    parts, cache = parts_of(zone, wanted), Cache(tmp_path)
    engine.set_faults([{"match": "computePixels", "times": 1, "status": 400, "message": "no such thing"}])
    try:
        with pytest.raises(TileError, match=r"1 part of 2 of the area were not downloaded.*run the same command again"):
            download(parts, wanted, cache, session=session, concurrency=1)
    finally:
        engine.set_faults([])
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    assert len(kept) == 1

    resumed = download(parts, wanted, cache, session=session, concurrency=1)

    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert {row.state for row in resumed.known.values()} == {"done"}
    for part in parts:
        resumed.path(part).write_bytes(b"torn")
    whole = download(parts, wanted, cache, session=session, concurrency=1)
    assert AreaImage(zone, wanted, parts, whole).read(("B4", "VV"), 0, SIDE).all()


def test_a_budget_ends_a_download_and_the_next_command_resumes(
    tmp_path: Path, session: Session, zone: ZoneGrid, choice: Choice
) -> None:
    wanted = sought(choice)
    parts = parts_of(zone, wanted)
    later = Budget(until=date(2024, 1, 1), now=lambda: date(2025, 1, 1))  # type: ignore[arg-type]

    with pytest.raises(QuotaError, match=r"the end that --until sets; .*run the same command again"):
        download(parts, wanted, Cache(tmp_path), session=session, concurrency=1, meter=later)


def test_the_plan_is_read_again_as_it_was_written(tmp_path: Path, choice: Choice) -> None:
    wanted = sought(choice, notes=("cut",))
    cache = Cache(tmp_path)
    cache.keep_plan(wanted)

    assert cache.read_plan("key") == wanted
    assert cache.read_plan("another") is None
    (tmp_path / "plan.json").write_text("{}")
    assert cache.read_plan("key") is None


def test_an_area_that_no_scene_covers_is_refused(session: Session) -> None:
    # Polar night.
    grids = zone_grids(outline_of_box("9.0,-75.0,9.01,-74.99"))

    with pytest.raises(DataError, match=r"no Sentinel-2 scene of .* covers the box; it may lie at sea"):
        choose_scenes(grids, JUNE, date(2024, 7, 1), session=session, what="the box", tally=Tally())


def test_files_of_sentinel_1_hold_its_observations(
    tmp_path: Path, session: Session, zone: ZoneGrid, choice: Choice
) -> None:
    # A run on few scenes: the middle one of the window alone.
    wanted = sought(choice, pictures=(), recipe=replace(FEW, s1_max_scenes=2))
    parts = parts_of(zone, wanted)

    cache = download(parts, wanted, Cache(tmp_path), session=session, concurrency=1)

    pixels = read_rows(cache.path(parts[0]), S1_FILE_BANDS, 0, SIDE)
    assert 1 <= pixels[2].max() <= 2
    image = AreaImage(zone, wanted, parts, cache)
    assert image.pictures == 1
    assert np.array_equal(image.shown(0, SIDE), zone.belongs(0, SIDE))


@pytest.mark.parametrize("place", ["plan.json", "ledger.jsonl", "32632"])
def test_pixels_that_cannot_be_written_lie_beside_the_map_that_o_names(
    tmp_path: Path, session: Session, zone: ZoneGrid, choice: Choice, place: str
) -> None:
    # A folder where a file is to be, or the reverse: also root cannot write there.
    wanted, cache = sought(choice), Cache(tmp_path)
    (tmp_path / place).mkdir() if "." in place else (tmp_path / place).touch()

    def run() -> None:
        cache.keep_plan(wanted)
        download(parts_of(zone, wanted), wanted, cache, session=session, concurrency=2)

    with pytest.raises(MachineError, match=r"cannot write .*; look at the disk, or name another folder with -o$"):
        run()
