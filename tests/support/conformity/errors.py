"""Errors: what is refused, with which code and words."""

from __future__ import annotations

import ee

from support.conformity.program import (
    API,
    DEBUGGING,
    OURS,
    Program,
    Refused,
    Shape,
    empty,
    everything,
    grid,
    here,
    image,
)
from support.conformity_scenes import ZONE, X, Y

WHOLE: Shape = (ZONE, (10.0, 0.0, X, 0.0, -10.0, Y), 4096, 4096)

PROGRAMS = [
    Program(
        "more than 48 MiB",
        lambda: ee.Image([0, 0]).toUint16(),
        Refused(400, "Total request size (67108864 bytes) must be less than or equal to 50331648 bytes."),
        f"{API}ee-data-computepixels",
        WHOLE,
    ),
    Program("just 48 MiB", lambda: ee.Image([1, 1, 1]).toUint8(), "48 MiB", f"{API}ee-data-computepixels", WHOLE),
    Program(
        "a side of 32,769 pixels",
        lambda: ee.Image(0).toUint8(),
        Refused(400, "Pixel grid dimensions (32769x1) must be less than or equal to 32768."),
        f"{API}ee-data-computepixels",
        grid(32_769, 1),
    ),
    Program(
        "1,025 bands",
        lambda: ee.Image.constant([0] * 1025).toUint8(),
        Refused(400, "(1025) must be less than or equal to 1024"),
        f"{API}ee-data-computepixels",
    ),
    Program(
        "a request of more than 10 MiB",
        lambda: ee.List(["x" * 11_000_000]),
        Refused(400, "Request payload size exceeds the limit: 10485760 bytes."),
        "https://github.com/gee-community/geemap/issues/1092",
    ),
    Program(
        "a band that is not there",
        lambda: image().select("B4").bandNames(),
        Refused(400, "Band pattern 'B4' did not match any bands. Available bands: [b]"),
        DEBUGGING,
    ),
    Program(
        "a band of the first of nothing",
        lambda: ee.Image(empty().first()).select("b").bandNames(),
        Refused(400, "Image.select: Parameter 'input' is required and may not be null."),
        DEBUGGING,
    ),
    Program(
        "a band of the mean of nothing",
        lambda: empty().mean().select("b").bandNames(),
        Refused(400, "Band pattern 'b' was applied to an Image with no bands"),
        f"{DEBUGGING}#no-bands",
    ),
    Program(
        "an image that is not there",
        lambda: image("missing").bandNames(),
        Refused(400, "Image.load: Image asset"),
        DEBUGGING,
    ),
    Program(
        "images of different bands",
        lambda: everything().filterBounds(here()).mean().bandNames(),
        Refused(400, "Expected a homogeneous image collection"),
        DEBUGGING,
    ),
    Program(
        "a text for a number",
        lambda: ee.Image.constant(ee.String("x")).bandNames(),
        Refused(400, "Image.constant"),
        DEBUGGING,
    ),
    Program(
        "bits of fractions",
        lambda: image("signed").bitwiseAnd(1).bandNames(),
        Refused(400, "Bitwise operands must be integers"),
        OURS,
    ),
    Program(
        "known but not built",
        lambda: image().entropy(ee.Kernel.square(1)),
        Refused(501, "is not implemented by the local Earth Engine"),
        OURS,
    ),
]
