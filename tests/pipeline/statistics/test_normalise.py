"""Statistics of the training split: exact, and the same whatever the order."""

import json
import pickle
from dataclasses import replace
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import batches, in_process, local_cluster
from dwplus.pipeline.dataset.manifest import PROTOCOLS
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_bands, read_codes
from dwplus.pipeline.raster.targets import Targets
from dwplus.pipeline.spec.bands import SHARD_BANDS, decode
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.statistics.histograms import Cell, add_counts, count_pixels, merged, pack, unpack
from dwplus.pipeline.statistics.normalise import check_usable
from dwplus.pipeline.statistics.summary import band_statistics
from support.fixture_types import LayOut


@pytest.fixture
def validated(data_root: LayOut) -> Path:
    root = data_root(train=6, test=2)
    validate_root(root, run=in_process, progress=Silent())
    return root


def test_statistics_of_four_pixels_by_hand() -> None:
    # Given stored B2 values 1000, 1000, 3000 and one pixel without data.
    counts = np.zeros(65536, dtype=np.int64)
    counts[[0, 1000, 3000]] = [1, 2, 1]

    statistics = band_statistics(counts, "B2")

    # Then mean = 5000 / 3 DN and variance = (1e6 + 1e6 + 9e6) / 3 - mean^2.
    assert statistics.count == 3
    assert statistics.mean == pytest.approx(0.5 / 3, rel=1e-15)
    assert statistics.std == pytest.approx(np.std([0.1, 0.1, 0.3]), rel=1e-14)
    assert (statistics.min, statistics.max, statistics.percentiles["50"]) == pytest.approx((0.1, 0.3, 0.1))


def test_logarithms_of_four_pixels_by_hand() -> None:
    counts = np.zeros(65536, dtype=np.int64)
    counts[0], counts[200], counts[600] = 5, 3, 1  # DN 200 and 600: log(2) and log(4), nothing five times

    optical, radar = band_statistics(counts, "B2"), band_statistics(counts, "VV")

    mean = (3 * log(2) + log(4)) / 4
    assert optical.log_mean == pytest.approx(mean)
    assert optical.log_std == pytest.approx(sqrt((3 * (log(2) - mean) ** 2 + (log(4) - mean) ** 2) / 4))
    assert radar.log_mean is radar.log_std is None


def test_statistics_equal_those_of_numpy_over_all_training_pixels(validated: DataRoot) -> None:
    statistics = normalise_root(validated, run=in_process, progress=Silent(), protocols=["strict"])[0]

    rows = validated.usable("train", "strict")
    pixels = np.stack([read_bands(validated.shard(row.tile), SHARD_BANDS) for row in rows], axis=1)
    values = decode(pixels.reshape(len(SHARD_BANDS), -1, 8), SHARD_BANDS).astype(np.float64)
    for index, band in enumerate(SHARD_BANDS):
        assert statistics.bands[band].mean == pytest.approx(np.nanmean(values[index]), rel=1e-6)
        assert statistics.bands[band].std == pytest.approx(np.nanstd(values[index]), rel=1e-4, abs=1e-9)
    labels = np.stack([DYNAMIC_WORLD.class_indices(read_codes(validated.folder / row.label)) for row in rows])
    assert statistics.class_counts == tuple(int((labels == c).sum()) for c in range(9))
    assert statistics.ignored == int((labels == 255).sum())
    assert validated.statistics("strict") == statistics


def _written(root: DataRoot, run) -> list[bytes]:
    """What a run of the stage writes, from nothing."""
    paths = [path(protocol) for path in (root.statistics_file, root.groups_file) for protocol in PROTOCOLS]
    for path in paths:
        path.unlink(missing_ok=True)
    normalise_root(root, run=run, progress=Silent())
    return [path.read_bytes() for path in paths]


def test_neither_order_nor_batches_nor_workers_change_a_bit(data_root: LayOut) -> None:
    root = data_root(train=17, test=3)
    validate_root(root, run=in_process, progress=Silent())
    expected = _written(root, in_process)

    def shuffled(seed: int, size: int):
        def run(function, items):
            order = np.random.default_rng(seed).permutation(len(items))
            return ((len(batch), function(batch)) for batch in batches([items[i] for i in order], size))

        return run

    for seed, size in enumerate((1, 7, 16, 16)):
        assert _written(root, shuffled(seed, size)) == expected
    with local_cluster(workers=2) as run:
        assert _written(root, run) == expected


def test_groups_hold_the_tiles_of_their_split_region_and_biome(validated: DataRoot) -> None:
    normalise_root(validated, run=in_process, progress=Silent())

    document = json.loads(validated.groups_file("strict").read_text())

    by_key = {(g["split"], g["region"], g["biome"]): g for g in document["groups"]}
    assert len(by_key) == len(document["groups"])
    rows = [row for row in validated.manifest().rows if row.split_strict == "train"]
    whole = by_key["train", None, None]
    assert whole["tiles"] == len(rows)
    assert whole["bands"] == json.loads(validated.statistics_file("strict").read_text())["bands"]
    for row in rows:
        one = by_key["train", None, row.tile.biome]
        values = read_bands(validated.shard(row.tile), ("B4",)) * 1e-4
        classes = DYNAMIC_WORLD.class_indices(read_codes(validated.folder / row.label))
        assert one["bands"]["B4"]["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert one["class_counts"] == [int((classes == c).sum()) for c in range(9)]
        assert sum(one["class_shares"]) == pytest.approx(1)
        assert by_key["train", row.tile.region, None]["tiles"] >= 1
    assert sum(g["tiles"] for key, g in by_key.items() if key[0] == "test" and key[2]) == 2


def test_sums_of_squares_beyond_64_bits_are_exact() -> None:
    # Two values, each 2^33 times: the squares add up to more than 2^64.
    counts = np.zeros(65536, dtype=np.int64)
    counts[[60000, 65000]] = 2**33

    statistics = band_statistics(counts, "B2")

    assert statistics.mean == pytest.approx(6.25, rel=1e-15)
    assert statistics.std == pytest.approx(0.25, rel=1e-15)
    assert statistics.percentiles["50"] == pytest.approx(6.0)


def test_what_a_task_returns_is_small_and_complete() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(2000, 500, (14, 510, 510)).clip(0, 65535).astype(np.uint16)
    pixels[0, 0, 0] = 65535
    counts = {
        Cell("train", "train", "eastern-hemisphere-1", 4): count_pixels(
            pixels, np.zeros((510, 510), np.uint8), Targets()
        )
    }

    packed = pack(counts)

    assert len(pickle.dumps(packed)) < 0.4e6
    (one,), (other,) = counts.values(), unpack(packed).values()
    for band in SHARD_BANDS:
        np.testing.assert_array_equal(one.bands[band], other.bands[band])
    total = {}
    add_counts(total, unpack(packed))
    add_counts(total, counts, times=-1)
    assert not any(values.any() for values in merged(total.values()).bands.values())


def test_shards_of_two_recipes_are_not_averaged(validated: DataRoot) -> None:
    with validated.open_ledger() as ledger:
        tile = validated.usable("train", "paper")[0].tile.id
        ledger.append(replace(ledger.rows[tile], recipe="another"))

    with pytest.raises(DataError, match="shards of 2 recipes"):
        normalise_root(validated, run=in_process, progress=Silent(), protocols=["paper"])


def test_a_shard_that_was_written_after_the_validation_is_not_used(validated: DataRoot) -> None:
    with validated.open_ledger() as ledger:
        tile = validated.usable("train", "paper")[0].tile.id
        ledger.append(replace(ledger.rows[tile], sha256="written since"))

    rows = validated.usable("train", "paper")
    assert tile not in {row.tile.id for row in rows}
    assert len(rows) == 5


@pytest.mark.parametrize("content", ['{"tiles": 3}', "[]", "{"])
def test_damaged_statistics_say_what_to_do(validated: DataRoot, content: str) -> None:
    validated.statistics_file("strict").write_text(content)

    with pytest.raises(DataError, match="run 'dwplus normalise' again"):
        validated.statistics("strict")


def test_test_tiles_do_not_enter(validated: DataRoot) -> None:
    (statistics,) = normalise_root(validated, run=in_process, progress=Silent(), protocols=["paper"])

    assert statistics.tiles == 6


def test_without_a_training_tile_there_are_no_statistics(data_root: LayOut) -> None:
    root = data_root(train=0, test=2)
    validate_root(root, run=in_process, progress=Silent())

    assert normalise_root(root, run=in_process, progress=Silent()) == []
    with pytest.raises(DataError, match="no usable training tile"):
        check_usable(root, "strict")
