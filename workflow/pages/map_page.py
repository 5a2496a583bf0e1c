"""The page beside a map: ``town.html``, one file that works offline, with pictures and program inside it.

Layers (classes, confidence, true colour, VV) lie over each other; legend, opacity, split view, pan and zoom are a short
program of this folder (``map.js``). What it shows is an overview; the map itself is the GeoTIFF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from ...model.training_range import NO_DATA
from ...pipeline.spec.version import __version__
from ...pipeline.spec.words import count_of
from ..area.class_map import open_map, take_census
from ..maps import overview
from ..maps.item import attribution
from ..maps.overview import Looks, Rgb
from ..maps.record import MapRecord
from .html import embed, render

NODES = 9
"""Places along each side of a map whose longitude and latitude the page knows; between them it interpolates."""


@dataclass(frozen=True)
class Layer:
    """A picture of the page.

    Attributes:
        key: in the program.
        title: for people.
        picture: as a URL that holds it.
        alternative: what is seen, in words.
        values: of a picture of values: colour ``rrggbb`` -> what it means; empty for photographs.
    """

    key: str
    title: str
    picture: str
    alternative: str
    values: Mapping[str, str]


def map_page(record: MapRecord, looks: Looks) -> bytes:
    """The page of a map, UTF-8.

    Args:
        looks: of the image that was mapped; layers that it lacks are left out.

    Raises:
        DataError: the map is damaged.
    """
    colours = overview.unique_colours({one.code: one.rgb for one in record.classes})
    layers = layers_of(record, looks, colours)
    rows, columns = overview.size_of((record.grid.height, record.grid.width))
    census = take_census(open_map(record.path), None)
    mapped = sum(one.pixels for one in record.classes)
    data = {
        "width": columns,
        "height": rows,
        "metres": abs(record.grid.transform.a) * record.grid.width / columns if record.grid.crs.is_projected else 0,
        "nodes": nodes_of(record),
        "values": {layer.key: layer.values for layer in layers if layer.values},
    }
    return render(
        "map.html.j2",
        {
            "record": record,
            "layers": layers,
            "classes": [
                {
                    "one": one,
                    "colour": _hex(colours[one.code]),
                    "share": one.pixels / mapped if mapped else None,
                    "hectares": census.classes.get(one.code, (0, 0.0))[1],
                }
                for one in record.classes
            ],
            "unmapped": census.unmapped,
            "outside_stops": [_hex(stop) for stop in overview.OUTSIDE_STOPS],
            "confidence_stops": [_hex(stop) for stop in overview.CONFIDENCE_STOPS],
            "attribution": attribution(record),
            "days": _days(record),
            "images": record.tags.get("RECIPE", "").split(";")[0],
            "version": __version__,
            "data": _for_script(data),
            "map_style": _text("map.css"),
            "script": _text("map.js"),
        },
    )


def layers_of(record: MapRecord, looks: Looks, colours: Mapping[int, Rgb]) -> list[Layer]:
    """Layers, the first on top."""
    names = {_hex(colours[one.code]): one.title for one in record.classes}
    largest = sorted((one for one in record.classes if one.pixels), key=lambda one: -one.pixels)[:3]
    shown = ", ".join(one.title.lower() for one in largest) or "no class at all"
    codes = overview.codes_overview(record.path)
    found = [Layer("classes", "Classes", embed(overview.png_of(codes, colours)), f"Land cover, mostly {shown}", names)]
    confidence = record.beside(".confidence.tif")
    if confidence.is_file():
        scale = overview.confidence_colours()
        picture = overview.png_of(overview.confidence_overview(confidence), scale)
        meaning = {_hex(rgb): f"{value} %" for value, rgb in scale.items()}
        words = "Probability of the class in each place, dark where it is low"
        found.append(Layer("confidence", "Confidence", embed(picture), words, meaning))
    outside = record.beside(".outside.tif")
    if outside.is_file():
        counts = overview.outside_overview(outside)
        scale = overview.outside_colours(int(counts[counts < NO_DATA].max(initial=1)))
        meaning = {_hex(rgb): count_of(value, "band") for value, rgb in scale.items()}
        words = "Places where bands have values that the training pixels do not have, dark where many do"
        found.append(Layer("outside", "Outside training range", embed(overview.png_of(counts, scale)), words, meaning))
    return found + _photographs(looks)


def _photographs(looks: Looks) -> list[Layer]:
    from .pixels import backscatter, true_colour

    found = []
    if looks.colour is not None:
        picture = _jpeg_url(overview.jpeg_of(true_colour(looks.colour)))
        found.append(Layer("colour", "True colour", picture, "The Sentinel-2 image in true colour", {}))
    if looks.vv is not None:
        picture = _jpeg_url(overview.jpeg_of(backscatter(looks.vv)))
        found.append(Layer("vv", "Radar (VV)", picture, "Sentinel-1 VV, black at -25 dB, white at 0 dB", {}))
    return found


def nodes_of(record: MapRecord) -> list[list[list[float]]]:
    """Longitude and latitude of ``NODES`` x ``NODES`` places, from the upper left to the lower right corner."""
    rows = np.linspace(0, record.grid.height, NODES)[:, None] + np.zeros(NODES)
    columns = np.linspace(0, record.grid.width, NODES)[None, :] + np.zeros((NODES, 1))
    lon, lat = record.grid.to_degrees.transform(*record.grid.place(rows, columns))
    lon = np.unwrap(np.unwrap(lon, period=360, axis=0), period=360, axis=1)
    found: list[list[list[float]]] = np.stack([lon, lat], axis=-1).round(6).tolist()
    return found


def _days(record: MapRecord) -> str:
    if record.days is None:
        return "on a day that is not known"
    first, last = (f"{day.day} {day:%B %Y}" for day in record.days)
    return f"on {first}" if first == last else f"from {first} to {last}"


def _hex(rgb: Rgb) -> str:
    return "".join(f"{part:02x}" for part in rgb)


def _jpeg_url(jpeg: bytes) -> str:
    return embed(jpeg).replace("image/png", "image/jpeg", 1)


def _for_script(value: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
