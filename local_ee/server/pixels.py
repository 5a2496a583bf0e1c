"""One API request without its transport: a parsed body in, an answer out. No network, no files.

``value:compute`` gives JSON, ``image:computePixels`` and ``assets/...:getPixels`` give pixels.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluator.arithmetic import cast_values
from ..evaluator.functions import functions
from ..evaluator.graph import Graph, Interpreter
from ..evaluator.grid import Affine6, RequestGrid, crs_of, invert
from ..evaluator.image import Band, Evaluation, Image, scene_image
from ..evaluator.image_functions import select
from ..evaluator.values import check_length, encode, type_name
from ..refusal import Refusal, not_built
from ..scene import SceneSource

MAX_PIXEL_BYTES = 50_331_648
MAX_SIDE_PX = 32_768
MAX_BANDS = 1024
"""Source: https://developers.google.com/earth-engine/apidocs/ee-data-computepixels"""

JSON = "application/json; charset=UTF-8"


@dataclass(frozen=True)
class Answer:
    """What goes back: HTTP code, content type and body."""

    code: int
    content_type: str
    body: bytes


def compute_value(catalogue: SceneSource, body: dict[str, Any]) -> Answer:
    """``{"result": ...}`` of an expression.

    Raises:
        Refusal: it cannot be computed.
    """
    value = _evaluate(catalogue, body)
    check_length(value)
    return Answer(200, JSON, json.dumps({"result": encode(value)}).encode())


def compute_pixels(catalogue: SceneSource, body: dict[str, Any]) -> Answer:
    """Pixels of an expression on the grid of the request.

    Raises:
        Refusal: it cannot be computed, or it is too much.
    """
    return _pixels(catalogue, image_of_request(catalogue, body), body)


def get_pixels(catalogue: SceneSource, asset: str, body: dict[str, Any]) -> Answer:
    """Pixels of an asset as it is stored: nearest neighbour.

    Raises:
        Refusal: there is no such image, or it is too much.
    """
    scene = catalogue.scene(asset)
    if scene is None:
        raise Refusal(f"Image asset '{asset[:200]}' not found (does not exist or caller does not have access).", 404)
    return _pixels(catalogue, scene_image(scene), body)


def _evaluate(catalogue: SceneSource, body: dict[str, Any]) -> Any:
    if "expression" not in body:
        raise Refusal("Invalid request: 'expression' is missing.")
    return Interpreter(Graph(body["expression"]), functions(catalogue)).result()


def image_of_request(catalogue: SceneSource, body: dict[str, Any]) -> Image:
    """The image that an expression gives.

    Raises:
        Refusal: it gives something else, or cannot be computed.
    """
    image = _evaluate(catalogue, body)
    if not isinstance(image, Image):
        raise Refusal(f"The expression must give an Image, not {type_name(image)}.")
    return image


def chosen_bands(image: Image, body: dict[str, Any]) -> Image:
    """The bands that a request names, all where it names none.

    Raises:
        Refusal: there are no such bands, or none at all.
    """
    chosen = body.get("bandIds")
    if chosen:
        if not isinstance(chosen, list):
            raise Refusal("Invalid value for 'bandIds': a list of names is needed.")
        image = select(image, chosen, None)
    if not image.bands:
        raise Refusal("The image has no bands.")
    return image


def _pixels(catalogue: SceneSource, image: Image, body: dict[str, Any]) -> Answer:
    image = chosen_bands(image, body)
    grid = grid_of_request(body.get("grid"), image)
    check_size(grid, image.bands)
    encoder = ENCODERS.get(str(body.get("fileFormat", "AUTO_JPEG_PNG")))
    if encoder is None:
        raise not_built(f"The file format {str(body.get('fileFormat'))[:40]!r}")
    content_type, encode_pixels = encoder
    return Answer(200, content_type, encode_pixels(render(catalogue, image.bands, grid), grid))


def grid_of_request(value: Any, image: Image) -> RequestGrid:
    """The grid that a request states; what it leaves out comes from the image's own, if it has one.

    Raises:
        Refusal: it is malformed or says too little.
    """
    grid = value if isinstance(value, dict) else {}
    native = image.bands[0]
    crs, affine = grid.get("crsCode") or grid.get("crsWkt"), _affine(grid.get("affineTransform"))
    if crs is None and affine is None and native.shape is not None:
        crs, affine = native.projection.crs, native.projection.affine
        grid = {"dimensions": {"width": native.shape[1], "height": native.shape[0]}} | grid
    size = grid.get("dimensions")
    if crs is None or affine is None or not isinstance(size, dict):
        raise Refusal("Invalid grid: 'crsCode', 'affineTransform' and 'dimensions' are needed.")
    try:
        width, height = int(size["width"]), int(size["height"])
    except (KeyError, TypeError, ValueError):
        raise Refusal("Invalid grid: 'dimensions' must hold whole numbers 'width' and 'height'.") from None
    if width < 1 or height < 1:
        raise Refusal(f"Invalid grid: dimensions ({width}x{height}) must be above zero.")
    crs_of(str(crs))
    invert(affine)
    return RequestGrid(str(crs), affine, width, height)


def _affine(value: Any) -> Affine6 | None:
    if not isinstance(value, dict):
        return None
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    try:
        a, b, c, d, e, f = (float(value.get(name, 0.0)) for name in names)
    except (TypeError, ValueError, OverflowError):
        raise Refusal("Invalid grid: 'affineTransform' must hold numbers.") from None
    if not np.isfinite((a, b, c, d, e, f)).all():
        raise Refusal("Invalid grid: 'affineTransform' must hold finite numbers.")
    return a, b, c, d, e, f


def check_size(
    grid: RequestGrid, bands: tuple[Band, ...], *, max_bytes: int = MAX_PIXEL_BYTES, max_side_px: int = MAX_SIDE_PX
) -> None:
    """Refuse what Earth Engine would: too many bytes, pixels a side or bands."""
    if max(grid.width, grid.height) > max_side_px:
        raise Refusal(
            f"Pixel grid dimensions ({grid.width}x{grid.height}) must be less than or equal to {max_side_px}."
        )
    if len(bands) > MAX_BANDS:
        raise Refusal(f"The number of bands ({len(bands)}) must be less than or equal to {MAX_BANDS}.")
    size = grid.width * grid.height * sum(np.dtype(band.dtype).itemsize for band in bands)
    if size > max_bytes:
        raise Refusal(f"Total request size ({size} bytes) must be less than or equal to {max_bytes} bytes.")


def render(catalogue: SceneSource, bands: tuple[Band, ...], grid: RequestGrid) -> np.ndarray[Any, Any]:
    """Structured array (H, W), one little-endian field per band in order; masked pixels are 0."""
    fields = [(band.name, np.dtype(band.dtype).newbyteorder("<")) for band in bands]
    pixels = np.zeros(grid.shape, dtype=fields)
    evaluation = Evaluation(catalogue)
    evaluation.expect(band.node for band in bands)
    for band in bands:
        raster = evaluation.pixels(band.node, grid)
        values = cast_values(raster.values, band.dtype)
        if raster.mask is None:
            pixels[band.name] = values
        else:
            pixels[band.name][raster.mask] = values[raster.mask]
    return pixels


def npy(pixels: np.ndarray[Any, Any], grid: RequestGrid) -> bytes:  # noqa: ARG001 - as every format
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()


def geotiff(pixels: np.ndarray[Any, Any], grid: RequestGrid) -> bytes:
    """One type for all bands: the narrowest that holds each."""
    from affine import Affine
    from rasterio.io import MemoryFile

    names = list(pixels.dtype.names or ())
    dtype = np.result_type(*(pixels[name].dtype for name in names))
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": len(names), "dtype": dtype.name}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=grid.crs, transform=Affine(*grid.affine)) as target:
            for number, name in enumerate(names, start=1):
                target.write(pixels[name].astype(dtype), number)
                target.set_band_description(number, name)
        content: bytes = memory.read()
    return content


ENCODERS = {
    "NPY": ("application/octet-stream", npy),
    "GEO_TIFF": ("image/tiff", geotiff),
}
"""File formats: content type, and the function from pixels to bytes."""
