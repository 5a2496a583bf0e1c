"""Commands on a data set at a URL: what they write lies here, pixels and labels come from there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.root import DataRoot
from support.file_server import FileServer, serving
from support.fixture_types import LayOut, Run


@pytest.fixture
def origin(ready_root: LayOut) -> DataRoot:
    return ready_root(train=2, test=1, size=510)


@pytest.fixture
def server(origin: DataRoot) -> Iterator[FileServer]:
    with serving(origin.folder.parent) as running:
        yield running


@pytest.fixture
def url(server: FileServer) -> str:
    return f"{server.url}/sandbox"


def test_the_store_is_written_from_pixels_at_the_url(dwplus: Run, url: str) -> None:
    pytest.importorskip("zarr")

    code, out, err = dwplus("normalise", "--data", url, "--out", "checked", "--store", "--workers", "1", "-q")

    assert code == 0, err
    assert "3 tiles, 3 of them written now" in out
    assert Path("checked/store.zarr").is_dir()
    assert not Path("checked/shards").exists()


def test_the_page_of_findings_shows_pictures_of_tiles_at_the_url(dwplus: Run, url: str, origin: DataRoot) -> None:
    row = origin.manifest().rows[0]
    # A finding that leaves the files readable: the ledger says another hash than the shard has.
    with origin.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[row.tile.id], sha256="0" * 64))

    code, _, err = dwplus("validate", "--data", url, "--out", "checked", "--workers", "1", "-q", "--sample", "0")

    page = Path("checked/findings/index.html").read_text()
    assert code == 3, err
    assert page.count(f"{row.tile.id}") > 1
    assert "data:image/png;base64" in page
    assert "no picture" not in page


def test_a_label_at_the_url_is_shown(dwplus: Run, url: str, origin: DataRoot) -> None:
    tile_id = origin.manifest().rows[0].tile.id
    DataRoot.mirror(url, Path("checked").absolute())

    code, out, err = dwplus("labels", "show", tile_id, "--data", "checked")

    assert code == 0, err
    assert tile_id in out
    assert url in out
