"""Taking added pixels out again: shards, ledger and record are as if the files had never been added."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import build_added
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.own.pixels import Addition, add_pixels
from dwplus.pipeline.own.pixels_removal import remove_pixels
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_bands, read_header
from dwplus.pipeline.spec.bands import S2_BANDS
from dwplus.pipeline.spec.radar import Radar
from dwplus.pipeline.spec.sources import Source
from support.own_tiles import lay_out_labels, own_tile, s2_values, write_raster, write_s1, write_s2

ONE_DATE = Radar("sigma0", "none", 1, ("ASCENDING",))
S2 = Addition(sensors=("S2",))
S1 = Addition(sensors=("S1",), radar=ONE_DATE)
TILES = [own_tile(x=500_000.0 + 1_000 * number) for number in range(4)]


def add(root: DataRoot, addition: Addition, *paths: Path) -> None:
    add_pixels(root, paths, addition, progress=Silent())


def state(root: DataRoot) -> dict[str, tuple[str, str, str]]:
    """Tile -> what the ledger says of it, but for times."""
    return {tile: (row.state, row.reason, row.sha256) for tile, row in root.ledger().items()}


def shards(root: DataRoot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.shards.rglob("*.tif")}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A stack of Sentinel-2 and one of Sentinel-1 for each of four tiles, in folders ``s2`` and ``s1``."""
    for number, tile in enumerate(TILES):
        write_s2(tmp_path / "s2" / f"s2_{number}_20190703.tif", tile, seed=number)
        write_s1(tmp_path / "s1" / f"s1_{number}_20190705.tif", tile, seed=number)
    return tmp_path


@pytest.fixture
def root(files: Path) -> DataRoot:
    return lay_out_labels(files / "mine", TILES)


def test_sentinel_1_that_was_added_after_sentinel_2_leaves_no_byte(root: DataRoot, files: Path) -> None:
    add(root, S2, files / "s2")
    shards_before, record, before = shards(root), root.added_file.read_bytes(), state(root)
    add(root, S1, files / "s1")

    removed = remove_pixels(root, [str(files / "s1")])

    assert (len(removed.files), removed.tiles, dict(removed.states)) == (4, 4, {"done": 4})
    assert (shards(root), root.added_file.read_bytes(), state(root)) == (shards_before, record, before)
    assert not root.has_s1()


def test_one_file_costs_its_tile_alone_and_comes_back_with_it(root: DataRoot, files: Path) -> None:
    add(root, S2, files / "s2")
    add(root, S1, files / "s1")
    whole, record = shards(root), root.added_file.read_bytes()

    removed = remove_pixels(root, ["s1_2_20190705.tif"])

    assert (removed.files, removed.tiles) == (("s1_2_20190705.tif",), 1)
    assert dict(removed.states) == {"done": 3, "no_pixels": 1}
    last = root.ledger()[TILES[2].id]
    assert (last.state, last.detail) == ("discarded", "its Sentinel-1 files were removed")
    assert not read_bands(root.shard(TILES[2]), ("VV", "VH", "S1_N")).any()
    np.testing.assert_array_equal(
        read_bands(root.shard(TILES[2]), S2_BANDS)[0, 0, 0], s2_values(40, 40, seed=2)[0, 4, 4]
    )
    assert TILES[2].id in root.failures_file.read_text()
    assert root.radars() == (ONE_DATE,)

    add(root, S1, files / "s1")

    assert (shards(root), root.added_file.read_bytes()) == (whole, record)


def test_composites_that_were_removed_make_room_for_single_scenes(root: DataRoot, files: Path) -> None:
    add(root, S1, files / "s1")
    add(root, replace(S2, composite="median"), files / "s2")

    remove_pixels(root, [str(files / "s2")])
    add(root, S2, files / "s2")

    assert root.composite() is None


def test_the_last_file_leaves_labels_without_pixels(root: DataRoot, files: Path) -> None:
    add(root, S2, files / "s2")
    (key,) = [one.key for one in root.added_pixels().inputs]  # type: ignore[union-attr]

    removed = remove_pixels(root, [key])

    assert removed.left is None
    assert dict(removed.states) == {"no_pixels": 4}
    assert shards(root) == {}
    assert not root.added_file.exists()
    # Nothing ties the labels to their first source.
    add(root, replace(S2, source=Source.added_as("other")), files / "s2")
    assert root.source() == "user:other"


def test_what_is_left_is_built(root: DataRoot, files: Path) -> None:
    add(root, S2, files / "s2")
    add(root, S1, files / "s1")
    build_added(root, run=in_process, progress=Silent())

    remove_pixels(root, [str(files / "s1")])
    result = build_added(root, run=in_process, progress=Silent())

    assert (dict(result.states), result.broken) == ({"done": 4}, 0)
    assert root.statistics("strict").bands["B2"].count == 2 * 32 * 32


def test_a_tile_of_two_files_loses_both(tmp_path: Path) -> None:
    tile = own_tile()
    root = lay_out_labels(tmp_path / "mine", [tile])
    values = s2_values(32, 32)
    left, right = values.copy(), values.copy()
    left[:, :, 20:], right[:, :, :4] = 0, 0
    write_raster(tmp_path / "a_20190701.tif", left, tile.affine, names=S2_BANDS)
    write_raster(tmp_path / "b_20190701.tif", right, tile.affine, names=S2_BANDS)
    add(root, S2, tmp_path / "a_20190701.tif", tmp_path / "b_20190701.tif")

    remove_pixels(root, ["b_20190701.tif"])

    assert shards(root) == {}
    assert [file.name for one in root.added_pixels().inputs for file in one.files] == ["a_20190701.tif"]  # type: ignore[union-attr]
    assert root.ledger()[tile.id].reason == "no_pixels"


def test_the_other_of_two_kinds_of_sentinel_1_is_forgotten_with_its_files(root: DataRoot, files: Path) -> None:
    add(root, S1, files / "s1")
    gamma = Radar("gamma0", "none", 1, ("ASCENDING",))
    path = write_s1(files / "rtc_20190701.tif", TILES[0], seed=9)
    add(root, replace(S1, radar=gamma, accept_s1=True), path)
    assert read_header(root.shard(TILES[0])).tags["S1_CALIBRATION"] == "gamma0"

    remove_pixels(root, [str(path)])

    assert root.radars() == (ONE_DATE,)


def test_b1_is_there_again_without_the_file_that_lacks_it(root: DataRoot, files: Path) -> None:
    ten = write_raster(files / "ten_20190702.tif", s2_values(32, 32)[1:], TILES[3].affine, names=S2_BANDS[1:])
    add(root, S2, files / "s2" / "s2_0_20190703.tif", files / "s2" / "s2_1_20190703.tif", ten)
    assert root.absent_bands() == ("B1",)

    remove_pixels(root, [ten.name])

    assert root.absent_bands() == ()


def test_a_file_that_broke_a_rule_is_blamed_no_more(root: DataRoot, files: Path) -> None:
    stuck = s2_values(40, 40)
    stuck[3] = 777
    write_raster(files / "s2" / "s2_1_20190703.tif", stuck, own_tile(x=500_960.0, y=5_000_040.0).affine, names=S2_BANDS)
    add(root, S2, files / "s2")
    assert root.ledger()[TILES[1].id].reason == "bad_pixels"

    remove_pixels(root, ["s2_1_20190703.tif"])

    last = root.ledger()[TILES[1].id]
    assert (last.reason, last.detail) == ("no_pixels", "its Sentinel-2 files were removed")


def test_pixels_of_labels_that_are_gone_are_removed_too(root: DataRoot, files: Path) -> None:
    # Labels leave their shards behind: added again, they would bring back what was removed.
    add(root, S2, files / "s2")
    stray = root.folder / "shards" / "EH" / "0" / "field-32632-900000-5000000-20190701.tif"
    stray.write_bytes(root.own_shard(TILES[0]).read_bytes())

    remove_pixels(root, ["s2_0_20190703.tif"])

    assert sorted(shards(root)) == sorted(f"{tile.id}.tif" for tile in TILES[1:])


def test_chips_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    root = lay_out_labels(tmp_path / "mine", TILES[:2])
    for name, tile in zip("ab", TILES, strict=False):
        write_s2(tmp_path / "chips" / name / "stack.tif", tile, tags={"DATE": str(date(2019, 7, 1))})
    add(root, S2, tmp_path / "chips")

    with pytest.raises(UsageError, match=r"2 files are called 'stack.tif' \(a/stack.tif, b/stack.tif\); name one of"):
        remove_pixels(root, ["stack.tif"])
    assert remove_pixels(root, [str(tmp_path / "chips" / "b")]).files == ("b/stack.tif",)
    assert root.ledger()[TILES[0].id].state == "done"


def test_what_is_not_there_is_refused_in_one_line(root: DataRoot, files: Path) -> None:
    with pytest.raises(UsageError, match="holds no pixels that were added"):
        remove_pixels(root, ["x.tif"])
    add(root, S2, files / "s2")
    before = shards(root)

    with pytest.raises(UsageError, match=r"has no pixels of 'x.tif'; it has [0-9a-f]{12} of s2_0_20190703.tif, \.\.\."):
        remove_pixels(root, ["s2_0_20190703.tif", "x.tif"])
    assert shards(root) == before
