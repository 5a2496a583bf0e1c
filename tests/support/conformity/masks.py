"""Masks: where pixels are masked, and what becomes of them."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np

from support.conformity.program import (
    API,
    IN_DEGREES,
    IN_MERCATOR,
    IN_ZONE_32,
    MASKING,
    PROJECTIONS,
    SIGNATURES,
    SOUTH,
    SOUTH_32,
    SOUTH_AS_NORTH,
    SOUTH_HOME,
    Program,
    beyond,
    grid,
    image,
    seen_from,
)
from support.conformity_scenes import CLASSES, RED, SOUTH_ZONE, ZONE, X, Y

PROGRAMS = [
    Program("a masked pixel takes the fill value", lambda: image("gap"), [0, 0, 30, 70], f"{API}ee-data-computepixels"),
    Program("so does what lies outside", lambda: image(), [70, 0, 0, 0], f"{API}ee-data-computepixels", grid(cols=3)),
    Program("the mask as an image", lambda: image("gap").mask(), [1, 0, 1, 1], f"{API}ee-image-mask"),
    Program("unmask", lambda: image("gap").unmask(7), [0, 7, 30, 70], f"{API}ee-image-unmask"),
    Program("unmask without a value", lambda: image("gap").add(1).unmask(), [1, 0, 31, 71], f"{API}ee-image-unmask"),
    Program(
        "unmask keeps to the footprint",
        lambda: image("gap").unmask(7),
        [0, 0, 7, 30],
        f"{API}ee-image-unmask",
        grid(cols=-1),
    ),
    Program(
        "unmask beyond the footprint",
        lambda: image("gap").unmask(7, False),
        [7, 0, 7, 30],
        f"{API}ee-image-unmask",
        grid(cols=-1),
    ),
    Program(
        "unmask with another image's mask",
        lambda: image("gap").unmask(image().add(5).updateMask(0)).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-unmask",
    ),
    Program("updateMask", lambda: image().updateMask(image().gt(10)), [0, 0, 30, 70], f"{API}ee-image-updatemask"),
    Program(
        "updateMask brings nothing to life",
        lambda: image("gap").updateMask(1).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-updatemask",
    ),
    Program("selfMask", lambda: image().selfMask().mask(), [0, 1, 1, 1], f"{API}ee-image-selfmask"),
    Program(
        "a mask that is set shows zeros", lambda: image("gap").add(1).mask(1), [1, 0, 31, 71], f"{API}ee-image-mask"
    ),
    Program(
        "a mask that is set", lambda: image("gap").mask(image().lt(30)).mask(), [1, 1, 0, 0], f"{API}ee-image-mask"
    ),
    Program("an image of nothing is masked", lambda: ee.Image().mask(), [0] * 4, SIGNATURES),
    Program("masks travel through sums", lambda: image().add(image("gap")).mask(), [1, 0, 1, 1], MASKING),
    Program(
        "one mask for all bands",
        lambda: image("land").select(["red", "nir"]).updateMask(image().gt(0)),
        {"red": [0, 300, 0, 50], "nir": [0, 100, 0, -50]},
        f"{API}ee-image-updatemask",
    ),
    *(
        Program(
            f"a part of the ground, {name}",
            lambda index=index: image(index).mask(),
            seen_from(beyond(shape), *home),
            PROJECTIONS,
            beyond(shape),
        )
        for name, index, shape, home in (
            ("in another zone", "hill", IN_ZONE_32, (ZONE, (X, Y))),
            ("in degrees", "hill", IN_DEGREES, (ZONE, (X, Y))),
            ("in Mercator", "hill", IN_MERCATOR, (ZONE, (X, Y))),
            ("at home in the south", "south", SOUTH_HOME, (SOUTH_ZONE, SOUTH)),
            ("in another southern zone", "south", SOUTH_32, (SOUTH_ZONE, SOUTH)),
            ("in a northern zone from the south", "south", SOUTH_AS_NORTH, (SOUTH_ZONE, SOUTH)),
        )
    ),
    Program("clip", lambda: image().clip(left_half()), [0, 10, 0, 0], f"{API}ee-image-clip"),
    Program(
        "clouds of the scene classification",
        lambda: image("land").select("red").updateMask(image("land").select("SCL").neq(9)).unmask(-1, False),
        np.where(CLASSES == 9, -1, RED)[0],
        "https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    ),
    Program(
        "clouds and cirrus of the quality bits",
        lambda: clear_of_bits(),
        [100, 0, 0, 0],
        "https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    ),
]


def left_half() -> Any:
    return ee.Geometry.Rectangle([X, Y - 100, X + 24, Y + 100], proj=ZONE, geodesic=False)


def clear_of_bits() -> Any:
    quality = image("land").select("QA60")
    clear = quality.bitwiseAnd(1 << 10).eq(0).And(quality.bitwiseAnd(1 << 11).eq(0))
    return image("land").select("red").updateMask(clear)
