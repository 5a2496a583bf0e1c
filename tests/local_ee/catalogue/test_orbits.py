"""Orbits against real products: names, times and footprints."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from dwplus.local_ee.catalogue import orbits
from dwplus.local_ee.catalogue.orbits import SATELLITES, SENTINEL_1, SENTINEL_2
from dwplus.manifests import load_csv

DAY_S = 86_400.0


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("satellite", "orbit", "relative"),
    [("S2A", 18422, 121), ("S2B", 12270, 89), ("S1A", 30172, 175)],
)
def test_relative_orbits_follow_from_absolute_ones(satellite: str, orbit: int, relative: int) -> None:
    assert SATELLITES[satellite].relative(orbit) == relative


@pytest.mark.parametrize("mission", ["S1", "S2"])
def test_the_second_satellite_flies_the_same_tracks_half_a_cycle_later(mission: str) -> None:
    first, second = SATELLITES[f"{mission}A"], SATELLITES[f"{mission}B"]

    assert second.relative(second.orbit) == first.relative(first.orbit)
    assert second.node_s - first.node_s == first.mission.days * DAY_S / 2


@pytest.mark.parametrize(
    ("name", "relative", "lon", "lat", "day", "datatake_start"),
    [
        ("S2A", 121, 19.4, -33.9, "2019-01-01", "08:23:31"),  # T34HCH
        ("S2B", 89, 111.84, -8.13, "2019-07-13", "02:35:59"),  # T49MEM
        ("S2B", 96, -63.4, -4.1, "2019-08-12", "14:37:59"),  # T20MMA
        ("S2B", 108, -2.74, 5.65, "2018-12-26", "10:34:39"),  # T30NWM
    ],
)
def test_real_sentinel_2_scenes_are_seen_on_their_day(
    name: str, relative: int, lon: float, lat: float, day: str, datatake_start: str
) -> None:
    """The granule is passed 5 to 30 minutes after its datatake began."""
    satellite, start = SATELLITES[name], seconds(f"{day} {datatake_start}")
    node = orbits.node_lons(SENTINEL_2)[relative - 1]

    seen = orbits.abeam(SENTINEL_2, node, lon, lat, "DESCENDING")

    delay = float(seen.u) / 360 * SENTINEL_2.period_s
    times = [satellite.node_time(orbit) + delay for orbit in satellite.orbits_between(relative, start - DAY_S, start)]
    assert abs(float(seen.across_km)) < SENTINEL_2.far_km
    assert any(5 * 60 < time - start < 30 * 60 for time in times)


def test_the_swath_of_sentinel_1_fits_a_real_footprint() -> None:
    """S1A, orbit 30172, ascending: corners of its footprint lie on the swath's edges, 25 s apart."""
    satellite = SATELLITES["S1A"]
    node = orbits.node_lon(SENTINEL_1, satellite.node_time(30172))
    lon = np.array([17.343, 16.900, 20.708, 20.350])
    lat = np.array([48.299, 49.797, 48.689, 50.186])

    seen = orbits.abeam(SENTINEL_1, node, lon, lat, "ASCENDING")

    near, far = SENTINEL_1.near_km, SENTINEL_1.far_km
    assert np.allclose(seen.across_km, [near, near, far, far], atol=4)
    times = seen.u / 360 * SENTINEL_1.period_s
    assert times[1] - times[0] == pytest.approx(25, abs=0.5)
    assert times[0] == pytest.approx(789.4, abs=5)  # startTimeANX


def test_all_real_test_tiles_lie_in_the_swath_on_their_day() -> None:
    rows = load_csv("test_409")
    seen = [_passed(float(r["lon"]), float(r["lat"]), seconds(r["date"])) for r in rows]

    assert sum(seen) == len(rows) == 409


def _passed(lon: float, lat: float, day_s: float) -> bool:
    near = orbits.abeam(SENTINEL_2, orbits.node_lons(SENTINEL_2), lon, lat, "DESCENDING")
    hits = np.flatnonzero((np.abs(near.across_km) < SENTINEL_2.far_km) & (near.u > 90) & (near.u < 270))
    for k in hits.tolist():
        delay = float(near.u[k]) / 360 * SENTINEL_2.period_s
        for name in ("S2A", "S2B"):
            if SATELLITES[name].orbits_between(k + 1, day_s - delay, day_s + DAY_S - delay):
                return True
    return False


def test_track_and_abeam_are_inverse() -> None:
    u, across = np.meshgrid(np.linspace(95, 265, 12), np.linspace(-150, 150, 7))

    lon, lat = orbits.track(SENTINEL_2, 33.0, u, across)
    back = orbits.abeam(SENTINEL_2, 33.0, lon, lat, "DESCENDING")

    assert np.allclose(back.u, u, atol=1e-5)
    assert np.allclose(back.across_km, across, atol=1e-3)


def test_sentinel_2_passes_the_equator_at_half_past_ten() -> None:
    satellite = SATELLITES["S2A"]
    descending_s = satellite.node_time(18422) + SENTINEL_2.period_s / 2
    lon, lat = orbits.track(SENTINEL_2, orbits.node_lon(SENTINEL_2, satellite.node_time(18422)), 180.0, 0.0)

    local_hour = (descending_s / 3600 + float(lon) / 15) % 24
    assert float(lat) == pytest.approx(0, abs=1e-6)
    assert local_hour == pytest.approx(10.5, abs=0.01)


def test_sentinel_1b_ends_in_december_2021() -> None:
    satellite = SATELLITES["S1B"]

    last = max(satellite.orbits_between(175, seconds("2021-01-01"), seconds("2023-01-01")))

    assert satellite.node_time(last) < seconds("2021-12-23")
