"""Composites: the pictures of a year as one picture, pixel by pixel, from those that show the ground.

Networks that learned single scenes have not seen such spectra: composites are for those that were trained on them.
Letters: N pictures, C bands, H and W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spec.bands import NODATA, Composite

Stored = NDArray[np.uint16]


def composite_of(kind: Composite, pictures: Stored, clear: NDArray[np.bool_]) -> Stored:
    """One picture of several.

    Args:
        pictures: stored values, uint16 (N, C, H, W), 0 = no data.
        clear: bool (N, H, W), where a picture shows the ground; a pixel without data in one band shows nothing.

    Returns:
        uint16 (C, H, W), 0 where no picture shows the ground.
    """
    shows = clear & (pictures != NODATA).all(axis=1)
    return median(pictures, shows) if kind == "median" else medoid(pictures, shows)


def median(pictures: Stored, shows: NDArray[np.bool_]) -> Stored:
    """The median of each band by itself; of an even number the mean of the two in the middle, halves rounded up."""
    # What does not show the ground is put behind all values.
    ordered = np.sort(np.where(shows[:, None], pictures, np.iinfo(np.uint16).max), axis=0)
    number = shows.sum(axis=0)
    low, high = (
        np.take_along_axis(ordered, np.maximum(place, 0)[None, None], axis=0)[0].astype(np.uint32)
        for place in ((number - 1) // 2, number // 2)
    )
    return np.where(number > 0, (low + high + 1) // 2, NODATA).astype(np.uint16)


def medoid(pictures: Stored, shows: NDArray[np.bool_]) -> Stored:
    """The spectrum of the picture that is nearest to all others: the least sum of Euclidean distances over the bands.

    Of equal ones the first. Source: Flood 2013, Seasonal composite Landsat TM/ETM+ images using the medoid.
    """
    number = len(pictures)
    spectra = pictures.astype(np.float32)
    total = np.zeros(shows.shape, dtype=np.float32)
    for one in range(number):
        for other in range(one + 1, number):
            distance = np.sqrt(((spectra[one] - spectra[other]) ** 2).sum(axis=0))
            total[one] += np.where(shows[other], distance, 0)
            total[other] += np.where(shows[one], distance, 0)
    nearest = np.where(shows, total, np.inf).argmin(axis=0)
    found = np.take_along_axis(pictures, nearest[None, None], axis=0)[0]
    return np.where(shows.any(axis=0), found, NODATA).astype(np.uint16)
