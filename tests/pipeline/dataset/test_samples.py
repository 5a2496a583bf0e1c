"""The data set: samples in stored units, refused where they cannot be trusted."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_bands
from support.fixture_types import LayOut


@pytest.fixture
def root(data_root: LayOut) -> Path:
    root = data_root(train=6, test=2)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return root


def test_a_sample_holds_the_chosen_bands_and_class_indices(root: DataRoot) -> None:
    dataset = Dataset(root, split="test", primary=("B4", "B3", "B2"), auxiliary=("VV", "VH"))

    sample = dataset[0]

    assert (len(dataset), dataset.source) == (2, "SANDBOX")
    assert (sample.primary.shape, sample.auxiliary.shape, sample.label.shape) == ((3, 8, 8), (2, 8, 8), (8, 8))
    np.testing.assert_array_equal(sample.primary[0], read_bands(root.shard(dataset.tiles[0]), ("B4",))[0])
    assert set(np.unique(sample.label)) <= {*range(9), 255}


def test_a_network_with_one_input_gets_no_auxiliary_band(root: DataRoot) -> None:
    assert Dataset(root, split="train", auxiliary=())[0].auxiliary.shape == (0, 8, 8)


def test_splits_do_not_share_tiles(root: DataRoot) -> None:
    ids = {split: {row.tile.id for row in Dataset(root, split=split).rows} for split in ("train", "val", "test")}

    assert len(ids["train"] | ids["val"]) == 6
    assert not ids["train"] & ids["val"]
    assert {row.tile.id for row in Dataset(root, split="val", protocol="paper").rows} == ids["test"]


def test_a_dataset_can_be_sent_to_another_process(root: DataRoot) -> None:
    dataset = Dataset(root, split="train")

    copy = pickle.loads(pickle.dumps(dataset))

    np.testing.assert_array_equal(copy[0].primary, dataset[0].primary)


def test_a_split_whose_shards_change_is_another_one(root: DataRoot) -> None:
    before = Dataset(root, split="test").tiles_hash
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[Dataset(root, split="train").rows[0].tile.id]))
    assert Dataset(root, split="test").tiles_hash == before

    (lost, *kept) = Dataset(root, split="test").rows
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[lost.tile.id], state="failed"))

    after = Dataset(root, split="test")
    assert [row.tile.id for row in after.rows] == [row.tile.id for row in kept]
    assert after.tiles_hash != before


def test_stale_statistics_are_refused(root: DataRoot) -> None:
    # When a training shard changes after its statistics were taken.
    with root.open_ledger() as ledger:
        tile = Dataset(root, split="train").rows[0].tile.id
        ledger.append(replace(ledger.rows[tile], sha256="another"))

    with pytest.raises(DataError, match="run 'dwplus normalise' again"):
        Dataset(root, split="train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "training"}, "unknown split 'training'; choose one of train, val, test"),
        ({"split": "train", "protocol": "loose"}, "unknown protocol 'loose'"),
        ({"split": "train", "primary": ("B9",)}, "hold no band B9"),
    ],
)
def test_names_that_do_not_exist_are_refused(root: DataRoot, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Dataset(root, **arguments)
