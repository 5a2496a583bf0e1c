"""Real label tiles: the sandbox makes shards for them, on their own grids, label untouched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.dataset.root import DataRoot
from rigs.real_stacks import real_shard, stacks


@pytest.fixture(scope="module")
def built(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    command = ["build", "--labels", str(real_data / "dynamic_world_tiles"), "--source", "sandbox", "--workers", "1"]
    subprocess.run([sys.executable, "-m", "dwplus.cli", *command], cwd=folder, check=True, timeout=300)
    return folder / "data" / "sandbox"


def test_all_three_tiles_become_shards(built: Path) -> None:
    assert [(row.state, row.rule) for row in DataRoot.at(built).ledger().values()] == [("done", "same-day")] * 3


def test_labels_are_those_of_the_release_and_pixels_lie_on_their_grid(built: Path, real_data: Path) -> None:
    shards = list((built / "shards").rglob("*.tif"))
    assert len(shards) == 3
    for path in shards:
        label = next((built / "labels").rglob(path.name))
        with (
            rasterio.open(real_data / "dynamic_world_tiles" / path.name) as released,
            rasterio.open(label) as kept,
            rasterio.open(path) as shard,
        ):
            np.testing.assert_array_equal(kept.read(1), released.read(1))
            for other in (kept, shard):
                assert (other.crs, other.transform, other.shape) == (released.crs, released.transform, released.shape)
            assert (shard.read() > 0).all()


def test_real_pixels_fit_into_small_shards(built: Path, real_data: Path) -> None:
    # Given the Sentinel-2 stacks of two tiles, with the planet's Sentinel-1; reading time: benchmarks/shard_size.py.
    found = stacks(real_data / "dynamic_world_tiles")
    assert len(found) == 2
    for stack in found:
        planet = next((built / "shards").rglob(stack.name.replace(".s2_l2a", "")))

        assert len(real_shard(stack, planet)) <= 4.6e6
