"""Arithmetic: what functions give of pixels, bands and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ee
import numpy as np

from support import conformity_scenes as scenes
from support.conformity.program import API, OURS, SIGNATURES, Program, image
from support.conformity_scenes import NIR, RED, ROW


def arithmetic(name: str, expected: list[Any], program: Callable[[], Any]) -> Program:
    return Program(name, program, expected, SIGNATURES)


PROGRAMS = [
    arithmetic("add", [3, 13, 33, 73], lambda: image().add(3)),
    arithmetic("subtract goes below zero", [-30, -20, 0, 40], lambda: image().subtract(30)),
    arithmetic("multiply leaves 16 bits", [0, 100_000, 300_000, 700_000], lambda: image().multiply(10_000)),
    arithmetic("integers divide to fractions", [0, 2.5, 7.5, 17.5], lambda: image().divide(4)),
    arithmetic("division by zero is zero", [0, 0, 0, 0], lambda: image().divide(0)),
    arithmetic("gt", [0, 0, 1, 1], lambda: image().gt(10)),
    arithmetic("gte", [0, 1, 1, 1], lambda: image().gte(10)),
    arithmetic("lt", [1, 0, 0, 0], lambda: image().lt(10)),
    arithmetic("lte", [1, 1, 0, 0], lambda: image().lte(10)),
    arithmetic("eq", [0, 1, 0, 0], lambda: image().eq(10)),
    arithmetic("neq", [1, 0, 1, 1], lambda: image().neq(10)),
    arithmetic("and", [0, 0, 1, 1], lambda: image().And(image().gt(10))),
    arithmetic("or", [1, 1, 1, 1], lambda: image().Or(image().eq(0))),
    arithmetic("not", [1, 0, 0, 0], lambda: image().Not()),
    arithmetic("bitwiseAnd", (ROW & 6)[0].tolist(), lambda: image().bitwiseAnd(6)),
    arithmetic("abs", [2.7, 0.5, 0.5, 300.4], lambda: image("signed").abs()),
    arithmetic("floor", [-3, -1, 0, 300], lambda: image("signed").floor()),
    arithmetic("ceil", [-2, 0, 1, 301], lambda: image("signed").ceil()),
    arithmetic("round", [-3, 0, 1, 300], lambda: image("signed").round()),
    arithmetic("log10", [0, 1, np.log10(30), np.log10(70)], lambda: image().log10()),
    arithmetic("a cast to bytes cuts off and stays within", [0, 0, 0, 255], lambda: image("signed").toUint8()),
    arithmetic("a cast to integers cuts off towards zero", [-2, 0, 0, 300], lambda: image("signed").toInt16()),
    arithmetic("a cast after rounding", [-3, 0, 1, 300], lambda: image("signed").round().toInt()),
    arithmetic("a cast to float", np.float32(scenes.SIGNED)[0].tolist(), lambda: image("signed").toFloat()),
    arithmetic("a cast to unsigned 16 bits", [0, 0, 150, 65535], lambda: image("signed").multiply(300).toUint16()),
    Program(
        "bands pair by name whatever their order",
        lambda: image("land").select(["red", "nir"]).subtract(image("land").select(["nir", "red"])),
        {"red": [0] * 4, "nir": [0] * 4},
        SIGNATURES,
    ),
    Program(
        "bands of other names pair in order",
        lambda: image("land").select(["red", "nir"]).add(ee.Image([1, 2])),
        {"red": (RED + 1)[0], "nir": (NIR + 2)[0]},
        SIGNATURES,
    ),
    Program(
        "one band goes with all of the longer image, whose names stay",
        lambda: ee.Image(1).add(image("land").select(["red", "nir"])),
        {"red": (RED + 1)[0], "nir": (NIR + 1)[0]},
        SIGNATURES,
    ),
    Program(
        "normalizedDifference, and nothing where a band is below zero",
        lambda: image("land").normalizedDifference(["nir", "red"]),
        {"nd": [0.5, -0.5, 0, 0]},
        f"{API}ee-image-normalizeddifference",
    ),
    Program(
        "normalizedDifference masks what is below zero",
        lambda: image("land").normalizedDifference(["nir", "red"]).mask(),
        {"nd": [1, 1, 1, 0]},
        f"{API}ee-image-normalizeddifference",
    ),
    Program(
        "normalizedDifference forgets the properties",
        lambda: image("land").normalizedDifference(["nir", "red"]).toDictionary(),
        {},
        f"{API}ee-image-normalizeddifference",
    ),
    Program("where", lambda: image().where(image().gt(10), 5), [0, 10, 5, 5], f"{API}ee-image-where"),
    Program(
        "where a test or a value is masked the input stays",
        lambda: image().where(image("gap").gte(0), image("gap").add(1).updateMask(image().neq(30))),
        [1, 10, 30, 71],
        f"{API}ee-image-where",
    ),
    Program(
        "where the input is masked nothing is done",
        lambda: image("gap").where(1, 5).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-where",
    ),
    Program(
        "remap with a default",
        lambda: image("land").remap([4, 5], [1, 2], 0, "SCL"),
        {"remapped": [1, 0, 0, 2]},
        f"{API}ee-image-remap",
    ),
    Program(
        "remap masks what is not listed",
        lambda: image("land").remap([4, 5], [1, 2], None, "SCL").mask(),
        {"remapped": [1, 0, 0, 1]},
        f"{API}ee-image-remap",
    ),
    Program(
        "addBands numbers a name that is taken",
        lambda: image().addBands(image().add(1)).bandNames(),
        ["b", "b_1"],
        OURS,
    ),
    Program(
        "addBands may overwrite",
        lambda: image().addBands(image().add(1), None, True),
        {"b": [1, 11, 31, 71]},
        f"{API}ee-image-addbands",
    ),
    Program(
        "addBands of some bands",
        lambda: image().addBands(image("land"), ["nir"]).bandNames(),
        ["b", "nir"],
        f"{API}ee-image-addbands",
    ),
]
