"""Class tables of users in the model half: from 2 to 60 classes are trained, scored and recorded by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dwplus.model.metrics import ConfusionMatrix, count_pixels
from dwplus.model.registry import configure
from dwplus.model.runs import RunFolder
from dwplus.model.score import Scores, load, predict, score
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.tile_sets import MemoryTiles, numbered, table

MASK = table("background", "field")
CONFIG = TrainConfig(
    model="segformer-small", epochs=1, batch=2, batch_per_device=2, lr=5e-3, workers=0, device="cpu", seed=1
)


@pytest.mark.parametrize("classes", [MASK, DYNAMIC_WORLD, numbered(40)], ids=["0/1 mask", "nine", "forty"])
def test_any_number_of_classes_is_trained_and_scored(tmp_path: Path, classes) -> None:
    run_dir = train(
        CONFIG,
        dataset_train=MemoryTiles(classes),
        dataset_val=MemoryTiles(classes, "val", 2),
        run_dir=tmp_path / "run",
    )

    scores = score(run_dir, MemoryTiles(classes, "test", 2), workers=0, device="cpu")
    written = json.loads((run_dir / "scores.json").read_text())

    assert load(run_dir).config.data.classes == classes
    assert scores.matrix.names == classes.names
    assert scores.matrix.pixels == 2 * 32 * 30  # two rows of each tile are ignored
    assert tuple(written["classes"]) == tuple(written["matrix"]["classes"]) == classes.names
    assert Scores.from_dict(written) == scores
    assert predict(run_dir, MemoryTiles(classes)[0]).max() < len(classes)
    assert RunFolder(run_dir).read_rows()[0]["miou"] >= 0


def test_two_classes_are_learnt(tmp_path: Path) -> None:
    config = replace(CONFIG, model="specsar-former-small", epochs=10)
    run_dir = train(config, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")

    scores = score(run_dir, MemoryTiles(MASK, "test", 3), workers=0, device="cpu")

    assert scores.matrix.oa > 0.9
    assert scores.majority[0] in MASK.names


def test_a_run_of_dynamic_worlds_classes_is_recorded_as_ever(tmp_path: Path) -> None:
    run_dir = train(CONFIG, dataset_train=MemoryTiles(DYNAMIC_WORLD), run_dir=tmp_path / "run")

    assert "classes" not in json.loads((run_dir / "config.json").read_text())["data"]


def test_data_of_another_table_are_refused_with_the_difference(tmp_path: Path) -> None:
    run_dir = train(CONFIG, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")
    turned = table("field", "background")

    with pytest.raises(UsageError, match=r"other classes .*: 2 classes each; code 1 is background \(0\) against field"):
        score(run_dir, MemoryTiles(turned, "test", 2), workers=0, device="cpu")
    with pytest.raises(UsageError, match=r"run holds a run with other classes: 2 classes each"):
        train(CONFIG, dataset_train=MemoryTiles(turned), run_dir=run_dir)
    with pytest.raises(UsageError, match=r"validation split have different classes: 2 classes against 9"):
        train(
            CONFIG,
            dataset_train=MemoryTiles(MASK),
            dataset_val=MemoryTiles(DYNAMIC_WORLD, "val"),
            run_dir=tmp_path / "other",
        )


def test_a_title_or_a_colour_may_change_between_starts_of_a_run(tmp_path: Path) -> None:
    train(CONFIG, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")
    renamed = replace(MASK, classes=(replace(MASK.classes[0], title="Other", colour="000000"), MASK.classes[1]))

    train(CONFIG, dataset_train=MemoryTiles(renamed), run_dir=tmp_path / "run")  # complete: nothing to do

    assert load(tmp_path / "run").config.data.classes == MASK


def test_the_number_of_outputs_is_that_of_the_labels_and_nothing_else(tmp_path: Path) -> None:
    assert configure("segformer-small", 2, 1, labels=40).classes == 40
    with pytest.raises(UsageError, match="classes is 9; it must be 2, as many as labels have"):
        configure("segformer-small", 2, 1, labels=2, classes=9)
    with pytest.raises(UsageError, match="classes is 61; it must be a whole number, 2 or more, 60 at most"):
        configure("segformer-small", 2, 1, labels=61)


@pytest.mark.parametrize("count", [2, 9, 15, 16, 60])
def test_pixels_of_many_classes_are_counted_like_a_plain_loop(count: int) -> None:
    # 15 classes need 240 codes and fit a byte, 16 need 272.
    rng = np.random.default_rng(count)
    truth, prediction = rng.integers(0, count, (2, 20, 30)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    wanted = np.zeros((count, count), dtype=np.int64)
    for t, p in zip(truth.flat, prediction.flat, strict=True):
        if t != 255:
            wanted[t, p] += 1

    names = tuple(f"c{number}" for number in range(count))
    assert np.array_equal(ConfusionMatrix.of(truth, prediction, names).counts, wanted)
    counted = count_pixels(torch.from_numpy(truth)[None], torch.from_numpy(prediction)[None], count)
    assert np.array_equal(counted[0].numpy(), wanted)


def test_matrices_of_two_tables_do_not_add_up_and_are_not_equal() -> None:
    with pytest.raises(DataError, match="other classes do not add up"):
        ConfusionMatrix.zero() + ConfusionMatrix.zero(MASK.names)
    assert ConfusionMatrix.zero(("a", "b")) != ConfusionMatrix.zero(("b", "a"))


@pytest.mark.parametrize("names", [["water"], "ab", ["a", "a"], [1, 2], None])
def test_a_matrix_without_names_of_classes_is_refused(names: object) -> None:
    with pytest.raises(DataError, match="no confusion matrix"):
        ConfusionMatrix.from_dict({"classes": names, "counts": [[1, 0], [0, 1]]})


def test_a_record_with_a_table_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    run_dir = train(CONFIG, dataset_train=MemoryTiles(MASK), run_dir=tmp_path / "run")
    folder = RunFolder(run_dir)
    document = folder.read_json("config.json")
    document["data"]["classes"]["classes"][1]["name"] = "background"
    folder.write_json("config.json", document)

    with pytest.raises(DataError, match=r"config.json cannot be read: class table 'mine': the name 'background'"):
        folder.read_config()


def test_tiles_of_several_sizes_are_trained_on_with_crops_and_scored_one_by_one(tmp_path: Path) -> None:
    shapes = ((32, 32), (96, 96), (40, 72))
    config = replace(CONFIG, crop_px=32)
    with pytest.raises(UsageError, match="several sizes"):
        train(CONFIG, dataset_train=MemoryTiles(MASK, shapes=shapes), run_dir=tmp_path / "whole")

    run_dir = train(
        config,
        dataset_train=MemoryTiles(MASK, shapes=shapes),
        dataset_val=MemoryTiles(MASK, "val", 3, shapes),
        run_dir=tmp_path / "run",
    )
    scores = score(run_dir, MemoryTiles(MASK, "test", 3, shapes), workers=0, device="cpu")

    assert scores.matrix.pixels == 32 * 30 + 96 * 94 + 38 * 72
