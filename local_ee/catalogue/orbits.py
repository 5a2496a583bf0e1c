"""Where Sentinel-1 and Sentinel-2 are, and what they see: circular sun-synchronous repeat orbits.

A sun-synchronous plane turns with the mean Sun, so in a frame fixed to the Earth its node moves by exactly one turn
per mean solar day: the longitude of a node follows from the time of day alone. Angles are degrees, times seconds since
1970 UTC, distances across the track kilometres on a sphere, positive to the right of the flight direction.

Sources: Sentinel-2 User Handbook (143 orbits in 10 days, 98.62 degrees, 10:30 at the descending node, swath 290 km);
Sentinel-1 User Handbook (175 orbits in 12 days, 98.18 degrees, 18:00 at the ascending node, IW swath 250 km). The phase
of each mission is set by one real product (see `SATELLITES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Direction = Literal["ASCENDING", "DESCENDING"]

DAY_S = 86_400.0
KM_PER_DEGREE = 111.195
_GEOCENTRIC = 1 - 6.69437999014e-3  # tan(geocentric latitude) / tan(geodetic latitude) on WGS84


@dataclass(frozen=True)
class Mission:
    """Orbit and swath that the satellites of a mission share.

    Attributes:
        orbits, days: length of the repeat cycle.
        inclination: degrees.
        node_hour: mean local solar time of the ascending node, hours.
        near_km, far_km: edges of the swath across the track (to the right: positive).
    """

    name: Literal["Sentinel-1", "Sentinel-2"]
    orbits: int
    days: int
    inclination: float
    node_hour: float
    near_km: float
    far_km: float

    @property
    def period_s(self) -> float:
        return self.days * DAY_S / self.orbits


@dataclass(frozen=True)
class Satellite:
    """One satellite.

    Attributes:
        letter: ``A`` or ``B``.
        orbit, node_s: an absolute orbit number and the time of its ascending node.
        shift: relative orbit = (absolute orbit + shift) mod orbits of a cycle + 1.
        first_s, last_s: service, half-open.
    """

    mission: Mission
    letter: Literal["A", "B"]
    orbit: int
    node_s: float
    shift: int
    first_s: float
    last_s: float

    def node_time(self, orbit: int) -> float:
        """Time of the ascending node that begins an absolute orbit."""
        return self.node_s + (orbit - self.orbit) * self.mission.period_s

    def relative(self, orbit: int) -> int:
        """Relative orbit number, 1..143 or 1..175."""
        return (orbit + self.shift) % self.mission.orbits + 1

    def orbits_between(self, relative: int, start_s: float, end_s: float) -> range:
        """Absolute orbits of one relative orbit whose ascending node lies in [start, end) and in service."""
        start_s, end_s = max(start_s, self.first_s), min(end_s, self.last_s)
        first = self.orbit + int(np.ceil((start_s - self.node_s) / self.mission.period_s))
        last = self.orbit + int(np.ceil((end_s - self.node_s) / self.mission.period_s))
        first += (relative - self.relative(first)) % self.mission.orbits
        return range(first, last, self.mission.orbits)


SENTINEL_1 = Mission("Sentinel-1", 175, 12, 98.18, 18.0, 388.0, 640.0)
"""The swath's edges fit the footprint of the product that sets the phase (incidence about 30 to 46 degrees)."""

SENTINEL_2 = Mission("Sentinel-2", 143, 10, 98.62, 22.5, -153.0, 153.0)
"""The swath is 290 km; 8 km of margin on each side take up the differences between this orbit and the real ones (all
409 test tiles of Dynamic World lie within 149.2 km of a track on their day)."""

_S1A_NODE = 1_575_303_706.150  # S1A_IW_GRDH_1SDV_20191202T163455_..._030172: orbitProperties_ascendingNodeTime
_S2A_NODE = 1_546_328_990.336  # T34HCH of S2A_MSIL2A_20190101T082331_..._R121: 08:49:44 at 33.88 S, orbit 18422

SATELLITES: dict[str, Satellite] = {
    "S1A": Satellite(SENTINEL_1, "A", 30172, _S1A_NODE, -73, 1_412_294_400.0, 1_798_761_600.0),
    # Half a cycle after S1A, until its power failed on 2021-12-23.
    "S1B": Satellite(SENTINEL_1, "B", 19276, _S1A_NODE + 6 * DAY_S, -27, 1_474_848_000.0, 1_640_217_600.0),
    "S2A": Satellite(SENTINEL_2, "A", 18422, _S2A_NODE, 2, 1_435_708_800.0, 1_798_761_600.0),
    # Half a cycle after S2A.
    "S2B": Satellite(SENTINEL_2, "B", 9585, _S2A_NODE + 5 * DAY_S, -27, 1_498_867_200.0, 1_798_761_600.0),
}
"""By the prefix of product names. Service: S1A 2014-10-03, S1B 2016-09-26..2021-12-23, S2A 2015-07-01, S2B
2017-07-01, others to the end of 2026."""


class Abeam(NamedTuple):
    """Where points lie relative to one or more tracks.

    Attributes:
        u: argument of latitude at the moment of passing, degrees from the ascending node, 0..360.
        across_km: distance across the track, to the right positive.
    """

    u: Floats
    across_km: Floats


def node_lon(mission: Mission, node_s: Floats | float) -> Floats:
    """Longitude of the ascending node at that time, degrees -180..180."""
    turn = (mission.node_hour / 24 - np.asarray(node_s, np.float64) / DAY_S) * 360
    return np.asarray((turn + 180) % 360 - 180)


def track(
    mission: Mission, node: Floats | float, u: Floats | float, across_km: Floats | float
) -> tuple[Floats, Floats]:
    """(lon, lat) of points beside the track of an orbit whose ascending node lies at longitude ``node``."""
    i, rad_u = np.radians(mission.inclination), np.radians(u)
    side = np.radians(-np.asarray(across_km, np.float64) / KM_PER_DEGREE)
    # Axes: towards the node, along the track 90 degrees later, orbit normal (left of the flight direction).
    a, b, n = np.cos(side) * np.cos(rad_u), np.cos(side) * np.sin(rad_u), np.sin(side)
    y, z = b * np.cos(i) - n * np.sin(i), b * np.sin(i) + n * np.cos(i)
    lon = node + np.degrees(np.arctan2(y, a)) - np.asarray(u) * mission.period_s / DAY_S
    lat = np.degrees(np.arctan(np.tan(np.arcsin(np.clip(z, -1, 1))) / _GEOCENTRIC))
    return (lon + 180) % 360 - 180, lat


def abeam(mission: Mission, node: Floats | float, lon: Floats | float, lat: Floats | float, way: Direction) -> Abeam:
    """Inverse of `track`: the arguments broadcast; points that the pass never comes near get large distances."""
    i = np.radians(mission.inclination)
    phi = np.arctan(_GEOCENTRIC * np.tan(np.radians(np.asarray(lat, np.float64))))
    u = np.arcsin(np.clip(np.sin(phi) / np.sin(i), -1, 1))
    u = np.pi - u if way == "DESCENDING" else u
    turned = np.radians(np.asarray(lon, np.float64) - node)
    turns_per_orbit = mission.period_s / DAY_S
    # The Earth turns by 1/14 of what the satellite moves: each round is 14 times as exact as the one before.
    for _ in range(6):
        lam = turned + u * turns_per_orbit
        x, y, z = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)
        along, normal = y * np.cos(i) + z * np.sin(i), z * np.cos(i) - y * np.sin(i)
        u = u + (np.arctan2(along, x) - u + np.pi) % (2 * np.pi) - np.pi
    return Abeam(np.degrees(u) % 360, -np.degrees(np.arcsin(np.clip(normal, -1, 1))) * KM_PER_DEGREE)


def direction(u: float) -> Direction:
    """Flight direction at an argument of latitude."""
    return "DESCENDING" if 90 <= u % 360 < 270 else "ASCENDING"


def node_lons(mission: Mission) -> Floats:
    """Longitude of the ascending node of each relative orbit, (orbits,): entry k is relative orbit k + 1.

    The same for all satellites of a mission: half a cycle later they fly the same tracks.
    """
    satellite = SATELLITES["S1A" if mission is SENTINEL_1 else "S2A"]
    first = satellite.orbit - satellite.relative(satellite.orbit) + 1
    times = np.array([satellite.node_time(first + k) for k in range(mission.orbits)])
    return node_lon(mission, times)
