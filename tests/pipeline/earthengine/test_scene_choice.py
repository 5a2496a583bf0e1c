"""Finding the scene that a label was drawn on."""

from datetime import UTC, date, datetime, timedelta

import pytest
from dwplus.pipeline.earthengine.scene_choice import (
    Candidate,
    Found,
    SceneHint,
    SceneRef,
    choose_scene,
    found_in,
    index_of,
)
from dwplus.pipeline.spec.tiles import Tile
from support.tiles import make_tile

PRODUCT = "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657"
REPROCESSED = "S2B_MSIL2A_20190812T143759_N0500_R096_T20MMA_20230611T121314"
INDEX = "20190812T143759_20190812T143758_T20MMA"


def square_around(tile: Tile, margin: float) -> tuple[tuple[float, float], ...]:
    lon, lat = tile.centre
    return tuple((lon + dx * margin, lat + dy * margin) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1)))


def candidate(index: str = INDEX, product_id: str = PRODUCT, *, mgrs: str = "20MMA", baseline: str = "02.13",
              footprint: tuple[tuple[float, float], ...] = ()) -> Candidate:  # fmt: skip
    return Candidate(index, product_id, mgrs, baseline, footprint)


def strip(tile: Tile, west: float, east: float) -> tuple[tuple[float, float], ...]:
    """An outline over the full height of a tile, from one share of its width to another (0 = its western edge)."""
    lons, lats = [lon for lon, _ in tile.outline], [lat for _, lat in tile.outline]
    left, width = min(lons), max(lons) - min(lons)
    x0, x1 = left + west * width, left + east * width
    y0, y1 = min(lats) - 0.1, max(lats) + 0.1
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1)


def select_rows(tile: Tile, hint: SceneHint, *scenes: Candidate) -> SceneRef | None:
    return choose_scene(tile, hint, Found(scenes))


def chosen(tile: Tile, hint: SceneHint, *scenes: Candidate) -> tuple[str, str, tuple[str, ...]]:
    """Index of the scene on top, the rule that found it, and the indices of its neighbours."""
    found = select_rows(tile, hint, *scenes)
    assert found is not None
    return found.index, found.rule, found.indices[1:]


def test_rules_are_tried_in_order(tile: Tile) -> None:
    wide = square_around(tile, 1.0)
    a = candidate(footprint=wide)
    other = candidate("20190812T143759_20190812T150000_T32TNQ", "other", mgrs="32TNQ", footprint=wide)

    assert chosen(tile, SceneHint(index=INDEX, product_id="other"), other, a) == (INDEX, "index", ())
    assert chosen(tile, SceneHint(product_id=PRODUCT), other, a) == (INDEX, "product-id", ())
    assert chosen(tile, SceneHint(product_id=REPROCESSED), other, a) == (INDEX, "sensing-time", ())
    # Of a test tile the release tells the index alone.
    withdrawn = "20190812T143759_20190812T144500_T20MMA"
    assert chosen(tile, SceneHint(index=withdrawn), other, a) == (INDEX, "sensing-time", ())
    assert chosen(tile, SceneHint(), a, other) == (other.index, "same-day", ())  # the tile lies in zone 32


def test_a_scene_of_the_day_that_covers_a_part_only_is_not_taken(tile: Tile) -> None:
    assert select_rows(tile, SceneHint(), candidate(footprint=square_around(tile, 1e-4))) is None
    assert select_rows(tile, SceneHint()) is None


def test_among_reprocessed_copies_the_newest_baseline_is_taken(tile: Tile) -> None:
    wide = square_around(tile, 1.0)
    old, new = candidate(footprint=wide), candidate(INDEX + "x", REPROCESSED, baseline="05.00", footprint=wide)

    assert chosen(tile, SceneHint(), old, new) == (new.index, "same-day", ())


def test_footprints_past_the_date_line_cover_tiles_on_both_sides() -> None:
    west_of_it = make_tile(crs="EPSG:32660", x=690000.0, y=7000000.0, size=510)
    outline = tuple((lon - 360, lat) for lon, lat in square_around(west_of_it, 1.0))

    assert chosen(west_of_it, SceneHint(), candidate(footprint=outline))[1] == "same-day"


# --- tiles that straddle granules; the tile lies in zone 32, north ----------------------------------------------------

TAKE, LATER = "20190701T101031", "20190701T115221"


def granule(mgrs: str, outline: tuple[tuple[float, float], ...], *, take: str = TAKE, strip_time: str = "101030",
            baseline: str = "02.13", day: date | None = None) -> Candidate:  # fmt: skip
    index = f"{take}_20190701T{strip_time}_T{mgrs}"
    return Candidate(index, f"product {mgrs} {strip_time}", mgrs, baseline, outline, day)


def test_same_day_neighbours_fill_what_the_named_scene_leaves_open(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    east = granule("32TPQ", strip(tile, 0.4, 2))

    assert chosen(tile, SceneHint(index=west.index), east, west) == (west.index, "index", (east.index,))
    assert chosen(tile, SceneHint(index=east.index), east, west) == (east.index, "index", (west.index,))


def test_no_more_neighbours_than_are_needed(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    middle = granule("32TNP", strip(tile, 0.3, 0.7))
    east = granule("32TPQ", strip(tile, 0.4, 2))
    whole = granule("32TPP", square_around(tile, 1.0))

    assert chosen(tile, SceneHint(index=west.index), west, middle, east)[2] == (east.index,)
    assert chosen(tile, SceneHint(index=whole.index), west, whole, east)[2] == ()


def test_neighbours_in_another_projection_are_not_mixed_in(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    other_zone = granule("33TUL", strip(tile, 0.4, 2))
    south = granule("32HPQ", strip(tile, 0.4, 2))  # band H lies south of the equator

    assert chosen(tile, SceneHint(index=west.index), west, other_zone, south) == (west.index, "index", ())


def test_neighbours_of_the_same_data_take_come_first(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    later = granule("32TPQ", strip(tile, 0.4, 2), take=LATER)
    same = granule("32TQQ", strip(tile, 0.5, 2))

    assert chosen(tile, SceneHint(index=west.index), later, west, same)[2] == (same.index,)
    assert chosen(tile, SceneHint(index=west.index), later, west)[2] == (later.index,)


def test_of_a_reprocessed_neighbour_the_newest_baseline_fills(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    old = granule("32TPQ", strip(tile, 0.4, 2))
    new = granule("32TPQ", strip(tile, 0.4, 2), strip_time="101500", baseline="05.00")

    assert chosen(tile, SceneHint(index=west.index), west, old, new)[2] == (new.index,)


def test_a_reprocessed_copy_does_not_fill_a_sliver_beside_the_scene_it_was_made_from(tile: Tile) -> None:
    # Given a copy whose outline reaches a little further: another processing of the same view.
    west = granule("32TNQ", strip(tile, -1, 0.6))
    copy = granule("32TNQ", strip(tile, -1, 0.7), strip_time="101500", baseline="05.00")

    assert chosen(tile, SceneHint(index=west.index), west, copy)[2] == ()


def test_another_pass_over_the_same_granule_fills(tile: Tile) -> None:
    # Given two passes of one day at high latitude, whose swaths end within the granule.
    first = granule("32TNQ", strip(tile, -1, 0.6))
    second = granule("32TNQ", strip(tile, 0.4, 2), take=LATER)

    assert chosen(tile, SceneHint(index=first.index), first, second)[2] == (second.index,)


def test_a_data_take_that_came_in_two_strips_is_put_together(tile: Tile) -> None:
    # Given one granule of one data take as two scenes, cut where one strip ended: the product id names both.
    early = granule("32TNQ", strip(tile, -1, 0.6), strip_time="101030")
    late = granule("32TNQ", strip(tile, 0.5, 2), strip_time="101245")
    hint = SceneHint(product_id="S2B_MSIL2A_20190701T101031_N0207_R022_T32TNQ_20190701T120000")

    assert chosen(tile, hint, early, late) == (late.index, "sensing-time", (early.index,))
    # The one that covers the whole tile, though the other was processed last.
    whole = granule("32TNQ", square_around(tile, 1.0), strip_time="101000")
    assert chosen(tile, hint, late, whole) == (whole.index, "sensing-time", ())


def test_scenes_of_another_day_that_a_hint_brought_in_are_not_mixed_in(tile: Tile) -> None:
    # Given a data take that began the evening before: the search covers a part of that day too.
    today, before = date(2019, 7, 1), date(2019, 6, 30)
    west = granule("32TNQ", strip(tile, -1, 0.6), day=today)
    yesterday = granule("32TPQ", strip(tile, 0.4, 2), take="20190630T101031", day=before)
    past_midnight = granule("32TPQ", strip(tile, 0.4, 2), day=before)
    whole_yesterday = granule("32TPP", square_around(tile, 1.0), take="20190630T101031", day=before)

    assert chosen(tile, SceneHint(index=west.index), west, yesterday)[2] == ()
    assert chosen(tile, SceneHint(index=west.index), west, past_midnight)[2] == (past_midnight.index,)
    assert select_rows(tile, SceneHint(), whole_yesterday) is None
    # A scene that the release names is taken whatever its day.
    assert chosen(tile, SceneHint(index=whole_yesterday.index), whole_yesterday)[1] == "index"


def test_a_named_scene_is_taken_also_where_a_part_stays_open(tile: Tile) -> None:
    west = granule("32TNQ", strip(tile, -1, 0.6))
    far = granule("32TPQ", strip(tile, 0.8, 2))

    assert chosen(tile, SceneHint(index=west.index), west, far) == (west.index, "index", (far.index,))


def test_a_mosaic_that_covers_all_is_a_scene_of_the_day(tile: Tile) -> None:
    west, east = granule("32TNQ", strip(tile, -1, 0.6)), granule("32TPQ", strip(tile, 0.4, 2))
    gap = granule("32TPQ", strip(tile, 0.7, 2))
    whole_elsewhere = granule("33TUL", square_around(tile, 1.0))

    index, rule, neighbours = chosen(tile, SceneHint(), west, east)
    assert (rule, {index, *neighbours}) == ("same-day", {west.index, east.index})
    assert select_rows(tile, SceneHint(), west, gap) is None
    # One scene of the tile's own zone is better than two; its own zone better than another.
    assert chosen(tile, SceneHint(), west, east, whole_elsewhere)[0] != whole_elsewhere.index
    assert chosen(tile, SceneHint(), west, gap, whole_elsewhere)[0] == whole_elsewhere.index


def test_the_scenes_of_a_choice_keep_the_radar_scenes_of_the_search(tile: Tile) -> None:
    found = choose_scene(tile, SceneHint(), Found((candidate(footprint=square_around(tile, 1.0)),), ("S1A_a", "S1B_b")))

    assert found is not None
    assert found.s1_scenes == ("S1A_a", "S1B_b")


def test_the_index_follows_from_product_and_datastrip() -> None:
    # A published record that has all three.
    datastrip = "S2B_OPER_MSI_L2A_DS_SGS__20190812T165657_S20190812T143758_N02.13"

    assert index_of(PRODUCT, datastrip) == INDEX
    assert index_of(PRODUCT, "") == index_of("", datastrip) == ""


def test_ids_tell_data_take_and_tile_in_every_published_form() -> None:
    take = ("20190713T023559", "49MEM")
    product = "S2B_MSIL2A_20190713T023559_N0213_R089_T49MEM_20190713T065121"
    without_baseline = "S2B_MSIL2A_20190713T023559_R089_T49MEM_20201005T133004"  # as another archive names it

    assert SceneHint(product_id=product).takes == SceneHint(product_id=without_baseline).takes == {take}
    assert SceneHint(index="20190713T023559_20190713T025403_T49MEM").takes == {take}
    assert SceneHint(index="nonsense", product_id=product).takes == {take}
    assert SceneHint(product_id="S2B_MSIL2A_T49MEM").takes == SceneHint().takes == frozenset()
    assert SceneHint(index="20191399T023559_20190713T025403_T49MEM").sensed == ()


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

    first, second = found_in(answer).s2

    assert (first.product_id, second.product_id, second.mgrs_tile) == ("", "", "32TNQ")
    assert first.day is None
    timed = found_in({**answer, "system:time_start": [1565620682000, 1565568000000]})
    assert [scene.day for scene in timed.s2] == [date(2019, 8, 12)] * 2


@pytest.mark.parametrize(
    "answer", [None, 5, "text", [1, 2], {}, {"system:index": 5}, {"system:index": [INDEX], "s1": 7}]
)
def test_an_answer_that_lists_no_scenes_is_not_taken_for_no_scene(answer: object) -> None:
    with pytest.raises(ValueError, match=r"no lists? of"):
        found_in(answer)


@pytest.mark.parametrize(
    "outline",
    [
        {"type": "LinearRing", "coordinates": [["-Infinity", -90], ["Infinity", -90], ["Infinity", 90]]},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "LinearRing", "coordinates": None},
    ],
    ids=["unbounded", "empty", "collection", "none"],
)
def test_an_outline_that_cannot_be_drawn_is_one_that_is_not_known(tile: Tile, outline: object) -> None:
    scenes = found_in({"system:index": [INDEX], "system:footprint": [outline]}).s2

    assert scenes[0].footprint == ()
    assert select_rows(tile, SceneHint(index=INDEX), *scenes) is not None


def test_a_scene_of_the_day_without_an_outline_is_taken_and_says_so(tile: Tile) -> None:
    assert chosen(tile, SceneHint(), candidate()) == (INDEX, "same-day-unseen", ())
