"""What the numbers of a file mean, and what they cannot mean."""

import numpy as np
import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.pixels_units import Said, Unit, broken_rule, misread, s1_unit, s2_unit
from dwplus.pipeline.raster.geotiff import RasterGrid, ShardHeader
from dwplus.pipeline.spec.bands import S1_BANDS, S2_BANDS
from support.own_tiles import s1_values, s2_values


def header(dtype: str, *, scale: float = 1.0, offset: float = 0.0, nodata: float | None = None) -> ShardHeader:
    grid = RasterGrid("EPSG:32632", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (4, 4))
    return ShardHeader(grid, ("B2",), (dtype,), "GTiff", nodata, (scale,), (offset,), {})


def test_the_same_ground_in_four_units_is_the_same_reflectance() -> None:
    # A reflectance of 0.25: DN 2500; DN 3500 with the +1000; the same declared as GDAL does; 0.25 itself.
    cases = [
        (2500, s2_unit("a", header("uint16"), 1, Said())),
        (3500, s2_unit("a", header("uint16"), 1, Said(offset=1000))),
        (3500, s2_unit("a", header("uint16", scale=1e-4, offset=-0.1), 1, Said())),
        (3500, s2_unit("a", header("uint16"), 1, Said(), offset=1000.0)),
        (0.25, s2_unit("a", header("float32"), 1, Said(scale=1))),
    ]

    for value, unit in cases:
        assert unit.physical(np.array([value], np.float64))[0] == pytest.approx(0.25, abs=1e-12)


def test_power_becomes_decibel_and_what_is_not_above_zero_becomes_no_data() -> None:
    unit = s1_unit("a", header("float32"), 1, Said(power="linear"))

    values = unit.physical(np.array([1.0, 0.1, 0.0, -0.2, np.nan], np.float32))

    assert values[:2] == pytest.approx([0.0, -10.0], abs=1e-6)
    assert np.isnan(values[2:]).all()


def test_decibel_in_integers_with_a_scale_is_read_by_it() -> None:
    unit = s1_unit("a", header("int16", scale=0.01), 1, Said())

    assert unit.physical(np.array([-1234.0]))[0] == pytest.approx(-12.34, abs=1e-12)


def test_no_data_is_what_is_said_then_what_is_declared_then_zero_for_sentinel_2() -> None:
    assert s2_unit("a", header("int16", nodata=-9999), 1, Said(nodata=-1)).nodata == -1
    assert s2_unit("a", header("int16", nodata=-9999), 1, Said()).nodata == -9999
    assert s2_unit("a", header("int16"), 1, Said()).nodata == 0
    # 0 dB is a legal value, power of 0 is none.
    assert s1_unit("a", header("float32"), 1, Said()).nodata is None
    assert s1_unit("a", header("float32"), 1, Said(power="linear")).nodata == 0


@pytest.mark.parametrize(
    ("dtype", "sensor", "message"),
    [
        ("complex64", "S1", "a.tif holds complex values (complex64): single-look complex radar"),
        ("uint8", "S2", "a.tif holds uint8: an 8-bit picture or a class map, not Sentinel-2"),
        ("uint8", "S1", "a.tif holds uint8: an 8-bit picture or a class map, not Sentinel-1"),
        ("uint16", "S1", "a.tif holds uint16 without a scale: amplitude or DN, not calibrated"),
        ("float32", "S2", "a.tif holds float32 and does not say its unit; say --scale 1 for reflectance"),
    ],
)
def test_types_that_cannot_be_meant_are_refused(dtype: str, sensor: str, message: str) -> None:
    unit_of = s2_unit if sensor == "S2" else s1_unit

    with pytest.raises(DataError) as error:
        unit_of("a.tif", header(dtype), 1, Said())

    assert message in str(error.value)


def reflectance(added_dn: int = 0, taken_dn: int = 0) -> np.ndarray:
    return (s2_values(64, 64).astype(np.float64) + added_dn - taken_dn) * 1e-4


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        (reflectance(), ""),
        (reflectance(taken_dn=1000), "s2-negative"),
        (reflectance() * 1e-4, "s2-range"),
        (reflectance() * 1e4, "s2-range"),
    ],
)
def test_a_wrong_offset_or_scale_of_sentinel_2_breaks_a_rule(pixels: np.ndarray, rule: str) -> None:
    assert broken_rule("S2", pixels, S2_BANDS)[0] == rule


def test_an_offset_that_is_still_in_breaks_a_rule() -> None:
    # Dark pixels of all bands lie near DN 30; with 1000 added just above 1000.
    pixels = np.random.default_rng(0).uniform(0.003, 0.3, (len(S2_BANDS), 64, 64))

    assert broken_rule("S2", pixels, S2_BANDS) == ("", "")
    assert broken_rule("S2", pixels + 0.1, S2_BANDS)[0] == "s2-offset"


def test_power_called_decibel_and_the_reverse_are_found() -> None:
    decibel = s1_values(64, 64).astype(np.float64)
    power = 10 ** (decibel / 10)

    assert broken_rule("S1", decibel, S1_BANDS) == ("", "")
    assert broken_rule("S1", power, S1_BANDS)[0] == "s1-linear"
    assert misread(decibel, Unit(power=True)) == "100% of its values are below 0: dB, not power"
    assert misread(power, Unit(power=True)) == misread(decibel, Unit()) == ""


def test_an_undeclared_fill_value_is_found() -> None:
    pixels = s1_values(64, 64).astype(np.float64)
    pixels[:, :16] = -9999

    rule, message = broken_rule("S1", pixels, S1_BANDS)

    assert rule == "fill"
    assert "25.0% of its values are -9999" in message
