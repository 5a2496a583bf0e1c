"""Killed ten times and run again, an addition ends with the bytes of an undisturbed one; memory does not grow."""

import multiprocessing
import os
import resource
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.own.pixels import Addition, add_pixels
from dwplus.pipeline.own.pixels_removal import remove_pixels
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.radar import Radar
from dwplus.pipeline.spec.tiles import Tile
from support.own_tiles import lay_out_labels, own_tile, s1_values, write_s1, write_s2

BOTH = Addition(sensors=("S2", "S1"), radar=Radar("sigma0", "none", 1, ("ASCENDING",)))
TILES = [own_tile(x=500_000.0 + 1_000 * n) for n in range(6)]

KILLS = (1, *(2,) * 9)
"""Which write to disk the process is killed at, one run after the other: 15 writes are needed, each run adds one."""


def in_a_process(work, *arguments: object) -> int:
    """Exit code of a function in a process of its own; negative where a signal ended it."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def add_until(folder: Path, files: Path, kill_at: int | None) -> None:
    """Add pixels; at the given write, before it is safe on the disk, the process is killed."""
    writes = 0
    sync = os.fsync

    def counting(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)

    os.fsync = counting  # type: ignore[assignment]
    add_pixels(DataRoot.at(folder), [files], BOTH, progress=Silent())


def bytes_of(root: DataRoot) -> dict[str, bytes]:
    """Content of all files that say no time."""
    paths = [path for path in root.folder.rglob("*") if path.is_file() and path != root.ledger_file]
    return {path.relative_to(root.folder).as_posix(): path.read_bytes() for path in paths}


def check_kills(tmp_path: Path, tiles: Sequence[Tile], kills: Sequence[int]) -> None:
    """Hold an addition that was killed against one that was not."""
    for number, tile in enumerate(tiles):
        write_s2(tmp_path / "files" / f"s2_{number}_20190702.tif", tile, seed=number)
        write_s1(tmp_path / "files" / f"s1_{number}_20190702.tif", tile, seed=number)
    undisturbed, killed = (lay_out_labels(tmp_path / name, tiles) for name in ("undisturbed", "killed"))
    assert in_a_process(add_until, undisturbed.folder, tmp_path / "files", None) == 0

    ends = [in_a_process(add_until, killed.folder, tmp_path / "files", kill_at) for kill_at in kills]
    assert in_a_process(add_until, killed.folder, tmp_path / "files", None) == 0

    assert ends == [-signal.SIGKILL] * len(kills)
    assert bytes_of(killed) == bytes_of(undisturbed)
    states = {tile: (row.state, row.sha256) for tile, row in killed.ledger().items()}
    assert states == {tile: (row.state, row.sha256) for tile, row in undisturbed.ledger().items()}
    assert len(states) == len(tiles)


def test_two_kills_change_no_byte(tmp_path: Path) -> None:
    # At the record of the data set, and in the middle of a shard.
    check_kills(tmp_path, TILES[:2], (1, 3))


@pytest.mark.slow
def test_ten_kills_change_no_byte(tmp_path: Path) -> None:
    check_kills(tmp_path, TILES, KILLS)


def remove_until(folder: Path, names: Sequence[str], kill_at: int | None) -> None:
    """Remove pixels; killed at the given write, see ``add_until``, or at the given removal of a shard."""
    writes = 0
    sync, unlink = os.fsync, Path.unlink

    def count() -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def syncing(handle: int) -> None:
        count()
        sync(handle)

    def removing(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".tif":
            count()
        unlink(path, missing_ok)

    os.fsync, Path.unlink = syncing, removing  # type: ignore[assignment,method-assign]
    remove_pixels(DataRoot.at(folder), names)


@pytest.mark.parametrize("names", [("s2_0_20190702.tif",), ("s1_0_20190702.tif", "s1_1_20190702.tif"), ("files",)])
def test_a_removal_that_is_killed_at_any_write_ends_with_the_same_bytes(
    tmp_path: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, tile in enumerate(TILES[:2]):
        write_s2(tmp_path / "files" / f"s2_{number}_20190702.tif", tile, seed=number)
        write_s1(tmp_path / "files" / f"s1_{number}_20190702.tif", tile, seed=number)
    undisturbed = lay_out_labels(tmp_path / "undisturbed", TILES[:2])
    add_until(undisturbed.folder, tmp_path / "files", None)
    full = tmp_path / "full"
    shutil.copytree(undisturbed.folder, full)
    assert in_a_process(remove_until, undisturbed.folder, names, None) == 0
    kept = ("state", "reason", "detail", "sha256", "source")
    said = {tile: [getattr(row, name) for name in kept] for tile, row in undisturbed.ledger().items()}

    ends = []
    for kill_at in range(1, 9):
        killed = DataRoot.at(tmp_path / f"killed-{kill_at}")
        shutil.copytree(full, killed.folder)
        ends.append(in_a_process(remove_until, killed.folder, names, kill_at))
        if ends[-1]:
            assert in_a_process(remove_until, killed.folder, names, None) == 0

        assert bytes_of(killed) == bytes_of(undisturbed)
        assert {tile: [getattr(row, name) for name in kept] for tile, row in killed.ledger().items()} == said
    assert ends[:3] == [-signal.SIGKILL] * 3
    assert ends[-1] == 0  # all writes were tried


def large_stack(path: Path, side: int) -> Path:
    """VV and VH of ``side`` x ``side`` px; blocks away from the first tile are empty, and take no room on the disk."""
    tile = TILES[0]
    transform = tile.affine @ Affine.translation(-side // 2, -side // 2)
    with rasterio.open(
        path, "w", driver="GTiff", count=2, height=side, width=side, dtype="float32", crs=tile.crs,
        transform=transform, tiled=True, sparse_ok=True, bigtiff="YES", nodata=-999,
    ) as file:  # fmt: skip
        file.descriptions = ("VV", "VH")
        file.write(s1_values(256, 256), window=rasterio.windows.Window(side // 2 - 64, side // 2 - 64, 256, 256))
    return path


def measured(folder: Path, path: Path, result: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    addition = Addition(sensors=("S1",), radar=BOTH.radar)
    add_pixels(DataRoot.at(folder), [path], addition, progress=Silent())
    result.write_text(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def test_a_raster_of_20000_px_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    grown = []
    for side in (1_000, 20_000):
        root = lay_out_labels(tmp_path / str(side), TILES[:1])
        path = large_stack(tmp_path / f"s1_{side}_2019-07-01.tif", side)
        assert in_a_process(measured, root.folder, path, tmp_path / "result.txt") == 0
        grown.append(float((tmp_path / "result.txt").read_text()))

    # The whole raster would take 3,200 MB.
    assert grown[1] < grown[0] + 150


@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_kill_leaves_something_to_do(tmp_path: Path, kill_at: int) -> None:
    # The check must be able to fail.
    root = lay_out_labels(tmp_path / "mine", TILES[:1])
    write_s2(tmp_path / "files" / "s2_20190702.tif", TILES[0])
    write_s1(tmp_path / "files" / "s1_20190702.tif", TILES[0])

    assert in_a_process(add_until, root.folder, tmp_path / "files", kill_at) == -signal.SIGKILL
    assert not root.failures_file.exists()
