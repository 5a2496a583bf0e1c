"""What a finished map says about itself, also one of an earlier version."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.errors import DataError
from dwplus.workflow.maps.record import read_map
from support.own_tiles import own_tile, write_raster
from support.small_maps import write_map

CODES = np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8)


def test_a_map_says_its_classes_with_titles_colours_and_pixels(tmp_path: Path) -> None:
    record = read_map(write_map(tmp_path / "town.tif", CODES))

    counted = {one.title: one.pixels for one in record.classes if one.pixels}
    assert counted == {"Water": 2, "Trees": 2, "Built area": 1}
    assert (record.classes[0].colour, record.unmapped, record.nodata) == ("419bdf", 1, 0)
    assert (record.run, record.days) == ("feedfeedfeedfeed", (date(2024, 7, 3), date(2024, 7, 3)))
    assert record.beside(".qml") == tmp_path / "town.qml"
    assert (record.mark, record.sandbox) == ("", "")


def test_a_map_without_attribute_table_is_counted(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", CODES)
    (tmp_path / "town.tif.aux.xml").unlink()

    record = read_map(path)

    assert [(one.title, one.pixels) for one in record.classes[:2]] == [("water", 2), ("trees", 2)]


def test_days_of_an_earlier_version_stand_with_the_images(tmp_path: Path) -> None:
    record = read_map(write_map(tmp_path / "town.tif", CODES, tags={"DATE": "", "RUN": ""}))

    assert record.days == (date(2024, 7, 3), date(2024, 7, 3))
    assert record.run == ""


def test_scenes_of_earth_engine_are_images_too(tmp_path: Path) -> None:
    said = {"DATE": "", "IMAGES": "", "S2_DAYS": "2024-07-08, 2024-07-03", "S2_SCENES": "20240708T1 20240703T2"}

    record = read_map(write_map(tmp_path / "town.tif", CODES, tags=said))

    assert record.days == (date(2024, 7, 3), date(2024, 7, 8))
    assert record.scenes == ("20240708T1", "20240703T2")


def test_a_map_of_a_network_of_the_sandbox_says_so(tmp_path: Path) -> None:
    said = {"TRAINED_ON": "SANDBOX", "SANDBOX": "the network was trained on synthetic pixels"}

    record = read_map(write_map(tmp_path / "town.tif", CODES, tags=said))

    assert record.mark == "SANDBOX"
    assert record.sandbox.startswith("SANDBOX: the network was trained on synthetic pixels.")


def test_another_raster_is_no_map(tmp_path: Path) -> None:
    other = write_raster(tmp_path / "other.tif", CODES[None], own_tile().affine)

    with pytest.raises(DataError, match=r"other.tif is no map of 'dwplus predict'"):
        read_map(other)
    with pytest.raises(DataError, match=r"none.tif does not exist"):
        read_map(tmp_path / "none.tif")
