"""The page of a map: one file without requests, every picture with words, the counts called biased."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dwplus.pipeline.progress import Silent
from dwplus.workflow.maps.beside import describe
from dwplus.workflow.maps.overview import Looks
from dwplus.workflow.maps.record import read_map
from dwplus.workflow.pages.map_page import map_page, nodes_of
from support.small_maps import write_map

CODES = np.repeat(np.repeat(np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8), 20, axis=0), 20, axis=1)
LOOKS = Looks(np.full((3, *CODES.shape), 900, dtype=np.uint16), np.full(CODES.shape, 3000, dtype=np.uint16))
SANDBOX = {"TRAINED_ON": "SANDBOX", "SANDBOX": "the network was trained on synthetic pixels"}


class Page(HTMLParser):
    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, name: str) -> list[dict[str, Any]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(tmp_path: Path, looks: Looks = LOOKS, **settings: Any) -> Page:
    return Page(map_page(read_map(write_map(tmp_path / "town.tif", CODES, **settings)), looks))


def test_a_page_requests_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path)

    assert not page.of("link")
    assert all("src" not in one for one in page.of("script"))
    assert all(one["src"].startswith("data:image/") for one in page.of("img"))
    assert any("default-src 'none'" in (one.get("content") or "") for one in page.of("meta"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", page.text)


def test_pictures_have_words_and_ids_are_unique(tmp_path: Path) -> None:
    page = page_of(tmp_path)

    words = [one["alt"] for one in page.of("img")]
    assert words[-1] == "Land cover, mostly water, trees, built area"
    assert len(words) == 3
    assert all(words)
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"DATE": "2024-07-01"}, "Land cover on 1 July 2024, 60 x 40 pixels"),
        (
            {"DATE": "", "S2_DAYS": "2024-01-16, 2024-12-16"},
            "Land cover from 16 January 2024 to 16 December 2024, 60 x 40 pixels",
        ),
        (
            {"MODEL": "net", "RECIPE": "a median of Sentinel-2 images; bands B2"},
            "by net from a median of Sentinel-2 images.",
        ),
    ],
)
def test_a_page_says_when_and_from_what_the_map_was_made(tmp_path: Path, tags: dict[str, str], said: str) -> None:
    assert said in page_of(tmp_path, tags=tags).text


def test_counts_are_called_biased_and_the_way_to_areas_is_named(tmp_path: Path) -> None:
    text = page_of(tmp_path).text

    assert "Counts of pixels are biased" in text
    assert "dwplus area sample town.tif" in text
    assert "40.00" in text  # 2 of the 5 mapped cells are water


def test_a_page_of_the_sandbox_says_so(tmp_path: Path) -> None:
    text = page_of(tmp_path, tags=SANDBOX).text

    assert text.count("SANDBOX") >= 3
    assert "This map says nothing about the Earth" in text
    assert "SANDBOX" not in page_of(tmp_path).text


def test_titles_cannot_end_the_program(tmp_path: Path) -> None:
    content = map_page(read_map(write_map(tmp_path / "town.tif", CODES, tags={"IMAGES": "</script><b>x"})), Looks())

    assert b"</script><b>" not in content
    data = json.loads(re.search(rb'id="data">(.*?)</script>', content)[1])
    assert (data["width"], data["height"], data["metres"]) == (60, 40, 10)
    assert data["values"]["classes"]["419bdf"] == "Water"


def test_places_between_the_nodes_are_where_the_projection_puts_them(tmp_path: Path) -> None:
    record = read_map(write_map(tmp_path / "town.tif", CODES, pixel=1000.0))
    nodes = np.array(nodes_of(record))

    between = nodes[:2, :2].mean(axis=(0, 1))  # the middle of the first cell of 8 x 8

    assert nodes.shape == (9, 9, 2)
    assert between == pytest.approx(record.grid.to_degrees.transform(503_750.0, 4_997_500.0), abs=1e-4)


def test_a_page_is_made_once_and_again_when_confidence_comes(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", CODES)
    asked = []

    def looks() -> Looks:
        asked.append(1)
        return LOOKS

    describe(path, looks, progress=Silent())
    describe(path, looks, progress=Silent())
    assert len(asked) == 1
    write_map(tmp_path / "town.confidence.tif", np.where(CODES, 60, 255).astype(np.uint8))
    write_map(tmp_path / "town.outside.tif", np.where(CODES, CODES - 1, 255).astype(np.uint8))
    describe(path, looks, progress=Silent())
    describe(path, looks, progress=Silent())

    assert len(asked) == 2
    page = (tmp_path / "town.html").read_bytes()
    assert b'data-layer="confidence"' in page
    data = json.loads(re.search(rb'id="data">(.*?)</script>', page)[1])
    assert list(data["values"]["outside"].values())[:2] == ["1 band", "2 bands"]
    assert "page" in json.loads((tmp_path / "town.json").read_text())["assets"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node checks the syntax of the program")
def test_the_program_is_javascript(tmp_path: Path) -> None:
    content = map_page(read_map(write_map(tmp_path / "town.tif", CODES)), LOOKS).decode()
    (tmp_path / "map.js").write_text(content.rpartition("<script>")[2].partition("</script>")[0])

    done = subprocess.run(["node", "--check", str(tmp_path / "map.js")], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
