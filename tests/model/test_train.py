"""Training on two-class tiles of 32 px: it learns, stops, goes on, and ends the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.registry import build
from dwplus.model.run_config import differing_keys
from dwplus.model.run_files import write_whole
from dwplus.model.runs import RunFolder
from dwplus.model.score import score
from dwplus.model.settings import TrainConfig, accumulation, profile
from dwplus.model.train import train
from dwplus.model.training.listener import Position
from dwplus.model.training.schedule import learning_rate
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.errors import DataError, DwplusError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from dwplus.pipeline.spec.tiles import Tile
from safetensors.torch import load_file
from support.trainings import CONFIG, TINY
from support.two_processes import in_two_processes


@dataclass
class Band:
    mean: float
    std: float


@dataclass
class Statistics:
    bands: dict[str, Band]
    class_counts: tuple[int, ...]
    shards_hash: str = "abc"


@dataclass
class Tiles:
    """Tiles of water (dark, smooth radar) and crops (bright, rough radar), made from the tile's number."""

    split: str = "train"
    count: int = 6
    source: str = "SANDBOX"
    tiles_hash: str = "0"
    protocol: str = "strict"
    trained_here: bool = True
    classes: ClassTable = DYNAMIC_WORLD
    primary: tuple[str, ...] = ("B2", "B8")
    auxiliary: tuple[str, ...] = ("VV",)
    statistics: Statistics = field(
        default_factory=lambda: Statistics(
            {"B2": Band(0.2, 0.1), "B8": Band(0.2, 0.1), "VV": Band(-12, 5)}, (3000, 0, 0, 0, 3000, 0, 0, 0, 0)
        )
    )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        rng = np.random.default_rng((len(self.split), index))
        crops = np.kron(rng.random((4, 4)) < 0.5, np.ones((8, 8), dtype=bool))
        optical = np.where(crops, 3000, 1000) + rng.normal(0, 300, (2, 32, 32))
        radar = np.where(crops, 9200, 8400) + rng.normal(0, 200, (1, 32, 32))
        label = np.where(crops, 4, 0).astype(np.uint8)
        label[:4] = 255
        return Sample(optical.astype(np.uint16), radar.astype(np.uint16), label, f"dw_0_{index}-20190101")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        grid = (10, 0, 5e5, 0, -10, 5e6)
        return tuple(
            Tile(f"dw_0_{index}-20190101", "EPSG:32630", grid, (32, 32), date(2019, 1, 1), "EH", 1)
            for index in range(self.count)
        )


def computing(run_dir: Path) -> list[tuple[int, int, str, str]]:
    """First epoch, processes, device and precision of each part of a run."""
    return [
        (one.from_epoch, one.processes, one.device, one.precision) for one in RunFolder(run_dir).read_config().computing
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that nothing disturbed."""
    torch.set_num_threads(1)
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return train(CONFIG, dataset_train=Tiles(), dataset_val=Tiles("val", 3), run_dir=run_dir)


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(run_dir / "model.safetensors"))


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_its_configuration_rows_and_weights(finished: Path):
    config = json.loads((finished / "config.json").read_text())
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]

    assert config["model"] == "specsar-former-small"
    assert config["model_config"]["primary_bands"] == 2
    assert config["data"]["source"] == "SANDBOX"
    assert config["data"]["statistics"]["VV"] == [-12, 5]
    assert config["train"]["lr"] == 5e-3
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"lr", "loss", "seconds", "samples_per_second", "miou", "oa", "f1"} <= rows[0].keys()
    assert (finished / "model.safetensors").exists()
    assert not list(finished.rglob("*.tmp"))


def losses(run_dir: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_one_pixel_of_a_rare_class_changes_less_than_another_seed_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bands = Tiles().statistics.bands
    two, three = (Statistics(bands, (50_000_000, 0, 0, 0, 50_000_000, rare, 0, 0, 0)) for rare in (0, 1))
    by_pixel = replace(CONFIG, loss="focal", class_scale="pixel")
    runs = {"without": (by_pixel, two), "with": (by_pixel, three), "another seed": (replace(by_pixel, seed=5), two)}

    found = {
        name: losses(train(config, dataset_train=Tiles(statistics=counted), run_dir=tmp_path / name))
        for name, (config, counted) in runs.items()
    }

    assert found["with"] == pytest.approx(found["without"], rel=1e-5)
    assert found["another seed"] != pytest.approx(found["without"], rel=1e-3)
    assert "vanish" not in caplog.text
    train(
        replace(by_pixel, class_scale="class", epochs=1),
        dataset_train=Tiles(statistics=three),
        run_dir=tmp_path / "class",
    )
    assert "class shrub_and_scrub has 1 of 100000001 training pixels" in caplog.text


def test_a_run_says_what_computed_it_in_which_precision(finished: Path):
    # precision was "auto": on a CPU that is float32.
    assert json.loads((finished / "config.json").read_text())["train"]["precision"] == "auto"
    assert computing(finished) == [(1, 1, "cpu", "fp32")]


def test_a_run_that_goes_on_elsewhere_says_from_which_epoch_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    # Given a run whose first epoch was computed in bf16, and whose second one was begun so.
    def stop(now: Position) -> None:
        if now.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dwplus.model.training.trainer.true_precision", lambda _: "bf16")
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path, on_step=stop)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path, on_step=stop)

    train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path)

    assert computing(tmp_path) == [(1, 1, "cpu", "bf16"), (2, 1, "cpu", "fp32")]
    at_once = "2 samples at a time"
    said = f"computed on 1 x cpu in bf16, {at_once} so far, and on 1 x cpu in fp32, {at_once} from here on"
    assert said in caplog.text


def test_what_a_killed_save_left_is_removed_when_the_run_goes_on(tmp_path: Path):
    def stop(now: Position) -> None:
        if (now.epoch, now.step) == (1, 1):
            raise KeyboardInterrupt

    left = tmp_path / ".model.safetensors.1.tmp"
    tmp_path.joinpath("checkpoints").mkdir()
    for path in (left, tmp_path / "checkpoints" / ".epoch-00001.pt.7.tmp"):
        path.write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path, on_step=stop)

    assert not list(tmp_path.rglob("*.tmp"))


def test_two_classes_are_learnt(tmp_path: Path):
    rows: list[dict[str, Any]] = []

    train(
        replace(CONFIG, epochs=12, model_options=TINY),
        dataset_train=Tiles(),
        dataset_val=Tiles("val", 3),
        run_dir=tmp_path,
        on_epoch=rows.append,
    )

    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["oa"] > 0.85


def test_the_same_seed_gives_the_same_weights_bit_by_bit(finished: Path, tmp_path: Path):
    train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path / "again")  # scoring in between changes nothing either
    train(replace(CONFIG, seed=4), dataset_train=Tiles(), run_dir=tmp_path / "other")

    assert same_weights(finished, tmp_path / "again")
    assert not same_weights(finished, tmp_path / "other")


@pytest.mark.parametrize("moment", [(2, 1), (3, 2)], ids=["in the second epoch", "in the last step"])
def test_a_run_that_was_stopped_ends_as_if_nothing_had_happened(
    finished: Path, tmp_path: Path, moment: tuple[int, int]
):
    def stop(now: Position) -> None:
        if (now.epoch, now.step) == moment:
            raise KeyboardInterrupt

    data = {"dataset_train": Tiles(), "dataset_val": Tiles("val", 3), "run_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, **data, on_step=stop)
    assert not RunFolder(tmp_path).complete
    assert len(RunFolder(tmp_path).read_rows()) == moment[0] - 1

    rows: list[dict[str, Any]] = []
    train(CONFIG, **data, on_epoch=rows.append)

    assert [row["epoch"] for row in rows] == list(range(moment[0], 4))
    assert len(RunFolder(tmp_path).read_rows()) == 3
    assert same_weights(finished, tmp_path)


def test_killed_between_the_rows_and_the_checkpoint_an_epoch_is_done_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write = RunFolder.write_checkpoint

    def die_at_two(folder: RunFolder, done: int, state: dict[str, Any], *, steps: int = 0) -> None:
        if done == 2:
            raise KeyboardInterrupt
        write(folder, done, state)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_checkpoint", die_at_two)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path)
    assert len(RunFolder(tmp_path).read_rows()) == 2

    train(CONFIG, dataset_train=Tiles(), run_dir=tmp_path)

    assert [row["epoch"] for row in RunFolder(tmp_path).read_rows()] == [1, 2, 3]
    assert same_weights(finished, tmp_path)


def test_the_last_row_has_the_scores_of_the_run(finished: Path):
    last = RunFolder(finished).read_rows()[-1]

    scores = score(finished, Tiles("val", 3), workers=0, device="cpu").matrix

    assert (last["miou"], last["oa"], last["f1"]) == (scores.miou, scores.oa, scores.macro_f1)


def _train_in_process(rank: int, run_dir: Path, on_step: Callable[[Position], None] | None = None) -> None:
    config = replace(CONFIG, batch=4, batch_per_device=1, model_options=TINY, checkpoint_minutes=0)
    data = {"dataset_train": Tiles(count=5), "dataset_val": Tiles("val", 3)}
    train(config, **data, run_dir=run_dir, on_step=on_step)


@pytest.mark.slow
def test_two_processes_score_each_validation_tile_once_and_learn_as_one(tmp_path: Path):
    # 3 tiles on 2 processes: the last batch is padded, and the padding must not count.
    in_two_processes(_train_in_process, tmp_path / "two")
    _train_in_process(0, tmp_path / "one")

    rows, alone = (RunFolder(tmp_path / name).read_rows() for name in ("two", "one"))
    scores = score(tmp_path / "two", Tiles("val", 3), workers=0, device="cpu").matrix
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["lr"] == learning_rate(5, steps=6, warmup=0, lr=CONFIG.lr)  # 5 tiles in 2 steps of 4, not 1 or 4
    assert (rows[-1]["miou"], rows[-1]["oa"]) == (scores.miou, scores.oa)
    assert computing(tmp_path / "two") == [(1, 2, "cpu", "fp32")]
    # The same micro-batches, with the same dropout.
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in alone], rel=1e-5)


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_with_two(tmp_path: Path):
    def stop(now: Position) -> None:
        if (now.epoch, now.step) == (2, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train_in_process(0, tmp_path, on_step=stop)
    in_two_processes(_train_in_process, tmp_path)

    found = [(*one.begins, one.processes) for one in RunFolder(tmp_path).read_config().computing]
    assert found == [(1, 0, 1), (2, 1, 2)]
    assert [row["epoch"] for row in RunFolder(tmp_path).read_rows()] == [1, 2, 3]


def test_a_complete_run_is_left_alone(finished: Path, caplog: pytest.LogCaptureFixture):
    before = (finished / "model.safetensors").stat().st_mtime_ns

    with caplog.at_level("INFO", logger="dwplus.model.train"):
        train(CONFIG, dataset_train=Tiles(), dataset_val=Tiles("val", 3), run_dir=finished)

    assert "is complete: nothing to do" in caplog.text
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused_by_key(finished: Path):
    changed = replace(CONFIG, lr=1e-3, model_options=CONFIG.model_options | {"decoder_width": 8}, workers=1)

    with pytest.raises(UsageError, match=r"model_config.decoder_width, train.lr, train.model_options.decoder_width;"):
        train(changed, dataset_train=Tiles(), dataset_val=Tiles("val", 3), run_dir=finished)
    with pytest.raises(UsageError, match=r"another data;"):
        train(CONFIG, dataset_train=Tiles(count=5), dataset_val=Tiles("val", 3), run_dir=finished)


def test_splits_of_two_sources_do_not_meet(tmp_path: Path):
    with pytest.raises(UsageError, match="source of the validation split is earthengine"):
        train(CONFIG, dataset_train=Tiles(), dataset_val=Tiles("val", source="earthengine"), run_dir=tmp_path)


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_where(tmp_path: Path):
    with pytest.raises(DwplusError, match="not a number at epoch 1, step 2"):  # after one step far too long
        train(replace(CONFIG, lr=1e30), dataset_train=Tiles(), run_dir=tmp_path)


def test_small_batches_accumulate_to_the_gradient_of_a_large_one(tmp_path: Path):
    # No dropout, no BatchNorm noise worth mentioning: compare the first step's effect loosely, on the weights.
    options = TINY | {"dropout": 0.0, "drop_path": 0.0}
    base = replace(CONFIG, epochs=1, model_options=options, loss="ce")
    one = train(replace(base, batch_per_device=4), dataset_train=Tiles(), run_dir=tmp_path / "one")
    other = train(replace(base, batch_per_device=1), dataset_train=Tiles(), run_dir=tmp_path / "other")

    steps = [RunFolder(path).read_rows()[0] for path in (one, other)]

    assert steps[0]["lr"] == steps[1]["lr"]  # as many optimiser steps
    assert steps[0]["loss"] == pytest.approx(steps[1]["loss"], rel=0.1)


def test_the_best_epoch_is_kept_apart_where_asked_for(tmp_path: Path):
    config = replace(CONFIG, keep_best=True)

    train(config, dataset_train=Tiles(), dataset_val=Tiles("val", 3), run_dir=tmp_path)

    assert (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "model.safetensors").exists()


def test_a_complete_run_keeps_its_last_checkpoint_alone(finished: Path):
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == ["epoch-00003.pt"]


def test_learning_rate_rises_in_warm_up_and_falls_on_a_cosine():
    rates = [learning_rate(step, steps=10, warmup=2, lr=1.0) for step in range(10)]

    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)  # half way from step 2 to 10
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert learning_rate(0, steps=200, warmup=0, lr=5e-4) == 5e-4


def test_four_on_each_of_eight_devices_make_32_and_one_device_accumulates():
    assert accumulation(TrainConfig(), 8) == 1
    assert accumulation(TrainConfig(), 1) == 8
    with pytest.raises(UsageError, match="batch 32 is no multiple of 12"):
        accumulation(TrainConfig(), 3)


def test_the_paper_profile_is_the_papers():
    config = profile("paper")

    assert config == TrainConfig()
    assert (config.epochs, config.batch, config.batch_per_device, config.lr) == (200, 32, 4, 5e-4)


@pytest.mark.parametrize("name", load_toml("profiles"))
def test_profiles_can_be_read(name: str):
    assert profile(name, seed=5).seed == 5


def test_a_file_of_ones_own_is_a_profile_too(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 7\nlr = 1e-4\n[model_options]\nsplit = [1, 1]\n")

    config = profile(path)

    assert (config.epochs, config.lr, config.model_options) == (7, 1e-4, {"split": [1, 1]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 7", "unknown key 'epoch'; known are model, .*epochs"),
        ("epochs = 1.5", "epochs is 1.5; int is wanted"),
        ("epochs = 0", "epochs is 0; it must be a whole number, 1 or more"),
        ("device = 'tpu'", "choose one of auto, cpu"),
        ("epochs", "is not TOML"),
        ("warmup_epochs = 200", "below epochs"),
    ],
)
def test_profiles_that_mean_nothing_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(UsageError, match=message):
        profile(path)


def test_an_unknown_profile_lists_the_choices():
    with pytest.raises(UsageError, match="no profile 'papre'; choose one of paper, small, sandbox, or name a"):
        profile("papre")


def test_bf16_is_refused_without_a_gpu(tmp_path: Path):
    with pytest.raises(UsageError, match="bf16 needs a GPU"):
        train(replace(CONFIG, precision="bf16"), dataset_train=Tiles(), run_dir=tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, half)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_keys_that_change_nothing_may_differ():
    assert differing_keys({"train": {"workers": 0, "lr": 1}}, {"train": {"workers": 4, "lr": 2}}) == ["train.lr"]


def test_a_folder_that_is_no_run_says_so(tmp_path: Path):
    with pytest.raises(DataError, match=r"is no run: it has no config\.json"):
        RunFolder(tmp_path).read_config()


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch-00001.pt").write_bytes(b"half")

    with pytest.raises(DataError, match=r"no checkpoint .* can be read .*train again under another name"):
        RunFolder(tmp_path).read_checkpoint()


@pytest.mark.parametrize("model", ["pspnet-small", "deeplabv3plus-small", "multisenseseg-small"])
def test_aux_heads_are_trained_and_a_last_tile_alone_is_left_for_another_epoch(model: str, tmp_path: Path):
    # Given five tiles in batches of two, and a norm that cannot do with one value per channel.
    config = replace(CONFIG, model=model, model_options={}, epochs=1, batch=2, batch_per_device=2)
    torch.manual_seed(0)

    run_dir = train(config, dataset_train=Tiles(count=5), run_dir=tmp_path / "run")

    heads = [name for name in weights(run_dir) if name.startswith("aux_head") and name.endswith("weight")]
    assert heads
    before = build(model, 2, 1).state_dict()
    assert any(not torch.equal(weights(run_dir)[name], before[name]) for name in heads)


def test_networks_that_need_two_samples_say_so_before_they_start(tmp_path: Path):
    alone = replace(CONFIG, model="pspnet-small", model_options={}, batch=2, batch_per_device=1)
    with pytest.raises(UsageError, match=r"pspnet-small needs 2 samples at a time .* batch_per_device is 1"):
        train(alone, dataset_train=Tiles(), run_dir=tmp_path / "run")

    with pytest.raises(UsageError, match="needs 2 training tiles; there are 1"):
        train(replace(alone, batch_per_device=2), dataset_train=Tiles(count=1), run_dir=tmp_path / "run")


def test_a_compiled_network_keeps_the_names_of_its_weights(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))

    run_dir = train(replace(CONFIG, epochs=1, compile=True), dataset_train=Tiles(), run_dir=tmp_path / "run")

    assert compiled == ["SpecSarFormer"]
    assert weights(run_dir).keys() == weights(finished).keys()


def test_fewer_epochs_than_the_profiles_warm_up_shorten_it():
    assert profile("sandbox").warmup_epochs == 1
    assert profile("sandbox", epochs=1).warmup_epochs == 0
    assert profile("sandbox", epochs=5).warmup_epochs == 1
    with pytest.raises(UsageError, match="warmup_epochs is 3"):
        profile("sandbox", epochs=2, warmup_epochs=3)
