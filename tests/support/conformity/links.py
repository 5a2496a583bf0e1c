"""Links: bands and properties of the image of another collection."""

from __future__ import annotations

from typing import Any

from support.conformity.program import API, Program, days, image


def others() -> Any:
    """The first two days, with another band and another property."""
    return (
        days()
        .limit(2)
        .map(
            lambda one: (
                one.select(["v"], ["w"])
                .multiply(10)
                .set("mark", one.get("cloud"))
                .set("system:index", one.get("system:index"))
            )
        )
    )


LINK = f"{API}ee-image-linkcollection"

PROGRAMS = [
    Program(
        "a band of the image of the same index",
        lambda: image("day1").linkCollection(others(), ["w"]),
        {"v": [1, 2, 3, 0], "q": [4, 3, 2, 1], "w": [10, 20, 30, 0]},
        LINK,
    ),
    Program(
        "a property of the image of the same index",
        lambda: image("day2").linkCollection(others(), linkedProperties="mark").get("mark"),
        10,
        LINK,
    ),
    Program(
        "without a match bands are masked",
        lambda: image("day3").linkCollection(others(), "w").mask(),
        {"v": [1, 1, 0, 0], "q": [1, 1, 1, 1], "w": [0, 0, 0, 0]},
        LINK,
    ),
    Program(
        "without a match properties are null",
        lambda: image("day3").linkCollection(others(), ["w"], ["cloud"]).get("cloud"),
        None,
        LINK,
    ),
    Program(
        "all images of a collection are linked",
        lambda: days().linkCollection(others(), ["w"]).select("w").count(),
        [2, 1, 2, 0],
        f"{API}ee-imagecollection-linkcollection",
    ),
    Program(
        "a match by another property",
        lambda: (
            image("day1")
            .linkCollection(others().map(lambda one: one.set("cloud", 30)), ["w"], matchPropertyName="cloud")
            .bandNames()
        ),
        ["v", "q", "w"],
        LINK,
    ),
]
