"""Forecasts: what a build would do and take, before anybody is asked."""

from pathlib import Path

import pytest
from dwplus.pipeline.build.build import Selection
from dwplus.pipeline.build.forecast import forecast
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.recipe import Recipe
from support.fixture_types import LayOut


def test_without_labels_the_published_numbers_are_planned_with(tmp_path: Path) -> None:
    words, will = forecast(DataRoot.at(tmp_path / "data"), Selection(), recipe=None, concurrency=20)
    tests, _ = forecast(
        DataRoot.at(tmp_path / "data"), Selection(splits=frozenset({"test"})), recipe=None, concurrency=20
    )

    assert "about 24,603 tiles are published" in words
    assert (will.tiles, will.requests) == (24_603, 49_206)
    assert will.received_gb == pytest.approx(24_603 * 510 * 510 * 32 / 1e9)
    assert "about 409 tiles are published" in tests
    assert not (tmp_path / "data").exists()


def test_a_limit_and_the_planets_size_bound_the_plan(tmp_path: Path) -> None:
    words, will = forecast(DataRoot.at(tmp_path), Selection(limit=50), recipe=None, concurrency=20, sandbox_tiles=132)

    assert "the synthetic planet has 132 label tiles" in words
    assert will.tiles == 50


def test_with_a_manifest_the_plan_is_that_of_the_build(data_root: LayOut) -> None:
    # Given four training and two test tiles with their shards, of which one is gone.
    root = data_root(train=4, test=2)
    next(iter((root.folder / "shards").rglob("*.tif"))).unlink()

    words, will = forecast(root, Selection(), recipe=Recipe(), concurrency=20)

    assert words == "6 tiles: 5 complete, 1 to request (1 shard missing)"
    assert will.tiles == 1


def test_another_recipe_is_told_before_it_replaces_anything(data_root: LayOut) -> None:
    root = data_root(train=4, test=2)

    words, _ = forecast(root, Selection(), recipe=Recipe(s1_mean="linear"), concurrency=20)

    assert words == "6 tiles: 6 to request (6 another recipe)"
    with pytest.raises(UsageError, match="holds shards of another recipe"):
        forecast(root, Selection(splits=frozenset({"test"})), recipe=Recipe(s1_mean="linear"), concurrency=20)
