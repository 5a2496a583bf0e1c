"""Label releases: downloads over real HTTP with faults, hostile archives, real label tiles, metadata."""

from __future__ import annotations

import email.utils
import hashlib
import io
import json
import random
import socket
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline import labels
from dwplus.pipeline.errors import DataError, DwplusError, ServiceError, UsageError
from dwplus.pipeline.labels import Patience, Release, ReleaseFile

REAL = Path(__file__).parents[1].parent / "shared" / "realdata"
needs_real_tiles = pytest.mark.skipif(not REAL.is_dir(), reason="real label tiles are not here (../shared/realdata)")

QUICK = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.05, silence_s=2.0, progress_bytes=1000)


# A publisher ---------------------------------------------------------------------------------------------------------


@dataclass
class Publisher:
    """A small file server. Each request takes the next fault of ``faults`` before it is served properly.

    Faults: an int (answer that status), ``drop`` (close after half of the body), ``stale`` (another ETag from now on),
    ``no-range`` (serve everything, whatever was asked), ``html`` (an error page with status 200).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[int | str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    version: int = 0
    url: str = ""


def _handler(publisher: Publisher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            publisher.requests.append((self.path, self.headers.get("Range")))
            fault = publisher.faults.pop(0) if publisher.faults else None
            content = publisher.files.get(self.path)
            if isinstance(fault, int) or content is None:
                self._head(fault if isinstance(fault, int) else 404, 0, publisher.headers)
                return
            if fault == "html":
                content = b"<html><body>sign in first</body></html>"
            if fault == "stale":
                publisher.version += 1
            start = self._start(fault)
            if start is not None and start >= len(content):
                self._head(416, 0, {"Content-Range": f"bytes */{len(content)}"})
                return
            body = content[start or 0 :]
            extra = {"ETag": f'"v{publisher.version}"'}
            if start is not None:
                extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(200 if start is None else 206, len(body), extra)
            self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)

        def _start(self, fault: object) -> int | None:
            wanted = self.headers.get("Range")
            current = self.headers.get("If-Range") in (None, f'"v{publisher.version}"')
            if wanted is None or not current or fault in ("no-range", "html"):
                return None
            return int(wanted.removeprefix("bytes=").rstrip("-"))

        def _head(self, status: int, length: int, extra: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(publisher))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield publisher
    server.shutdown()
    server.server_close()


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = _zip({"Experts/EH/1/a.tif": random.Random(0).randbytes(40_000)})


def _file(publisher: Publisher, content: bytes = ARCHIVE, **changes: object) -> ReleaseFile:
    publisher.files["/f/Experts_tiles.zip"] = content
    file = ReleaseFile("pangaea", "Experts_tiles.zip", f"{publisher.url}/f/Experts_tiles.zip", "labels", "train")
    return replace(file, **changes)  # type: ignore[arg-type]


# Releases and downloads ----------------------------------------------------------------------------------------------


def test_releases_say_where_files_are_and_under_which_terms() -> None:
    pangaea, zenodo = labels.releases()

    assert [f.labeler for f in pangaea.files] == ["expert", "non_expert", "unknown"]
    assert [f.optional for f in pangaea.files] == [False, False, True]
    assert (zenodo.files[0].size, zenodo.files[0].split) == (3_897_915_689, "test")
    assert {r.licence for r in (pangaea, zenodo)} == {"CC BY 4.0"}


def test_a_download_is_recorded_and_not_asked_for_again(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    seen: list[tuple[str, int, int | None]] = []

    path = labels.fetch(file, tmp_path, progress=lambda *event: seen.append(event), patience=QUICK)
    again = labels.fetch(file, tmp_path, patience=QUICK)

    assert path == again == tmp_path / "pangaea" / "Experts_tiles.zip"
    assert path.read_bytes() == ARCHIVE
    assert len(publisher.requests) == 1
    assert seen[-1] == ("Experts_tiles.zip", len(ARCHIVE), len(ARCHIVE))
    record = json.loads(path.with_name("Experts_tiles.zip.json").read_text())
    assert record["size"] == len(ARCHIVE)
    assert record["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert record["etag"] == '"v0"'
    assert sorted(p.name for p in path.parent.iterdir()) == ["Experts_tiles.zip", "Experts_tiles.zip.json"]


def test_a_record_holds_no_credentials(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    secret = file.url.replace("http://", "http://user:secret@")

    publisher.files["/f/Experts_tiles.zip?token=secret"] = ARCHIVE
    path = labels.fetch(replace(file, url=secret + "?token=secret"), tmp_path, patience=QUICK)

    assert path is not None
    text = path.with_name(path.name + ".json").read_text()
    assert "secret" not in text
    assert json.loads(text)["url"] == file.url


def test_a_broken_transfer_goes_on_where_it_stopped(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", "drop"]

    path = labels.fetch(file, tmp_path, patience=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    half = len(ARCHIVE) // 2
    three_quarters = half + (len(ARCHIVE) - half) // 2
    assert [r for _, r in publisher.requests] == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_a_killed_run_is_taken_up_by_the_next_one(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", 503, 503]
    with pytest.raises(ServiceError):
        labels.fetch(file, tmp_path, patience=QUICK)
    publisher.requests.clear()

    path = labels.fetch(file, tmp_path, patience=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    assert [r for _, r in publisher.requests] == [f"bytes={len(ARCHIVE) // 2}-"]


@pytest.mark.parametrize("fault", ["stale", "no-range"])
def test_a_part_that_cannot_be_continued_is_fetched_anew(fault: str, publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", fault]

    path = labels.fetch(file, tmp_path, patience=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE


def test_a_part_that_is_complete_already_needs_no_bytes(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    part = tmp_path / "pangaea" / "Experts_tiles.zip.part"
    part.parent.mkdir()
    part.write_bytes(ARCHIVE)
    part.with_name(part.name + ".json").write_text(json.dumps({"etag": '"v0"', "size": len(ARCHIVE)}))

    path = labels.fetch(file, tmp_path, patience=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    assert len(publisher.requests) == 1


@pytest.mark.parametrize("fault", [429, 500, 503])
def test_what_may_get_better_is_tried_again(fault: int, publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = [fault, fault]

    assert labels.fetch(file, tmp_path, patience=QUICK) is not None
    assert len(publisher.requests) == 3


def test_retry_after_is_honoured(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults, publisher.headers = [429], {"Retry-After": "1"}
    started = time.monotonic()

    labels.fetch(file, tmp_path, patience=replace(QUICK, longest_wait_s=1.2))

    assert 1.0 <= time.monotonic() - started < 3.0


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)

    assert labels._retry_after_s(in_a_minute) == pytest.approx(60, abs=2)
    assert labels._retry_after_s("7") == 7
    assert labels._retry_after_s("soon") is None


def test_waits_double_with_jitter_and_have_an_end() -> None:
    patience, rng = Patience(first_wait_s=1, longest_wait_s=10), random.Random(1)

    waits = [labels._wait_s(n, None, patience, rng) for n in (1, 2, 3, 9)]

    assert all(
        low <= wait <= high for wait, (low, high) in zip(waits, [(0.5, 1), (1, 2), (2, 4), (10, 10)], strict=True)
    )
    assert labels._wait_s(1, 8.0, patience, rng) == 8
    assert labels._wait_s(1, 3600.0, patience, rng) == 10


def test_a_missing_file_is_not_asked_for_twice_and_the_message_says_what_to_do(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = _file(publisher)
    publisher.files.clear()

    with pytest.raises(ServiceError, match=r"127\.0\.0\.1 answers HTTP 404.*--labels DIR"):
        labels.fetch(file, tmp_path, patience=QUICK)
    assert len(publisher.requests) == 1


def test_an_unreachable_host_is_named(tmp_path: Path) -> None:
    nobody = ReleaseFile("zenodo", "dw_test.zip", "http://127.0.0.1:9/dw_test.zip", "labels", "test")

    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/dw_test\.zip.*3 attempts.*--labels DIR"):
        labels.fetch(nobody, tmp_path, patience=QUICK)


def test_a_silent_server_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.zip"
        with pytest.raises(ServiceError, match=r"Timeout|timed out"):
            labels.fetch(
                ReleaseFile("zenodo", "x.zip", url, "labels", "test"),
                tmp_path,
                patience=replace(QUICK, attempts=2, silence_s=0.2),
            )


@pytest.mark.parametrize("fault", [404, 503, "html"])
def test_the_metadata_sheet_may_be_missing(
    fault: int | str, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = _file(publisher, kind="metadata", optional=True)
    publisher.faults = [fault] * 3

    assert labels.fetch(file, tmp_path, patience=QUICK) is None
    assert "going on without Experts_tiles.zip" in caplog.text


def test_a_wrong_hash_removes_the_file(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, md5="0" * 32)

    with pytest.raises(DataError, match=r"has md5 .*, the published file has 0000.*removed"):
        labels.fetch(file, tmp_path, patience=QUICK)
    assert list((tmp_path / "pangaea").iterdir()) == []


def test_a_wrong_length_is_refused_before_the_download(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, size=3_897_915_689)

    with pytest.raises(DataError, match=f"has {len(ARCHIVE)} bytes, the published file has 3897915689"):
        labels.fetch(file, tmp_path, patience=QUICK)
    assert not (tmp_path / "pangaea" / "Experts_tiles.zip").exists()


def test_an_error_page_in_place_of_an_archive_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["html"]

    with pytest.raises(DataError, match=r"is not a \.zip file; it was removed"):
        labels.fetch(file, tmp_path, patience=QUICK)
    assert list((tmp_path / "pangaea").iterdir()) == []


def test_a_mirror_answers_for_its_own_files(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/mirror/zenodo/dw_test.zip"] = ARCHIVE
    zenodo = labels.releases()[1].files[0]  # another size and md5

    path = labels.fetch(zenodo, tmp_path, mirror=f"{publisher.url}/mirror/", patience=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    with pytest.raises(DataError, match=r"is not the file that was downloaded there.*published 3897915689"):
        labels.fetch(zenodo, tmp_path, patience=QUICK)


def test_a_file_put_there_by_hand_is_checked_and_taken(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, md5=hashlib.md5(ARCHIVE).hexdigest())
    (tmp_path / "pangaea").mkdir()
    (tmp_path / "pangaea" / "Experts_tiles.zip").write_bytes(ARCHIVE)

    assert labels.fetch(file, tmp_path, patience=QUICK) is not None
    assert publisher.requests == []


def test_a_full_disk_is_noticed_before_the_download(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(publisher)
    usage = type(labels.shutil.disk_usage(tmp_path))(100, 90, 10)
    monkeypatch.setattr(labels.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DwplusError, match=r"needs .* GB .* are free"):
        labels.fetch(file, tmp_path, patience=QUICK)


def test_acquire_takes_only_what_the_splits_need(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files |= {f"/pangaea/{n}_tiles.zip": ARCHIVE for n in ("Experts", "Non_expert")}

    folder = labels.acquire(labels.releases(), tmp_path, mirror=publisher.url, splits=("train",), patience=QUICK)

    assert folder == tmp_path
    assert (tmp_path / "pangaea/Experts_tiles/Experts/EH/1/a.tif").is_file()
    assert not any("zenodo" in path for path, _ in publisher.requests)


# Archives ------------------------------------------------------------------------------------------------------------


def test_unpacking_twice_writes_nothing_and_mends_what_was_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(_zip({"Experts/EH/1/a.tif": b"aaaa", "b.tif": b"bbbb", "probs_c.tif": b"c"}))

    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 2
    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 0
    (tmp_path / "out" / "b.tif").write_bytes(b"bxbb")
    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 1

    files = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.tif")}
    assert files == {"Experts/EH/1/a.tif": b"aaaa", "b.tif": b"bbbb"}


def _link() -> bytes:
    buffer, info = io.BytesIO(), zipfile.ZipInfo("EH/link.tif")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def _huge() -> bytes:
    """A member that claims a gigabyte: the central directory is patched, nothing is that large."""
    content = bytearray(_zip({"EH/huge.tif": b"x"}))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (1 << 30).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _zip({"../evil.tif": b""}), r"'\.\./evil\.tif' leads out of the folder"),
        (lambda: _zip({"EH\\..\\..\\evil.tif": b""}), "leads out of the folder"),
        (lambda: _zip({"/etc/evil.tif": b""}), "'/etc/evil.tif' has an absolute path"),
        (lambda: _zip({"C:\\evil.tif": b""}), "has an absolute path"),
        (lambda: _zip({"EH/a.tif": b"1", "EH//a.tif": b"2"}), "'EH//a.tif' goes to the same place as 'EH/a.tif'"),
        (lambda: _zip({"EH/a.tif": b"1", "eh/A.tif": b"2"}), "goes to the same place"),
        (lambda: _zip({"EH": b"1", "EH/a.tif": b"2"}), "'EH/a.tif' lies inside a file"),
        (_link, "'EH/link.tif' is a link or a device"),
        (_huge, "'EH/huge.tif' has 1073741824 bytes unpacked"),
    ],
)
def test_a_member_that_has_no_business_there_is_refused_by_name(
    make: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(make())

    with pytest.raises(DataError, match=message):
        labels.extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    content = bytearray(ARCHIVE)
    content[20_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"member 'Experts/EH/1/a.tif' is damaged"):
        labels.extract(archive, tmp_path / "out")

    archive.write_bytes(ARCHIVE[:30_000])
    with pytest.raises(DataError, match="not a sound zip archive"):
        labels.extract(archive, tmp_path / "out")


# Index ---------------------------------------------------------------------------------------------------------------


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


GHANA = "dw_-2.7415152153_5.6549699454-20181226"
BRITAIN = "dw_-0.5169602165_51.4043077942-20170409"  # a test tile, biome 4


def test_the_index_keys_tiles_by_labeler_and_name(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        f"pangaea/Experts_tiles/Experts/WH/1/{GHANA}.tif",
        f"pangaea/Non_expert_tiles/Non_expert/WorkForce/WH/1/{GHANA}.tif",
        "zenodo/dw_test/label_dw_-0p5169602165_51p4043077942-20170409.tif",
        "zenodo/dw_test/probs_dw_-0p5169602165_51p4043077942-20170409.tif",
        f"somewhere/{GHANA}.tif",
        f"somewhere/else/{GHANA}.tif",
        f"somewhere/{GHANA}.s2_l2a.tif",
        "somewhere/dw_-2.7_5.6-20181399.TIF",
    )

    survey = labels.survey(tmp_path)

    assert [(t.labeler, t.dw_id, t.hemisphere, t.biome, t.split, t.band) for t in survey.labels] == [
        ("consensus", BRITAIN, "EH", 4, "test", "lulc"),
        ("expert", GHANA, "WH", 1, "train", None),
        ("non_expert", GHANA, "WH", 1, "train", None),
        ("unknown", GHANA, "EH", 0, "inspect", None),
    ]
    assert labels.index(tmp_path) == list(survey.labels)
    reasons = {i.path.name: i.reason for i in survey.ignored}
    assert "probabilities" in reasons["probs_dw_-0p5169602165_51p4043077942-20170409.tif"]
    assert "not the name of a label tile" in reasons[f"{GHANA}.s2_l2a.tif"]
    assert "holds no date" in reasons["dw_-2.7_5.6-20181399.TIF"]
    assert "same tile of the same labeler as" in reasons[f"{GHANA}.tif"]


def test_the_biome_may_come_from_the_metadata(tmp_path: Path) -> None:
    _touch(tmp_path, f"Experts/{GHANA}.tif")

    (tile,) = labels.index(tmp_path, metadata={("expert", GHANA): {"biome": "14"}})

    assert tile.biome == 14


@pytest.mark.parametrize(("lon", "folder"), [(-162.7, "WH"), (-20.1, "WH"), (-20.0, "EH"), (-2.7, "EH"), (178.0, "EH")])
def test_the_line_between_the_hemispheres_is_20_west(lon: float, folder: str) -> None:
    assert labels.hemisphere_of(lon) == folder


def test_tiles_given_by_hand_are_only_inspected(tmp_path: Path) -> None:
    _touch(tmp_path, f"Experts/EH/3/{GHANA}.tif")

    (tile,) = labels.from_folder(tmp_path)

    assert (tile.split, tile.labeler, tile.biome) == ("inspect", "expert", 3)


def test_a_folder_without_tiles_is_explained(tmp_path: Path) -> None:
    _touch(tmp_path, "ortho.tif")

    with pytest.raises(UsageError, match="no such folder"):
        labels.from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no Dynamic World label tile.*1 other TIFF files; ortho\.tif: not the name"):
        labels.from_folder(tmp_path)


# Label rasters -------------------------------------------------------------------------------------------------------

REAL_COUNTS = {
    "dw_-2.7415152153_5.6549699454-20181226": ("EPSG:32630", 526080, 627620, {0: 2712, 2: 249474, 7: 7914}),
    "dw_-3.4095852505_5.5380582684-20181226": (
        "EPSG:32630",
        452090,
        614700,
        {0: 232050, 2: 26395, 3: 408, 6: 661, 7: 586},
    ),
    "dw_111.8412562864_-8.1289167721-20190713": (
        "EPSG:32749",
        590130,
        9103900,
        {0: 31318, 2: 12318, 5: 130920, 7: 84541, 10: 1003},
    ),
}


@needs_real_tiles
def test_real_tiles_are_read_as_released() -> None:
    tiles = labels.from_folder(REAL / "dynamic_world_tiles")

    assert {t.dw_id for t in tiles} == set(REAL_COUNTS)
    for tile in tiles:
        raster = labels.read_label(tile.path)
        crs, x, y, counts = REAL_COUNTS[tile.dw_id]
        found, number = np.unique(raster.codes, return_counts=True)
        assert dict(zip(found.tolist(), number.tolist(), strict=True)) == counts
        assert (raster.crs, raster.transform) == (crs, (10, 0, x, 0, -10, y))
        assert (raster.codes.dtype, raster.shape) == (np.uint8, (510, 510))
        assert raster.sha256 == hashlib.sha256(tile.path.read_bytes()).hexdigest()


@needs_real_tiles
def test_a_truncated_real_tile_is_refused(tmp_path: Path) -> None:
    whole = (REAL / "dynamic_world_tiles" / "dw_111.8412562864_-8.1289167721-20190713.tif").read_bytes()
    cut = tmp_path / "cut.tif"

    for size in (len(whole) - 5000, len(whole) // 2, 100, 8):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):
            labels.read_label(cut)


@needs_real_tiles
def test_no_odd_file_passes_for_a_label() -> None:
    odd = [*sorted((REAL / "odd_files").glob("*.tif")), *sorted((REAL / "dynamic_world_tiles").glob("*.s2_l2a.tif"))]

    for path in odd:
        with pytest.raises(DataError, match=path.name):
            labels.read_label(path)


def _write(path: Path, *bands: np.ndarray, names: tuple[str, ...] = (), **changes: object) -> Path:
    height, width = bands[0].shape
    profile = {"crs": "EPSG:32630", "transform": Affine(10, 0, 526080, 0, -10, 627620), "dtype": bands[0].dtype}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=height, width=width, **{**profile, **changes}
    ) as raster:
        for number, band in enumerate(bands, start=1):
            raster.write(band, number)
            if names:
                raster.set_band_description(number, names[number - 1])
    return path


def test_a_test_tile_is_read_by_band_name_and_loses_one_pixel_on_each_side(tmp_path: Path) -> None:
    consensus = np.random.default_rng(0).integers(0, 11, (512, 512), dtype=np.uint8)
    model = np.full((512, 512), 3, np.uint8)
    path = _write(tmp_path / "label_dw.tif", model, consensus, names=("label", "lulc"))

    raster = labels.read_label(path)

    np.testing.assert_array_equal(raster.codes, consensus[1:511, 1:511])
    assert raster.transform == (10, 0, 526090, 0, -10, 627610)


def test_whole_numbers_stored_as_floats_are_codes(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tif", np.full((510, 510), 10, np.float32))

    assert labels.read_label(path).codes.dtype == np.uint8


CODES = np.ones((510, 510), np.uint8)


@pytest.mark.parametrize(
    ("bands", "changes", "message"),
    [
        ((np.ones((500, 510), np.uint8),), {}, r"has 510 x 500 px; a label tile has 510 x 510"),
        ((CODES,), {"crs": "EPSG:4326"}, "has the CRS WGS 84; a label tile has UTM"),
        ((CODES,), {"crs": None}, "has the CRS none"),
        ((CODES,), {"transform": Affine(20, 0, 0, 0, -20, 0)}, r"pixels of \(20, 0, 0, -20\) m"),
        ((CODES,), {"transform": Affine(10, 0, 0, 0, 10, 0)}, "north up"),
        ((CODES * 11,), {}, "holds the values 11; a label tile holds the codes 0..10"),
        ((CODES * np.float32(1.5),), {}, "holds the values 1.5"),
        ((CODES * np.float32("nan"),), {}, "holds the values nan"),
        ((CODES,), {"names": ("label",)}, "has the bands label;"),
        ((CODES, CODES), {"names": ("label", "other")}, "has the bands label, other;"),
        ((CODES, CODES), {}, "has the bands unnamed, unnamed;"),
    ],
)
def test_anything_else_is_refused_with_what_it_has(
    bands: tuple[np.ndarray, ...], changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.tif", *bands, **changes)  # type: ignore[arg-type]

    with pytest.raises(DataError, match=message):
        labels.read_label(path)


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="has 0 bytes"):
        labels.read_label(path)
    path.write_bytes(b"<html>413 Request Entity Too Large</html>")
    with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):
        labels.read_label(path)
    with pytest.raises(DataError, match="cannot be read"):
        labels.read_label(tmp_path / "missing.tif")


# Metadata ------------------------------------------------------------------------------------------------------------


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
    _touch(tmp_path, "dw_test/other.csv")
    (tmp_path / "dw_test/tiles.csv").write_text(
        "filename,s2_system_index\ndw_-0p5169602165_51p4043077942-20170409,20170409T105651_20170409T110425_T30UXC\n"
    )

    found = labels.read_metadata(tmp_path)

    assert found == {
        ("expert", amazon): {"S2_PRODUCT_ID": product, "date": "2019-08-12", "biome": "1"},
        ("non_expert", amazon): {"date": "2019-08-12"},
        ("consensus", BRITAIN): {"S2_GEE_ID": "20170409T105651_20170409T110425_T30UXC", "date": "2017-04-09"},
    }


def test_a_damaged_workbook_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sheet.xlsx").write_bytes(b"<html>503</html>")

    assert labels.read_metadata(tmp_path) == {}
    assert "going on without" in caplog.text


def test_every_test_tile_gets_its_biome_from_the_list(tmp_path: Path) -> None:
    from dwplus.manifests import load_csv

    _touch(tmp_path, *(f"label_{row['dw_id'].replace('.', 'p')}.tif" for row in load_csv("test_409")))

    tiles = labels.index(tmp_path)

    assert len(tiles) == 409
    assert {t.biome for t in tiles} == set(range(1, 15))
    assert sum(t.hemisphere == "WH" for t in tiles) == 140


def test_a_release_without_labels_of_a_split_asks_for_nothing(tmp_path: Path) -> None:
    release = Release("r", "", "", "", "", ())

    assert labels.acquire([release], tmp_path) == tmp_path
