"""Thumbnails: images that are announced first and fetched by name, the way ``Image.getDownloadURL`` goes.

An announcement is checked at once and kept under a name (``pending_downloads``); its pixels are computed when that name
is fetched. Only data formats are built, no pictures.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from ..evaluator.grid import RequestGrid
from ..evaluator.image import Band, Image
from ..refusal import Refusal, not_built
from ..scene import SceneSource
from .pixels import JSON, Answer, check_size, chosen_bands, geotiff, image_of_request, npy, render

MAX_BYTES = 33_554_432
MAX_SIDE_PX = 10_000
"""Source: https://developers.google.com/earth-engine/apidocs/ee-image-getdownloadurl"""

FORMATS = ("ZIPPED_GEO_TIFF", "ZIPPED_GEO_TIFF_PER_BAND", "GEO_TIFF", "NPY")


def announce(catalogue: SceneSource, body: dict[str, Any]) -> Answer:
    """Check an announcement: what cannot be downloaded is refused here, not later.

    Raises:
        Refusal: it cannot be computed, has no grid, or is too much.
    """
    _parts(catalogue, body)
    return Answer(200, JSON, b"{}")


def download(catalogue: SceneSource, body: dict[str, Any]) -> Answer:
    """The pixels of an announcement, in its format."""
    form = _format(body)
    image, parts = _parts(catalogue, body)
    pixels = [(name, render(catalogue, bands, grid), grid) for name, bands, grid in parts]
    if form == "NPY":
        return Answer(200, "application/octet-stream", npy(*pixels[0][1:]))
    if form == "GEO_TIFF":
        return Answer(200, "image/tiff", geotiff(*pixels[0][1:]))
    prefix = re.sub(
        r"[^\w.-]", "_", str(body.get("filenamePrefix") or image.properties.get("system:index") or "download")
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part, grid in pixels:
            archive.writestr(f"{prefix}{name}.tif", geotiff(part, grid))
    return Answer(200, "application/zip", packed.getvalue())


def _format(body: dict[str, Any]) -> str:
    form = str(body.get("fileFormat"))
    if form not in FORMATS:
        raise not_built(f"The file format {form[:40]!r} of a thumbnail")
    return form


Part = tuple[str, tuple[Band, ...], RequestGrid]
"""A file: what its name ends in, its bands and their grid."""


def _parts(catalogue: SceneSource, body: dict[str, Any]) -> tuple[Image, list[Part]]:
    form = _format(body)
    image = chosen_bands(image_of_request(catalogue, body), body)
    if form == "ZIPPED_GEO_TIFF_PER_BAND":
        parts: list[Part] = [(f".{band.name}", (band,), _own_grid(band)) for band in image.bands]
    else:
        parts = [("", image.bands, _own_grid(image.bands[0]))]
        if any(_own_grid(band) != parts[0][2] for band in image.bands):
            raise not_built("The download of bands on different grids as one file")
    for _, bands, grid in parts:
        check_size(grid, bands, max_bytes=MAX_BYTES, max_side_px=MAX_SIDE_PX)
    check_size(parts[0][2], image.bands, max_bytes=MAX_BYTES, max_side_px=MAX_SIDE_PX)
    return image, parts


def _own_grid(band: Band) -> RequestGrid:
    if band.shape is None:
        raise not_built("The download of an image without bounds or scale (state a region and a scale, or a transform)")
    height, width = band.shape
    if not band.projection.usable:
        raise Refusal("The image has no projection to be downloaded in.")
    return RequestGrid(band.projection.crs, band.projection.affine, width, height)
