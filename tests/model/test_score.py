"""Scoring a run whose network says water everywhere."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from dwplus.model import score as score_module
from dwplus.model.calibration import Calibration, Reliability
from dwplus.model.config import to_mapping
from dwplus.model.loader import WAITS_FOR_WORKERS_S
from dwplus.model.metrics import BINS, ConfusionMatrix
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import load, majority_guess, predict, score
from dwplus.model.scores.document import Scores
from dwplus.model.scores.kept import read_calibrated, read_scores, read_table
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.dataset.samples import Dataset, Sample
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from dwplus.pipeline.spec.tiles import Tile
from support.fixture_types import LayOut
from support.two_processes import in_two_processes

WATER, TREES = 0, 1
LABELS = (  # three tiles: half water, three quarters water, nothing marked
    [[WATER, TREES], [WATER, TREES]],
    [[WATER, WATER], [WATER, TREES]],
    [[255, 255], [255, 255]],
)
EASTINGS = (5e5, 5e5, 5e5)
ZONES = ("EPSG:32630", "EPSG:32620", "EPSG:32630")  # 3 W, 63 W, 3 W
BIOMES = (1, 4, 4)


@dataclass
class Band:
    mean: float
    std: float


@dataclass
class Statistics:
    bands: dict[str, Band] = field(default_factory=lambda: {"B2": Band(0.1, 0.05), "VV": Band(-10, 2)})
    class_counts: tuple[int, ...] = (10, 30, 0, 0, 0, 0, 0, 0, 0)
    shards_hash: str = "abc"


@dataclass
class Tiles:
    split: str = "test"
    source: str = "SANDBOX"
    tiles_hash: str = "0"
    protocol: str = "strict"
    trained_here: bool = True
    planet: int | None = None
    classes: ClassTable = DYNAMIC_WORLD
    primary: tuple[str, ...] = ("B2",)
    auxiliary: tuple[str, ...] = ("VV",)
    statistics: Statistics = field(default_factory=Statistics)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int, /) -> Sample:
        label = np.kron(np.array(LABELS[index]), np.ones((16, 16))).astype(np.uint8)
        pixels = np.full((1, 32, 32), 1000, np.uint16)
        return Sample(pixels, pixels, label, f"dw_{index}")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        return tuple(
            Tile(f"dw_{i}", ZONES[i], (10, 0, EASTINGS[i], 0, -10, 5e6), (32, 32), date(2019, 1, 1), "EH", BIOMES[i])
            for i in range(3)
        )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A complete run, without training: the classifier's bias alone speaks, for water."""
    config = configure("specsar-former-small", 1, 1)
    network = spec("specsar-former-small").network(config)
    with torch.no_grad():
        network.decoder.classify.weight.zero_()
        network.decoder.classify.bias[WATER] = 1.0
    folder = RunFolder(tmp_path)
    data = DataCard.of(Tiles("train"))
    folder.write_config(RunConfig("0.0.0", "specsar-former-small", to_mapping(config), {}, data))
    folder.write_weights("model.safetensors", network.state_dict())
    return tmp_path


def _score_in_process(rank: int, run_dir: Path) -> None:
    scores = score(run_dir, Tiles(), batch=1, workers=0, device="cpu")
    (run_dir / f"seen-{rank}.json").write_text(json.dumps(scores.matrix.to_dict()))


@pytest.mark.slow
def test_two_processes_count_each_tile_once_and_get_the_scores_of_one(run_dir: Path):
    """Three tiles on two processes: one of them has two, the other one; no tile fills up the second batch."""
    alone = score(run_dir, Tiles(), workers=0, device="cpu")

    in_two_processes(_score_in_process, run_dir)

    together = read_scores(RunFolder(run_dir), "scores.json")
    assert together.matrix == alone.matrix
    assert together.tiles_file == alone.tiles_file  # the counts of every tile, byte for byte
    assert [one.id for one in read_table(RunFolder(run_dir), together).records] == ["dw_0", "dw_1", "dw_2"]
    for rank in range(2):
        assert ConfusionMatrix.from_dict(json.loads((run_dir / f"seen-{rank}.json").read_text())) == alone.matrix


def test_the_counts_of_every_tile_are_kept_beside_the_scores(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    table = read_table(RunFolder(run_dir), scores)

    assert [one.biome for one in table.records] == [1, 4, 4]
    assert table.sums.hit[:, 0].tolist() == [2 * 256, 3 * 256, 0]
    assert table.counts().matrix == scores.matrix
    assert scores.mask is not None
    assert (scores.mask.kind, scores.mask.hash) == ("dataset", table.mask_hash)
    # softmax of (1, 0, ..., 0): e / (e + 8), right in 5 of 8 pixels.
    assert scores.ece == pytest.approx(5 / 8 - math.e / (math.e + 8), abs=1e-5)


def test_pixels_outside_the_training_range_are_counted_by_the_range_of_the_run(run_dir: Path):
    """All pixels are stored as 1000: 0.1 in B2, -90 dB in VV."""
    folder = RunFolder(run_dir)
    config = folder.read_config()
    ranges = {"B2": (0.05, 0.2), "VV": (-20.0, -5.0)}
    folder.write_config(replace(config, data=replace(config.data, ranges=ranges)))

    scores = score(run_dir, Tiles(), batch=2, workers=0, device="cpu")

    assert scores.outside is not None
    assert vars(scores.outside) == {"pixels": 1.0, "bands": {"B2": 0.0, "VV": 1.0}}
    table = read_table(folder, scores)
    assert table.outside is not None
    assert table.outside.beyond.tolist() == [[0, 1024]] * 3
    columns = pq.read_table(run_dir / "scores.tiles.parquet").to_pydict()
    assert (columns["outside"], columns["beyond_VV"], columns["seen_B2"]) == ([1.0] * 3, [1024] * 3, [1024] * 3)
    assert Scores.from_dict(json.loads((run_dir / "scores.json").read_text())) == scores


def test_a_run_without_a_range_is_scored_and_does_not_know_what_is_outside(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    assert scores.outside is None
    assert "outside" not in scores.to_dict()
    assert read_table(RunFolder(run_dir), scores).outside is None


def test_three_tiles_are_too_few_for_an_interval(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    assert scores.intervals is not None
    assert scores.intervals.too_few
    assert scores.intervals.present == 2


def test_scores_of_an_earlier_version_are_read(run_dir: Path):
    written = score(run_dir, Tiles(), workers=0, device="cpu").to_dict()
    earlier = {key: value for key, value in written.items() if key not in ("intervals", "mask", "tile_counts", "ece")}

    read = Scores.from_dict(earlier)

    assert (read.intervals, read.mask, read.tiles_file, read.ece) == (None, None, None, None)
    assert read.matrix.oa == 5 / 8


def test_scores_are_those_of_all_pixels_together(run_dir: Path):
    scores = score(run_dir, Tiles(), batch=2, workers=0, device="cpu")

    # 16 x 16 px a cell: 5 of 8 cells are water and right, 3 are trees and wrong; the third tile has no say.
    assert scores.matrix.counts[:2, 0].tolist() == [5 * 256, 3 * 256]
    assert scores.matrix.oa == 5 / 8
    assert scores.matrix.iou[:2].tolist() == [5 / 8, 0]
    assert scores.tiles == 3
    assert scores.fps > 0


def test_regions_and_biomes_add_up_to_the_whole(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    assert scores.regions.keys() == {"eastern-hemisphere-1", "western-hemisphere"}
    assert scores.biomes.keys() == {"1", "4"}
    assert scores.regions["western-hemisphere"].oa == 3 / 4
    assert scores.biomes["1"].oa == 1 / 2
    for parts in (scores.regions, scores.biomes):
        assert sum(parts.values(), ConfusionMatrix.zero()) == scores.matrix


def test_the_majority_guess_is_the_most_frequent_training_class(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    assert scores.majority == ("trees", 3 / 8)  # trees are the most in training, 3 of 8 here
    assert majority_guess((0, 0, 5, 0, 0, 0, 0, 0, 0), ConfusionMatrix.zero()) == ("grass", 0.0)


def test_scores_are_written_whose_pixels_they_are_of_and_read_back(run_dir: Path):
    scores = score(run_dir, Tiles(), workers=0, device="cpu")

    written = json.loads((run_dir / "scores.json").read_text())

    assert written["source"] == "SANDBOX"
    assert written["oa"] == 5 / 8
    assert written["classes"]["water"]["iou"] == 5 / 8
    assert written["classes"]["snow_and_ice"]["iou"] is None
    assert "snow_and_ice" in written["absent"]
    assert Scores.from_dict(written) == scores


def test_other_weights_have_scores_of_their_own(run_dir: Path):
    (run_dir / "best.safetensors").write_bytes((run_dir / "model.safetensors").read_bytes())

    score(run_dir, Tiles(), workers=0, device="cpu", weights="best.safetensors")

    assert (run_dir / "scores-best.json").exists()
    assert not (run_dir / "scores.json").exists()


def test_progress_is_told_tile_by_tile(run_dir: Path):
    told: list[tuple[int, int]] = []

    score(run_dir, Tiles(), batch=2, workers=0, device="cpu", on_tile=lambda done, count: told.append((done, count)))

    assert told == [(2, 3), (3, 3)]


def test_loader_processes_that_give_nothing_are_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(score_module, "loader_processes", lambda _, *, batch, workers: workers)

    assert score_module.tile_loader(Tiles(), batch=1, workers=2).timeout == WAITS_FOR_WORKERS_S
    assert score_module.tile_loader(Tiles(), batch=1, workers=0).timeout == 0


def test_a_prediction_is_a_class_for_every_pixel(run_dir: Path):
    loaded = load(run_dir, device="cpu")

    prediction = predict(loaded, Tiles()[0])

    assert loaded.config.data.source == "SANDBOX"
    assert prediction.shape == (32, 32)
    assert prediction.dtype == np.uint8
    assert set(prediction.flat) == {WATER}


def test_a_run_is_given_by_its_path_or_as_loaded(run_dir: Path):
    sample = Tiles()[0]

    by_text, by_path, loaded = predict(str(run_dir), sample), predict(run_dir, sample), predict(load(run_dir), sample)

    assert np.array_equal(by_text, loaded)
    assert np.array_equal(by_path, loaded)


def test_pixels_without_data_get_a_class_too(run_dir: Path):
    nodata = np.zeros((1, 32, 32), np.uint16)

    prediction = predict(load(run_dir, device="cpu"), Tiles()[0]._replace(primary=nodata, auxiliary=nodata))

    assert set(prediction.flat) == {WATER}


def test_a_sample_of_other_bands_is_refused_with_those_to_open(run_dir: Path):
    pixels = np.full((3, 32, 32), 1000, np.uint16)

    with pytest.raises(DataError, match=r"tile dw_0 has 3 \+ 1 bands, .* trained on 1 \+ 1: open it with primary="):
        predict(run_dir, Tiles()[0]._replace(primary=pixels))


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (Tiles(primary=("B3",)), UsageError, "trained with primary"),
        (Tiles(auxiliary=("VH",)), UsageError, "trained with auxiliary"),
        (Tiles(protocol="paper"), UsageError, "trained with protocol"),
        (Tiles(source="earthengine"), UsageError, "trained on SANDBOX pixels, the data set is earthengine"),
        (Tiles(statistics=Statistics(shards_hash="def")), DataError, "training split has changed"),
    ],
)
def test_data_that_the_network_was_not_made_for_are_refused(
    run_dir: Path, other: Tiles, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        score(run_dir, other, device="cpu")

    assert not (run_dir / "scores.json").exists()


def test_another_source_can_be_scored_on_purpose_and_is_named(run_dir: Path):
    scores = score(run_dir, Tiles(source="earthengine"), workers=0, device="cpu", allow_other_source=True)

    assert scores.source == "earthengine"


def test_tiles_of_another_synthetic_planet_are_not_scored(run_dir: Path):
    """The run records no version, as runs on version 2 of the planet did."""
    assert score(run_dir, Tiles(planet=2), workers=0, device="cpu").tiles

    with pytest.raises(UsageError, match="shows version 3 of the synthetic planet, not version 2"):
        score(run_dir, Tiles(planet=3), workers=0, device="cpu")


def test_an_incomplete_run_is_refused(run_dir: Path, tmp_path: Path):
    (run_dir / "model.safetensors").unlink()

    with pytest.raises(DataError, match="is not complete; 'dwplus train' resumes it"):
        load(run_dir)


def test_weights_of_another_network_are_refused(run_dir: Path):
    folder = RunFolder(run_dir)
    run = folder.read_config()
    folder.write_config(replace(run, model_config={**run.model_config, "decoder_width": 8}))

    with pytest.raises(DataError, match="does not fit the network"):
        load(run_dir, device="cpu")


def test_what_is_no_score_is_refused():
    with pytest.raises(DataError, match="no scores of dwplus"):
        Scores.from_dict({"miou": 0.5})


def test_shards_on_disk_can_be_trained_on_and_scored(ready_root: LayOut, tmp_path: Path):
    root = ready_root(train=4, test=2, size=32)
    bands = {"primary": ("B4", "B3", "B2"), "auxiliary": ("VV", "VH")}
    config = TrainConfig("specsar-former-small", epochs=1, batch=2, batch_per_device=2, workers=0, device="cpu")

    run_dir = train(
        config,
        dataset_train=Dataset(root, split="train", **bands),
        dataset_val=Dataset(root, split="val", **bands),
        run_dir=tmp_path / "run",
    )
    scores = score(run_dir, Dataset(root, split="test", **bands), workers=0, device="cpu")

    assert (scores.source, scores.tiles) == ("SANDBOX", 2)
    assert scores.matrix.pixels == sum(int((d.label != 255).sum()) for d in Dataset(root, split="test", **bands))


# --- variants ---------------------------------------------------------------------------------------------------------


def _calibration(run_dir: Path, **changes: object) -> Calibration:
    nothing = Reliability((0,) * BINS, (0,) * BINS, (0,) * BINS, 0)
    one = Calibration(
        0.5, {}, DYNAMIC_WORLD.names, split="val", tiles=1, pixels=1, tiles_hash="0", experts=False,
        weights="model.safetensors", weights_sha256=RunFolder(run_dir).sums()["model.safetensors"][0],
        source="SANDBOX", before=nothing, after=nothing,
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


def test_the_calibrated_network_is_scored_into_a_file_of_its_own(run_dir: Path):
    plain = score(run_dir, Tiles(), workers=0, device="cpu", calibration=_calibration(run_dir))

    folder = RunFolder(run_dir)
    found = read_calibrated(folder, plain)
    assert found is not None
    assert (plain.variant, found.variant) == ("", "calibrated")
    assert found.matrix == plain.matrix
    assert plain.ece == pytest.approx(5 / 8 - math.e / (math.e + 8), abs=1e-5)
    # A logit of 1 divided by 0.5: e^2 / (e^2 + 8).
    assert found.ece == pytest.approx(5 / 8 - math.e**2 / (math.e**2 + 8), abs=1e-5)
    assert found.calibration.startswith("temperature 0.500, fitted on 1 val tile")
    assert read_table(folder, found).mask_hash == read_table(folder, plain).mask_hash
    assert found.perfect_ece is None  # three tiles are too few


def test_biases_change_classes_and_the_plain_scores_stay(run_dir: Path):
    plain = score(run_dir, Tiles(), workers=0, device="cpu", calibration=_calibration(run_dir, biases={"trees": 3.0}))

    found = read_calibrated(RunFolder(run_dir), plain)
    assert found is not None
    assert (plain.matrix.oa, found.matrix.oa) == (5 / 8, 3 / 8)


def test_calibrated_scores_of_other_tiles_are_not_shown_beside_plain_ones(run_dir: Path):
    score(run_dir, Tiles(), workers=0, device="cpu", calibration=_calibration(run_dir))
    later = score(run_dir, Tiles(tiles_hash="1"), workers=0, device="cpu")

    assert read_calibrated(RunFolder(run_dir), later) is None


def test_averaged_scores_have_files_of_their_own(run_dir: Path):
    """The network says the same everywhere: averaging over symmetries changes nothing."""
    plain = score(run_dir, Tiles(), workers=0, device="cpu")
    averaged = score(run_dir, Tiles(), workers=0, device="cpu", tta=True, calibration=_calibration(run_dir))

    assert averaged.variant == "tta"
    assert averaged.matrix == plain.matrix
    assert averaged.ece == pytest.approx(plain.ece, abs=1e-5)
    assert json.loads((run_dir / "scores.json").read_text()) == plain.to_dict()
    both = read_calibrated(RunFolder(run_dir), averaged)
    assert both is not None
    assert both.variant == "tta-calibrated"
    assert (run_dir / "scores-tta-calibrated.tiles.parquet").is_file()
