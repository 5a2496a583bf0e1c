"""Pictures of a training: which tiles, when, and what they show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dwplus.model.runs import RunFolder
from dwplus.model.training.pictures import is_due
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.workflow.pages.figures import panels_figure
from dwplus.workflow.pages.pixels import TileView
from dwplus.workflow.pictures import pictured
from matplotlib.image import imread
from support.fixture_types import LayOut, Run
from support.tiles import make_tile


def rows(*marked: float) -> list[ManifestRow]:
    tiles = [make_tile(f"dw_3.0_45.0-2019070{n + 1}", x=5e5 + 1e5 * (n // 2)) for n in range(len(marked))]
    return [ManifestRow(tile, "expert", "train", "", "", share) for tile, share in zip(tiles, marked, strict=True)]


def test_tiles_with_the_most_classes_are_drawn_each_of_another_block() -> None:
    # Two tiles in each of five blocks, 100 km or 1.27 degrees apart: (number of classes, marked share).
    found = [(9, 0.1), (2, 0.9), (3, 0.5), (3, 0.4), (5, 0.8), (5, 0.7), (4, 0.3), (1, 0.2), (6, 0.6), (7, 0.5)]
    tiles = rows(*(share for _, share in found))
    classes = {id(row): count for row, (count, _) in zip(tiles, found, strict=True)}

    chosen = pictured(tiles, lambda row: classes[id(row)], lambda lon, _: round((lon - 3) / 1.27))

    # The best marked of the blocks are 1, 2, 4, 6 and 8, of 2, 3, 5, 4 and 6 classes.
    assert chosen == (2, 4, 6, 8)


def test_few_blocks_give_more_than_one_tile_and_few_tiles_all() -> None:
    tiles = rows(0.5, 0.9, 0.8, 0.7, 0.6)

    assert pictured(tiles, lambda _: 1, lambda *_: 0) == (1, 2, 3, 4)
    assert pictured(tiles[:2], lambda _: 1, lambda *_: 0) == (0, 1)
    assert pictured([], lambda _: 1, lambda *_: 0) == ()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"every": 10, "validate_every": 1, "epochs": 25}, [10, 20, 25]),
        ({"every": 10, "validate_every": 3, "epochs": 25}, [12, 21, 25]),
        ({"every": 1, "validate_every": 4, "epochs": 8}, [4, 8]),
        ({"every": 10, "validate_every": 1, "epochs": 2}, [2]),
        ({"every": 0, "validate_every": 1, "epochs": 9}, []),
    ],
)
def test_a_picture_comes_with_a_validation_and_with_the_last_epoch(settings: dict[str, Any], wanted: list[int]) -> None:
    validated = [
        epoch
        for epoch in range(1, settings["epochs"] + 1)
        if epoch % settings["validate_every"] == 0 or epoch == settings["epochs"]
    ]

    assert [epoch for epoch in validated if is_due(epoch, **settings)] == wanted


def pixels_of(png: bytes) -> Any:
    return (imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)


def test_panels_show_the_colours_of_the_classes_and_whose_pixels_they_are() -> None:
    # Given a tile of water whose prediction is trees in the right half.
    water, half = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    half[:, 4:] = 1
    view = TileView(
        "t", np.full((3, 8, 8), 500, np.uint16), np.full((8, 8), 9000, np.uint16), water, {"Prediction": half}
    )

    picture = pixels_of(panels_figure([view], title="one, epoch 3", mark="SANDBOX"))

    # The fourth panel begins at 6 + 3 x 262 px, 40 px from the top, and has 256 px.
    blue, green = [65, 155, 223], [57, 125, 73]
    assert picture[150, 6 + 3 * 262 + 60].tolist() == blue
    assert picture[150, 6 + 3 * 262 + 200].tolist() == green
    assert picture[150, 6 + 2 * 262 + 200].tolist() == blue
    # The mark is in the lower right corner, in its own colour.
    amber = [0xB5, 0x89, 0x00]
    assert (picture[-20:, -90:] == amber).all(axis=2).sum() > 20
    unmarked = pixels_of(panels_figure([view], title="one, epoch 3"))
    assert not (unmarked[-20:, -90:] == amber).all(axis=2).any()


def test_a_training_leaves_pictures_of_the_same_tiles(dwplus: Run, ready_root: LayOut, tmp_path: Path) -> None:
    root = ready_root(train=8, test=2, size=32)
    network = "model_options={widths=[16,32],depths=[1,1],heads=[1,2],reductions=[4,2],decoder_width=16}"
    settings = ("device=cpu", "workers=0", network, "pictures_every=2", "lr=1e-2")
    changes = [part for one in settings for part in ("--set", one)]

    code, _, said = dwplus(
        "train", "--name", "one", "--source", "sandbox", "--protocol", "paper", "--epochs", "3", *changes
    )

    assert code == 0, said
    folder = RunFolder(root.runs / "one")
    names = sorted(path.name for path in (folder.path / "pictures").iterdir())
    assert names == ["epoch-0002.png", "epoch-0003.png"]
    for name in names:
        folder.check(f"pictures/{name}")  # their hashes are on record
        assert f"pictures/{name}" in folder.sums()
    second, third = (pixels_of((folder.path / "pictures" / name).read_bytes()) for name in names)
    # Two validation tiles; what lies left of the predictions, below the title, is the same.
    left = (slice(40, 40 + 2 * 262), slice(0, 3 * 262))
    assert (second[left] == third[left]).all()
    # A run without pictures is another in nothing that is learnt.
    code, _, said = dwplus(
        "train",
        "--name",
        "one",
        "--source",
        "sandbox",
        "--protocol",
        "paper",
        "--epochs",
        "3",
        *changes[:-4],
        *changes[-2:],
    )
    assert code == 0, said
