"""What the map of an area would take."""

import pytest
from dwplus.pipeline.areas.forecast import forecast
from dwplus.pipeline.areas.grids import count_blocks, zone_grids
from dwplus.pipeline.areas.outline import outline_of_box
from dwplus.pipeline.build.budget import Measured


def test_a_scene_costs_three_requests_a_block_and_a_year_one_of_sentinel_1_and_two_for_each_picture() -> None:
    grids = zone_grids(outline_of_box("9.0,45.0,9.1,45.1"))
    blocks, pixels = count_blocks(grids)

    day = forecast(grids, pictures=1, s1=True, known=Measured(), concurrency=20)
    year = forecast(grids, pictures=12, s1=True, known=Measured(), concurrency=20)
    radar = forecast(grids, pictures=0, s1=True, known=Measured(), concurrency=20)

    assert (blocks, day.tiles) == (6, 6)
    assert (day.requests, year.requests, radar.requests) == (6 * 3 + 4, 6 * 25 + 48, 6)
    # 22 bytes of Sentinel-2 and 10 of Sentinel-1 for each pixel.
    assert day.received_gb == pytest.approx(pixels * 32 / 1e9)
    assert year.received_gb == pytest.approx(pixels * (12 * 22 + 10) / 1e9)
    assert day.hours.basis == "a guess: 5-20 s a request, 20 in flight"
    assert day.hours.high == pytest.approx(22 * 20 / 20 / 3600)
    assert "not measured" in day.eecu_hours.basis
    assert "11 more pictures of Sentinel-2 come on top" in year.eecu_hours.basis


def test_compute_that_was_measured_in_the_build_is_used() -> None:
    grids = zone_grids(outline_of_box("9.0,45.0,9.1,45.1"))
    _, pixels = count_blocks(grids)

    found = forecast(grids, pictures=1, s1=True, known=Measured(metered=10, eecu_s=36.0), concurrency=20)

    assert found.eecu_hours.low == found.eecu_hours.high == pytest.approx(pixels / 510**2 * 36 / 3600)
    assert found.eecu_hours.is_measured
