"""The data set: samples in stored units, refused where they cannot be trusted."""

import json
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.files.atomic import sha256_of
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import encode_shard, read_bands, read_codes, read_header
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.fixture_types import LayOut


@pytest.fixture
def root(ready_root: LayOut) -> Path:
    return ready_root(train=6, test=2)


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


def first_of(root: DataRoot, split: str) -> ManifestRow:
    return Dataset(root, split=split).rows[0]


def rewrite_without_data(root: DataRoot, row: ManifestRow, band: str) -> None:
    """The shard of a tile with no data of one band in its first row of pixels, recorded and validated."""
    path = root.own_shard(row.tile)
    pixels = read_bands(path, SHARD_BANDS)
    pixels[SHARD_BANDS.index(band), 0] = 0
    if band in ("VV", "VH"):
        pixels[SHARD_BANDS.index("VV"), 0] = pixels[SHARD_BANDS.index("VH"), 0] = 0
        pixels[SHARD_BANDS.index("S1_N"), 0] = 0
    content = encode_shard(pixels, row.tile, read_header(path).tags)
    path.write_bytes(content)
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[row.tile.id], bytes=len(content), sha256=sha256_of(content)))
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())


@pytest.mark.parametrize("band", ["B2", "B12", "VV"])
@pytest.mark.parametrize("inputs", [(("B4", "B3", "B2"), ()), (("B8",), ("VH",))], ids=["rgb", "B8 and VH"])
def test_pixels_without_data_are_ignored_whatever_a_network_reads(
    root: DataRoot, band: str, inputs: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    row = first_of(root, "train")
    before = Dataset(root, split="train").statistics
    lost = int((DYNAMIC_WORLD.class_indices(read_codes(root.label(row)))[0] != 255).sum())
    rewrite_without_data(root, row, band)

    dataset = Dataset(root, split="train", primary=inputs[0], auxiliary=inputs[1])

    label = next(sample.label for sample in dataset if sample.tile_id == row.tile.id)
    assert (label[0] == 255).all()
    np.testing.assert_array_equal(label[1:], DYNAMIC_WORLD.class_indices(read_codes(root.label(row)))[1:])
    assert lost > 0
    assert dataset.statistics.without_data == lost
    assert sum(dataset.statistics.class_counts) == sum(before.class_counts) - lost


def test_a_band_that_no_network_of_the_paper_reads_ignores_nothing(root: DataRoot) -> None:
    row = first_of(root, "train")
    rewrite_without_data(root, row, "B1")

    assert Dataset(root, split="train").statistics.without_data == 0


@pytest.mark.parametrize("what", ["shard", "label"])
def test_no_flipped_byte_of_a_shard_or_label_is_trained_on(root: DataRoot, what: str) -> None:
    dataset = Dataset(root, split="train")
    row = dataset.rows[0]
    path = root.own_shard(row.tile) if what == "shard" else root.own_label(row)
    whole, before = path.read_bytes(), dataset[0]
    draw = random.Random(2)
    for number in range(40):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        os.utime(path, ns=(number, number))

        with pytest.raises(DataError, match=r"\.tif is not the file on record.*run 'dwplus validate'"):
            dataset[0]
    path.write_bytes(whole)
    np.testing.assert_array_equal(dataset[0].label, before.label)


def test_a_tile_that_does_not_match_its_ledger_is_left_out_with_the_reason(root: DataRoot) -> None:
    row = first_of(root, "test")
    with root.open_ledger() as ledger:
        ledger.append(replace(ledger.rows[row.tile.id], sha256="0" * 64))

    dataset = Dataset(root, split="test")

    (left_out,) = dataset.left_out
    assert (len(dataset), left_out.tiles, left_out.fault) == (1, (row.tile.id,), True)
    assert "names another shard than the one that was validated" in left_out.reason


def test_edited_statistics_are_refused(root: DataRoot) -> None:
    path = root.statistics_file("strict")
    document = json.loads(path.read_text())
    document["bands"]["B4"]["std"] *= 100
    path.write_text(json.dumps(document))

    with pytest.raises(DataError, match=r"stats-strict\.json was changed.*run 'dwplus normalise' again"):
        Dataset(root, split="train")


@pytest.mark.parametrize("text", ["null", "[]", '{"bands": []}', '{"bands": {"B4": {"mean": "0"}}}', "[" * 99_999])
def test_statistics_of_another_shape_are_one_error(root: DataRoot, text: str) -> None:
    root.statistics_file("strict").write_text(text)

    with pytest.raises(DataError, match=r"stats-strict\.json.*run 'dwplus normalise' again"):
        Dataset(root, split="train")


def test_pixels_count_where_either_input_has_data_if_that_is_asked_for(root: DataRoot) -> None:
    # Given a tile whose Sentinel-1 lacks rows 0 and 1, and whose B4 lacks rows 1 and 2.
    dataset = Dataset(root, split="train")
    row = dataset.rows[0]
    pixels = read_bands(root.shard(row.tile), SHARD_BANDS)
    pixels[[SHARD_BANDS.index("VV"), SHARD_BANDS.index("VH")], :2] = 0
    pixels[SHARD_BANDS.index("B4"), 1:3] = 0
    content = encode_shard(pixels, row.tile, read_header(root.shard(row.tile)).tags)
    root.own_shard(row.tile).write_bytes(content)
    dataset._sha256[row.tile.id] = sha256_of(content)
    marked = DYNAMIC_WORLD.class_indices(read_codes(root.label(row))) != 255

    both, either = dataset[0].label != 255, dataset.counting_either()[0].label != 255

    lacking = np.zeros_like(marked)
    lacking[:3] = True
    np.testing.assert_array_equal(both, marked & ~lacking)
    lacking[[0, 2]] = False
    np.testing.assert_array_equal(either, marked & ~lacking)
    # Classes are counted by the one rule, whoever asks; a part keeps the rule of the whole.
    np.testing.assert_array_equal(dataset.counting_either().class_pixels(), dataset.class_pixels())
    assert dataset.class_pixels()[0].sum() == both.sum()
