"""The STAC item of a map: where it lies, what its codes mean, which network and images it is of, under which terms.

Plain JSON, so that nothing has to be installed. Source: STAC 1.1.0 item specification; extensions projection 2.0.0,
raster 2.0.0, classification 2.0.0, file 2.1.0 and processing 1.2.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ...pipeline.raster.class_map import PROBABILITY_STEPS, UNKNOWN_PROBABILITY
from ...pipeline.spec.sources import Source
from ..area.class_map import sha256_of_file
from ..area.ellipsoid import Grid
from .record import MapRecord

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0", "file/v2.1.0", "processing/v1.2.0")
)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
COPERNICUS_TERMS = (
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    "Terms of Copernicus Sentinel data",
)
CC_BY = ("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0, of the labels that the network was trained on")

_EDGE_POINTS = 21
"""Points on each side of the outline: straight in the map's CRS is curved in degrees."""


def item_of(record: MapRecord) -> bytes:
    """A STAC item as JSON in UTF-8; its assets are the files that lie beside the map now."""
    outline = footprint(record.grid)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": record.path.stem,
        "geometry": shapely.geometry.mapping(outline),
        "bbox": bbox_of(outline),
        "properties": _properties(record),
        "links": _links(record),
        "assets": _assets(record),
    }
    return (json.dumps(item, indent=1, ensure_ascii=False) + "\n").encode()


def _properties(record: MapRecord) -> dict[str, Any]:
    tags = record.tags
    content = tags.get("CONTENT", "Land cover")
    said = {
        "dwplus:map": record.stamp,
        "dwplus:run": record.run,
        "dwplus:model": tags.get("MODEL", ""),
        "dwplus:trained_on": tags.get("TRAINED_ON", ""),
        "dwplus:scenes": list(record.scenes),
        "dwplus:recipe": tags.get("RECIPE", ""),
        "dwplus:settings": tags.get("SETTINGS", ""),
        "dwplus:sandbox": record.sandbox,
    }
    return {
        "title": f"{content} {record.path.stem}{f' ({record.mark})' if record.mark else ''}",
        "description": " ".join(
            part
            for part in (
                record.sandbox,
                f"{content} by a network. Counts of pixels are biased estimates of area.",
            )
            if part
        ),
        **_when(record.days),
        "license": "other",
        "attribution": attribution(record),
        **_projection(record.grid),
        "processing:software": {"dwplus": tags.get("DWPLUS", "")},
        **{key: value for key, value in said.items() if value},
    }


def _when(days: tuple[date, date] | None) -> dict[str, str | None]:
    if days is None:
        # The specification wants a date; nothing is known but that it is of Sentinel-2's time.
        return {
            "datetime": None,
            "start_datetime": "2015-06-23T00:00:00Z",
            "end_datetime": "2099-12-31T00:00:00Z",
        }
    first, last = days
    if first == last:
        return {"datetime": f"{first.isoformat()}T00:00:00Z"}
    return {
        "datetime": None,
        "start_datetime": f"{first.isoformat()}T00:00:00Z",
        "end_datetime": f"{last.isoformat()}T23:59:59Z",
    }


def _projection(grid: Grid) -> dict[str, Any]:
    authority = grid.crs.to_authority()
    named: dict[str, Any] = (
        {"proj:code": ":".join(authority)} if authority else {"proj:code": None, "proj:wkt2": grid.crs.to_wkt()}
    )
    return {**named, "proj:shape": [grid.height, grid.width], "proj:transform": list(tuple(grid.transform)[:6])}


def attribution(record: MapRecord) -> str:
    """What has to be said where the map is shown: of the images, and of what the network was trained on."""
    source = Source.of(record.tags.get("TRAINED_ON", ""))
    years = "" if record.days is None else _years(*record.days)
    real = record.tags.get("LICENCE", f"Contains modified Copernicus Sentinel data {years}")
    images = "" if record.synthetic_pixels else real
    terms = source.licence.format(years="").replace("  ", " ").replace(" ;", ";")
    return "; ".join(part.strip() for part in (images, f"network trained on: {terms}") if part)


def _years(first: date, last: date) -> str:
    return str(first.year) if first.year == last.year else f"{first.year}-{last.year}"


def _links(record: MapRecord) -> list[dict[str, str]]:
    source = Source.of(record.tags.get("TRAINED_ON", ""))
    terms = [COPERNICUS_TERMS] if not record.synthetic_pixels or not source.synthetic else []
    terms += [CC_BY] if not source.synthetic and not source.added else []
    return [{"rel": "license", "href": href, "title": title, "type": "text/html"} for href, title in terms]


def _assets(record: MapRecord) -> dict[str, Any]:
    path, classes = record.path, record.classes
    legend = [
        {"value": one.code, "name": one.name, "title": one.title, "description": one.title, "color_hint": one.colour}
        for one in classes
    ]
    nodata = (
        []
        if record.nodata is None
        else [{"value": record.nodata, "name": "nodata", "title": "No data", "description": "No data", "nodata": True}]
    )
    gsd = abs(record.grid.transform.a)
    assets: dict[str, Any] = {
        "map": {
            **_file(path, COG, "Classes of land cover", ("data",)),
            "data_type": "uint8",
            **({} if record.nodata is None else {"nodata": record.nodata}),
            "raster:spatial_resolution": gsd,
            "raster:sampling": "area",
            "classification:classes": [*nodata, *legend],
        }
    }
    percent = {"data_type": "uint8", "nodata": 255, "unit": "%", "raster:spatial_resolution": gsd}
    number = {"data_type": "uint8", "nodata": 255, "raster:spatial_resolution": gsd}
    others: tuple[tuple[str, str, str, str, tuple[str, ...], Mapping[str, Any]], ...] = (
        ("confidence", ".confidence.tif", COG, "Probability of the class", ("data",), percent),
        ("outside", ".outside.tif", COG, "Bands outside the training range", ("data",), number),
        ("probabilities", ".probabilities.tif", COG, "Probability of each class", ("data",), _probabilities(record)),
        ("names", f"{path.suffix}.aux.xml", "application/xml", "Names and attribute table of GDAL", ("metadata",), {}),
        ("page", ".html", "text/html", "Page with an overview", ("overview",), {}),
        ("style", ".qml", "application/xml", "Style of QGIS", ("metadata",), {}),
    )
    for key, ending, kind, title, roles, more in others:
        if record.beside(ending).is_file():
            assets[key] = {**_file(record.beside(ending), kind, title, roles), **more}
    return assets


def _probabilities(record: MapRecord) -> dict[str, Any]:
    return {
        "data_type": "uint8",
        "nodata": UNKNOWN_PROBABILITY,
        "raster:scale": 1 / PROBABILITY_STEPS,
        "raster:spatial_resolution": abs(record.grid.transform.a),
        "bands": [{"name": one.name, "description": f"Probability of {one.title}"} for one in record.classes],
    }


def _file(path: Path, kind: str, title: str, roles: tuple[str, ...]) -> dict[str, Any]:
    # A multihash: 12 = SHA-256, 20 = 32 bytes.
    checksum = f"1220{sha256_of_file(path)}"
    return {
        "href": f"./{path.name}",
        "type": kind,
        "title": title,
        "roles": list(roles),
        "file:size": path.stat().st_size,
        "file:checksum": checksum,
    }


# --- where it lies ----------------------------------------------------------------------------------------------------


def footprint(grid: Grid) -> shapely.Polygon | shapely.MultiPolygon:
    """Outline of a grid in longitude and latitude on WGS 84, counter-clockwise; in two parts over the date line.

    Source: RFC 7946, 3.1.6 and 3.1.9.
    """
    steps = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    # Down the left side, along the bottom, up, and back along the top.
    rows = np.concatenate([steps, one, 1 - steps, zero]) * grid.height
    columns = np.concatenate([zero, steps, one, 1 - steps]) * grid.width
    lon, lat = grid.to_degrees.transform(*grid.place(rows, columns))
    lon = np.unwrap(lon, period=360)
    whole = shapely.Polygon(np.round(np.stack([lon, lat], axis=1), 7))
    parts = []
    for turn in (-360, 0, 360):
        part = shapely.intersection(whole, shapely.box(-180 + turn, -90, 180 + turn, 90))
        if part.area:
            parts.append(shapely.transform(part, lambda xy, turn=turn: xy - (turn, 0)))
    oriented = [shapely.geometry.polygon.orient(part) for part in parts]
    return oriented[0] if len(oriented) == 1 else shapely.MultiPolygon(oriented)


def bbox_of(outline: shapely.Polygon | shapely.MultiPolygon) -> list[float]:
    """West, south, east, north; over the date line, west is greater than east (RFC 7946, 5.2)."""
    if isinstance(outline, shapely.Polygon):
        return [float(number) for number in outline.bounds]
    bounds = np.array([part.bounds for part in outline.geoms])
    west, east = bounds[bounds[:, 0] > 0, 0].min(), bounds[bounds[:, 2] < 0, 2].max()
    return [float(west), float(bounds[:, 1].min()), float(east), float(bounds[:, 3].max())]
