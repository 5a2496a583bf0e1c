"""Conformity: the local Earth Engine gives what Earth Engine's documentation says; one server answers all programs.

The programs are rows of ``support/conformity``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from support import conformity_scenes as scenes
from support.conformity import programs
from support.conformity.program import Program, Refused, Shape
from support.local_ee_client import connect

PROGRAMS = programs()


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    planet = {"kind": "python", "file": str(Path(scenes.__file__)), "function": "world"}
    with LocalEarthEngine(planet, workers=1) as running:
        connect(running)
        ee.data.setMaxRetries(0)  # the client would ask again after a 501, as after every 5xx
        yield running
        ee.data.setMaxRetries(5)
        ee.Reset()


def pixels_of(made: Any, shape: Shape) -> Any:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    crs, affine, width, height = shape
    wanted = {
        "crsCode": crs,
        "affineTransform": dict(zip(names, affine, strict=True)),
        "dimensions": {"width": width, "height": height},
    }
    return ee.data.computePixels({"expression": made, "fileFormat": "NUMPY_NDARRAY", "grid": wanted})


def answer(program: Program) -> Any:
    made = program.run()
    if isinstance(made, ee.Image):
        return pixels_of(made, program.grid)
    return made.getInfo() if isinstance(made, ee.ComputedObject) else made


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_gives_what_earth_engine_documents(program: Program, engine: LocalEarthEngine) -> None:
    if isinstance(program.expected, Refused):
        with pytest.raises(ee.EEException) as caught:
            answer(program)
        assert program.expected.words in str(caught.value)
        assert caught.value.__context__.resp.status == program.expected.code
        return

    found = answer(program)

    if not isinstance(found, np.ndarray):
        assert found == (pytest.approx(program.expected) if isinstance(program.expected, float) else program.expected)
    elif isinstance(program.expected, str):
        assert found.nbytes == 48 * 2**20
    else:
        expected = program.expected if isinstance(program.expected, dict) else {found.dtype.names[0]: program.expected}
        assert list(found.dtype.names) == list(expected)
        for name, wanted in expected.items():
            assert np.abs(found[name] - np.asarray(wanted, dtype=float)).max() <= program.within, name


def test_every_program_has_a_name_of_its_own_and_a_source() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 220
    assert all(program.source for program in PROGRAMS)
