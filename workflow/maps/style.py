"""The style that QGIS loads with a map: ``town.qml`` beside ``town.tif``, a paletted renderer with names and colours.

Source: QGIS, ``QgsPalettedRasterRenderer::create`` and ``QgsMapLayer::loadDefaultStyle`` (a layer looks for its own
name with the ending ``.qml``).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from .record import MapClass

_DOCTYPE = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def style_of(classes: Iterable[MapClass], note: str = "", *, nodata: int = 0, stamp: str = "") -> bytes:
    """A QGIS layer style, XML in UTF-8.

    Args:
        classes: each an entry of the legend.
        note: first line of the legend, such as a sentence about SANDBOX; empty = none.
        nodata: code of pixels without a class; it has no colour, so that the note can stand on it.
        stamp: of the map, a comment of the file.
    """
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology", hasScaleBasedVisibilityFlag="0")
    root.append(ElementTree.Comment(f" {stamp} "))
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    if note:
        ElementTree.SubElement(palette, "paletteEntry", value=str(nodata), color="#000000", alpha="0", label=note)
    for one in classes:
        entry = {"value": str(one.code), "color": f"#{one.colour}", "alpha": "255", "label": one.title}
        ElementTree.SubElement(palette, "paletteEntry", entry)
    ElementTree.SubElement(pipe, "rasterresampler")
    ElementTree.SubElement(root, "blendMode").text = "0"
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8")
    return _DOCTYPE + content + b"\n"
