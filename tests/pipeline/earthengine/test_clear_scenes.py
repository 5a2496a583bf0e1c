"""Clear scenes: the clearest scene of a period over the marked pixels, then the nearest in time."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.earthengine.clear_scenes import (
    CLOUDY_PERCENT,
    HIDDEN_CLASSES,
    ClearDay,
    best_of,
    days_of,
    grown,
    hidden_cells,
    marked_cells,
    on_tile,
)
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.graphs import cloud_request, period_search
from dwplus.pipeline.earthengine.session import Session, Tally
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.spec.periods import Period
from dwplus.pipeline.spec.tiles import Tile

TILE = Tile("t-32749-590130-9103900-20190713", "EPSG:32749", (10, 0, 590130.0, 0, -10, 9103900.0), (33, 40),
            date(2019, 7, 13), "EH", 0)  # fmt: skip
SUMMER = Period(date(2019, 6, 1), date(2019, 8, 31))


def scenes(*days: tuple[str, float]) -> dict[str, object]:
    """The answer to a search: scenes that cover the tile, each with its day and cloud in per cent."""
    west, south, east, north = 111.0, -9.0, 113.0, -7.0
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "system:index": [f"{day.replace('-', '')}T023559_x_T49MEM" for day, _ in days],
        "PRODUCT_ID": [f"product of {day}" for day, _ in days],
        "MGRS_TILE": ["49MEM"] * len(days),
        "PROCESSING_BASELINE": ["02.13"] * len(days),
        "system:footprint": [{"type": "LinearRing", "coordinates": ring}] * len(days),
        "system:time_start": [datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000 for day, _ in days],
        CLOUDY_PERCENT: [cloud for _, cloud in days],
    }


# --- pure -------------------------------------------------------------------------------------------------------------


def test_days_with_little_cloud_come_first_then_those_near_the_middle_of_the_period() -> None:
    # Given scenes of four days, the middle of the period being 16 July
    answer = scenes(("2019-06-03", 2.0), ("2019-07-13", 55.0), ("2019-07-23", 8.0), ("2019-09-10", 1.0))

    found = days_of(TILE, SUMMER, answer)

    # Then tens of per cent decide, and within them days outside the period come last.
    assert [one.day.isoformat() for one in found] == ["2019-07-23", "2019-06-03", "2019-09-10", "2019-07-13"]


def test_days_whose_scenes_leave_a_part_of_the_tile_open_are_left_out() -> None:
    answer = scenes(("2019-07-13", 0.0), ("2019-07-23", 0.0))
    corner = [[111.0, -9.0], [111.82, -9.0], [111.82, -7.0], [111.0, -7.0], [111.0, -9.0]]
    answer["system:footprint"][0] = {"type": "LinearRing", "coordinates": corner}  # type: ignore[index]

    assert [one.day.day for one in days_of(TILE, SUMMER, answer)] == [23]


def test_one_per_cent_more_cloud_is_the_same_clearness() -> None:
    # Given three days with 0.9, 0.2 and 4 % of the marked cells hidden; the first lies nearest to the middle
    cells = np.ones((25, 40), dtype=bool)
    hidden = [np.zeros((25, 40), dtype=bool) for _ in range(3)]
    hidden[0].ravel()[:9] = hidden[1].ravel()[:2] = hidden[2].ravel()[:40] = True
    days = [ClearDay(date(2019, 7, 15), ("a",), 0), ClearDay(date(2019, 7, 25), ("b",), 0),
            ClearDay(date(2019, 7, 16), ("c",), 0)]  # fmt: skip

    assert best_of(days, hidden, cells, SUMMER) == (0, 0.009)


def test_cloud_beside_the_marked_pixels_does_not_count() -> None:
    cells = np.zeros((10, 10), dtype=bool)
    cells[2:4, 2:4] = True
    around, on_it = ~cells, cells
    days = [ClearDay(date(2019, 7, 16), ("on it",), 0), ClearDay(date(2019, 8, 30), ("around",), 90)]

    assert best_of(days, [on_it, around], cells, SUMMER) == (1, 0.0)


def test_scene_classes_hide_the_ground_and_60_m_around() -> None:
    # Given one cell of cloud (class 9) in the middle of vegetation (class 4)
    classes = np.full((11, 11), 4, dtype=np.uint8)
    classes[5, 5] = 9

    hidden = hidden_cells(classes, cloud_score=False)

    # Then, by a plain loop, all cells within 3 cells of 20 m of it (corners cut) are hidden.
    expected = [[(r - 5) ** 2 + (c - 5) ** 2 <= 10 for c in range(11)] for r in range(11)]
    assert hidden.tolist() == expected


@pytest.mark.parametrize("value", range(12))
def test_each_scene_class_is_seen_or_hidden(value: int) -> None:
    assert hidden_cells(np.full((1, 1), value, np.uint8), cloud_score=False)[0, 0] == (value in HIDDEN_CLASSES)


def test_scores_from_60_on_are_clear_and_none_is_not() -> None:
    values = np.array([[0, 59, 60, 100, 255]], dtype=np.uint8)

    assert hidden_cells(values, cloud_score=True).tolist() == [[True, True, False, False, True]]


def test_growing_stops_at_the_edge() -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[0, 0] = True

    assert grown(mask, 1).tolist() == [[True, True, False, False], [True, True, False, False], [False] * 4]


def test_cells_of_20_m_and_pixels_of_10_m_go_together_on_odd_sizes() -> None:
    marked = np.zeros(TILE.shape, dtype=bool)
    marked[32, 39] = marked[0, 1] = True

    cells = marked_cells(marked)

    assert cells.shape == (17, 20)
    assert np.argwhere(cells).tolist() == [[0, 0], [16, 19]]
    assert np.argwhere(on_tile(cells, TILE)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [32, 38], [32, 39]]


def test_a_period_is_two_days_in_order() -> None:
    year = Period.of("2022-01-01/2022-12-31")

    assert (str(year), year.middle) == ("2022-01-01/2022-12-31", date(2022, 7, 2))
    assert year.widened(30) == Period(date(2021, 12, 2), date(2023, 1, 30))
    assert [year.days_away(day) for day in (date(2021, 12, 30), date(2022, 5, 1), date(2023, 1, 1))] == [2, 0, 1]
    assert Period.of("2022-06-15") == Period(date(2022, 6, 15), date(2022, 6, 15))
    for wrong in ("2022", "2022-12-31/2022-01-01", "2010-01-01", "a/b"):
        with pytest.raises(DataError):
            Period.of(wrong)


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with LocalEarthEngine(workers=1) as engine:
        found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        yield connect(found)


def test_the_scene_that_is_chosen_is_the_clearest_of_all_that_the_service_has(session: Session) -> None:
    # Given the marked pixels of one tile, and the scene classes of every scene of two months, looked at one by one
    marked = np.zeros(TILE.shape, dtype=bool)
    marked[4:20, 10:30] = True
    period = Period(date(2019, 7, 13), date(2019, 7, 13))
    searched = period.widened(30)
    days = days_of(TILE, period, session.value(period_search(TILE, searched)))
    shares = {}
    for one in days:
        classes = session.pixels(cloud_request(TILE, [one.indices], cloud_score=False))["c0"]
        hidden = hidden_cells(classes, cloud_score=False).repeat(2, axis=0).repeat(2, axis=1)[:33, :40]
        shares[one.day] = float(hidden[marked].mean())
    by_score = session._has_cloud_score(Tally())

    chosen = session.clear_scene(TILE, marked, period, searched, Tally())

    assert len(days) >= 8
    assert chosen is not None
    if not by_score:
        assert chosen.hidden_share == shares[chosen.day] <= min(shares.values()) + 0.01
        clear = [day for day, share in shares.items() if int(share * 100) == int(chosen.hidden_share * 100)]
        assert chosen.day == min(clear, key=lambda day: abs((day - period.middle).days))
    assert chosen.hidden[marked].mean() == pytest.approx(chosen.hidden_share, abs=1e-6)


def test_a_place_without_scenes_has_no_clear_one(session: Session) -> None:
    before_l2a = Period(date(2015, 8, 1), date(2016, 7, 31))

    assert session.clear_scene(TILE, np.ones(TILE.shape, bool), before_l2a, before_l2a, Tally()) is None
