"""Which band is which: by name, by number, by the name of a file of one band."""

from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.own.pixels_bands import band_of_file, bands_of_stack, read_band_table
from dwplus.pipeline.spec.bands import S2_BANDS


def test_bands_are_found_by_name_in_any_order_and_spelling() -> None:
    names = ("B02", "b1", "B03", "B04", "B05", "B06", "B07", "B08", "B8a", "B9", "B11", "B12")

    found = bands_of_stack("a.tif", names, ("S2",), None)

    assert found == {"S2": dict(zip(S2_BANDS, (2, 1, 3, 4, 5, 6, 7, 8, 9, 11, 12), strict=True))}


def test_a_file_of_both_sensors_gives_both_and_one_of_none_gives_none() -> None:
    assert bands_of_stack("a.tif", (*S2_BANDS, "VV", "VH"), ("S2", "S1"), None)["S1"] == {"VV": 12, "VH": 13}
    assert bands_of_stack("label.tif", ("lulc",), ("S2", "S1"), None) == {}


def test_a_table_names_bands_by_number_or_by_the_name_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bands.toml"
    path.write_text('[bands]\nVV = 2\nVH = "cross"\n')

    table = read_band_table(path)

    assert bands_of_stack("a.tif", ("cross", "angle"), ("S1",), table) == {"S1": {"VV": 2, "VH": 1}}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((*S2_BANDS, "B4"), "a.tif names B4 twice (bands 4 and 12); say with --bands which one is meant"),
        (S2_BANDS[:-2], "a.tif lacks B11, B12 of Sentinel-2; it holds B1, B2"),
        ((*S2_BANDS, "B10"), "a.tif holds B10, which only top-of-atmosphere reflectance (L1C) has"),
        ((*S2_BANDS, "B2_1"), "a.tif holds several dates (B2_1, ...); write one file per date"),
    ],
)
def test_a_stack_whose_bands_are_not_clear_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError) as error:
        bands_of_stack("a.tif", names, ("S2",), None)

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B2 = 1", "has no table [bands] alone"),
        ("[bands]\nB13 = 1", "'B13' is no band of a shard"),
        ("[bands]\nB2 = 0", "B2 is 0; write the number of a band, from 1"),
        ("[bands]\nB2 = 1\nB3 = 1", "takes band 1 of the file for B2 and for B3"),
        ("[bands", "is not TOML"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bands.toml"
    path.write_text(text)

    with pytest.raises(DataError) as error:
        read_band_table(path)

    assert message in str(error.value)


def test_a_table_that_is_not_there_or_does_not_fit_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--bands .*none.toml cannot be read: No such file"):
        read_band_table(tmp_path / "none.toml")
    with pytest.raises(DataError, match=r"a.tif has 2 bands; --bands takes VH from number 3"):
        bands_of_stack("a.tif", ("", ""), ("S1",), {"VV": 1, "VH": 3})
    with pytest.raises(DataError, match=r"a.tif names a band 'cross' not at all, which --bands takes for VH"):
        bands_of_stack("a.tif", ("co", ""), ("S1",), {"VV": 1, "VH": "cross"})


@pytest.mark.parametrize(
    ("stem", "said"),
    [
        ("T33UUP_20170613T101031_B02_10m", ("T33UUP_20170613T101031", "B2", 10)),
        ("scene.B8A", ("scene", "B8A", 0)),
        ("B11", ("", "B11", 0)),
        ("s1_20190701_vh", ("s1_20190701", "VH", 0)),
        ("T33UUP_20170613T101031_TCI_10m", None),
        ("SUB02", None),
    ],
)
def test_the_name_of_a_file_of_one_band_says_which(stem: str, said: tuple[str, str, int] | None) -> None:
    assert band_of_file(stem) == said
