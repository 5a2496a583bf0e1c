"""The style that QGIS loads with a map, read as QGIS reads it."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from dwplus.workflow.maps.record import read_map
from dwplus.workflow.maps.style import style_of
from support.small_maps import write_map

CODES = np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8)


def entries(content: bytes) -> dict[int, tuple[str, str, str]]:
    """Value -> colour, label, alpha, by the names that ``QgsPalettedRasterRenderer::create`` looks for."""
    renderer = ElementTree.fromstring(content).find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    found = renderer.findall("colorPalette/paletteEntry")
    return {int(one.get("value")): (one.get("color"), one.get("label"), one.get("alpha")) for one in found}


def test_each_class_has_its_colour_and_its_title(tmp_path: Path) -> None:
    content = style_of(read_map(write_map(tmp_path / "town.tif", CODES)).classes)

    legend = entries(content)

    assert content.startswith(b"<!DOCTYPE qgis")
    assert list(legend) == list(range(1, 10))
    assert legend[1] == ("#419bdf", "Water", "255")


def test_a_note_stands_on_pixels_without_a_class(tmp_path: Path) -> None:
    legend = entries(style_of(read_map(write_map(tmp_path / "town.tif", CODES)).classes, "SANDBOX: & <synthetic>"))

    assert legend[0] == ("#000000", "SANDBOX: & <synthetic>", "0")
