"""Finding the scene that a label was drawn on."""

from datetime import UTC, date, datetime, timedelta

from conftest import make_tile
from dwplus.pipeline.matching import Candidate, SceneHint, candidates_of, choose_scene, covers
from dwplus.pipeline.tiles import Tile

PRODUCT = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"
REPROCESSED = "S2B_MSIL2A_20190812T143759_N0500_R096_T20MMA_20230611T121314"
INDEX = "20190812T143759_20190812T143758_T20MMA"


def square_around(tile: Tile, margin: float) -> tuple[tuple[float, float], ...]:
    lon, lat = tile.centre
    return tuple((lon + dx * margin, lat + dy * margin) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1)))


def candidate(index: str = INDEX, product_id: str = PRODUCT, *, mgrs: str = "20MMA", baseline: str = "02.13",
              footprint: tuple[tuple[float, float], ...] = ()) -> Candidate:  # fmt: skip
    return Candidate(index, product_id, mgrs, baseline, footprint)


def test_rules_are_tried_in_order(tile: Tile) -> None:
    wide = square_around(tile, 1.0)
    a = candidate(footprint=wide)
    other = candidate("20190812T143759_20190812T150000_T32TNQ", "other", mgrs="32TNQ", footprint=wide)

    assert choose_scene(tile, SceneHint(index=INDEX, product_id="other"), [other, a]) == (a, "index")
    assert choose_scene(tile, SceneHint(product_id=PRODUCT), [other, a]) == (a, "product-id")
    assert choose_scene(tile, SceneHint(product_id=REPROCESSED), [other, a]) == (a, "sensing-time")
    assert choose_scene(tile, SceneHint(), [a, other]) == (other, "same-day")  # the tile lies in zone 32


def test_a_scene_of_the_day_that_covers_a_part_only_is_not_taken(tile: Tile) -> None:
    assert choose_scene(tile, SceneHint(), [candidate(footprint=square_around(tile, 1e-4))]) is None
    assert choose_scene(tile, SceneHint(), []) is None


def test_among_reprocessed_copies_the_newest_baseline_is_taken(tile: Tile) -> None:
    wide = square_around(tile, 1.0)
    old, new = candidate(footprint=wide), candidate(INDEX + "x", REPROCESSED, baseline="05.00", footprint=wide)

    assert choose_scene(tile, SceneHint(), [old, new]) == (new, "same-day")


def test_footprints_past_the_date_line_cover_tiles_on_both_sides() -> None:
    west_of_it = make_tile(crs="EPSG:32660", x=690000.0, y=7000000.0, size=510)
    outline = tuple((lon - 360, lat) for lon, lat in square_around(west_of_it, 1.0))

    assert covers(outline, west_of_it)


def test_without_a_hint_the_scene_is_looked_for_on_the_labels_day() -> None:
    day = datetime(2019, 8, 12, tzinfo=UTC)

    for hint in (SceneHint(), SceneHint(index="nonsense"), SceneHint(index=INDEX), SceneHint(product_id=PRODUCT)):
        assert hint.window(date(2019, 8, 12)) == (day, day + timedelta(days=1))


def test_a_data_take_that_begins_the_day_before_is_looked_for_too() -> None:
    # Given a scene over Australia: its data take began at 23:33, the granule was sensed after midnight.
    hint = SceneHint(product_id="S2B_MSIL2A_20190608T233336_N0212_R030_T55HFC_20190609T034506")

    start, end = hint.window(date(2019, 6, 9))

    assert start == datetime(2019, 6, 8, 22, 33, 36, tzinfo=UTC)
    assert end == datetime(2019, 6, 10, tzinfo=UTC)


def test_a_property_that_some_scenes_lack_is_not_matched_to_the_wrong_scene() -> None:
    # aggregate_array leaves out missing values: two scenes, one product id.
    answer = {"system:index": [INDEX, "b_c_T32TNQ"], "PRODUCT_ID": [PRODUCT], "PROCESSING_BASELINE": ["02.13", "02.13"]}

    first, second = candidates_of(answer)

    assert (first.product_id, second.product_id, second.mgrs_tile) == ("", "", "32TNQ")


def test_a_scene_of_the_day_without_an_outline_is_taken_and_says_so(tile: Tile) -> None:
    assert choose_scene(tile, SceneHint(), [candidate()]) == (candidate(), "same-day-unseen")
