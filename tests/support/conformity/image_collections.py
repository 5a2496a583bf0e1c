"""Collections: filters, order, limits, loops over images."""

from __future__ import annotations

from typing import Any

import ee

from support.conformity.program import API, GUIDE, OURS, SIGNATURES, Program, days, empty, everything, here, indices
from support.local_ee_scenes import S2

DAY = 86_400_000

PROGRAMS = [
    Program(
        "filterDate takes its start", lambda: indices(between(0, DAY)), ["day1"], f"{API}ee-imagecollection-filterdate"
    ),
    Program(
        "filterDate leaves out its end",
        lambda: indices(between(1, 2 * DAY)),
        ["day2"],
        f"{API}ee-imagecollection-filterdate",
    ),
    Program(
        "filterBounds looks at footprints",
        lambda: indices(everything().filterBounds(here()).filter(ee.Filter.eq("kind", "row"))),
        ["row"],
        f"{API}ee-imagecollection-filterbounds",
    ),
    Program(
        "a property that is equal", lambda: indices(days().filter(ee.Filter.eq("cloud", 10))), ["day2"], SIGNATURES
    ),
    Program("or not", lambda: indices(days().filter(ee.Filter.neq("cloud", 10))), ["day1", "day3"], SIGNATURES),
    Program("a property below", lambda: indices(days().filter(ee.Filter.lt("cloud", 20))), ["day2"], SIGNATURES),
    Program("or at most", lambda: indices(days().filter(ee.Filter.lte("cloud", 20))), ["day2", "day3"], SIGNATURES),
    Program("or above", lambda: indices(days().filter(ee.Filter.gt("cloud", 20))), ["day1"], SIGNATURES),
    Program("or at least", lambda: indices(days().filter(ee.Filter.gte("cloud", 20))), ["day1", "day3"], SIGNATURES),
    Program(
        "one of a list",
        lambda: indices(ee.ImageCollection(S2).filter(ee.Filter.inList("system:index", ["day3", "day1", "none"]))),
        ["day1", "day3"],
        f"{API}ee-filter-inlist",
    ),
    Program(
        "a list that holds",
        lambda: indices(everything().filter(ee.Filter.listContains("tags", "VH"))),
        ["land"],
        f"{API}ee-filter-listcontains",
    ),
    Program(
        "both filters",
        lambda: indices(days().filter(ee.Filter.And(ee.Filter.gt("cloud", 5), ee.Filter.lt("cloud", 25)))),
        ["day2", "day3"],
        f"{API}ee-filter-and",
    ),
    Program(
        "either filter",
        lambda: indices(days().filter(ee.Filter.Or(ee.Filter.gt("cloud", 25), ee.Filter.lt("cloud", 15)))),
        ["day1", "day2"],
        f"{API}ee-filter-or",
    ),
    Program(
        "a property that is missing passes no filter",
        lambda: days().filter(ee.Filter.gt("nothing", 0)).size(),
        0,
        OURS,
    ),
    Program("sort", lambda: indices(days().sort("cloud")), ["day2", "day3", "day1"], f"{API}ee-imagecollection-sort"),
    Program(
        "sort from above",
        lambda: indices(days().sort("cloud", False)),
        ["day1", "day3", "day2"],
        f"{API}ee-imagecollection-sort",
    ),
    Program("limit", lambda: indices(days().limit(2)), ["day1", "day2"], f"{API}ee-imagecollection-limit"),
    Program(
        "limit after sorting",
        lambda: indices(days().limit(1, "cloud", False)),
        ["day1"],
        f"{API}ee-imagecollection-limit",
    ),
    Program("first", lambda: days().first().get("system:index"), "day1", f"{API}ee-imagecollection-first"),
    Program("the first of nothing is null", lambda: empty().first().getInfo(), None, f"{API}ee-imagecollection-first"),
    Program("size", lambda: days().size(), 3, f"{API}ee-imagecollection-size"),
    Program(
        "merge",
        lambda: indices(days().limit(1).merge(days().filter(ee.Filter.eq("cloud", 20)))),
        ["1_day1", "2_day3"],
        f"{API}ee-imagecollection-merge",
    ),
    Program(
        "map",
        lambda: indices(days().map(lambda one: one.select(["v"]).add(1))),
        ["day1", "day2", "day3"],
        f"{GUIDE}ic_mapping",
    ),
    Program(
        "a list of images",
        lambda: ee.Image(days().toList(2, 1).get(0)).get("system:index"),
        "day2",
        f"{API}ee-imagecollection-tolist",
    ),
    Program(
        "columns of properties",
        lambda: days().reduceColumns(ee.Reducer.toList().repeat(2), ["system:index", "cloud"]).get("list"),
        [["day1", "day2", "day3"], [30, 10, 20]],
        f"{API}ee-imagecollection-reducecolumns",
    ),
]


def between(start_ms: int, end_ms: int) -> Any:
    return ee.ImageCollection(S2).filterDate(start_ms, end_ms).filter(ee.Filter.eq("series", "days"))
