"""A tile under two Sentinel-1 scenes, one of before March 2018: the server under test loads this file."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dwplus.pipeline.spec.tiles import Tile

from support.local_ee_scenes import NORTH, ArrayCatalogue, ms, s1_scene, s2_scene

EARLY_DB, LATE_DB = 6.0, -2.0
"""What the two scenes have above the plane of the place."""

SIDE_PX = 120
TILE = Tile("dw_12.06_45.1-20180502", NORTH.crs, NORTH.affine(), (SIDE_PX, SIDE_PX), date(2018, 5, 2), "EH", 4)
LATER = replace(TILE, id="dw_12.06_45.1-20190502", date=date(2019, 5, 2))
OUTLINE = (NORTH.x - 600 + 3.7, NORTH.y - 1800 - 2.2, NORTH.x + 1800 + 3.7, NORTH.y + 600 - 2.2)
"""(west, south, east, north) of both scenes, metres."""


def world(planet: dict[str, Any] | None = None) -> ArrayCatalogue:
    catalogue = ArrayCatalogue()
    for index, day in (("EARLY", "2018-05-02"), ("NORTH", "2019-05-02")):
        scene, arrays = s2_scene(NORTH, index)
        start = ms(f"{day}T10:00:00")
        properties = {**scene.properties, "system:time_start": start, "system:time_end": start}
        catalogue.add(replace(scene, properties=properties), arrays)
    last_of_february, first_of_march = "2018-02-28T23:59:59", "2018-03-01T00:00:00"
    catalogue.add(*s1_scene(NORTH, "S1A_IW_GRDH_1SDV_20180228T235959", last_of_february, bias=EARLY_DB))
    catalogue.add(*s1_scene(NORTH, "S1A_IW_GRDH_1SDV_20180301T000000", first_of_march, bias=LATE_DB))
    catalogue.add(*s1_scene(NORTH, "S1A_IW_GRDH_1SDV_20190401T000000", "2019-04-01T00:00:00", bias=LATE_DB))
    return catalogue
