"""What publishers say of label tiles, in the spellings they are known to use."""

from __future__ import annotations

import random
import re
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
from dwplus.pipeline.labels import metadata

BRITAIN = "dw_-0.5169602165_51.4043077942-20170409"  # a test tile, biome 4


def test_metadata_is_read_whatever_the_spelling_of_its_columns(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "expert"
    amazon = "dw_-63.3512901800_-3.9093045532-20190812"
    product = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"
    for row in (
        ["dw_id", "S2_PRODUCT_ID", "date", "biome", "S2 GEE ID", "Bare_Ground"],
        [amazon, product, datetime(2019, 8, 12), 1.0, "nan", 0.25],
        [None, None, None, None, None, None],
    ):
        book.active.append(row)
    other = book.create_sheet("non_expert")
    other.append(["DW ID", "labeler", "s2_product_id", "date"])
    other.append([amazon, "Non-expert", None, "2019-08-12"])
    book.create_sheet("notes").append(["dw_id"])
    book.save(tmp_path / "v1_dw_tile_metadata_for_public_release.xlsx")
    (tmp_path / "dw_test").mkdir()
    (tmp_path / "dw_test/other.csv").touch()
    (tmp_path / "dw_test/tiles.csv").write_text(
        "filename,s2_system_index\ndw_-0p5169602165_51p4043077942-20170409,20170409T105651_20170409T110425_T30UXC\n"
    )

    found = metadata.read_metadata(tmp_path)

    assert found == {
        ("expert", amazon): {"S2_PRODUCT_ID": product, "date": "2019-08-12", "biome": "1"},
        ("non_expert", amazon): {"date": "2019-08-12"},
        ("consensus", BRITAIN): {"S2_GEE_ID": "20170409T105651_20170409T110425_T30UXC", "date": "2017-04-09"},
    }


def test_a_workbook_whose_sheets_are_called_otherwise_is_not_passed_over_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Experts"
    for sheet in (book.active, book.create_sheet("Sheet2")):
        sheet.append(["dw_id", "biome"])
        sheet.append([BRITAIN, 4])
    book.save(tmp_path / "sheets.xlsx")

    assert metadata.read_metadata(tmp_path) == {("expert", BRITAIN): {"biome": "4"}}
    assert "says nothing of tiles of non_expert: its sheets are Experts, Sheet2" in caplog.text


def test_a_damaged_workbook_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sheet.xlsx").write_bytes(b"<html>503</html>")

    assert metadata.read_metadata(tmp_path) == {}
    assert "continuing without" in caplog.text


AMAZON = "dw_-63.3512901800_-3.9093045532-20190812"
SCENE = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"


def workbook(path: Path, *rows: list[str | None]) -> None:
    book = openpyxl.Workbook()
    book.active.title = "expert"
    for row in rows:
        book.active.append(row)
    book.create_sheet("non_expert").append(["dw_id"])
    book.save(path)


def test_a_workbook_that_states_the_size_a1_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "metadata.xlsx"
    workbook(path, ["dw_id", "S2_PRODUCT_ID"], [AMAZON, SCENE])
    with zipfile.ZipFile(path) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    members[sheet] = re.sub(rb'<dimension ref="[^"]*" ?/>', b'<dimension ref="A1"/>', members[sheet])
    assert b'ref="A1"' in members[sheet]
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)

    assert metadata.read_metadata(tmp_path)["expert", AMAZON]["S2_PRODUCT_ID"] == SCENE


def test_a_title_above_the_columns_is_passed_over(tmp_path: Path) -> None:
    workbook(tmp_path / "m.xlsx", ["Tiles of 2019"], [], ["dw_id", "S2_PRODUCT_ID"], [AMAZON, SCENE])

    assert metadata.read_metadata(tmp_path)["expert", AMAZON]["S2_PRODUCT_ID"] == SCENE


def test_a_sheet_without_ids_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workbook(tmp_path / "m.xlsx", ["tile", "S2_PRODUCT_ID"], [AMAZON, SCENE])

    assert metadata.read_metadata(tmp_path) == {}
    assert "no column dw_id in its first rows" in caplog.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("title", ["", "Test tiles of Dynamic World\n\n"], ids=["no title", "title"])
def test_a_list_of_test_tiles_is_read_whatever_separates_its_columns(
    tmp_path: Path, delimiter: str, title: str
) -> None:
    rows = [["filename", "s2_system_index"], [BRITAIN.replace(".", "p"), "20170409T105651_20170409T110425_T30UXC"]]
    (tmp_path / "tiles.csv").write_text(title + "\n".join(delimiter.join(row) for row in rows) + "\n")

    assert metadata.read_metadata(tmp_path)["consensus", BRITAIN]["date"] == "2017-04-09"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_test_tiles_is_read_in_every_encoding_that_spreadsheets_write(tmp_path: Path, encoding: str) -> None:
    rows = f"filename\ts2_system_index\n{BRITAIN.replace('.', 'p')}\t20170409T105651_20170409T110425_T30UXC\n"
    (tmp_path / "tiles.csv").write_bytes(rows.encode(encoding))

    assert metadata.read_metadata(tmp_path)["consensus", BRITAIN]["date"] == "2017-04-09"


@pytest.mark.parametrize("ending", [".xls", ".XLSM", ".ods"])
def test_a_workbook_of_another_kind_is_said_to_be_passed_over(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"metadata{ending}").write_bytes(b"PK")

    assert metadata.read_metadata(tmp_path) == {}
    assert f"metadata{ending} is a workbook of a kind that is not read: save it as .xlsx" in caplog.text


def test_no_mutated_workbook_or_list_is_a_traceback(tmp_path: Path) -> None:
    workbook(tmp_path / "m.xlsx", ["dw_id", "S2_PRODUCT_ID"], [AMAZON, SCENE])
    (tmp_path / "t.csv").write_text(f"filename,s2_system_index\n{BRITAIN.replace('.', 'p')},20170409T1_2_T30UXC\n")
    draw = random.Random(6)
    for path in (tmp_path / "m.xlsx", tmp_path / "t.csv"):
        whole = path.read_bytes()
        for _ in range(60):
            mutated = bytearray(whole)
            for _ in range(draw.randrange(1, 6)):
                mutated[draw.randrange(len(mutated))] = draw.randrange(256)
            path.write_bytes(bytes(mutated[: draw.randrange(1, len(mutated) + 1)]) if draw.random() < 0.3 else mutated)
            metadata.read_metadata(tmp_path)
        path.write_bytes(whole)
