"""Labels to manifest, over http: what is unchanged is not read again, what changed is, nothing is forgotten."""

from __future__ import annotations

import contextlib
import io
import json
import os
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
import rasterio
from dwplus.pipeline.dataset.findings import Finding, FindingsDocument, write_findings
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files.archives import members_path
from dwplus.pipeline.files.atomic import sha256_of
from dwplus.pipeline.files.downloads import DownloadRetries
from dwplus.pipeline.labels import ingest, origin, releases, supply
from dwplus.pipeline.labels.ingest import Prepared, prepare_manifest
from dwplus.pipeline.progress import Silent
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


# User-supplied label tiles --------------------------------------------------------------------------------------------


def give(mirror: Mirror, folder: Path, name: str, code: int, *, x: float = 400000.0) -> Path:
    """A user-supplied label tile of one code; its id is the stem of its name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mirror.tile(path.stem, code, x=x))
    return path


def codes_of(root: DataRoot, tile_id: str) -> set[int]:
    (row,) = [row for row in root.manifest().rows if row.tile.id == tile_id]
    assert sha256_of(root.own_label(row).read_bytes()) == row.label_written_sha256
    return set(np.unique(read_codes(root.label(row))).tolist())


class Told(Silent):
    """Progress that keeps what it was told to say."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_experts_and_non_experts_of_one_folder_never_write_one_file(
    mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    ids = [f"dw_{7 + number / 100:.2f}_45.0-20190701" for number in range(20)]
    for number, tile_id in enumerate(ids):
        x = 400000.0 + 6000 * number
        give(mirror, tmp_path / "given", f"experts/EH/4/{tile_id}.tif", 1, x=x)
        give(mirror, tmp_path / "given", f"non_experts/EH/4/{tile_id}.tif", 2, x=x)

    prepare_manifest(root, labels=tmp_path / "given")

    for tile_id in ids:
        (row,) = [row for row in root.manifest().rows if row.tile.id == tile_id]
        assert (row.labeler, codes_of(root, tile_id)) == ("expert", {1})


def test_the_folder_that_was_named_last_counts_also_the_third_time(
    mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    give(mirror, one, f"{A}.tif", 1)
    give(mirror, two, f"{A}.tif", 2)

    for folder, code in ((one, 1), (two, 2), (one, 1), (two, 2)):
        prepared = prepare_manifest(root, labels=folder)
        assert (codes_of(root, A), prepared.read) == ({code}, 1)
    assert prepare_manifest(root, labels=two).read == 0


def test_a_given_tile_that_moves_to_its_biome_and_is_corrected_is_read_anew(
    mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    first = give(mirror, tmp_path / "given", f"{A}.tif", 1)
    prepare_manifest(root, labels=tmp_path / "given")
    first.unlink()
    give(mirror, tmp_path / "given", f"EH/1/{A}.tif", 2)

    prepare_manifest(root, labels=tmp_path / "given")

    (row,) = root.manifest().rows
    assert (row.tile.biome, codes_of(root, A)) == (1, {2})


def test_another_markup_of_the_same_size_and_time_is_read_anew(mirror: Mirror, root: DataRoot, tmp_path: Path) -> None:
    # Given two versions of a tile that some tool gave the same time, and that differ in no byte of size.
    path = give(mirror, tmp_path / "given", f"{A}.tif", 1)
    other = give(mirror, tmp_path / "elsewhere", f"{A}.tif", 2)
    for version in (path, other):
        os.utime(version, (1_500_000_000, 1_500_000_000))
    assert path.stat().st_size == other.stat().st_size
    prepare_manifest(root, labels=tmp_path / "given")

    # When the second one is moved over the first.
    other.replace(path)
    prepare_manifest(root, labels=tmp_path / "given")

    assert codes_of(root, A) == {2}


def test_a_label_that_is_cut_off_is_named_by_its_path_alone(mirror: Mirror, root: DataRoot, tmp_path: Path) -> None:
    give(mirror, tmp_path / "given", f"{B}.tif", 1)
    path = give(mirror, tmp_path / "given", f"{A}.tif", 1)
    path.write_bytes(path.read_bytes()[:600])
    said: list[str] = []

    for _ in range(2):
        path.touch()
        prepared = prepare_manifest(root, labels=tmp_path / "given")
        said += [row.detail for row in prepared.unusable]

    # The name that GDAL gives to bytes in memory is drawn anew each time.
    assert said[0] == said[1]
    assert said[0].startswith(f"{path} cannot be read as a GeoTIFF")
    assert said[0].count(".tif") == 1


def test_released_labels_that_were_lost_stay_in_the_manifest_and_come_back(
    prepare: Callable[..., Prepared], mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    before = prepare()
    for row in before.manifest.rows[:2]:
        root.own_label(row).unlink()
    give(mirror, tmp_path / "given", "dw_9.5_45.0-20190701.tif", 1, x=540000.0)

    prepare_manifest(root, labels=tmp_path / "given")
    assert len(root.manifest().rows) == len(before.manifest.rows) + 1

    again = prepare()
    assert again.read == 3  # the two, and the non-expert's label of A, which no row is made of
    assert all(root.own_label(row).is_file() for row in again.manifest.rows)


def test_own_markup_of_a_released_tile_is_not_used_and_that_is_said(
    prepare: Callable[..., Prepared], mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    prepare()
    give(mirror, tmp_path / "given", f"{B}.tif", 7, x=406000.0)
    told = Told()

    for _ in range(2):
        told.lines.clear()
        prepare_manifest(root, labels=tmp_path / "given", progress=told)
        assert codes_of(root, B) == {2}
        assert (
            f"1 of 1 user-supplied tiles are released ones, and the released label is used for them ({B})"
            in (told.lines[0])
        )


def test_what_is_left_out_of_a_folder_is_listed_with_its_reason(mirror: Mirror, root: DataRoot, tmp_path: Path) -> None:
    given = tmp_path / "given"
    good = give(mirror, given, f"{A}.tif", 1)
    for name in (f"{B} (1).tif", f"DW_{B[3:]}.tif", B.replace(".", ",") + ".tif", f"copy/{A}.tif"):
        (given / name).parent.mkdir(exist_ok=True)
        (given / name).write_bytes(good.read_bytes())
    (given / f"{C}.tif").symlink_to("../.git/annex/objects/gone.tif")
    told = Told()

    prepared = prepare_manifest(root, labels=given, progress=told)

    assert prepared.ids == {A}
    assert len(prepared.ignored) == 5
    for reason in ("is a link to", "same tile of the same labeler as", "not the name of"):
        assert any(reason in why for why in prepared.ignored.values()), prepared.ignored
    assert told.lines[0] == "5 files are no label tiles:"
    assert len(told.lines) == 6
    # Also where nothing is read again.
    assert dict(prepare_manifest(root, labels=given).ignored) == dict(prepared.ignored)


def test_a_linked_folder_of_label_tiles_is_read(mirror: Mirror, root: DataRoot, tmp_path: Path) -> None:
    give(mirror, tmp_path / "elsewhere", f"{A}.tif", 1)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "more").symlink_to(tmp_path / "elsewhere")

    assert prepare_manifest(root, labels=tmp_path / "given").ids == {A}


def test_one_bad_label_of_a_folder_is_a_discarded_tile_and_the_others_are_built(
    mirror: Mirror, root: DataRoot, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    give(mirror, given, f"{A}.tif", 1)
    (given / f"{B}.tif").write_bytes(b"cut off")

    for _ in range(2):
        prepared = prepare_manifest(root, labels=given)
        assert prepared.ids == {A}
        (row,) = prepared.unusable
        assert (row.tile, row.state, row.reason) == (B, "discarded", "bad_label")


def test_a_folder_without_a_usable_label_ends_with_the_first_reason(root: DataRoot, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / f"{A}.tif").write_bytes(b"cut off")

    with pytest.raises(DataError, match=r"none of 1 label tiles can be used; dw_7\.8.*cannot be read as a GeoTIFF"):
        prepare_manifest(root, labels=tmp_path / "given")


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_a_label_compressed_with_loss_is_refused(
    mirror: Mirror, root: DataRoot, tmp_path: Path, compression: str
) -> None:
    path = give(mirror, tmp_path / "given", f"{A}.tif", 1)
    with rasterio.open(path) as file:
        profile, codes = {**file.profile, "compress": compression, "photometric": None}, file.read()
    profile.pop("photometric")
    count = 3 if compression == "webp" else 1
    with rasterio.open(path, "w", **{**profile, "count": count}) as file:
        file.write(np.repeat(codes, count, axis=0))

    with pytest.raises(DataError, match=f"compressed with {compression.upper()}, which changes class codes"):
        prepare_manifest(root, labels=tmp_path / "given")


def test_a_label_that_validation_found_damaged_is_written_again(
    prepare: Callable[..., Prepared], root: DataRoot
) -> None:
    row = prepare().manifest.rows[0]
    path = root.own_label(row)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    found = Finding(row.tile.id, "label-hash", "error", "its label is not the file that was written")
    write_findings(root.folder, FindingsDocument((found,), {}))

    assert prepare().read == 2  # it, and the non-expert's label of A, which no row is made of
    assert path.read_bytes() == whole


@pytest.mark.parametrize("path", ["../../evil.tif", "/etc/evil.tif", "a/../../evil.tif"])
def test_a_record_of_members_that_names_files_elsewhere_deletes_nothing(
    prepare: Callable[..., Prepared], root: DataRoot, tmp_path: Path, path: str
) -> None:
    prepare()
    record = next(root.releases.glob("*/*.members.json"))
    document = json.loads(record.read_text())
    document["members"].append([path, [1, "00000000", "0" * 64]])
    record.write_text(json.dumps(document))

    with pytest.raises(DataError, match="leaves its folder"):
        prepare()
