"""Metadata: properties, dates, projections and what the client shows of them."""

from __future__ import annotations

import ee

from support.conformity.program import API, PROJECTIONS, SIGNATURES, Program, image, pixel_types
from support.conformity_scenes import SOUTH_ZONE

PROGRAMS = [
    Program("band names", lambda: image("land").bandNames(), ["red", "nir", "SCL", "QA60"], f"{API}ee-image-bandnames"),
    Program(
        "bands by pattern", lambda: image("land").select("[nr].*").bandNames(), ["red", "nir"], f"{API}ee-image-select"
    ),
    Program(
        "bands by number, under new names",
        lambda: image("land").select([1, 0], ["a", "c"]).bandNames(),
        ["a", "c"],
        f"{API}ee-image-select",
    ),
    Program("rename", lambda: image().rename("new").bandNames(), ["new"], f"{API}ee-image-rename"),
    Program(
        "nominal scale", lambda: image("coarse").projection().nominalScale(), 20, f"{API}ee-projection-nominalscale"
    ),
    Program("native projection", lambda: image("south").projection().getInfo()["crs"], SOUTH_ZONE, PROJECTIONS),
    Program("types", lambda: pixel_types(image("land").addBands(image("hill"))), ["int"] * 4 + ["float"], SIGNATURES),
    Program("a cast shows", lambda: image().toUint8().getInfo()["bands"][0]["data_type"]["max"], 255, SIGNATURES),
    Program("index", lambda: image("gap").id(), "gap", f"{API}ee-image-id"),
    Program("set and get", lambda: image().set("mark", 5).get("mark"), 5, f"{API}ee-image-set"),
    Program("a property that is not there", lambda: image().get("mark"), None, f"{API}ee-image-get"),
    Program(
        "copyProperties",
        lambda: ee.Image(0).copyProperties(image("day1"), ["cloud"]).toDictionary(),
        {"cloud": 30},
        f"{API}ee-image-copyproperties",
    ),
    Program(
        "days, months and leap years",
        lambda: ee.Date("2020-01-31").advance(1, "month"),
        {"type": "Date", "value": 1_582_934_400_000},
        f"{API}ee-date-advance",
    ),
]
