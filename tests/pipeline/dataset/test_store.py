"""The training store: the same samples as the shards, written bit by bit, trusted only where it is whole and fresh."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.dataset.store import arrange, stored_rows, write_store
from dwplus.pipeline.dataset.zarr_chunks import decode_chunk, encode_chunk
from dwplus.pipeline.errors import DataError, DwplusError, UsageError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_bands, read_codes
from dwplus.pipeline.spec.bands import S1_BANDS, S2_BANDS, decode
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.fixture_types import LayOut


@pytest.fixture
def root(data_root: LayOut, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """29 tiles: one full file of each variable, and one of 13 tiles. Laid out once, then copied."""
    model = tmp_path_factory.getbasetemp() / "store-model"
    if not model.exists():
        root = data_root(train=22, test=7)
        _look_again(root)
        shutil.copytree(root.folder, model)
    else:
        root = DataRoot.at(tmp_path / "data" / "sandbox")
        shutil.copytree(model, root.folder)
    return root


@pytest.fixture
def stored(root: DataRoot) -> DataRoot:
    write_store(root, run=in_process)
    return root


def _look_again(root: DataRoot) -> None:
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())


def _files(root: DataRoot) -> dict[str, int]:
    """When each file of chunks was written, by name."""
    store = root.store
    paths = [path for path in store.glob("*/c/*/**/*") if path.is_file()]
    return {path.relative_to(store).as_posix(): path.stat().st_mtime_ns for path in paths}


def _change_shard(root: DataRoot, tile_id: str) -> None:
    """Give a tile the pixels of another recipe run: its file and ledger row change, as a build would change them."""
    from dwplus.pipeline.files.atomic import sha256_of
    from dwplus.pipeline.raster.geotiff import encode_shard, read_header
    from support.tiles import make_pixels

    row = next(row for row in root.manifest().rows if row.tile.id == tile_id)
    path = root.shard(row.tile)
    tags = {name: value for name, value in read_header(path).tags.items() if name != "AREA_OR_POINT"}
    content = encode_shard(make_pixels(8, seed=999), row.tile, tags)
    path.write_bytes(content)
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[tile_id], sha256=sha256_of(content)))


# --- the same samples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "auxiliary"),
    [(S2_BANDS[1:], S1_BANDS), (("B4", "B3", "B2"), ("S1_N", "VH", "B1")), (("B12", "B11"), ())],
)
def test_every_sample_equals_that_of_the_shards(
    stored: DataRoot, primary: tuple[str, ...], auxiliary: tuple[str, ...]
) -> None:
    for split in ("train", "val", "test"):
        pair = [
            Dataset(stored, split=split, primary=primary, auxiliary=auxiliary, read=read)
            for read in ("store", "shards")
        ]

        assert [dataset.reading for dataset in pair] == ["store.zarr", "shards"]
        for one, other in zip(*pair, strict=True):
            assert one.tile_id == other.tile_id
            for name in ("primary", "auxiliary", "label"):
                a, b = getattr(one, name), getattr(other, name)
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_xarray_shows_reflectance_decibel_and_classes_with_place_and_date(stored: DataRoot) -> None:
    with xr.open_zarr(stored.store) as shown:
        assert dict(shown.sizes) == {"tile": 29, "s2_band": 11, "s1_band": 2, "y": 8, "x": 8}
        for row in stored_rows(stored)[::9]:
            one = shown.sel(tile=row.tile.id)
            for name, bands in (("s2", S2_BANDS), ("s1", S1_BANDS)):
                physical = decode(read_bands(stored.shard(row.tile), bands), bands)
                np.testing.assert_allclose(one[name].values, physical, rtol=1e-6)
            classes = DYNAMIC_WORLD.class_indices(read_codes(stored.folder / row.label))
            np.testing.assert_array_equal(one.label.fillna(255).values, classes)
            assert (str(one.split_strict.values), int(one.biome)) == (row.split_strict, row.tile.biome)
            assert (float(one.lon), float(one.lat)) == pytest.approx(row.tile.centre)
            assert str(one.date.values)[:10] == row.tile.date.isoformat()
            assert (int(one.epsg), float(one.x_min), float(one.y_max)) == (int(row.tile.crs[5:]), 5e5, 5e6)
        assert shown.s2_band.values.tolist() == list(S2_BANDS)
        assert shown.attrs["source"] == "SANDBOX"
        assert "SANDBOX" in shown.attrs["title"]
        assert shown.attrs["license"].startswith("SANDBOX")
        assert shown.attrs["complete"] is True
        assert shown.label.attrs["flag_meanings"].split()[0] == "water"


def test_the_zarr_library_reads_the_stored_values(stored: DataRoot) -> None:
    group = zarr.open_group(stored.store, mode="r")
    rows = {row.tile.id: row for row in stored.manifest().rows}

    for place, tile in enumerate(group["tile"][:]):
        expected = read_bands(stored.shard(rows[tile].tile), ("S1_N", "B1"))
        np.testing.assert_array_equal(group["s1_n"][place], expected[0])
        np.testing.assert_array_equal(group["s2"][place, 0], expected[1])


# --- again and again --------------------------------------------------------------------------------------------------


def test_a_second_run_writes_nothing(stored: DataRoot) -> None:
    before = _files(stored)

    report = write_store(stored, run=in_process)

    assert (report.tiles, report.written) == (29, 0)
    assert _files(stored) == before
    assert len(before) == 2 * 4


def test_only_the_files_of_a_changed_tile_are_written_anew(stored: DataRoot) -> None:
    tile = stored_rows(stored)[20].tile.id
    _change_shard(stored, tile)
    _look_again(stored)
    stale = Dataset(stored, split="train")
    assert stale.reading.startswith("shards, not the training store: ")
    assert f"({tile} ...); run 'dwplus normalise --store'" in stale.reading
    before = _files(stored)

    report = write_store(stored, run=in_process)

    after = _files(stored)
    assert {name for name in after if after[name] != before[name]} == {
        "s2/c/1/0/0/0",
        "s1/c/1/0/0/0",
        "s1_n/c/1/0/0",
        "label/c/1/0/0",
    }
    assert report.written == 13
    assert Dataset(stored, split="train").reading == "store.zarr"


def test_a_tile_that_was_found_bad_leaves_the_store(stored: DataRoot) -> None:
    first, *_, last = stored_rows(stored)
    with stored.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[first.tile.id], state="failed"))
    _look_again(stored)

    report = write_store(stored, run=in_process)

    # The last tile takes its place: two files of each variable change.
    with xr.open_zarr(stored.store) as shown:
        assert shown.tile.values[0] == last.tile.id
        assert shown.sizes["tile"] == report.tiles == 28
    assert report.written == 16 + 12


@pytest.mark.parametrize("damage", ["delete", "truncate", "empty", "foreign"])
def test_what_is_missing_or_cut_off_is_written_again(stored: DataRoot, damage: str) -> None:
    path = stored.store / "s1/c/1/0/0/0"
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"truncate": content[:-100], "empty": b"", "foreign": b"[1]\n" + content}[damage])
    assert "store" in Dataset(stored, split="train").reading.split(":")[0]
    with pytest.raises(DataError, match="run 'dwplus normalise --store'"):
        Dataset(stored, split="train", read="store")

    assert write_store(stored, run=in_process).written == 13

    assert path.read_bytes() == content


WRITER = """
import sys, time
from dwplus.pipeline.dataset import store
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
encode = store.encode_chunk
root = DataRoot.at(sys.argv[1])
def until_killed(values):
    if (root.store / "label/c/0/0/0").exists():
        time.sleep(600)
    return encode(values)
store.encode_chunk = until_killed
store.write_store(root, run=in_process)
"""


def test_a_killed_run_is_gone_on_with(root: DataRoot) -> None:
    # Given a run that is killed after its first file, and what a kill in the middle of writing leaves.
    first = root.store / "label/c/0/0/0"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)])
    while not first.exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    part = root.store / "s2/c/1/0/0" / ".0.1.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"half")
    with xr.open_zarr(root.store) as shown:
        assert shown.attrs["complete"] is False
    assert Dataset(root, split="train").reading.startswith("shards, not")
    written = first.stat().st_mtime_ns

    report = write_store(root, run=in_process)

    assert report.written == 29 - 16
    assert first.stat().st_mtime_ns == written
    assert not part.exists()
    assert Dataset(root, split="train").reading == "store.zarr"


def test_files_are_given_to_the_runner_each_once(root: DataRoot) -> None:
    given: list[int] = []

    def watched(function, items):
        given.extend(plan.number for plan in items)
        return in_process(function, items)

    told: list[int] = []
    write_store(root, run=watched, on_plan=told.append, on_tiles=told.append)

    assert given == [0, 1]
    assert told == [29, 29]


def test_two_writers_exclude_each_other(root: DataRoot) -> None:
    def inner(function, items):
        with pytest.raises(DwplusError, match="another process is writing"):
            write_store(root, run=in_process)
        return in_process(function, items)

    assert write_store(root, run=inner).tiles == 29


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("", "abc", "abc"),
        ("abc", "abcd", "abcd"),
        ("bcd", "abcd", "bcda"),
        ("abcd", "bcd", "dbc"),
        ("abcd", "xacd", "axcd"),
        ("abcd", "b", "b"),
        ("a--d", "abd", "abd"),
        ("aba", "ab", "ab"),
        ("abc", "", ""),
    ],
)
def test_tiles_keep_their_places_where_they_can(before: str, wanted: str, after: str) -> None:
    places = arrange(["" if tile == "-" else tile for tile in before], list(wanted))

    assert "".join(places) == after


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_damaged_chunk_names_its_tile(stored: DataRoot) -> None:
    path = stored.store / "s2/c/1/0/0/0"
    content = bytearray(path.read_bytes())
    start = content.index(b"\n") + 1
    content[start + 40] ^= 1  # a byte of the first chunk; note and index stay
    path.write_bytes(content)
    tile = json.loads(content[:start])["tiles"][0][0]
    split = next(s for s in ("train", "val", "test") if tile in {r.tile.id for r in Dataset(stored, split=s).rows})
    dataset = Dataset(stored, split=split, read="store")

    with pytest.raises(DataError, match=f"chunk of tile {tile} is damaged .*checksum differs.*delete that file"):
        dataset[[row.tile.id for row in dataset.rows].index(tile)]


def test_a_chunk_of_another_size_is_refused() -> None:
    content = np.frombuffer(encode_chunk(np.arange(64, dtype=np.uint16)), dtype=np.uint8)

    np.testing.assert_array_equal(decode_chunk(content, "uint16", (8, 8)).ravel(), np.arange(64))
    with pytest.raises(DataError, match="holds 128 bytes instead of 32"):
        decode_chunk(content, "uint16", (4, 4))


def test_a_shard_that_changed_since_its_validation_is_not_stored(root: DataRoot) -> None:
    row = stored_rows(root)[0]
    with root.open_ledger() as ledger:
        old = ledger.rows[row.tile.id]
    _change_shard(root, row.tile.id)
    with root.open_ledger() as ledger:
        ledger.append(old)

    with pytest.raises(DataError, match=f"{row.tile.id}.tif is not the file on record"):
        write_store(root, run=in_process)


def test_without_its_packages_the_store_names_the_extra(stored: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("zarr", "numcodecs.blosc", "google_crc32c"):
        monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UsageError, match=r"needs the package zarr; run: pip install 'dwplus\[store\]'"):
        write_store(stored, run=in_process)
    with pytest.raises(UsageError, match=r"pip install 'dwplus\[store\]'"):
        Dataset(stored, split="train", read="store")
    assert r"pip install 'dwplus[store]'" in Dataset(stored, split="train").reading


def test_without_a_store_the_shards_are_read_without_a_word(root: DataRoot) -> None:
    assert Dataset(root, split="train").reading == "shards"
    with pytest.raises(DataError, match=r"store.zarr does not exist; run 'dwplus normalise --store'"):
        Dataset(root, split="train", read="store")
    with pytest.raises(UsageError, match="cannot read from 'tape'; choose one of auto, shards, store"):
        Dataset(root, split="train", read="tape")


def test_the_command_writes_the_store(root: DataRoot) -> None:
    command = [
        sys.executable,
        "-m",
        "dwplus.cli",
        "normalise",
        "--store",
        "--workers",
        "1",
        "--data",
        str(root.folder.parent),
    ]
    environment = {**os.environ, "DWPLUS_SOURCE": "sandbox"}

    done = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert done.returncode == 0, done.stderr
    assert "29 tiles, 29 of them written now" in done.stdout
    assert done.stdout.rstrip().endswith("[SANDBOX]")
    assert root.store.is_dir()
