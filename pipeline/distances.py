"""Distances between places on the sphere, for many at once. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG); a sphere is off by at most 0.6 %."""

_AT_ONCE = 512
"""Rows of the table of distances that are held at a time: 512 x 20,000 float64 are 82 MB."""


def nearest_km(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (places): km along the great circle from each place to the nearest of the others.

    Args:
        places, others: float64 (n, 2), longitude and latitude in degrees; ``others`` has at least one.
    """
    a, b = _unit_vectors(places), _unit_vectors(others)
    nearest = np.empty(len(a))
    for start in range(0, len(a), _AT_ONCE):
        part = a[start : start + _AT_ONCE]
        chosen = b[np.argmax(part @ b.T, axis=1)]
        # From the chord, not the cosine: a cosine next to 1 loses metres.
        half = np.linalg.norm(part - chosen, axis=1) / 2
        nearest[start : start + _AT_ONCE] = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(half, 1.0))
    return nearest


def _unit_vectors(places: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(places.reshape(-1, 2).T)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
