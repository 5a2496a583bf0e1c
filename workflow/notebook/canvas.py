"""A geemap map to draw on: pictures, outlines, legends, a slider and words. The only file that knows geemap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...pipeline.errors import UsageError
from .pictures import Bounds, ClassLegend, Picture

_ROOM_PX = (700.0, 450.0)
"""Width and height in which the bounds of a map are shown."""

_MOST_ZOOM, _LEAST_ZOOM = 15, 1

# Tools that draw on Earth Engine's behalf are left out: they would have to sign in.
_QUIET = {
    "ee_initialize": False,
    "draw_ctrl": False,
    "search_ctrl": False,
    "measure_ctrl": False,
    "scale_ctrl": False,
    "toolbar_ctrl": False,
}


def geemap_or_refuse() -> Any:
    """The package geemap.

    Raises:
        UsageError: it is not installed, or cannot be imported.
    """
    try:
        import geemap
    except ImportError as error:
        raise UsageError(f"maps in a notebook need geemap ({error}); run: pip install 'dwplus[map]'") from None
    return geemap


def centre_and_zoom(bounds: Bounds) -> tuple[tuple[float, float], int]:
    """(lat, lon) of the middle of a map, and the zoom at which the bounds are seen as a whole.

    At zoom z the Earth's circumference has 256 * 2^z pixels of Web Mercator.
    """
    west, south, east, north = bounds
    upper, lower = (math.asinh(math.tan(math.radians(max(-85.0, min(85.0, lat))))) for lat in (north, south))
    middle = math.degrees(math.atan(math.sinh((upper + lower) / 2)))
    shares = ((east - west) / 360, (upper - lower) / (2 * math.pi))
    most = min(room / (256 * max(share, 1e-9)) for room, share in zip(_ROOM_PX, shares, strict=True))
    return (middle, (west + east) / 2), max(_LEAST_ZOOM, min(_MOST_ZOOM, math.floor(math.log2(most))))


class Canvas:
    """A map that is being drawn; ``map`` is what a notebook shows.

    Args:
        bounds: what it shows at first.
        options: of ``geemap.Map``, over those that are set here.

    Raises:
        UsageError: geemap is not installed.
    """

    def __init__(self, bounds: Bounds, options: Mapping[str, Any] | None = None) -> None:
        geemap = geemap_or_refuse()
        import ipyleaflet

        self._leaflet = ipyleaflet
        self._told: Any = None
        self._words = ""
        centre, zoom = centre_and_zoom(bounds)
        self.map: Any = geemap.Map(**{"center": list(centre), "zoom": zoom, **_QUIET, **(options or {})})
        self.map.add(ipyleaflet.LayersControl(position="topright"))

    def picture(self, picture: Picture, *, shown: bool = True) -> Any:
        """Add a picture."""
        west, south, east, north = picture.bounds
        layer = self._leaflet.ImageOverlay(
            url=picture.url, bounds=[(south, west), (north, east)], name=picture.name, visible=shown
        )
        self.map.add(layer)
        return layer

    def pictures(self, name: str, pictures: Sequence[Picture]) -> None:
        """Several pictures as one layer, which a map can show or not as a whole."""
        layers = []
        for one in pictures:
            west, south, east, north = one.bounds
            layers.append(self._leaflet.ImageOverlay(url=one.url, bounds=[(south, west), (north, east)], name=one.name))
        self.map.add(self._leaflet.LayerGroup(layers=tuple(layers), name=name))

    def outlines(self, name: str, geojson: dict[str, Any], colour: str, *, filled: bool = True) -> None:
        """Polygons in a colour; what is known of one is shown while the pointer is on it."""
        style = {"color": colour, "weight": 2, "fillColor": colour, "fillOpacity": 0.35 if filled else 0.0}
        layer = self._leaflet.GeoJSON(data=geojson, name=name, style=style, hover_style={"weight": 4})
        layer.on_hover(lambda properties, **_: self._tell(properties))
        self.map.add(layer)

    def earth_engine(self, image: Any, shown: Mapping[str, Any], name: str) -> None:
        """A layer that the connected Earth Engine computes."""
        self.map.add_layer(image, dict(shown), name)

    def legend(self, legend: ClassLegend, position: str = "bottomright") -> None:
        """Colours and what they mean; plain HTML, which a saved page shows too."""
        rows = "".join(
            f"<div><span style='display:inline-block;width:14px;height:14px;margin-right:6px;"
            f"background:{escape(colour)}'>"
            f"</span>{escape(title)}</div>"
            for title, colour in legend.entries
        )
        self._box(f"<b>{escape(legend.title)}</b>{rows}", position)

    def fade(self, layer: Any) -> None:
        """A slider from what lies below a picture (left) to the picture alone (right); works in saved pages too.

        ipyleaflet's split panel cuts tiled layers alone, and these are pictures.
        """
        import ipywidgets

        slider = ipywidgets.FloatSlider(
            value=layer.opacity, min=0.0, max=1.0, step=0.05, readout=False, layout={"width": "220px"}
        )
        ipywidgets.jslink((slider, "value"), (layer, "opacity"))
        self.map.add(self._leaflet.WidgetControl(widget=slider, position="topright"))

    def words(self, title: str, lines: Sequence[str] = (), *, mark: str = "") -> None:
        """What the map shows, in a corner; the mark (SANDBOX) first and large."""
        marked = f"<b style='color:#b58900;font-size:15px'>{escape(mark)}</b><br>" if mark else ""
        below = "".join(f"<br>{escape(line)}" for line in lines)
        self._told = self._box(f"{marked}<b>{escape(title)}</b>{below}", "bottomleft")
        self._words = self._told.value

    def _tell(self, properties: Mapping[str, Any] | None) -> None:
        """Say what is known of the tile under the pointer, below the words in the corner."""
        if self._told is not None:
            known = "<br>".join(f"{escape(str(k))}: {escape(str(v))}" for k, v in (properties or {}).items() if v != "")
            self._told.value = f"{self._words}<div style='padding:4px 8px'>{known}</div>"

    def _box(self, html: str, position: str) -> Any:
        import ipywidgets

        widget = ipywidgets.HTML(f"<div style='padding:4px 8px;line-height:1.35'>{html}</div>")
        self.map.add(self._leaflet.WidgetControl(widget=widget, position=position))
        return widget
