"""The table of functions that expressions may call: collections, filters, dates, geometries, lists, dictionaries.

Each takes all arguments of its signature in order, converted to their types; a function that Earth Engine knows and
that is missing here is answered with 501.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
import shapely.affinity

from ..refusal import Refusal, not_built
from ..scene import Scene, SceneSource
from .collection import Collection, Limited, Listed, Loaded, Mapped, Merged, from_images
from .composites import composite_functions
from .date_patterns import formatted
from .filters import COMPARISONS, AllOf, AnyOf, Filter, Not, NotNull, compare
from .grid import Projection, crs_of
from .image import Image, constant_image, scene_image
from .image_functions import IMAGE_FUNCTIONS, add_bands, select, update_mask
from .reducers import REDUCERS, REGION_FUNCTIONS, reduce_bands, region_functions
from .sphere import area, bounds, buffer
from .values import (
    MAX_POINTS,
    WGS84,
    Date,
    DateRange,
    ErrorMargin,
    Feature,
    Function,
    Geometry,
    ListReducer,
    parse_date,
    parse_projection,
    type_name,
    union_of,
)
from .visualise import visualise

Functions = dict[str, Callable[..., Any]]

DAY_MS = 86_400_000
MAX_COLUMNS = 100

MAX_CROSSINGS = 1_000
"""Crossings of a geometry's edges: to sort out 1,700 takes a second and 20,000 ten, with memory to match."""

EDGES_AT_ONCE = 64

MAX_NUMBERS = 1_000_000
"""Numbers of one sequence: half of what an answer may hold."""

ROUNDING = 1e-9
"""Part of a step by which an end that is not quite reached counts as reached."""

UNIT_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": DAY_MS, "week": 7 * DAY_MS}


def functions(catalogue: SceneSource) -> Functions:
    """All built functions over a catalogue; for one request, in which each scene is loaded once."""
    return {
        **IMAGE_FUNCTIONS,
        **VALUE_FUNCTIONS,
        **_loaders(catalogue),
        **composite_functions(),
        **region_functions(catalogue),
    }


def _loaders(catalogue: SceneSource) -> Functions:
    images: dict[str, Image] = {}

    def image_of(scene: Scene) -> Image:
        return images.setdefault(scene.id, scene_image(scene))

    def load_collection(asset: str, version: int | None) -> Collection:  # noqa: ARG001 - Earth Engine's
        return Loaded(catalogue, asset, image_of)

    def load_image(asset: str, version: int | None) -> Image:  # noqa: ARG001 - Earth Engine's
        scene = catalogue.scene(asset)
        if scene is None:
            raise Refusal(
                f"Image.load: Image asset '{asset}' not found (does not exist or caller does not have access)."
            )
        return image_of(scene)

    return {"ImageCollection.load": load_collection, "Image.load": load_image}


def _filtered(collection: Collection, filter_: Any) -> Collection:
    if not isinstance(filter_, Filter):
        raise Refusal(f"Collection.filter: Parameter 'filter' must be a Filter, not {type_name(filter_)}.")
    return collection.filtered(filter_)


def _mapped(collection: Collection, function: Function, drop_nulls: bool) -> Collection:
    return Mapped(collection, function.call, drop_nulls=drop_nulls)


def _limited(collection: Collection, limit: int | None, key: str | None, ascending: bool) -> Collection:
    return Limited(collection, limit, key, ascending=ascending)


def _listed(collection: Collection, count: int, offset: int) -> list[Any]:
    return collection.elements[offset : offset + count]


def _iterated(collection: Collection, function: Function, first: Any) -> Any:
    result = first
    for element in collection.elements:
        result = function.call(element, result)
    return result


def _to_list(tuple_size: int | None, optional: int) -> ListReducer:
    if tuple_size is not None or optional:
        raise not_built("Reducer.toList with 'tupleSize' or 'numOptional'")
    return ListReducer()


def _repeat(reducer: Any, count: int) -> ListReducer:
    if not isinstance(reducer, ListReducer):
        raise not_built("Reducer.repeat of a reducer of pixels")
    if reducer.repeated or not 1 <= count <= MAX_COLUMNS:
        raise not_built(f"Reducer.repeat of a reducer that is repeated already, or {count} times")
    return ListReducer(count, repeated=True)


def _reduce_columns(
    collection: Collection, reducer: Any, selectors: list[str], weights: list[str] | None
) -> dict[str, Any]:
    name = "Collection.reduceColumns"
    if not isinstance(reducer, ListReducer):
        raise not_built(f"{name} with a reducer of pixels")
    if weights is not None:
        raise not_built(f"{name} with weights")
    if len(selectors) != reducer.columns:
        raise Refusal(f"{name}: The reducer has {reducer.columns} inputs, and {len(selectors)} selectors are given.")
    columns = [_aggregate(collection, selector) for selector in selectors]  # nulls are left out
    return {"list": columns if reducer.repeated else columns[0]}


def _aggregate(collection: Collection, name: str) -> list[Any]:
    found = [_get(element, name) for element in collection.elements]
    return [value for value in found if value is not None]


def _geometry_of(collection: Collection, _: Any) -> Geometry:
    return union_of(element.geometry for element in collection.elements)


def _names_of(name: str, value: Any) -> list[str]:
    """A name or a list of names."""
    names = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise Refusal(f"{name}: Names of bands and properties must be texts, not {type_name(value)}.")
    return names


def _linked(image: Image, collection: Collection, bands: Any, properties: Any, match: str) -> Image:
    """Bands and properties of the image of a collection that has the same property; where there is none, the bands are
    masked and the properties null."""
    name = "Image.linkCollection"
    wanted, copied = _names_of(name, bands), _names_of(name, properties)
    if not wanted and not copied:
        raise not_built(f"{name} without names of bands or properties")
    value = image.properties.get(match)
    same = compare("Filter.equals", {"leftField": match, "rightValue": value}) if value is not None else None
    found = None if same is None else collection.filtered(same).first()
    if found is not None and not isinstance(found, Image):
        raise Refusal(f"{name}: The collection holds {type_name(found)}, not only images.")
    if found is None:
        masked = constant_image([0] * len(wanted), wanted)
        others = update_mask(masked, constant_image([0], ["constant"])) if wanted else masked
    else:
        others = select(found, list(wanted), None)
    linked = add_bands(image, others, None, True) if wanted else image.with_bands(image.bands)
    values = {key: None if found is None else found.properties.get(key) for key in copied}
    kept = {key: value for key, value in image.properties.items() if key not in values}
    return linked.with_properties(kept | {key: value for key, value in values.items() if value is not None})


# Dates ---------------------------------------------------------------------------------------------------------------


def _advance(date: Date, delta: float, unit: str, zone: str | None) -> Date:  # noqa: ARG001 - Earth Engine's
    unit = unit.rstrip("s")
    if unit in UNIT_MS:
        return Date(date.ms + round(delta * UNIT_MS[unit]))
    if unit not in ("month", "year") or delta != int(delta):
        raise Refusal(f"Date.advance: Unit '{unit}' with delta {delta} is not supported.")
    months = date.when.year * 12 + date.when.month - 1 + int(delta) * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    try:
        day = min(date.when.day, calendar.monthrange(year, month + 1)[1])
        moved = date.when.replace(year=year, month=month + 1, day=day)
    except ValueError:
        raise Refusal(f"Date.advance: The year {year} is out of range.") from None
    return Date(round((moved - Date(0).when) / timedelta(milliseconds=1)))


def _date_range(start: Any, end: Any, zone: str | None) -> DateRange:
    """From start (inclusive) to end (exclusive); without an end, one millisecond."""
    first = parse_date(start, zone)
    return DateRange(first.ms, first.ms + 1 if end is None else parse_date(end, zone).ms)


# Geometries ----------------------------------------------------------------------------------------------------------


def _projection(crs: Any, transform: list[Any] | None, wkt: str | None) -> Projection:
    if wkt is not None:
        raise Refusal("Projection: 'transformWkt' is not supported by the local Earth Engine.", code=501)
    base = parse_projection(crs)
    if transform is None:
        return base
    if len(transform) != 6:
        raise Refusal("Projection: 'transform' must hold 6 numbers.")
    if not all(isinstance(number, int | float) and abs(number) < 1e300 for number in transform):
        raise Refusal("Projection: 'transform' must hold 6 finite numbers.")
    a, b, c, d, e, f = (float(number) for number in transform)
    return Projection(base.crs, (a, b, c, d, e, f))


def _numbers(name: str, coordinates: Any) -> Any:
    """Points as an array (..., 2), whether they come nested or as one row of numbers."""
    try:
        array = np.array(coordinates, dtype=np.float64)
    except (TypeError, ValueError):
        raise Refusal(f"{name}: Invalid coordinates.") from None
    if array.ndim == 1 and array.size and array.size % 2 == 0:
        array = array.reshape(-1, 2)
    if array.shape[-1:] != (2,) or not array.size or not np.isfinite(array).all():
        raise Refusal(f"{name}: Invalid coordinates.")
    if array.size > 2 * MAX_POINTS:
        raise Refusal(f"{name}: A geometry of {array.size // 2} points is more than {MAX_POINTS}.")
    return array


def _valid(name: str, polygon: shapely.Polygon) -> shapely.Geometry:
    """The polygon, by the even-odd rule where its rings cross.

    Raises:
        Refusal: they cross so often that this would take minutes and gigabytes.
    """
    if polygon.is_valid:
        return polygon
    if _crossings(polygon, MAX_CROSSINGS) > MAX_CROSSINGS:
        raise Refusal(f"{name}: The rings of the geometry cross more than {MAX_CROSSINGS} times.")
    return shapely.make_valid(polygon)


def _crossings(polygon: shapely.Polygon, enough: int) -> int:
    """Pairs of edges that meet, beyond those of neighbours; counting ends soon after ``enough``."""
    rings = [np.asarray(ring.coords)[:, :2] for ring in (polygon.exterior, *polygon.interiors)]
    edges = shapely.linestrings(np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in rings]))
    tree, found = shapely.STRtree(edges), 0
    for start in range(0, len(edges), EDGES_AT_ONCE):
        pairs = tree.query(edges[start : start + EDGES_AT_ONCE], predicate="intersects")
        # Each edge meets itself and its two neighbours; every other pair is seen from both sides.
        found += pairs.shape[1] - 3 * len(edges[start : start + EDGES_AT_ONCE])
        if found > 2 * enough:
            break
    return found // 2


def _placed(shape: shapely.Geometry, projection: Projection | None, geodesic: bool | None = None) -> Geometry:
    """A shape whose coordinates are pixels of a projection (of 1 unit, where it is but a CRS).

    Args:
        geodesic: whether edges are arcs of great circles; None = where the CRS is of longitudes and latitudes.
    """
    if projection is None:
        return Geometry(shape, geodesic=geodesic is not False)
    a, b, c, d, e, f = projection.affine
    placed = shapely.affinity.affine_transform(shape, [a, b, d, e, c, f])
    degrees = crs_of(projection.crs) == crs_of(WGS84)
    return Geometry(placed, projection.crs, geodesic=degrees and geodesic is not False)


def _point(coordinates: list[float], crs: Projection | None) -> Geometry:
    return _placed(shapely.Point(_numbers("GeometryConstructors.Point", coordinates)[0]), crs)


def _rectangle(coordinates: list[Any], crs: Projection | None, geodesic: bool | None = None, *_: Any) -> Geometry:
    points = _numbers("GeometryConstructors.Rectangle", coordinates).reshape(-1, 2)
    return _placed(shapely.box(*points.min(axis=0), *points.max(axis=0)), crs, geodesic)


def _box(west: float, south: float, east: float, north: float) -> Geometry:
    return _rectangle([west, south, east, north], None, geodesic=False)


def _polygon(coordinates: list[Any], crs: Projection | None, geodesic: bool | None = None, *_: Any) -> Geometry:
    name = "GeometryConstructors.Polygon"
    rings = coordinates
    try:
        if not isinstance(coordinates[0], list) or not isinstance(coordinates[0][0], list):
            rings = [coordinates]
        shape = shapely.Polygon(_numbers(name, rings[0]), [_numbers(name, ring) for ring in rings[1:]])
    except (IndexError, ValueError):
        raise Refusal(f"{name}: Invalid coordinates.") from None
    if shapely.get_num_coordinates(shape) > MAX_POINTS:
        raise Refusal(f"{name}: A geometry of {shapely.get_num_coordinates(shape)} points is more than {MAX_POINTS}.")
    return _placed(_valid(name, shape), crs, geodesic)


def _feature(geometry: Geometry | None, metadata: dict[str, Any] | None, key: str | None) -> Feature:  # noqa: ARG001 - Earth Engine's
    return Feature(geometry, metadata or {})


# Properties, lists, dictionaries -------------------------------------------------------------------------------------


def _get(element: Any, name: str) -> Any:
    if name == "system:id":
        return element.id
    if name in ("system:footprint", ".geo") and not isinstance(element, Collection):
        return element.geometry
    return element.properties.get(name)


def _set(element: Any, key: str, value: Any) -> Any:
    return _set_all(element, {key: value})


def _set_all(element: Any, properties: dict[str, Any]) -> Any:
    if isinstance(element, Collection):
        raise not_built("Setting properties of a collection")
    return element.with_properties({**element.properties, **properties})


def _properties(element: Any, names: list[str] | None) -> dict[str, Any]:
    if names is None:
        return {name: value for name, value in element.properties.items() if not name.startswith("system:")}
    return {name: element.properties[name] for name in names if element.properties.get(name) is not None}


def _copy_properties(target: Any, source: Any, names: list[str] | None, exclude: list[str] | None) -> Any:
    if target is None or source is None:
        raise Refusal("Element.copyProperties: Parameters 'destination' and 'source' are required.")
    copied = _properties(source, names)
    return _set_all(target, {name: value for name, value in copied.items() if name not in (exclude or ())})


def _item(items: list[Any], index: int) -> Any:
    try:
        return items[index]
    except IndexError:
        raise Refusal(
            f"List.get: List index must be between 0 and {len(items) - 1}, or -1 and -{len(items)}; found {index}."
        ) from None


def _slice(items: list[Any], start: int, end: int | None, step: int | None) -> list[Any]:
    if step is not None and step < 1:
        raise not_built(f"List.slice with step {step}")
    return items[start:end:step]


def _map_list(items: list[Any], function: Function, drop_nulls: bool) -> list[Any]:
    results = [function.call(item) for item in items]
    return [result for result in results if result is not None or not drop_nulls]


def _sequence(start: float, end: float | None, step: float, count: int | None) -> list[float]:
    """Numbers from start to end, both included where a step leads there; with a count so many, evenly."""
    name = "List.sequence"
    if end is None and count is None:
        raise Refusal(f"{name}: Either 'end' or 'count' must be specified.")
    if not all(math.isfinite(number) for number in (start, step, 0 if end is None else end)):
        raise Refusal(f"{name}: The numbers must be finite.")
    if count is not None:
        if count < 1 or (count == 1 and end is not None):
            raise not_built(f"{name} of {count} numbers")
        step = step if end is None else (end - start) / (count - 1)
        number = count
    else:
        assert end is not None
        if step == 0:
            raise Refusal(f"{name}: Parameter 'step' must not be zero.")
        if (end - start) / step < 0:
            raise not_built(f"{name} with a step away from its end")
        number = math.floor((end - start) / step + ROUNDING) + 1
    if number > MAX_NUMBERS:
        raise Refusal("User memory limit exceeded.")
    return [start + index * step for index in range(number)]


def _dictionary(keys: list[str], values: list[Any]) -> dict[str, Any]:
    if len(keys) != len(values):
        raise Refusal(f"Dictionary.fromLists: {len(keys)} keys and {len(values)} values.")
    return dict(zip(keys, values, strict=True))


def _entry(dictionary: dict[str, Any], key: str, default: Any) -> Any:
    if key not in dictionary and default is None:
        raise Refusal(f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return dictionary.get(key, default)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _year_month_day(year: int, month: int, day: int, zone: str | None) -> Date:
    return parse_date(f"{year:04d}-{month:02d}-{day:02d}", zone)


VALUE_FUNCTIONS: Functions = {
    "ImageCollection.fromImages": from_images,
    "ImageCollection.merge": Merged,
    "Collection": Listed,
    "Collection.filter": _filtered,
    "Collection.first": lambda collection: collection.first(),
    "Collection.size": lambda collection: collection.size(),
    "Collection.limit": _limited,
    "Collection.map": _mapped,
    "Collection.iterate": _iterated,
    "Collection.reduceColumns": _reduce_columns,
    **REDUCERS,
    "Image.linkCollection": _linked,
    "Image.visualize": visualise,
    "Image.reduce": reduce_bands,
    "Reducer.toList": _to_list,
    "Reducer.repeat": _repeat,
    "Collection.toList": _listed,
    "Collection.geometry": _geometry_of,
    "AggregateFeatureCollection.array": _aggregate,
    **{name: lambda *arguments, name=name: _compare(name, arguments) for name in COMPARISONS},
    "Filter.and": lambda filters: AllOf(tuple(filters)),
    "Filter.or": lambda filters: AnyOf(tuple(filters)),
    "Filter.not": Not,
    "Filter.notNull": lambda names: NotNull(tuple(names)),
    "Date": parse_date,
    "Date.advance": _advance,
    "Date.format": formatted,
    "Date.millis": lambda date: date.ms,
    "Date.fromYMD": _year_month_day,
    "DateRange": _date_range,
    "Projection": _projection,
    "Projection.nominalScale": lambda projection: projection.nominal_scale_m,
    "ErrorMargin": lambda value, unit: ErrorMargin(value, unit),
    "GeometryConstructors.Point": _point,
    "GeometryConstructors.Rectangle": _rectangle,
    "GeometryConstructors.Polygon": _polygon,
    "GeometryConstructors.BBox": _box,
    "Geometry.area": area,
    "Geometry.bounds": bounds,
    "Geometry.buffer": buffer,
    "Feature": _feature,
    "Element.get": _get,
    "Element.set": _set,
    "Element.setMulti": _set_all,
    "Element.toDictionary": _properties,
    "Element.propertyNames": lambda element: list(element.properties),
    "Element.copyProperties": _copy_properties,
    "Image.copyProperties": _copy_properties,
    "List.get": _item,
    "List.contains": lambda items, item: item in items,
    "List.size": len,
    "List.length": len,
    "List.map": _map_list,
    "List.slice": _slice,
    "List.sequence": _sequence,
    "Dictionary": lambda value: value or {},
    "Dictionary.fromLists": _dictionary,
    "Dictionary.get": _entry,
    "Dictionary.keys": sorted,
    "String": _string,
    "Number.add": lambda left, right: left + right,
    "Number.subtract": lambda left, right: left - right,
    "Number.multiply": lambda left, right: left * right,
    "If": None,  # type: ignore[dict-item]  # computed by the evaluation itself
}
"""Built functions of everything but images, by name."""


def _compare(name: str, arguments: tuple[Any, ...]) -> Filter:
    names = ("leftField", "rightValue", "rightField", "leftValue")
    return compare(name, dict(zip(names, arguments, strict=False)))


@lru_cache(maxsize=1)
def built() -> tuple[str, ...]:
    """Names of all built functions, sorted."""
    names = {*IMAGE_FUNCTIONS, *VALUE_FUNCTIONS, *composite_functions(), *REGION_FUNCTIONS}
    return tuple(sorted({*names, "ImageCollection.load", "Image.load"}))
