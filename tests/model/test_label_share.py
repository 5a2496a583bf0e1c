"""A share of the training tiles: the same ones each time, with all classes in about their shares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.model.label_share import part_of, some_of, stratified_order
from dwplus.model.runs import RunFolder
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.radar import Radar
from support.tile_sets import MemoryTiles, numbered

TWO = numbered(2)
ONE_DATE = Radar("gamma0", "none", 1, ("ASCENDING",))
CONFIG = TrainConfig(model="segformer-small", epochs=1, batch=2, batch_per_device=2, workers=0, device="cpu")


def test_the_rare_class_is_in_the_first_tenth() -> None:
    # Given a hundred tiles, ten of which hold the rare class beside the common one.
    content = np.array([[90, 10] if number % 10 == 3 else [100, 0] for number in range(100)], dtype=np.int64)

    order = stratified_order(content, [f"tile-{number}" for number in range(100)])

    for count in (10, 20, 50):
        share = content[order[:count]].sum(axis=0) / content.sum(axis=0)
        assert share == pytest.approx([count / 100] * 2, abs=0.05)
    assert sorted(order) == list(range(100))


def test_the_order_depends_on_the_tiles_and_not_on_where_they_stand() -> None:
    rng = np.random.default_rng(0)
    content, ids = rng.integers(0, 100, (30, 4)), [f"tile-{number}" for number in range(30)]
    turned = list(reversed(range(30)))

    order = stratified_order(content, ids)
    other = stratified_order(content[turned], [ids[i] for i in turned])

    assert [ids[i] for i in order] == [ids[turned[i]] for i in other]


def test_a_part_is_a_data_set_of_its_own() -> None:
    tiles = MemoryTiles(TWO, count=10, radars=(ONE_DATE,))

    part = part_of(tiles, 0.3)

    assert len(part) == len(part.tiles) == 3
    assert [part[i].tile_id for i in range(3)] == [tile.id for tile in part.tiles]
    labels = np.concatenate([part[i].label.ravel() for i in range(3)])
    assert part.statistics.class_counts == ((labels == 0).sum(), (labels == 1).sum())
    assert part.statistics.bands == tiles.statistics.bands
    assert part.tiles_hash != tiles.tiles_hash
    assert part.radars == tiles.radars == (ONE_DATE,)
    assert {tile.id for tile in part.tiles} < {tile.id for tile in part_of(tiles, 0.6).tiles}
    assert part_of(tiles, 1.0) is tiles
    assert len(part_of(tiles, 0.001)) == 1


def test_some_tiles_are_chosen_by_place() -> None:
    tiles = MemoryTiles(TWO, count=5)

    assert [tile.id for tile in some_of(tiles, [4, 0]).tiles] == ["train-4", "train-0"]


def test_a_run_records_the_share_and_its_tiles(tmp_path: Path) -> None:
    config = replace(CONFIG, labels_share=0.5)

    run_dir = train(config, dataset_train=MemoryTiles(TWO, count=8), run_dir=tmp_path / "run")

    record = RunFolder(run_dir).read_config()
    assert (record.train["labels_share"], record.data.tiles, record.data.shards_hash) == (0.5, 4, "abc")
    listed = json.loads((run_dir / "tiles.json").read_text())["trained_on"]
    assert [row[0] for row in listed] == [tile.id for tile in part_of(MemoryTiles(TWO, count=8), 0.5).tiles]
    with pytest.raises(UsageError, match=r"another .*train\.labels_share"):
        train(replace(config, labels_share=1.0), dataset_train=MemoryTiles(TWO, count=8), run_dir=run_dir)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_no_share_and_more_than_all_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"labels_share is .*; it must be above 0, 1 at most"):
        TrainConfig(labels_share=share)
