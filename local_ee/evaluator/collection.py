"""Collections: images (or features) that are looked up when they are needed.

Filters on a loaded collection are gathered and handed to the catalogue as one search; a mapped collection calls its
function when its elements are needed; elements are made once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ..refusal import Refusal
from ..scene import Scene, SceneSource, TooManyScenesError
from .filters import AllOf, Element, Filter, Search
from .image import Image
from .values import Feature, encode

MAX_ELEMENTS = 5000
TOO_MANY = f"Collection query aborted after accumulating over {MAX_ELEMENTS} elements."


class Collection:
    """Elements in an order; without properties.

    Attributes:
        features: whether it holds features even where it is empty.
    """

    id: str | None = None
    features = False
    properties: Mapping[str, Any] = MappingProxyType({})

    @cached_property
    def elements(self) -> list[Any]:
        return self._find()

    def _find(self) -> list[Any]:
        raise NotImplementedError

    def size(self) -> int:
        return len(self.elements)

    def first(self) -> Any:
        """The first element, None where there is none."""
        return self.elements[0] if self.elements else None

    def filtered(self, filter_: Filter) -> Collection:
        return Listed([element for element in self.elements if filter_.matches(element)])

    def encoded(self) -> dict[str, Any]:
        images = not self.features and all(isinstance(element, Image) for element in self.elements)
        encoded: dict[str, Any] = {"type": "ImageCollection" if images else "FeatureCollection", "bands": []}
        if not images:
            encoded = {"type": "FeatureCollection", "columns": {}}
        if self.id is not None:
            encoded |= {"id": self.id, "version": 1}
        return encoded | {"features": encode(self.elements)}


class Loaded(Collection):
    """Scenes of the catalogue that pass all filters."""

    def __init__(
        self, catalogue: SceneSource, asset: str, load: Callable[[Scene], Image], filters: tuple[Filter, ...] = ()
    ) -> None:
        self.id = asset
        self._catalogue, self._load, self._filters = catalogue, load, filters

    def _find(self) -> list[Image]:
        wanted = AllOf(self._filters)
        search = wanted.narrow(Search())
        try:
            scenes = self._catalogue.find(
                self.id or "",
                start_ms=search.start_ms,
                end_ms=search.end_ms,
                region=search.region,
                indices=search.indices,
                product_ids=search.product_ids,
            )
        except KeyError:
            raise Refusal(
                f"ImageCollection.load: ImageCollection asset '{self.id}' not found (does not exist or caller does not "
                "have access)."
            ) from None
        except TooManyScenesError:
            raise Refusal(TOO_MANY) from None
        return [image for image in map(self._load, scenes) if wanted.matches(image)]

    def filtered(self, filter_: Filter) -> Collection:
        return Loaded(self._catalogue, self.id or "", self._load, (*self._filters, filter_))


class Listed(Collection):
    """Elements at hand."""

    def __init__(self, elements: list[Any], *, features: bool = False) -> None:
        self._elements, self.features = elements, features

    def _find(self) -> list[Any]:
        return self._elements


class Mapped(Collection):
    """What a function makes of each element; nulls may be left out."""

    def __init__(self, source: Collection, function: Callable[[Any], Any], *, drop_nulls: bool) -> None:
        self._source, self._function, self._drop_nulls = source, function, drop_nulls

    def _find(self) -> list[Any]:
        results = [self._one(element) for element in self._source.elements]
        return [result for result in results if result is not None or not self._drop_nulls]

    def _one(self, element: Element) -> Any:
        try:
            result = self._function(element)
        except Refusal as refusal:
            index = element.properties.get("system:index", "?")
            raise Refusal(f"Error in map(ID={index}):\n{refusal.message}", refusal.code) from None
        if isinstance(result, Image | Feature) and "system:index" not in result.properties:
            index = element.properties.get("system:index")
            return result.with_properties({**result.properties, "system:index": index})
        if result is None and not self._drop_nulls:
            raise Refusal("Collection.map: A mapped algorithm must return a Feature or Image.")
        return result

    def size(self) -> int:
        return super().size() if self._drop_nulls else self._source.size()

    def first(self) -> Any:
        if self._drop_nulls:
            return super().first()
        first = self._source.first()
        return None if first is None else self._one(first)


class Merged(Collection):
    """One collection after the other; indices get the prefix ``1_`` or ``2_``."""

    def __init__(self, first: Collection, second: Collection) -> None:
        self._parts = (first, second)

    def _find(self) -> list[Any]:
        if self.size() > MAX_ELEMENTS:
            raise Refusal(TOO_MANY)
        return [
            _indexed(element, f"{number}_{element.properties.get('system:index', position)}")
            for number, part in enumerate(self._parts, start=1)
            for position, element in enumerate(part.elements)
        ]

    def size(self) -> int:
        return self._size

    @cached_property
    def _size(self) -> int:
        return sum(part.size() for part in self._parts)


class Limited(Collection):
    """The first elements, after sorting by a property where one is named."""

    def __init__(self, source: Collection, limit: int | None, key: str | None, *, ascending: bool) -> None:
        self._source, self._limit, self._key, self._ascending = source, limit, key, ascending

    def _find(self) -> list[Any]:
        elements = self._source.elements
        if self._key is not None:
            key = self._key
            known = [element for element in elements if element.properties.get(key) is not None]
            rest = [element for element in elements if element.properties.get(key) is None]
            try:
                known = sorted(known, key=lambda element: element.properties[key], reverse=not self._ascending)
            except TypeError:
                raise Refusal(f"Collection.limit: Property '{key}' cannot be sorted.") from None
            elements = known + rest
        return elements[: self._limit]


def from_images(images: list[Image]) -> Collection:
    """A collection of images at hand, numbered from 0 where they have no index."""
    return Listed(
        [
            image if "system:index" in image.properties else _indexed(image, str(position))
            for position, image in enumerate(images)
        ]
    )


def _indexed(element: Any, index: str) -> Any:
    changed = element.with_properties({**element.properties, "system:index": index})
    return replace(changed, id=None) if isinstance(changed, Image) else changed
