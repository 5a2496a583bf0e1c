"""docs/own-labels.md: its class table is one, and every command line of it runs, in order."""

import re
import shlex
from pathlib import Path

import geopandas
import numpy as np
import pytest
from dwplus.pipeline.dataset.class_file import read_class_table
from support.fixture_types import Run
from support.own_labels import scattered, write_codes
from support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "own-labels.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    dwplus (labels .*)$", PAGE, flags=re.MULTILINE)


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The files that the page supposes."""
    (tmp_path / "my_classes.toml").write_text(block("toml"))
    (tmp_path / "chips.csv").write_text(block("csv"))
    frame = scattered(18).replace({"landuse": {"wheat": "WW"}})
    # Other places than those of the fields.
    frame.iloc[12:].to_file(tmp_path / "more.gpkg")
    frame = frame.iloc[:12].copy()
    frame["seen"], frame["part"] = ["2022-06-15", "2022-07"] * 6, ["train", "val", "test"] * 4
    frame.to_file(tmp_path / "fields.gpkg")
    points = geopandas.GeoDataFrame({"crop": frame.landuse}, geometry=frame.centroid, crs=frame.crs)
    points.to_file(tmp_path / "points.gpkg")
    codes = np.full((60, 60), 2, dtype=np.uint8)
    for n, name in enumerate(("annotated/a_20220615.tif", "annotated/b_20220616.tif", "annotated/c_20220617.tif")):
        write_codes(tmp_path / name, codes, x=500_000.0 + 51_000 * n)
    for n, name in enumerate(("north/a.tif", "south/label.tif", "east_20180515/label.tif")):
        write_codes(tmp_path / "chips" / name, codes, x=500_000.0 + 51_000 * n)
    write_codes(tmp_path / "map.tif", np.full((500, 2000), 7, np.uint8), crs="EPSG:3035", pixel=25, x=4.6e6, y=2.98e6)
    return tmp_path


def test_the_class_table_of_the_page_is_one(files: Path) -> None:
    table = read_class_table(files / "my_classes.toml")

    assert table.names == ("wheat", "maize", "forest")
    assert (table.unlabelled, table.ignored) == (255, (254,))


def test_every_command_of_the_page_runs(files: Path, dwplus_unconfigured: Run) -> None:
    assert len(COMMANDS) == 11

    for line in COMMANDS:
        code, _, err = dwplus_unconfigured(*shlex.split(line))

        assert code == 0, f"{line}: {err}"

    assert {path.parent.name for path in files.glob("*/manifest.parquet")} == {
        "mine",
        "points",
        "rasters",
        "map",
        "by_day",
        "by_column",
        "chips_data",
        "cited",
    }
