"""From stored samples to batches on the device: dwplus.model.loader."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pytest
import torch
from dwplus.model import loader as loader_module
from dwplus.model.loader import (
    Batch,
    Normaliser,
    StoredTiles,
    Symmetry,
    augment,
    batches,
    collate,
    loader_processes,
    make_loader,
    plain_statistics,
    to_batch,
)
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.errors import DataError, MachineError, UsageError
from dwplus.pipeline.spec.bands import decode
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from dwplus.pipeline.spec.tiles import Tile

TILE = Tile("dw_0.0_0.0-20190101", "EPSG:32630", (10, 0, 5e5, 0, -10, 5e6), (4, 4), date(2019, 1, 1), "EH", 1)


@dataclass
class Band:
    mean: float
    std: float


@dataclass
class Statistics:
    bands: dict[str, Band]
    class_counts: tuple[int, ...] = (1,) * 9
    shards_hash: str = "abc"


@dataclass
class Tiles:
    """A data set of three tiles of 4 x 4 px, in memory; pixel values say tile, band and place."""

    primary: tuple[str, ...] = ("B2", "B3")
    auxiliary: tuple[str, ...] = ("VV",)
    split: str = "train"
    protocol: str = "strict"
    source: str = "SANDBOX"
    tiles_hash: str = "0"
    statistics: Statistics = field(
        default_factory=lambda: Statistics({"B2": Band(0.1, 0.05), "B3": Band(0.2, 0.1), "VV": Band(-10, 2)})
    )
    reads: list[int] = field(default_factory=list)
    count: int = 3
    trained_here: bool = True
    classes: ClassTable = DYNAMIC_WORLD

    @property
    def tiles(self):
        return (replace(TILE, shape=(4, 4)),) * self.count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        self.reads.append(index)
        pixels = np.arange(3 * 16, dtype=np.uint16).reshape(3, 4, 4) + 60000 + 100 * index
        label = np.arange(16, dtype=np.uint8).reshape(4, 4)
        return Sample(pixels[:2], pixels[2:], label, TILE.id)


def test_batches_hold_stored_values_and_the_number_of_each_sample():
    loader = make_loader(Tiles(), batch=2, workers=0)

    first, last = loader

    assert first.primary.shape == (2, 2, 4, 4)
    assert first.primary.dtype == first.auxiliary.dtype == torch.uint16
    assert first.label.dtype == torch.uint8
    assert int(first.auxiliary[1, 0, 0, 0]) == 60000 + 100 + 32
    assert (first.number.tolist(), last.number.tolist()) == ([0, 1], [2])


def test_loader_processes_give_the_same_batches():
    here, there = (make_loader(Tiles(), batch=2, workers=workers) for workers in (0, 1))

    for one, other in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_of_chosen_samples():
    loader = make_loader(Tiles(), batch=2, workers=0, chosen=[[2, 0], [1]])

    assert [batch.number.tolist() for batch in loader] == [[2, 0], [1]]


def test_samples_that_fit_in_memory_are_read_once():
    tiles = Tiles()
    size = sum(part.nbytes for part in to_batch(tiles[0]))
    tiles.reads.clear()
    stored = StoredTiles(tiles, keep_bytes=2 * size)

    for _ in range(2):
        for index in range(3):
            stored[index]

    assert tiles.reads == [0, 1, 2, 2]


def test_a_loader_can_be_sent_to_a_process():
    assert len(pickle.loads(pickle.dumps(StoredTiles(Tiles())))) == 3


def test_tiles_of_two_sizes_share_a_batch_and_crops_come_from_their_own_pixels():
    # Given a tile of 4 x 4 px and one of 2 x 3 px, all of whose pixels are 7.
    small = Sample(
        np.full((2, 2, 3), 7, np.uint16), np.full((1, 2, 3), 7, np.uint16), np.ones((2, 3), np.uint8), TILE.id
    )

    batch = collate([to_batch(Tiles()[0]), to_batch(small, 1)])

    assert batch.primary.shape == (2, 2, 4, 4)
    assert batch.size.tolist() == [[4, 4], [2, 3]]
    assert (batch.label[1, 2:] == 255).all()
    assert not batch.primary[1, :, 2:].view(torch.int16).any()
    for epoch in range(20):
        crops = augment(batch, seed=0, epoch=epoch, crop_px=2)
        assert crops.primary.shape == (2, 2, 2, 2)
        assert (crops.primary[1].view(torch.int16) == 7).all()
    with pytest.raises(UsageError, match=r"several sizes .* crop_px=256"):
        augment(batch, seed=0, epoch=0)


def test_a_tile_that_is_smaller_than_the_crop_is_filled_up_on_request():
    # Given tiles of 4 x 4 and 2 x 3 px, all of whose pixels have data, and crops of 6 px.
    small = Sample(
        np.full((2, 2, 3), 7, np.uint16), np.full((1, 2, 3), 7, np.uint16), np.ones((2, 3), np.uint8), TILE.id
    )
    batch = collate([to_batch(Tiles()[0]), to_batch(small, 1)])

    crops = augment(batch, seed=0, epoch=0, crop_px=6, symmetries=False, fill_up=True)

    assert crops.label.shape == (2, 6, 6)
    assert torch.equal(crops.label[0, :4, :4], batch.label[0])
    assert (crops.label[1] == 255).sum() == 36 - 6
    assert (crops.primary[1].view(torch.int16) == 7).sum() == 2 * 6
    assert (crops.auxiliary.view(torch.int16)[1] == 0).sum() == 36 - 6
    turned = augment(batch, seed=0, epoch=1, crop_px=3, fill_up=True)  # 4 x 4 is cropped, 2 x 3 gets one row
    assert turned.label.shape == (2, 3, 3)
    assert (turned.label[1] == 255).sum() == 3


@pytest.mark.parametrize(("free", "fits"), [(64 << 20, False), (8 << 30, True)])
def test_loader_processes_whose_batches_do_not_fit_in_shared_memory_never_start(
    monkeypatch: pytest.MonkeyPatch, free: int, fits: bool, caplog: pytest.LogCaptureFixture
):
    # Given 4 tiles of 510 px with 12 bands in a batch, twice in each of 2 processes: 104 MB.
    @dataclass
    class Large(Tiles):
        primary: tuple[str, ...] = ("B2",) * 10
        auxiliary: tuple[str, ...] = ("VV", "VH")

        @property
        def tiles(self):
            return (replace(TILE, shape=(510, 510)),) * 3

    monkeypatch.setattr(loader_module, "_free_bytes", lambda _: free)
    monkeypatch.setattr(loader_module, "default_workers", lambda: 2)

    if fits:
        assert loader_processes(Large(), batch=4, workers=2) == 2
        return
    with pytest.raises(UsageError, match=r"2 loader processes need 104 MB .* 67 MB are free.*--shm-size.*workers=0"):
        loader_processes(Large(), batch=4, workers=2)
    assert loader_processes(Large(), batch=4, workers=None) == 0
    assert "--shm-size 2g" in caplog.text


def test_normalised_values_are_physical_ones_minus_mean_over_deviation():
    tiles = Tiles()
    stored = np.array([[[0, 1, 1500, 65535]], [[1, 2000, 0, 65535]]], dtype=np.uint16)
    radar = np.array([[[9000, 0, 9200, 1]]], dtype=np.uint16)  # -10 dB, nothing, -8 dB, -99.99 dB
    normaliser = Normaliser(tiles.primary, tiles.auxiliary, plain_statistics(tiles))

    primary, auxiliary = normaliser(torch.from_numpy(stored)[None], torch.from_numpy(radar)[None])

    physical = decode(stored, tiles.primary)
    mean, std = np.array([0.1, 0.2])[:, None, None], np.array([0.05, 0.1])[:, None, None]
    assert primary[0].numpy() == pytest.approx(np.nan_to_num((physical - mean) / std, nan=0.0), rel=1e-6, abs=1e-5)
    assert auxiliary[0, 0, 0].tolist() == pytest.approx([0, 0, 1, (-99.99 + 10) / 2], abs=1e-5)
    assert primary[0, 0, 0, 0] == 0  # no data


def test_logarithms_are_normalised_where_they_are_wanted_and_of_sentinel_2_alone():
    # log(1 + 0.005 DN): 0.6931 of DN 200, 2.3979 of DN 2000.
    statistics = {"B2": (0.5, 0.1), "VV": (-10.0, 2.0)}
    one_input = Normaliser(("B2", "VV"), (), statistics, "log")
    two_inputs = Normaliser(("B2",), ("VV",), statistics, "log")
    optical = torch.tensor([[[[0, 200, 2000]]]], dtype=torch.uint16)
    radar = torch.tensor([[[[9000, 0, 9200]]]], dtype=torch.uint16)  # -10 dB, nothing, -8 dB

    together, _ = one_input(torch.cat([optical, radar], dim=1), torch.zeros(1, 0, 1, 3))
    apart = two_inputs(optical, radar)

    assert together[0, 0, 0].tolist() == pytest.approx([0, 1.931472, 18.978953], abs=1e-5)
    assert together[0, 1, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-5)
    assert torch.equal(torch.cat(apart, dim=1), together)


def test_logarithms_need_statistics_that_counted_them():
    @dataclass
    class LogBand(Band):
        log_mean: float
        log_std: float

    counted = Tiles()
    counted.statistics = Statistics({name: LogBand(1.0, 2.0, 0.5, 0.25) for name in counted.statistics.bands})

    assert plain_statistics(counted, "log")["B2"] == (0.5, 0.25)
    assert plain_statistics(counted, "log")["VV"] == (1.0, 2.0)
    with pytest.raises(DataError, match=r"no mean of the logarithm of B2: .* run 'dwplus normalise --again'"):
        plain_statistics(Tiles(), "log")


def test_a_constant_band_becomes_zero_and_a_missing_one_is_named():
    constant = Normaliser(("B2",), (), {"B2": (0.1, 0.0)})

    primary, auxiliary = constant(torch.full((1, 1, 2, 2), 1000, dtype=torch.uint16), torch.zeros(1, 0, 2, 2))

    assert primary.abs().max() < 1e-6
    assert auxiliary.shape == (1, 0, 2, 2)
    with pytest.raises(UsageError, match="no statistics of band B3"):
        Normaliser(("B3",), (), {"B2": (0.1, 0.1)})


def test_statistics_that_are_no_numbers_are_refused():
    tiles = Tiles(statistics=Statistics({"B2": Band(0.1, 0.1), "B3": Band(float("nan"), 0.1), "VV": Band(-10, 2)}))

    with pytest.raises(DataError, match="no mean or deviation of band B3"):
        plain_statistics(tiles)


def test_the_eight_symmetries_are_eight():
    square = torch.arange(4).reshape(2, 2)

    images = {tuple(Symmetry(turns, mirrored)(square).flatten().tolist()) for turns in range(4) for mirrored in (0, 1)}

    assert len(images) == 8
    assert Symmetry(1, False)(square).tolist() == np.rot90(square.numpy()).tolist()


def marked_batch(count: int = 16, size: int = 6) -> Batch:
    """Inputs and label of each sample show the same picture."""
    picture = torch.arange(size * size).reshape(size, size)
    stored = picture.to(torch.int32).repeat(count, 2, 1, 1).to(torch.uint16)
    label = picture.to(torch.uint8).repeat(count, 1, 1)
    size = torch.tensor([label.shape[1:]] * count)
    return Batch(stored, stored[:, :1].clone(), label, torch.arange(count), size)


@pytest.mark.parametrize("crop_px", [None, 4])
def test_inputs_and_label_are_turned_and_cropped_alike(crop_px: int | None):
    batch = marked_batch()

    out = augment(batch, seed=0, epoch=3, crop_px=crop_px)

    size = crop_px or 6
    assert out.primary.shape == (16, 2, size, size)
    assert out.primary.dtype == torch.uint16
    for i in range(16):
        assert torch.equal(out.primary[i, 0].int(), out.label[i].int())
        assert torch.equal(out.auxiliary[i, 0].int(), out.label[i].int())
    assert len({tuple(label.flatten().tolist()) for label in out.label}) > 5  # not all the same


def test_augmentation_depends_on_seed_epoch_and_sample_alone():
    batch = marked_batch()
    whole = augment(batch, seed=0, epoch=3, crop_px=4)

    alone = [augment(Batch(*(part[i : i + 1] for part in batch)), seed=0, epoch=3, crop_px=4) for i in range(16)]

    assert torch.equal(torch.cat([one.label for one in alone]), whole.label)
    assert not torch.equal(augment(batch, seed=0, epoch=4, crop_px=4).label, whole.label)
    assert not torch.equal(augment(batch, seed=1, epoch=3, crop_px=4).label, whole.label)


def test_without_augmentation_a_batch_is_as_it_was():
    batch = marked_batch()

    out = augment(batch, seed=0, epoch=0, symmetries=False)

    assert all(torch.equal(a, b) for a, b in zip(batch, out, strict=True))


def test_a_crop_that_does_not_fit_and_a_tile_that_cannot_be_turned_are_refused():
    batch = marked_batch(1)
    height, width = 3, batch.label.shape[2]
    size = torch.tensor([[height, width]] * len(batch.number))
    oblong = Batch(batch.primary[:, :, :3], batch.auxiliary[:, :, :3], batch.label[:, :3], batch.number, size)

    with pytest.raises(UsageError, match="crop_px is 7, a tile has 6 x 6"):
        augment(batch, seed=0, epoch=0, crop_px=7)
    with pytest.raises(UsageError, match="cannot be turned"):
        augment(oblong, seed=0, epoch=0)


class Failing(Tiles):
    """Tiles whose second one cannot be read, or ends the process that reads it."""

    def __init__(self, failure: str) -> None:
        super().__init__(count=4)
        self.failure = failure

    def __getitem__(self, index: int, /) -> Sample:
        if index == 1 and self.failure == "error":
            raise DataError("shards/a.tif is not the file on record: sha256 DataError: 1; run 'dwplus validate'")
        if index == 1 and self.failure == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 1 and self.failure == "defect":
            raise RuntimeError("a defect")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_loader_process_is_its_sentence_alone(workers: int):
    loader = make_loader(Failing("error"), batch=1, workers=workers)

    with pytest.raises(DataError) as caught:
        list(batches(loader))

    sentence = "shards/a.tif is not the file on record: sha256 DataError: 1; run 'dwplus validate'"
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is None


def test_a_loader_process_that_was_killed_is_one_sentence():
    loader = make_loader(Failing("killed"), batch=1, workers=1)

    with pytest.raises(MachineError, match=r"a loader process was lost .*; give the container more of it") as caught:
        list(batches(loader))
    assert "\n" not in str(caught.value)


def test_a_defect_keeps_its_traceback():
    loader = make_loader(Failing("defect"), batch=1, workers=0)

    with pytest.raises(RuntimeError, match="a defect"):
        list(batches(loader))
