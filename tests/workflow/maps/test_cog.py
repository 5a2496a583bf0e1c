"""Every raster of a map is a cloud-optimised GeoTIFF, as an independent program judges it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.progress import Silent
from dwplus.workflow.maps.mapping import map_image
from dwplus.workflow.maps.settings import MapOptions
from rigs.map_inputs import AUXILIARY, PRIMARY, RADAR, Held, constant
from rio_cogeo.cogeo import cog_validate


# One tile of the file (512 px), with one side beyond it, and several tiles whose overviews need a tile or more.
@pytest.mark.parametrize("shape", [(40, 48), (37, 600), (1100, 1300)])
def test_every_raster_that_predict_writes_is_cloud_optimised(tmp_path: Path, shape: tuple[int, int]) -> None:
    # Given an image with a corner without data, and all that may be wanted beside a map.
    pixels = {band: np.full(shape, 5000, dtype=np.uint16) for band in (*PRIMARY, *AUXILIARY)}
    pixels["B2"][:20, :20] = 0
    run = constant()
    data = replace(run.config.data, ranges=dict.fromkeys((*PRIMARY, *AUXILIARY), (-60.0, 40.0)))
    run = run._replace(config=replace(run.config, data=data))
    options = MapOptions(confidence=True, probabilities=True, page=False)

    # Two pictures of the ground, as of a year, are counted.
    image = Held(pixels, pictures=2)
    map_image(run, "hash", image, tmp_path / "map.tif", options, radar=RADAR, progress=Silent())

    endings = ("", ".confidence", ".count", ".outside", ".probabilities")
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == sorted(f"map{ending}.tif" for ending in endings)
    for ending in endings:
        assert cog_validate(tmp_path / f"map{ending}.tif", strict=True) == (True, [], []), ending
