"""Coordinate reference systems out of requests: codes and plain WKT, never anything that can name a file."""

import pytest
from dwplus.local_ee.evaluator.grid import crs_of
from dwplus.local_ee.refusal import Refusal
from pyproj import CRS


@pytest.mark.parametrize("name", ["EPSG:32632", CRS.from_epsg(32632).to_wkt()])
def test_codes_and_plain_wkt_are_read(name: str) -> None:
    assert crs_of(name).to_epsg() == 32632


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "epsg.wkt",
        "+proj=utm +zone=32 +nadgrids=/etc/passwd",
        "+init=/etc/passwd:32632",
        '{"type": "ProjectedCRS"}',
        'PROJCRS["x", EXTENSION["PROJ4", "+nadgrids=/etc/passwd"]]',
        "",
    ],
)
def test_what_could_name_a_file_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="could not be parsed"):
        crs_of(name)
