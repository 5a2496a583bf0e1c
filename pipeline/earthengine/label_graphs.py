"""Earth Engine expressions for label tiles: which images a collection of labels holds, and the pixels of one of them.

Builds expressions and sends nothing; ``labels.earth_engine`` does. What is known of the collection: Brown et al. 2022
(the data set's address), and the recipe it was uploaded with (band ``lulc``, 0 as missing data, ``dw_id`` and
``S2_GEE_ID`` among the properties).
"""

from __future__ import annotations

from typing import Any

import ee

COLLECTION = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"
"""Training and test labels of Dynamic World as images."""


def images_after(collection: str, index: str, limit: int) -> ee.ImageCollection:
    """The next ``limit`` images of a collection in the order of ``system:index``, from the one after ``index``.

    Pages by key and not by position: an offset makes the server walk over everything before it again.
    """
    images = ee.ImageCollection(collection)
    if index:
        images = images.filter(ee.Filter.gt("system:index", index))
    page: ee.ImageCollection = images.sort("system:index").limit(limit)
    return page


def code_request(
    asset: str,
    band: str,
    *,
    crs: str,
    transform: tuple[float, float, float, float, float, float],
    shape: tuple[int, int],
) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels`` for the released codes of one label image on its own grid.

    Codes are uint8, 0 where the image is masked (unmarked pixels were uploaded as missing data).
    """
    a, b, c, d, e, f = transform
    height, width = shape
    return {
        "expression": ee.Image(asset).select([band]).unmask(0, False).toUint8(),
        "fileFormat": "NUMPY_NDARRAY",
        "workloadTag": "dwplus-labels",
        "grid": {
            "crsCode": crs,
            "affineTransform": {
                "scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f,
            },
            "dimensions": {"width": width, "height": height},
        },
    }  # fmt: skip
