"""How QGIS shows a review when it is opened: styles kept in the GeoPackage, in the table ``layer_styles``.

Regions are filled in the colour of the class that the network predicts, an entry of the legend each; tiles are lines.
Source: QGIS, ``QgsOgrProviderMetadata::saveStyle`` (the table), ``QgsCategorizedSymbolRenderer::create`` (the style).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

from ...pipeline.spec.classes import ClassTable

_TABLE = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT CURRENT_TIMESTAMP
)"""
_FIXED_TIME = "2020-01-01T00:00:00Z"
"""Of the rows: the same review is the same rows on any day."""


def regions_style(classes: ClassTable) -> str:
    """QML of the regions: a category for each class that can be predicted."""
    root, renderer = _renderer("categorizedSymbol", {"attr": "predicted"})
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, one in enumerate(classes.classes):
        label = f"network says {one.title}"
        entry = {"symbol": str(number), "value": one.name, "label": label, "render": "true", "type": "string"}
        ElementTree.SubElement(categories, "category", entry)
        red, green, blue = one.rgb
        _fill(symbols, number, color=f"{red},{green},{blue},90", outline_color=f"{red},{green},{blue},255")
    return _text(root)


def tiles_style() -> str:
    """QML of the tiles: outlines."""
    root, renderer = _renderer("singleSymbol", {})
    _fill(ElementTree.SubElement(renderer, "symbols"), 0, color="0,0,0,0", outline_color="60,60,60,255")
    return _text(root)


def _renderer(kind: str, settings: dict[str, str]) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    settings = {"type": kind, "symbollevels": "0", "enableorderby": "0", **settings}
    renderer = ElementTree.SubElement(root, "renderer-v2", settings)
    return root, renderer


def _fill(symbols: ElementTree.Element, number: int, *, color: str, outline_color: str) -> None:
    symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
    layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    more = {"outline_width": "0.5", "outline_width_unit": "MM", "outline_style": "solid", "style": "solid"}
    for key, value in {"color": color, "outline_color": outline_color, **more}.items():
        ElementTree.SubElement(layer, "prop", {"k": key, "v": value})


def _text(root: ElementTree.Element) -> str:
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ElementTree.tostring(root, encoding="unicode")


def add_styles(geopackage: Path, styles: Mapping[str, str]) -> None:
    """Keep styles in a GeoPackage, each as the default of its layer.

    Args:
        styles: layer -> QML.
    """
    with closing(sqlite3.connect(geopackage)) as file, file:
        geometry = dict(file.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall())
        file.execute(_TABLE)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 'styles of QGIS', ?, 0)",
            [_FIXED_TIME],
        )
        file.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, useAsDefault, description, owner, ui, update_time) "
            "VALUES ('', '', ?, ?, 'review', ?, '', 1, '', '', '', ?)",
            [(layer, geometry[layer], qml, _FIXED_TIME) for layer, qml in styles.items()],
        )
