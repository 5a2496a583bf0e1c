"""Dating: own labels get the clearest scene of their period; its day is theirs, and its cloud is ignored."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import BuildSetup, Selection, build
from dwplus.pipeline.build.dating import date_labels, period_of
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import Manifest, ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.clear_scenes import ClearScene
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.errors import QuotaError, TileError, UsageError
from dwplus.pipeline.raster.geotiff import read_codes, read_header, write_label
from dwplus.pipeline.spec.classes import ClassTable, LandCover
from dwplus.pipeline.spec.periods import Period
from numpy.typing import NDArray
from support.builds import Pixels as FewPixels
from support.tiles import make_tile

CROPS = ClassTable("crops", tuple(LandCover(i, name, name, "a0b0c0", i) for i, name in enumerate(("rye", "oats"))), 9)
A, B = "field-32632-400000-5000000-20220101", "field-32632-401000-5000000-20220615"

Choose = Callable[[str, NDArray[np.bool_], Period], ClearScene | None]


def clear(tile_id: str, marked: NDArray[np.bool_], _period: Period) -> ClearScene | None:
    """3 July, with cloud over the first row."""
    hidden = np.zeros(marked.shape, dtype=bool)
    hidden[0] = True
    return ClearScene(
        f"20220703T1_{tile_id[12:18]}", date(2022, 7, 3), hidden, float(hidden[marked].mean()), "scene-classes"
    )


class Pixels(FewPixels):
    """A source of made-up pixels that counts the scenes it is asked for."""

    def __init__(self, choose: Choose = clear) -> None:
        super().__init__("earthengine")
        self.choose = choose
        self.searched: list[tuple[str, str]] = []

    def resolve(self, tile, hint, recipe, tally):  # type: ignore[no-untyped-def]
        return SceneRef("COPERNICUS/S2_SR_HARMONIZED", hint.index, "index")

    def clear_scene(self, tile, marked, period, searched, tally):  # type: ignore[no-untyped-def]
        self.searched.append((tile.id, str(searched)))
        return self.choose(tile.id, marked, period)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """Two own tiles of 8 x 8 px: one of the year 2022, one of 15 June; marked but for the last column."""
    root = DataRoot.at(tmp_path / "mine")
    rows = []
    for number, (tile_id, period) in enumerate({A: "2022-01-01/2022-12-31", B: ""}.items()):
        day = date(2022, 1, 1) if period else date(2022, 6, 15)
        tile = replace(make_tile(tile_id, x=400000.0 + 1000 * number), date=day)
        codes = np.full((8, 8), 1 + number, dtype=np.uint8)
        codes[:, 7] = 0
        sha256 = write_label(root.added_labels / f"{tile_id}.tif", codes, tile, {"LABELER": "own"}, CROPS)
        label = f"labels/own/{tile_id}.tif"
        written = write_label(root.folder / label, codes, tile, {"LABELER": "own"}, CROPS)
        row = ManifestRow(tile, "own", "own", label, sha256, 0.875, split_strict="train", split_paper="train")
        rows.append(replace(row, label_written_sha256=written, period=period))
    write_manifest(root.folder, Manifest(tuple(rows), CROPS))
    return root


def date_all(root: DataRoot, pixels: Pixels, **more: int):  # type: ignore[no-untyped-def]
    return date_labels(root, root.manifest().rows, pixels=pixels, **more)


def contents(root: DataRoot) -> dict[str, bytes]:
    return {str(p.relative_to(root.folder)): p.read_bytes() for p in sorted(root.folder.rglob("*")) if p.is_file()}


def test_the_day_of_the_scene_becomes_the_tiles_and_marked_pixels_under_cloud_are_ignored(root: DataRoot) -> None:
    dated = date_all(root, Pixels())

    first, second = root.manifest().rows
    assert dated.rows == (first, second)
    assert dated.undated == ()
    assert [row.tile.date for row in dated.rows] == [date(2022, 7, 3)] * 2
    assert first.s2_index == "20220703T1_400000"
    # Seven pixels of the first row were marked: they are ignored (code 3) now; the unmarked one stays unmarked.
    codes = read_codes(root.label(second), sha256=second.label_written_sha256)
    assert codes[0].tolist() == [3, 3, 3, 3, 3, 3, 3, 0]
    assert codes[1].tolist() == [2, 2, 2, 2, 2, 2, 2, 0]
    assert second.marked_share == 49 / 64
    tags = read_header(root.label(second)).tags
    assert (tags["S2_SCENE"], tags["PERIOD"]) == (second.s2_index, "2022-06-15")
    assert tags["CLASSES"] == "0=unmarked 1=rye 2=oats 3=ignored"
    # The label as it was added is as it was.
    assert read_codes(root.added_labels / f"{B}.tif")[0].tolist() == [2, 2, 2, 2, 2, 2, 2, 0]


def test_a_period_is_searched_with_days_before_and_after_it(root: DataRoot) -> None:
    pixels = Pixels()

    date_all(root, pixels, window_days=30)

    assert sorted(pixels.searched) == [(A, "2021-12-02/2023-01-30"), (B, "2022-05-16/2022-07-15")]


def test_nothing_is_asked_twice_until_the_window_or_the_label_changes(root: DataRoot) -> None:
    date_all(root, Pixels())
    before = contents(root)

    again, wider = Pixels(), Pixels()
    date_all(root, again)
    assert again.searched == []
    assert contents(root) == before

    date_all(root, wider, window_days=60)
    assert sorted(wider.searched) == [(A, "2021-11-02/2023-03-01"), (B, "2022-04-16/2022-08-14")]

    (first, second), other = root.manifest().rows, Pixels()
    write_manifest(root.folder, Manifest((replace(first, label_sha256="new"), second), CROPS))
    date_all(root, other, window_days=60)
    assert [tile for tile, _ in other.searched] == [A]


def test_a_written_label_that_was_changed_is_made_anew(root: DataRoot) -> None:
    date_all(root, Pixels())
    before = contents(root)
    root.own_label(root.manifest().rows[0]).write_bytes(b"changed")
    pixels = Pixels()

    date_all(root, pixels)

    assert [tile for tile, _ in pixels.searched] == [A]
    assert contents(root) == before


def test_a_label_that_no_scene_shows_is_discarded_and_a_tile_without_an_answer_has_failed(root: DataRoot) -> None:
    def choose(tile_id: str, marked: NDArray[np.bool_], period: Period) -> ClearScene | None:
        if tile_id == A:
            return None
        raise TileError("no answer after 6 attempts", reason="no_answer")

    dated = date_all(root, Pixels(choose))

    assert dated.rows == ()
    assert [(row.tile, row.state, row.reason) for row in dated.undated] == [
        (A, "discarded", "no_clear_scene"),
        (B, "failed", "no_answer"),
    ]
    assert "searched 2021-12-02/2023-01-30" in dated.undated[0].detail


def test_a_run_that_ends_early_keeps_what_was_chosen(root: DataRoot) -> None:
    def choose(tile_id: str, marked: NDArray[np.bool_], period: Period) -> ClearScene | None:
        if tile_id == B:
            raise QuotaError("used up")
        return clear(tile_id, marked, period)

    with pytest.raises(QuotaError):
        date_all(root, Pixels(choose))
    pixels = Pixels()
    date_all(root, pixels)

    assert [tile for tile, _ in pixels.searched] == [B]
    assert root.scenes_file.is_file()


def test_the_period_survives_the_day_that_was_chosen(root: DataRoot) -> None:
    before = [period_of(row) for row in root.manifest().rows]
    date_all(root, Pixels())

    assert [period_of(row) for row in root.manifest().rows] == before


def test_a_build_of_own_labels_dates_and_exports_them(root: DataRoot) -> None:
    pixels = Pixels()

    result = build(root, Selection(), BuildSetup(pixels, in_process))

    assert result.states == {"done": 2}
    assert sorted(pixels.asked) == [A, B]
    assert root.statistics("strict").class_counts == (49, 49)
    assert root.classes() == CROPS


def test_another_scene_asks_for_the_pixels_again(root: DataRoot) -> None:
    build(root, Selection(), BuildSetup(Pixels(), in_process))

    def later(tile_id: str, marked: NDArray[np.bool_], period: Period) -> ClearScene | None:
        found = clear(tile_id, marked, period)
        return replace(found, index="later", day=date(2022, 8, 1)) if found and tile_id == A else found

    pixels = Pixels(later)
    result = build(root, Selection(), BuildSetup(pixels, in_process, s2_window_days=60))

    assert result.states == {"done": 2}
    assert pixels.asked == [A]


def test_a_root_of_own_labels_takes_no_label_tiles_of_the_released_form(root: DataRoot, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds labels that were added to it; --labels belongs to another --data"):
        build(root, Selection(labels=tmp_path), BuildSetup(Pixels(), in_process))
