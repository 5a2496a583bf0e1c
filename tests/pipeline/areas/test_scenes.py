"""Which days an area is mapped from: the clearest, then the nearest, then those that show what it leaves open."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from dwplus.pipeline.areas.scenes import (
    Day,
    View,
    choose_days,
    days_of_area,
    enough,
    months_of,
    promising,
    view_of,
    window_around,
)
from dwplus.pipeline.earthengine.scene_choice import Candidate, scenes_of_day
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.periods import Period
from dwplus.pipeline.spec.tiles import Tile

TODAY = date(2026, 11, 28)
JULY = date(2024, 7, 1)


def day(number: int, cloudy: float = 0.0) -> Day:
    scene = Candidate(f"202407{number:02d}T101021_x_T32TMR", "", "32TMR", "05.10", ())
    return Day(date(2024, 7, number), (scene,), cloudy, score=True)


def view(seen: str, clear: str) -> View:
    """Of cells that are written as 1 and 0."""
    return View(*(np.array([mark == "1" for mark in marks]) for marks in (seen, clear)))


def chosen(views: dict[int, View]) -> tuple[list[int], float]:
    days = [day(number) for number in views]
    choice = choose_days(days, {one.day: views[one.day.day] for one in days}, JULY)
    return [one.day.day for one in choice.days], choice.clear_share


def test_the_clearest_day_is_taken_then_the_nearest() -> None:
    all_seen = "1111111111"
    clear = {3: view(all_seen, "1111100000"), 9: view(all_seen, "1111111110"), 20: view(all_seen, "1111111110")}

    assert chosen(clear) == ([9], 0.9)


def test_cloud_is_not_filled_from_another_day_but_what_no_swath_shows_is() -> None:
    # Given a day whose swath shows seven cells, two of them under cloud, and days that show all, or the rest
    half = view("1111111000", "1111100000")
    rest = view("0000000111", "0000000111")

    # Then the cloud stays, and the rest comes from the day that shows it.
    assert chosen({2: half, 10: rest}) == ([2, 10], 0.8)
    # The gain counts: of the second day only its part beyond the first one's swath.
    assert chosen({2: half, 10: rest, 12: view("1111111111", "1111000110")}) == ([12], 0.6)


def test_a_day_without_a_clear_cell_is_never_taken() -> None:
    assert chosen({2: view("1111", "0000")}) == ([], 0.0)
    assert chosen({2: view("1100", "1100"), 3: view("0011", "0000")}) == ([2], 0.5)


def test_looking_ends_when_a_day_shows_nearly_all() -> None:
    days = [day(3), day(9)]
    views = {days[0].day: View(np.ones(200, bool), np.arange(200) < 197)}

    assert not enough(days, views)
    views[days[1].day] = View(np.ones(200, bool), np.arange(200) < 199)
    assert enough(days, views)


def test_days_with_little_cloud_are_looked_at_first_then_the_nearest() -> None:
    days = [day(2, 80.0), day(4, 3.0), day(12, 7.0), day(30, 0.0)]

    assert [one.day.day for one in promising(days, JULY)] == [4, 12, 30, 2]


def test_scores_and_scene_classes_say_what_is_seen_and_what_is_clear() -> None:
    inside = np.array([[True, True, True, True, True, False]])
    scores = np.array([[59, 60, 100, 255, 0, 100]], np.uint8)
    classes = np.array([[0, 4, 9, 3, 6, 4]], np.uint8)

    by_score, by_class = view_of(scores, inside, score=True), view_of(classes, inside, score=False)

    assert by_score.seen.tolist() == [True, True, True, False, True]
    assert by_score.clear.tolist() == [False, True, True, False, False]
    assert by_class.seen.tolist() == [False, True, True, True, True]
    assert by_class.clear.tolist() == [False, True, False, False, True]


def answer(*scenes: tuple[str, str, float], scored: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the service says of scenes: index, day, cloud."""
    stamps = [int(np.datetime64(when, "ms").astype(int)) for _, when, _ in scenes]
    return {
        "system:index": [index for index, _, _ in scenes],
        "system:time_start": stamps,
        "PRODUCT_ID": ["p"] * len(scenes),
        "MGRS_TILE": ["32TMR"] * len(scenes),
        "PROCESSING_BASELINE": ["05.10"] * len(scenes),
        "system:footprint": [{"coordinates": [[9, 45], [10, 45], [10, 46], [9, 46], [9, 45]]}] * len(scenes),
        "CLOUDY_PIXEL_PERCENTAGE": [cloud for _, _, cloud in scenes],
        "scores": list(scored),
    }


def test_scenes_of_two_zones_come_together_by_their_day() -> None:
    west = answer(("a", "2024-07-02", 10.0), ("b", "2024-07-02", 30.0), ("c", "2024-07-07", 0.0), scored=("a", "b"))
    east = answer(("b", "2024-07-02", 30.0), ("d", "2024-07-07", 50.0), scored=("b", "d"))

    first, second = days_of_area([west, east])

    assert ([one.index for one in first.scenes], first.cloudy, first.rule) == (["a", "b"], 20.0, "cloud-score")
    assert ([one.index for one in second.scenes], second.cloudy, second.rule) == (["c", "d"], 25.0, "scene-classes")


def test_the_window_ends_today() -> None:
    assert window_around(JULY, 15, TODAY) == (Period(date(2024, 6, 16), date(2024, 7, 16)), "")
    period, cut = window_around(date(2026, 11, 20), 15, TODAY)
    assert period.last == TODAY
    assert cut == "scenes are searched up to today, 2026-11-28, not to 2026-12-05"
    with pytest.raises(UsageError, match="--date 2027-01-01 lies in the future; there is no scene up to 2026-11-28"):
        window_around(date(2027, 1, 1), 15, TODAY)
    with pytest.raises(UsageError, match="before the first Sentinel-2 image"):
        window_around(date(2014, 1, 1), 15, TODAY)


def test_a_year_has_twelve_months_up_to_today() -> None:
    assert len(months_of(2024, TODAY)) == 12
    assert months_of(2024, TODAY)[1] == Period(date(2024, 2, 1), date(2024, 2, 29))
    assert months_of(2026, TODAY)[-1] == Period(date(2026, 11, 1), TODAY)
    assert len(months_of(2015, TODAY)) == 7  # from June on
    with pytest.raises(UsageError, match="--year 2027 lies in the future"):
        months_of(2027, TODAY)
    with pytest.raises(UsageError, match="--year 2014 has no Sentinel-2 image"):
        months_of(2014, TODAY)


def scene(name: str, west: float, east: float, *, baseline: str = "05.10", mgrs: str = "32TMR") -> Candidate:
    ring = ((west, 44.0), (east, 44.0), (east, 46.0), (west, 46.0), (west, 44.0))
    return Candidate(f"20240702T101021_{name}_T{mgrs}", "", mgrs, baseline, ring, date(2024, 7, 2))


def test_a_block_at_the_edge_of_a_swath_takes_the_scenes_that_show_the_most_of_it() -> None:
    # Given a block of 9.0 to 9.13 E, and scenes that end within it.
    tile = Tile("b", "EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_990_000.0), (512, 1000), JULY, "EH", 0)
    near, far = scene("a", 8.0, 9.05), scene("b", 8.5, 9.1, mgrs="32TNR")
    beside, old = scene("c", 7.0, 8.0), scene("d", 8.5, 9.1, baseline="02.14", mgrs="32TNR")

    assert scenes_of_day(tile, [near, far, beside, old]) == (far,)
    assert scenes_of_day(tile, [near, scene("e", 9.05, 9.1, mgrs="32TNR")])[0].index.split("_")[1] in "ae"
    assert len(scenes_of_day(tile, [near, scene("e", 9.05, 9.1, mgrs="32TNR")])) == 2
    assert scenes_of_day(tile, [beside]) == ()
