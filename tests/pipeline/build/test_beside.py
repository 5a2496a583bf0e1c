"""Level-1C and maps beside the shards: own files, own ledgers, the data set as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.build.beside import BesideResult, build_beside
from dwplus.pipeline.build.build import BuildSetup
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.layers import LayerFiles, complete_of
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, TileError, UsageError
from dwplus.pipeline.files.atomic import sha256_of
from dwplus.pipeline.spec.layers import L1C, Layer, product_layer
from support.builds import Pixels
from support.fixture_types import LayOut, Run

SCENE = "20190701T101031_20190701T101030_T32TNQ"
WORLDCOVER = product_layer("worldcover")


def write(root: DataRoot, pixels: Pixels, *layers: Layer) -> list[BesideResult]:
    return build_beside(root, layers or (L1C, WORLDCOVER), root.manifest().rows, BuildSetup(pixels, in_process))


def hashes(root: DataRoot) -> dict[str, str]:
    """Of every file of the data set itself."""
    paths = [path for path in root.folder.rglob("*") if path.is_file() and not {"l1c", "products"} & {*path.parts}]
    return {str(path): sha256_of(path.read_bytes()) for path in paths}


def test_files_lie_beside_the_shards_which_stay_as_they_were(data_root: LayOut) -> None:
    root = data_root(train=1, test=2)
    before = hashes(root)

    results = write(root, Pixels())

    assert [one.states for one in results] == [{"done": 3}] * 2
    assert hashes(root) == before
    tile = root.manifest().rows[0].tile
    with (
        rasterio.open(root.shard(tile)) as shard,
        rasterio.open(root.folder / L1C.file_name(tile)) as l1c,
        rasterio.open(root.folder / "products" / "worldcover" / f"EH/{tile.biome}/{tile.id}.tif") as map_,
    ):
        for other in (l1c, map_):
            assert (other.crs, other.transform, other.shape) == (shard.crs, shard.transform, shard.shape)
        assert (l1c.descriptions, l1c.dtypes[0], l1c.nodata, l1c.scales[0]) == (L1C.bands, "uint16", 0, 1e-4)
        assert (map_.descriptions, map_.dtypes[0], map_.nodata) == (("Map",), "uint8", 255)
        assert l1c.tags()["SHOWS"] == SCENE
        assert map_.tags()["SHOWS"] == "ESA/WorldCover/v100 2020"  # nearest to a label of 2019
        assert "SANDBOX" in l1c.tags()["LICENCE"]


def test_a_second_run_requests_what_failed_or_is_missing_alone(data_root: LayOut) -> None:
    # Given three tiles of which one failed, and the file of another was lost.
    root = data_root(train=1, test=2)
    failing, lost, _ = (row.tile for row in root.manifest().rows)

    def fail(tile: object, _: object) -> None:
        if tile == failing:
            raise TileError("no answer", reason="no_answer")

    (first,) = write(root, Pixels(react=fail), L1C)
    assert (first.states, first.failed) == ({"done": 2, "no_answer": 1}, 1)
    (root.folder / L1C.file_name(lost)).unlink()

    again = Pixels()
    (second,) = write(root, again, L1C)

    assert sorted(again.asked) == sorted(f"l1c {tile.id} {SCENE}" for tile in (failing, lost))
    assert second.states == {"done": 3}


def test_the_scene_of_another_shard_is_requested_anew_and_a_year_is_not(data_root: LayOut) -> None:
    root = data_root(train=1, test=0)
    write(root, Pixels())
    with root.open_ledger() as ledger:
        (row,) = ledger.rows.values()
        ledger.append(replace(row, scene="20190706T101031_20190706T101030_T32TNQ"))

    assert not LayerFiles.of(root, L1C).done
    again = Pixels()
    write(root, again)

    assert [words.split()[0] for words in again.asked] == ["l1c"]


def test_a_place_without_an_image_is_recorded_and_not_requested_again(data_root: LayOut) -> None:
    root = data_root(train=1, test=0)

    def masked(_: object, stored: np.ndarray) -> None:
        stored[:] = 255

    (result,) = write(root, Pixels(react=masked), WORLDCOVER)
    again = Pixels()
    write(root, again, WORLDCOVER)

    assert result.states == {"no_image": 1}
    assert again.asked == []
    with pytest.raises(DataError, match=r"no_image.*dwplus build --products --split test"):
        complete_of(LayerFiles.of(root, WORLDCOVER), root.manifest().rows, split="test")


def test_pixels_of_another_source_do_not_lie_beside(data_root: LayOut) -> None:
    with pytest.raises(UsageError, match="earthengine"):
        write(data_root(train=1, test=0), Pixels("earthengine"))


def test_a_file_that_changed_is_one_line_with_the_command_to_run(data_root: LayOut) -> None:
    root = data_root(train=1, test=0)
    write(root, Pixels())
    tile = root.manifest().rows[0].tile
    path = root.folder / L1C.file_name(tile)
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(DataError, match="dwplus build --l1c"):
        LayerFiles.of(root, L1C).read(tile)


def test_the_command_names_what_would_be_requested(dwplus: Run, data_root: LayOut, tmp_path: Path) -> None:
    root = data_root(train=1, test=2)

    code, printed, _ = dwplus("build", "--l1c", "--products", "--split", "test", "--source", "sandbox", "--dry-run")

    assert code == 0
    # Nine bands of two bytes and three maps of one byte a pixel.
    height, width = root.manifest().rows[0].tile.shape
    most = 2 * height * width * (9 * 2 + 3) / 1e6
    assert f"at most 8 requests, one for each layer of 2 tiles, and {most:.1f} MB" in printed
    assert not (tmp_path / "data" / "sandbox" / "l1c").exists()
