"""Targets: which pixels of a tile are trained on and scored, decided in one place.

A pixel counts where its label is marked, every Sentinel-2 band of the preset ``ms10`` has data, and VV and VH have
data: whatever a network reads, so that all runs are trained and scored on the same pixels. B1 and S1_N are left out: no
network of the paper reads them. In a data set without Sentinel-1 (pixels of a user) VV and VH are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spec.bands import NODATA, PRESETS, SHARD_BANDS, stored_bands
from ..spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable

NEEDED_BANDS: tuple[str, ...] = PRESETS["ms10sar"]
"""Bands without data in which a pixel does not count."""


def needed_bands(has_s1: bool) -> tuple[str, ...]:
    """``NEEDED_BANDS`` of a data set, which has Sentinel-1 or not (``DataRoot.has_s1``)."""
    return NEEDED_BANDS if has_s1 else PRESETS["ms10"]


CODE_WITHOUT_DATA = 255
"""Code of pixels that are marked and have no data, where codes are counted; no label holds it."""


@dataclass(frozen=True)
class Targets:
    """What decides which pixels of a data set count, and for which class.

    Attributes:
        classes: of its labels.
        needed: bands without data in which a pixel does not count.
        absent: bands that the data set lacks, of those that are not needed.
    """

    classes: ClassTable = DYNAMIC_WORLD
    needed: tuple[str, ...] = NEEDED_BANDS
    absent: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[str, ...]:
        """Bands of a shard that hold something."""
        return stored_bands(self.has_s1, self.absent)

    @property
    def has_s1(self) -> bool:
        """Whether the data set has Sentinel-1."""
        return "VV" in self.needed

    def has_data(self, pixels: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Where every needed band has data.

        Args:
            pixels: uint16 (bands, H, W) in the order of ``needed`` or of ``SHARD_BANDS``, 0 = no data.

        Returns:
            bool (H, W).
        """
        whole = len(pixels) == len(SHARD_BANDS)
        places = [SHARD_BANDS.index(band) for band in self.needed] if whole else range(len(self.needed))
        found: NDArray[np.bool_] = pixels[places[0]] != NODATA
        for place in places[1:]:
            found &= pixels[place] != NODATA
        return found

    def target_of(self, codes: NDArray[np.uint8], pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Class index of each pixel that counts.

        Args:
            codes: uint8 (H, W), codes of the class table.
            pixels: as of ``has_data``.

        Returns:
            uint8 (H, W), 0..n - 1, or 255 where the pixel is unmarked, ignored, or has no data in a needed band.
        """
        target = self.classes.class_indices(codes)
        target[~self.has_data(pixels)] = IGNORE
        return target

    def counted_codes(self, codes: NDArray[np.uint8], pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Codes, ``CODE_WITHOUT_DATA`` where a marked pixel has no data; arguments as of ``target_of``."""
        lost = ~self.has_data(pixels) & (self.classes.class_indices(codes) != IGNORE)
        return np.where(lost, np.uint8(CODE_WITHOUT_DATA), codes) if lost.any() else codes
