"""Statistics of the training split: exact, and the same whatever the order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DataRoot
from dwplus.pipeline.bands import SHARD_BANDS, decode
from dwplus.pipeline.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process, local_cluster
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.landcover import class_indices
from dwplus.pipeline.ledger import Ledger
from dwplus.pipeline.manifest import read_manifest
from dwplus.pipeline.normalise import band_statistics, normalise, read_statistics, statistics_path, usable_rows
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.shards import read_bands, read_codes, shard_path


@pytest.fixture
def validated(data_root: DataRoot) -> Path:
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


def test_statistics_equal_those_of_numpy_over_all_training_pixels(validated: Path) -> None:
    manifest = read_manifest(validated)

    statistics = normalise(validated, manifest, "strict", run=in_process)

    rows = usable_rows(validated, manifest, "train", "strict")
    pixels = np.stack([read_bands(shard_path(validated, row.tile), SHARD_BANDS) for row in rows], axis=1)
    values = decode(pixels.reshape(len(SHARD_BANDS), -1, 8), SHARD_BANDS).astype(np.float64)
    for index, band in enumerate(SHARD_BANDS):
        assert statistics.bands[band].mean == pytest.approx(np.nanmean(values[index]), rel=1e-6)
        assert statistics.bands[band].std == pytest.approx(np.nanstd(values[index]), rel=1e-4, abs=1e-9)
    labels = np.stack([class_indices(read_codes(validated / row.label)) for row in rows])
    assert statistics.class_counts == tuple(int((labels == c).sum()) for c in range(9))
    assert statistics.ignored == int((labels == 255).sum())
    assert read_statistics(validated, "strict") == statistics


def test_the_number_of_workers_does_not_change_a_bit(validated: Path) -> None:
    manifest = read_manifest(validated)
    normalise(validated, manifest, "strict", run=in_process)
    alone = statistics_path(validated, "strict").read_bytes()

    with local_cluster(workers=2) as run:
        normalise(validated, manifest, "strict", run=run)

    assert statistics_path(validated, "strict").read_bytes() == alone


def test_shards_of_two_recipes_are_not_averaged(validated: Path) -> None:
    with Ledger(validated) as ledger:
        tile = usable_rows(validated, read_manifest(validated), "train", "paper")[0].tile.id
        ledger.append(replace(ledger.rows[tile], recipe="another"))

    with pytest.raises(DataError, match="shards of 2 recipes"):
        normalise(validated, read_manifest(validated), "paper", run=in_process)


def test_a_shard_that_was_written_after_the_validation_is_not_used(validated: Path) -> None:
    with Ledger(validated) as ledger:
        tile = usable_rows(validated, read_manifest(validated), "train", "paper")[0].tile.id
        ledger.append(replace(ledger.rows[tile], sha256="written since"))

    rows = usable_rows(validated, read_manifest(validated), "train", "paper")
    assert tile not in {row.tile.id for row in rows}
    assert len(rows) == 5


@pytest.mark.parametrize("content", ['{"tiles": 3}', "[]", "{"])
def test_damaged_statistics_say_what_to_do(validated: Path, content: str) -> None:
    statistics_path(validated, "strict").write_text(content)

    with pytest.raises(DataError, match="run 'dwplus normalise' again"):
        read_statistics(validated, "strict")


def test_test_tiles_do_not_enter(validated: Path) -> None:
    statistics = normalise(validated, read_manifest(validated), "paper", run=in_process)

    assert statistics.tiles == 6


def test_without_a_training_tile_there_are_no_statistics(data_root: DataRoot) -> None:
    root = data_root(train=0, test=2)
    validate_root(root, run=in_process, progress=Silent())

    assert normalise_root(root, run=in_process, progress=Silent()) == []
    with pytest.raises(DataError, match="no usable training tile"):
        normalise(root, read_manifest(root), "strict", run=in_process)
