"""Answers come back from QGIS and from Collect Earth Online."""

from pathlib import Path

import geopandas
import pytest
import shapely
from dwplus.pipeline.errors import DataError
from dwplus.workflow.area.point_files import Answer, read_answers


def test_rows_of_a_table_are_read_whatever_the_case_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "ceo.csv"
    path.write_text("\ufeffPLOTID,LON,Lat,Land Cover\n7,9.5,45.25, Water \nx,,,\n", encoding="utf-8")

    assert read_answers(path, "land cover") == [
        Answer(7, "Water", 9.5, 45.25, "line 2"),
        Answer(None, "", None, None, "line 3"),
    ]


def test_points_are_read_in_any_crs_and_codes_as_numbers(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"plotid": [3, 4], "answer": [2.0, None]}, geometry=shapely.points([[9, 45], [9.1, 45]]), crs=4326
    )
    frame.to_crs(32632).to_file(tmp_path / "points.gpkg")

    first, second = read_answers(tmp_path / "points.gpkg")

    assert (first.plotid, first.answer, second.answer) == (3, "2", "")
    assert (first.lon, first.lat) == pytest.approx((9, 45))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows; export it again"),
        ("plotid,lon\n1,2\n", "has no column 'answer'; it has plotid, lon"),
        ("answer,lon\nwater,2\n", "has no column 'plotid'; it has answer, lon"),
        ("plotid,answer,lon,lat\n1,water,east,45\n", "line 2 has the coordinate 'east'; degrees are wanted"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "ceo.csv").write_text(text)

    with pytest.raises(DataError, match=said):
        read_answers(tmp_path / "ceo.csv")


def test_polygons_are_no_points(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"plotid": [3], "answer": ["x"]}, geometry=[shapely.box(9, 45, 10, 46)], crs=4326)
    frame.to_file(tmp_path / "points.gpkg")

    with pytest.raises(DataError, match="feature 1 is no point; export the points of 'dwplus area sample' again"):
        read_answers(tmp_path / "points.gpkg")
