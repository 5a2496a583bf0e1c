"""Build: labels come in, rows come out; what an earlier build left is kept."""

from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.build import BuildSetup, Selection, build, retry
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, QuotaError, TileError, UsageError
from dwplus.pipeline.labels.index import index
from dwplus.pipeline.labels.ingest import ingest_labels
from dwplus.pipeline.labels.metadata import read_metadata
from dwplus.pipeline.raster.geotiff import read_codes, write_label
from dwplus.pipeline.spec.recipe import Recipe
from support.builds import Pixels as FewPixels
from support.tiles import make_tile


class Pixels(FewPixels):
    """Made-up pixels for tiles of the released size."""

    def fetch(self, request, tally):
        small = super().fetch(request, tally)
        return np.tile(small, (1, 64, 64))[:, :510, :510].copy()


def release(folder: Path, *ids: str, place: str = "Experts/EH/4", damage: bool = False) -> Path:
    for number, tile_id in enumerate(ids):
        tile = make_tile(tile_id, x=400000.0 + 6000 * number, size=510)
        codes = np.full((510, 510), 1 + number % 9, dtype=np.uint8)
        path = folder / place / f"{tile_id}.tif"
        write_label(path, codes, tile, {})
        if damage:
            path.write_bytes(path.read_bytes()[:300])
    return folder


def run(root: DataRoot, labels: Path, pixels: Pixels, **selection: object):
    return build(root, Selection(labels=labels, **selection), BuildSetup(pixels, in_process))


A, B = "dw_7.8_45.0-20190701", "dw_7.9_45.0-20190701"


def test_label_tiles_given_by_hand_become_shards_to_inspect(tmp_path: Path) -> None:
    result = run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A, B), Pixels())

    assert result.states == {"done": 2}
    assert {row.split_strict for row in DataRoot.at(tmp_path / "data").manifest().rows} == {"inspect"}
    assert not list((tmp_path / "data").glob("stats-*.json"))


def test_a_second_build_keeps_the_tiles_of_the_first(tmp_path: Path) -> None:
    run(DataRoot.at(tmp_path / "data"), release(tmp_path / "one", A), Pixels())
    second = Pixels()

    run(DataRoot.at(tmp_path / "data"), release(tmp_path / "two", B, place="Experts/EH/5"), second)

    assert [row.tile.id for row in DataRoot.at(tmp_path / "data").manifest().rows] == [A, B]
    assert second.asked == [B]


def test_a_new_label_of_a_tile_is_taken_up_without_asking_for_pixels(tmp_path: Path) -> None:
    run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A), Pixels())
    again = Pixels()
    tile = make_tile(A, x=400000.0, size=510)
    write_label(tmp_path / "labels" / "Experts/EH/4" / f"{A}.tif", np.full((510, 510), 7, np.uint8), tile, {})

    run(DataRoot.at(tmp_path / "data"), tmp_path / "labels", again)

    assert again.asked == []
    row = DataRoot.at(tmp_path / "data").manifest().rows[0]
    assert (read_codes(tmp_path / "data" / row.label) == 7).all()


def test_a_damaged_label_given_by_hand_stops_before_any_request(tmp_path: Path) -> None:
    pixels = Pixels()

    with pytest.raises(DataError, match=A):
        run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A, damage=True), pixels)

    assert pixels.asked == []


def test_a_damaged_label_of_a_release_is_a_discarded_tile(tmp_path: Path) -> None:
    folder = release(tmp_path / "labels", A)
    release(tmp_path / "labels", B, damage=True, place="Experts/EH/5")

    found = ingest_labels(DataRoot.at(tmp_path / "data"), index(folder), read_metadata(folder))

    assert [row.tile.id for row in found.rows] == [A]
    assert list(found.unusable) == [B]


def test_regions_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown region"):
        run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A), Pixels(), region="mars")

    assert not (tmp_path / "data").exists()


def test_what_failed_is_asked_for_again_and_nothing_else(tmp_path: Path) -> None:
    # Given two tiles, one of which the service refused.
    def refuse(tile, _pixels):
        if tile.id == A:
            raise TileError("HTTP 400", reason="refused")

    root = DataRoot.at(tmp_path / "data")
    assert run(root, release(tmp_path / "labels", A, B), Pixels(react=refuse)).failed == 1
    again = Pixels()

    result = retry(root, frozenset(), BuildSetup(again, in_process))

    assert again.asked == [A]
    assert (result.states, result.failed) == ({"done": 1}, 0)


def test_a_first_build_without_any_complete_tile_says_what_failed(tmp_path: Path) -> None:
    def refuse(_tile, _pixels):
        raise TileError("HTTP 400", reason="refused")

    result = run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A, B), Pixels(react=refuse))

    assert (result.states, result.failed, result.findings) == ({"refused": 2}, 2, ())
    assert (tmp_path / "data" / "README.md").is_file()


def test_a_first_build_that_a_quota_ends_says_so(tmp_path: Path) -> None:
    def use_up(_tile, _pixels):
        raise QuotaError("the quota is used up")

    result = run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A, B), Pixels(react=use_up))

    assert (result.stopped, result.states) == ("the quota is used up", {})


def test_a_reason_chooses_what_is_asked_for_again(tmp_path: Path) -> None:
    def miss(tile, pixels):
        if tile.id == A:
            pixels[11:] = 0

    root = DataRoot.at(tmp_path / "data")
    assert run(root, release(tmp_path / "labels", A, B), Pixels(react=miss)).states == {"done": 1, "no_s1": 1}
    nothing, again = Pixels(), Pixels()

    assert retry(root, frozenset({"no_answer"}), BuildSetup(nothing, in_process)).states == {}
    assert retry(root, frozenset({"no_s1"}), BuildSetup(again, in_process)).states == {"done": 1}

    assert (nothing.asked, again.asked) == ([], [A])


def test_what_comes_from_labels_cannot_be_asked_for_again(tmp_path: Path) -> None:
    run(DataRoot.at(tmp_path / "data"), release(tmp_path / "labels", A), Pixels())

    with pytest.raises(UsageError, match="bad_label cannot be retried; choose from bad_answer, no_answer"):
        retry(DataRoot.at(tmp_path / "data"), frozenset({"bad_label"}), BuildSetup(Pixels(), in_process))


def test_a_root_keeps_its_recipe_until_another_one_is_named(tmp_path: Path) -> None:
    labels, root = release(tmp_path / "labels", A), DataRoot.at(tmp_path / "data")
    linear = Recipe(s1_mean="linear")
    setup = BuildSetup(Pixels(), in_process)
    build(root, Selection(labels=labels), setup, recipe=linear)

    assert root.recipe() == linear
    build(root, Selection(labels=labels), setup)  # nothing is said: the root's recipe holds
    assert len(setup.pixels.asked) == 1
    build(root, Selection(labels=labels), setup, recipe=Recipe())
    assert len(setup.pixels.asked) == 2
    assert root.recipe() == Recipe()


def test_a_second_build_validates_what_is_new_alone(tmp_path: Path) -> None:
    looked: list[int] = []

    def counting(function, items):
        looked.append(len(items))
        return in_process(function, items)

    root = DataRoot.at(tmp_path / "data")
    build(root, Selection(labels=release(tmp_path / "one", A)), BuildSetup(Pixels(), counting))
    build(root, Selection(labels=release(tmp_path / "two", B, place="Experts/EH/5")), BuildSetup(Pixels(), counting))
    build(root, Selection(labels=tmp_path / "two"), BuildSetup(Pixels(), counting))

    assert looked == [1, 1]
    assert set(root.validated()) == {A, B}
