"""Collections, filters, dates, geometries and properties, on the small world of ``local_ee_scenes``."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dwplus.local_ee.evaluator.functions import built
from dwplus.local_ee.refusal import Refusal
from support.local_ee_scenes import NORTH, S1, S2, ArrayCatalogue, call, collection, image, ms, value, world
from support.paths import REPOSITORY


@pytest.fixture(scope="module")
def small_world() -> ArrayCatalogue:
    return world()


def dates(start: Any, end: Any = None) -> dict[str, Any]:
    window = call("DateRange", start=start, end=end)
    return call("Filter.dateRangeContains", leftValue=window, rightField="system:time_start")


def equals(name: str, wanted: Any) -> dict[str, Any]:
    return call("Filter.equals", leftField=name, rightValue=wanted)


def near(x: float, y: float, crs: str = "EPSG:32633") -> dict[str, Any]:
    rectangle = call("GeometryConstructors.Rectangle", coordinates=[x, y - 100, x + 100, y], crs=crs, geodesic=False)
    return call("Filter.intersects", leftField=".all", rightValue=call("Feature", geometry=rectangle))


def indices(catalogue: ArrayCatalogue, *filters: dict[str, Any], asset: str = S1) -> list[str]:
    found = collection(asset, *filters)
    return value(catalogue, call("AggregateFeatureCollection.array", collection=found, property="system:index"))


HERE = near(NORTH.x, NORTH.y)
ALWAYS = dates("2015-01-01", "2030-01-01")


def test_the_end_of_a_window_is_not_part_of_it(small_world: ArrayCatalogue) -> None:
    found = indices(small_world, dates("2018-11-03T00:00:00", "2019-10-29T00:00:00"), HERE)

    assert "N_first" in found  # starts to the second
    assert "N_end" not in found
    assert "N_before" not in found


def test_bounds_are_tested_against_the_footprint(small_world: ArrayCatalogue) -> None:
    assert "N_far" not in indices(small_world, ALWAYS, HERE)
    assert indices(small_world, ALWAYS, near(NORTH.x + 90_100, NORTH.y - 100)) == ["N_far"]
    assert "N_half" in indices(small_world, ALWAYS, HERE)
    assert "N_half" not in indices(small_world, ALWAYS, near(NORTH.x + 1000, NORTH.y))


def test_properties_are_compared_exactly(small_world: ArrayCatalogue) -> None:
    has_vh = call("Filter.listContains", leftField="transmitterReceiverPolarisation", rightValue="VH")

    assert "N_ew" not in indices(small_world, ALWAYS, HERE, equals("instrumentMode", "IW"))
    assert "N_vv_only" not in indices(small_world, ALWAYS, HERE, has_vh)
    assert indices(small_world, ALWAYS, HERE, equals("instrumentMode", "EW")) == ["N_ew"]
    assert indices(small_world, ALWAYS, HERE, equals("noSuchProperty", "IW")) == []
    assert indices(small_world, ALWAYS, HERE, equals("relativeOrbitNumber_start", "44")) == []


def test_filters_are_joined_and_turned_round(small_world: ArrayCatalogue) -> None:
    ew, vv = equals("instrumentMode", "EW"), equals("system:index", "N_vv_only")
    either = call("Filter.or", filters=[ew, vv])
    both = call("Filter.and", filters=[either, call("Filter.not", filter=ew)])
    late = call("Filter.greaterThan", leftField="system:time_start", rightValue=ms("2019-10-28T00:00:00"))

    assert indices(small_world, ALWAYS, HERE, either) == ["N_ew", "N_vv_only"]
    assert indices(small_world, ALWAYS, HERE, both) == ["N_vv_only"]
    assert indices(small_world, ALWAYS, HERE, late) == ["N_end"]
    listed = call("Filter.inList", leftField="system:index", rightValue=["N_ew", "S_ew"])
    assert indices(small_world, listed) == ["N_ew", "S_ew"]


def test_filters_narrow_the_search_of_the_catalogue() -> None:
    catalogue = world()
    indices(catalogue, dates("2018-11-03", "2019-10-29"), HERE, equals("instrumentMode", "IW"))
    indices(catalogue, call("Filter.and", filters=[equals("system:index", "NORTH")]), asset=S2)
    indices(catalogue, call("Filter.inList", leftField="PRODUCT_ID", rightValue=["a", "b"]), asset=S2)

    time_and_place, index, product = catalogue.searches
    assert (time_and_place["start_ms"], time_and_place["end_ms"]) == (ms("2018-11-03"), ms("2019-10-29"))
    lon, lat = NORTH.lonlat(NORTH.x, NORTH.y, NORTH.crs)
    west, south, east, north = time_and_place["region"]
    assert west <= lon <= east <= west + 0.002
    assert south <= lat <= north <= south + 0.002
    assert index["indices"] == frozenset({"NORTH"})
    assert product["product_ids"] == frozenset({"a", "b"})


def test_a_search_without_bounds_is_aborted_as_earth_engine_does(small_world: ArrayCatalogue) -> None:
    with pytest.raises(Refusal, match="Collection query aborted after accumulating over 5000 elements"):
        indices(small_world)


def test_an_unknown_collection_is_named(small_world: ArrayCatalogue) -> None:
    with pytest.raises(Refusal, match="ImageCollection asset 'NASA/NOWHERE' not found"):
        indices(small_world, ALWAYS, asset="NASA/NOWHERE")


def test_merged_collections_keep_their_order_and_get_prefixes(small_world: ArrayCatalogue) -> None:
    blank = call("ImageCollection.fromImages", images=[call("Image.constant", value=0)])
    one = collection(S1, equals("system:index", "N_ew"))
    merged = call("ImageCollection.merge", collection1=one, collection2=blank)

    names = call("AggregateFeatureCollection.array", collection=merged, property="system:index")
    assert value(small_world, names) == ["1_N_ew", "2_0"]
    assert value(small_world, call("Collection.size", collection=merged)) == 2


def test_limit_sorts_by_a_property(small_world: ArrayCatalogue) -> None:
    found = collection(S1, ALWAYS, HERE)
    last = call("Collection.limit", collection=found, limit=1, key="system:time_start", ascending=False)

    assert (
        value(
            small_world,
            call("Element.get", object_=call("Collection.first", collection=last), property_="system:index"),
        )
        == "N_end"
    )


def test_first_of_nothing_is_null_and_cannot_be_selected_from(small_world: ArrayCatalogue) -> None:
    nothing = call("Collection.first", collection=collection(S2, equals("system:index", "none")))

    assert value(small_world, nothing) is None
    with pytest.raises(Refusal) as caught:
        value(small_world, call("Image.select", input=nothing, bandSelectors=["B1"]))
    assert caught.value.message == "Image.select: Parameter 'input' is required and may not be null."


def test_the_mean_of_nothing_has_no_bands(small_world: ArrayCatalogue) -> None:
    mean = call("reduce.mean", collection=collection(S1, dates("2001-01-01", "2001-01-02"), HERE))

    assert value(small_world, call("Image.bandNames", image=mean)) == []
    with pytest.raises(Refusal, match="Band pattern 'VV' was applied to an Image with no bands"):
        value(small_world, call("Image.select", input=mean, bandSelectors=["VV"]))


def test_images_of_a_reduction_must_have_the_same_bands(small_world: ArrayCatalogue) -> None:
    with pytest.raises(Refusal, match="Expected a homogeneous image collection"):
        value(small_world, call("reduce.mean", collection=collection(S1, ALWAYS, HERE)))


def test_errors_inside_a_mapped_function_name_the_element(small_world: ArrayCatalogue) -> None:
    select = call("Image.select", input={"argumentReference": "i"}, bandSelectors=["B9"])
    function = {"functionDefinitionValue": {"argumentNames": ["i"], "body": "body"}}
    mapped = call("Collection.map", collection=collection(S1, equals("system:index", "N_ew")), baseAlgorithm=function)

    assert value(small_world, call("Collection.size", collection=mapped), body=select) == 1  # not called for its size
    with pytest.raises(Refusal, match=r"(?s)Error in map\(ID=N_ew\):.*Available bands: \[VV, VH, angle\]"):
        value(small_world, call("Collection.first", collection=mapped), body=select)


def test_dates_are_read_moved_and_shown(small_world: ArrayCatalogue) -> None:
    day = call("Date", value="2019-01-31")

    assert value(small_world, day) == {"type": "Date", "value": ms("2019-01-31")}
    assert value(small_world, call("Date.millis", date=call("Date.advance", date=day, delta=-180, unit="day"))) == ms(
        "2018-08-04"
    )
    assert value(small_world, call("Date.millis", date=call("Date.advance", date=day, delta=1, unit="month"))) == ms(
        "2019-02-28"
    )
    assert value(small_world, call("Date.millis", date="2019-05-02T10:00:00.250Z")) == ms("2019-05-02T10:00:00") + 250
    assert value(small_world, call("DateRange", start=0, end=5)) == {"type": "DateRange", "dates": [0, 5]}
    with pytest.raises(Refusal, match="Bad date/time 'soon'"):
        value(small_world, call("Date", value="soon"))


def test_projections_know_their_scale(small_world: ArrayCatalogue) -> None:
    scale = call("Projection.nominalScale", proj=call("Projection", crs="EPSG:4326"))
    native = call("Image.projection", image=call("Image.select", input=image(), bandSelectors=["B5"]))

    assert value(small_world, scale) == pytest.approx(111319.49079327357)  # what Earth Engine prints
    assert value(small_world, native)["crs"] == "EPSG:32633"
    assert value(small_world, call("Projection.nominalScale", proj=native)) == 20
    with pytest.raises(Refusal, match="different projections"):
        value(small_world, call("Image.projection", image=image()))
    with pytest.raises(Refusal, match="could not be parsed"):
        value(small_world, call("Projection", crs="EPSG:nonsense"))


def test_geometries_are_shown_as_geojson(small_world: ArrayCatalogue) -> None:
    assert value(small_world, call("GeometryConstructors.Point", coordinates=[3, 4])) == {
        "type": "Point",
        "coordinates": [3, 4],
    }
    ring = [[0, 0], [2, 0], [2, 1]]
    assert value(small_world, call("GeometryConstructors.Polygon", coordinates=[ring]))["coordinates"] == [
        [*ring, [0, 0]]
    ]
    with pytest.raises(Refusal, match="Invalid coordinates"):
        value(small_world, call("GeometryConstructors.Polygon", coordinates=[[[0, "x"]]]))


def test_properties_can_be_read_set_and_copied(small_world: ArrayCatalogue) -> None:
    marked = call("Element.set", object_=image(), key="mark", value=5)
    blank = call("Image.constant", value=0)
    copied = call("Element.copyProperties", destination=blank, source=image(), properties=["PRODUCT_ID"])

    assert value(small_world, call("Element.get", object_=marked, property_="mark")) == 5
    assert value(small_world, call("Element.get", object_=marked, property_="nothing")) is None
    assert value(small_world, call("Element.toDictionary", element=copied)) == {"PRODUCT_ID": "S2A_MSIL2A_NORTH"}
    names = value(small_world, call("Element.propertyNames", element=image()))
    assert {"system:index", "PROCESSING_BASELINE"} <= set(names)
    assert value(small_world, call("Element.toDictionary", element=image(), properties=["PRODUCT_ID", "nothing"])) == {
        "PRODUCT_ID": "S2A_MSIL2A_NORTH"
    }


def test_lists_and_dictionaries(small_world: ArrayCatalogue) -> None:
    assert value(small_world, call("List.get", list=[1, 2, 3], index=-1)) == 3
    assert value(small_world, call("List.contains", list=["VV", "VH"], element="VH")) is True
    assert value(small_world, call("List.size", list=[1, 2])) == 2
    assert value(small_world, call("Dictionary.fromLists", keys=["a", "b"], values=[1, 2])) == {"a": 1, "b": 2}
    assert value(small_world, call("String", input="x")) == "x"


def test_an_image_is_shown_with_bands_and_footprint(small_world: ArrayCatalogue) -> None:
    shown = value(small_world, image())

    assert (shown["type"], shown["id"]) == ("Image", f"{S2}/NORTH")
    b11 = next(band for band in shown["bands"] if band["id"] == "B11")
    assert b11 == {
        "id": "B11",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [120, 120],
        "crs": "EPSG:32633",
        "crs_transform": [20, 0, 269400, 0, -20, 5000600],
    }
    ring = shown["properties"]["system:footprint"]
    assert ring["type"] == "LinearRing"
    assert ring["coordinates"][0] == ring["coordinates"][-1]
    assert len(ring["coordinates"]) == 5


def test_strings_and_presence_can_be_filtered(small_world: ArrayCatalogue) -> None:
    def text(name: str, wanted: str) -> dict[str, Any]:
        return call(f"Filter.{name}", leftField="system:index", rightValue=wanted)

    assert indices(small_world, ALWAYS, text("stringContains", "vv_")) == ["N_vv_only", "S_vv_only"]
    assert indices(small_world, ALWAYS, text("stringStartsWith", "N_e")) == ["N_ew", "N_end"]
    assert indices(small_world, ALWAYS, text("stringEndsWith", "_half")) == ["N_half"]
    assert indices(small_world, ALWAYS, call("Filter.notNull", properties=["PRODUCT_ID"])) == []


def test_collections_become_lists_and_outlines(small_world: ArrayCatalogue) -> None:
    found = collection(S1, ALWAYS, HERE)
    one = call("List.get", list=call("Collection.toList", collection=found, count=2, offset=1), index=0)
    outline = call("Collection.geometry", collection=collection(S2, equals("system:index", "NORTH")))

    assert value(small_world, call("Image.id", element=one)) == indices(small_world, ALWAYS, HERE)[1]
    assert value(small_world, outline) == value(small_world, call("Image.geometry", feature=image()))
    features = [call("Feature", geometry=None, metadata={"a": 1}), call("Feature", geometry=None)]
    assert value(small_world, call("Collection.size", collection=call("Collection", features=features))) == 2
    assert value(small_world, features[0]) == {"type": "Feature", "geometry": None, "properties": {"a": 1}}


def test_small_functions_do_what_their_names_say(small_world: ArrayCatalogue) -> None:
    box = call("GeometryConstructors.BBox", west=1, south=2, east=3, north=4)
    both = call("Element.setMulti", object_=image(), properties={"a": 1, "b": 2})

    assert sorted(map(tuple, value(small_world, box)["coordinates"][0][:4])) == [(1, 2), (1, 4), (3, 2), (3, 4)]
    assert value(small_world, call("Feature.geometry", feature=call("Feature", geometry=box)))["type"] == "Polygon"
    assert value(small_world, call("Element.toDictionary", element=both, properties=["a", "b"])) == {"a": 1, "b": 2}
    assert value(small_world, call("Image.date", image=image()))["value"] == ms("2019-05-02T10:00:00")
    assert value(small_world, call("Date.fromYMD", year=2019, month=5, day=2))["value"] == ms("2019-05-02")
    assert value(small_world, call("Number.subtract", left=5, right=3)) == 2
    assert value(small_world, call("Number.multiply", left=5, right=0.5)) == 2.5
    assert value(small_world, call("Dictionary.get", dictionary={"a": 1}, key="a")) == 1
    assert value(small_world, call("Dictionary.keys", dictionary=call("Dictionary", input={"b": 1, "a": 2}))) == [
        "a",
        "b",
    ]
    assert value(small_world, call("ErrorMargin", value=5)) == {"type": "ErrorMargin", "unit": "meters", "value": 5}
    with pytest.raises(Refusal, match="does not contain key: 'z'"):
        value(small_world, call("Dictionary.get", dictionary={"a": 1}, key="z"))


def test_the_documentation_names_every_function() -> None:
    text = REPOSITORY.joinpath("docs", "local-earth-engine.md").read_text("utf-8").replace("\n  ", " ")
    named = set()
    for words in re.findall(r"`([\w./]+)`", text):
        first, *rest = words.split("/")
        named |= {first, *(f"{first.split('.')[0]}.{word}" for word in rest)}

    assert set(built()) <= named
