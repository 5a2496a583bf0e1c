"""Distances on the sphere, against the haversine formula and the length of a degree."""

import numpy as np
import pytest
from dwplus.pipeline.footprints import EARTH_RADIUS_KM, nearest_km


def test_a_degree_of_latitude_is_111_km_and_the_nearest_counts() -> None:
    places = np.array([[9.0, 45.0], [9.0, 50.0]])
    others = np.array([[9.0, 46.0], [9.0, 49.5], [120.0, -30.0]])

    assert nearest_km(places, others) == pytest.approx([111.195, 55.597], abs=0.01)


def test_the_date_line_is_no_border() -> None:
    assert nearest_km(np.array([[179.9, 0.0]]), np.array([[-179.9, 0.0], [0.0, 0.0]]))[0] == pytest.approx(
        22.24, abs=0.01
    )


def test_metres_apart_are_still_told() -> None:
    # One hundred-thousandth of a degree is 1.112 m.
    assert nearest_km(np.array([[0.0, 10.0]]), np.array([[0.0, 10.00001]]))[0] == pytest.approx(1.112e-3, rel=1e-3)


def test_many_places_agree_with_the_haversine_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.uniform(-180, 180, n), rng.uniform(-80, 80, n)], axis=1) for n in (700, 30))
    lon, lat = np.radians(a)[:, None].transpose(2, 0, 1)
    lon2, lat2 = np.radians(b)[None].transpose(2, 0, 1)
    h = np.sin((lat - lat2) / 2) ** 2 + np.cos(lat) * np.cos(lat2) * np.sin((lon - lon2) / 2) ** 2

    assert nearest_km(a, b) == pytest.approx((2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(h))).min(axis=1))
