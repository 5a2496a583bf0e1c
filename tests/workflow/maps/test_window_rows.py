"""What is known of finished rows while later windows are under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from dwplus.model.maps.classifier import Classifier
from dwplus.model.maps.mosaic import finished_rows
from dwplus.model.maps.windows import axis
from dwplus.model.score import LoadedRun
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.workflow.maps.window_rows import WindowRows
from numpy.typing import NDArray
from support.own_tiles import own_tile

ROWS, WIDTH, PICTURES = 700, 50, 3


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


class Pictures:
    """Three pictures, one window wide, each with data in rows of its own."""

    shape = (ROWS, WIDTH)
    map_grid = RasterGrid("EPSG:32632", tuple(own_tile().affine)[:6], (ROWS, WIDTH))
    map_origin = (0, 0)
    pictures = PICTURES
    identity = "three"
    tags: dict[str, str] = {}  # noqa: RUF012 - none

    def __init__(self) -> None:
        self.has = np.random.default_rng(0).random((PICTURES, ROWS)) < 0.5
        self.has[:, 200:420] = False  # rows of windows without a single pixel

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:
        rows = np.where(self.has[picture, start:stop], 5000, 0).astype(np.uint16)
        return np.broadcast_to(rows[None, :, None], (len(bands), stop - start, WIDTH))

    def shown(self, start: int, stop: int, picture: int = 0) -> None:
        return None

    def check_units(self) -> None:
        pass


def test_rows_count_all_their_pictures_and_none_of_later_windows(run: LoadedRun) -> None:
    image = Pictures()
    rows, columns = (axis(side, size=128, overlap=32) for side in image.shape)
    windows = WindowRows(Classifier(run), run.config, image, rows, columns, 1)
    seen, kept = np.zeros(image.shape, dtype=np.uint8), []

    with windows.computing(0, len(rows.starts)):
        for start, probabilities in finished_rows(rows, columns, 9, windows.row, numbers=range(len(rows.starts))):
            stop = start + probabilities.shape[1]
            seen[start:stop] = windows.seen(start, stop)
            kept.append(len(windows._seen))
            # Probabilities are sums over the pictures that show a pixel.
            assert probabilities.sum(axis=0) == pytest.approx(seen[start:stop].astype(float), abs=1e-4)

    assert np.array_equal(seen, np.broadcast_to(image.has.sum(axis=0)[:, None], image.shape))
    assert max(kept) <= 4  # memory does not grow with the image
