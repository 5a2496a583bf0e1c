"""Labels to manifest, over http: what is unchanged is not read again, what changed is, nothing is forgotten."""

from __future__ import annotations

import contextlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files.archives import members_path
from dwplus.pipeline.files.downloads import DownloadRetries
from dwplus.pipeline.labels import ingest, origin, releases, supply
from dwplus.pipeline.labels.ingest import Prepared, prepare_manifest
from dwplus.pipeline.raster.geotiff import read_codes, read_header, write_label
from support.tiles import make_tile

A, B, C = (f"dw_{lon}_45.0-20190701" for lon in (7.8, 7.9, 8.0))
TEST = "dw_-0.5169602165_51.4043077942-20170409"
PRODUCT = "S2B_MSIL2A_20190701T103029_N0212_R108_T32TLR_20190701T134703"
SCENE = "20170409T105651_20170409T110425_T30UXC"


class Mirror:
    """Serves label releases from a folder; keeps what was asked for."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        self.asked: list[str] = []
        self.url = ""

    def archive(self, path: str, members: dict[str, bytes]) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as opened:
            for name, content in members.items():
                opened.writestr(zipfile.ZipInfo(name), content)
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(buffer.getvalue())

    def tile(self, tile_id: str, code: int, *, x: float = 400000.0) -> bytes:
        path = self.work / "one.tif"
        write_label(path, np.full((510, 510), code, np.uint8), make_tile(tile_id, x=x, size=510), {})
        return path.read_bytes()

    def workbook(self, *rows: tuple[str, str]) -> None:
        book = openpyxl.Workbook()
        book.active.title = "expert"
        for row in (("dw_id", "S2_PRODUCT_ID"), *rows):
            book.active.append(row)
        book.save(self.folder / "pangaea" / "v1_dw_tile_metadata_for_public_release.xlsx")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Expert tiles A and B, a non-expert's A and C, one test tile; no workbook."""
    monkeypatch.setattr(releases, "_FEW_RETRIES", DownloadRetries(attempts=1))
    mirror = Mirror(tmp_path / "mirror", tmp_path)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            with contextlib.suppress(ConnectionError):
                super().do_GET()

    mirror.archive(
        "pangaea/Experts_tiles.zip",
        {f"Experts/EH/4/{A}.tif": mirror.tile(A, 1), f"Experts/EH/4/{B}.tif": mirror.tile(B, 2, x=406000.0)},
    )
    mirror.archive(
        "pangaea/Non_expert_tiles.zip",
        {
            f"Non_expert/WorkForce/EH/4/{A}.tif": mirror.tile(A, 3),
            f"Non_expert/WorkForce/EH/4/{C}.tif": mirror.tile(C, 4, x=412000.0),
        },
    )
    index = f"filename,s2_system_index\n{TEST.replace('.', 'p')},{SCENE}\n"
    test_tile = mirror.tile(TEST, 5, x=300000.0)
    mirror.archive(
        "zenodo/dw_test.zip",
        {f"dw_test/label_{TEST.replace('.', 'p')}.tif": test_tile, "dw_test/list.csv": index.encode()},
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(mirror.folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    mirror.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield mirror
    server.shutdown()
    server.server_close()


@pytest.fixture
def prepare(mirror: Mirror, tmp_path: Path) -> Callable[..., Prepared]:
    return partial(prepare_manifest, DataRoot.at(tmp_path / "data"), mirror=mirror.url)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot.at(tmp_path / "data")


def tiles(prepared: Prepared) -> list[tuple[str, str, str]]:
    return [(row.tile.id, row.labeler, row.release) for row in prepared.manifest.rows]


def test_released_labels_become_a_manifest(prepare: Callable[..., Prepared], root: DataRoot) -> None:
    prepared = prepare(source="SANDBOX")

    assert tiles(prepared) == [
        (TEST, "consensus", "test"),
        (A, "expert", "train"),
        (B, "expert", "train"),
        (C, "non_expert", "train"),
    ]
    assert prepared.ids == {A, B, C, TEST}
    assert prepared.read == 5
    row = prepared.manifest.rows[0]
    assert (row.s2_index, row.tile.biome, row.marked_share) == (SCENE, 4, 1.0)
    assert (read_codes(root.label(row)) == 5).all()
    assert read_header(root.label(row)).tags["SOURCE"] == "SANDBOX"
    assert root.manifest() == prepared.manifest


def test_nothing_is_read_again_while_nothing_changed(
    prepare: Callable[..., Prepared], mirror: Mirror, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.workbook((A, PRODUCT))
    first = prepare()
    mirror.asked.clear()
    made = root.manifest_file.stat().st_mtime_ns
    for module, reader in ((supply, "read_metadata"), (supply, "index"), (ingest, "read_label")):
        monkeypatch.setattr(module, reader, lambda *_, reader=reader, **__: pytest.fail(f"{reader} was called"))

    second = prepare()
    test_alone = prepare(splits={"test"})

    assert (second.manifest, second.ids, second.read) == (first.manifest, first.ids, 0)
    assert test_alone.ids == {TEST}
    assert mirror.asked == []
    assert root.manifest_file.stat().st_mtime_ns == made


def test_a_label_that_was_lost_is_the_only_one_read_again(prepare: Callable[..., Prepared], root: DataRoot) -> None:
    first = prepare()
    lost = root.label(first.manifest.rows[2])
    lost.unlink()

    second = prepare()

    assert second.manifest == first.manifest
    assert second.read == 2  # it, and the other markup of a tile that the manifest knows by its expert
    assert lost.is_file()


def test_another_split_is_added_to_what_is_there(prepare: Callable[..., Prepared]) -> None:
    assert prepare(splits={"test"}).ids == {TEST}

    train = prepare(splits={"train", "val"})

    assert (train.ids, train.read) == ({A, B, C}, 4)
    assert len(train.manifest.rows) == 4
    assert prepare().read == 0


def test_a_workbook_that_comes_late_fills_in_scenes_without_reading_labels(
    prepare: Callable[..., Prepared], mirror: Mirror
) -> None:
    assert {row.s2_product_id for row in prepare(splits={"train"}).manifest.rows} == {""}
    mirror.workbook((B, PRODUCT))

    prepared = prepare(splits={"train"})

    assert {row.tile.id: row.s2_product_id for row in prepared.manifest.rows} == {A: "", B: PRODUCT, C: ""}
    assert prepared.read == 1  # the markup of A that no row stands for


def test_a_released_label_that_a_person_changed_is_put_back(prepare: Callable[..., Prepared], root: DataRoot) -> None:
    first = prepare()
    released = root.folder / "releases/pangaea/Experts_tiles/Experts/EH/4" / f"{B}.tif"
    content = released.read_bytes()
    released.write_bytes(b"of another size")

    assert prepare().manifest == first.manifest
    assert released.read_bytes() == content

    released.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # same size: found when it is read
    root.label_origin_file.unlink()
    assert prepare().manifest == first.manifest
    assert released.read_bytes() == content


def test_a_manifest_that_somebody_else_wrote_is_made_anew(prepare: Callable[..., Prepared], root: DataRoot) -> None:
    first = prepare()
    root.manifest_file.unlink()

    second = prepare()

    assert (second.manifest, second.read) == (first.manifest, 5)


def test_other_code_reads_everything_again(prepare: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    monkeypatch.setattr(origin, "_hash_of", lambda modules, _tables: f"{modules[0]} changed")

    assert prepare().read == 5
    assert prepare().read == 0


def test_a_bad_label_is_told_each_time_until_it_is_mended(prepare: Callable[..., Prepared], mirror: Mirror) -> None:
    bad = mirror.tile(C, 4)[:300]
    mirror.archive("pangaea/Non_expert_tiles.zip", {f"Non_expert/WorkForce/EH/4/{C}.tif": bad})

    for read in (4, 0):
        prepared = prepare()
        assert [(row.tile, row.state, row.reason) for row in prepared.unusable] == [(C, "discarded", "bad_label")]
        assert prepared.read == read
    assert prepare(splits={"test"}).unusable == ()


def test_labels_given_by_hand_are_read_each_time_and_leave_the_rest_alone(
    prepare: Callable[..., Prepared], mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    prepare()
    own = tmp_path / "own" / f"{A}.tif"
    own.parent.mkdir()
    for code in (7, 8):
        own.write_bytes(mirror.tile(A, code))
        given = prepare(labels=own.parent)
        assert (given.ids, given.read) == ({A}, 1)
        assert (read_codes(root.folder / f"labels/inspect/EH/0/{A}.tif") == code).all()

    assert prepare().read == 0


def test_an_archive_may_be_deleted_once_everything_of_it_is_unpacked(
    prepare: Callable[..., Prepared], mirror: Mirror, root: DataRoot
) -> None:
    first = prepare(splits={"test"})
    archive = root.folder / "releases/zenodo/dw_test.zip"
    archive.unlink()
    mirror.asked.clear()

    assert (prepare(splits={"test"}).manifest, mirror.asked) == (first.manifest, [])
    next((root.folder / "releases/zenodo/dw_test").rglob("label_*.tif")).unlink()
    assert prepare(splits={"test"}).manifest == first.manifest
    assert mirror.asked == ["/zenodo/dw_test.zip"]


def test_a_killed_unpacking_goes_on(prepare: Callable[..., Prepared], root: DataRoot) -> None:
    first = prepare()
    folder = root.folder / "releases/pangaea/Experts_tiles"
    members_path(folder).unlink()
    (folder / "Experts/EH/4" / f"{A}.tif").unlink()

    assert prepare().manifest == first.manifest
    assert members_path(folder).is_file()
