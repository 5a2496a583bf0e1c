"""Label tiles from Earth Engine: the labels' image collection as an origin beside the published archives.

``fetch_label_assets`` lists the images, downloads each on its native grid and writes it as a label tile, with a list of
their properties (``label_assets.csv``, read by ``metadata``). ``index`` then finds the tiles as it finds
those of the archives. If the collection cannot be read, or is not laid out as its uploader
describes, the error names the archives.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..earthengine.label_graphs import COLLECTION, code_request, images_after
from ..errors import AuthenticationError, DataError, DwplusError, QuotaError, ServiceError, TileError
from ..files.archives import Member, MembersRecord, member_of, read_members, write_members
from ..files.atomic import remove_parts, write_atomically
from ..raster.geotiff import LABEL_BAND, write_label
from ..spec.test_tiles import biome_of, is_test_tile
from ..spec.tiles import RESOLUTION_M, TILE_SIZE_PX, Hemisphere, Labeler, Tile, hemisphere_of, parse_tile_id, tile_id_of
from ..spec.words import count_of
from .index import labeler_of_folder
from .metadata import LABEL_LIST, plain_name

EARTH_ENGINE_FOLDER = "earth-engine"
"""Below the folder of all releases."""

_PAGE = 1000
"""Images per answer of the listing; Earth Engine gives at most 5,000 elements
(developers.google.com/earth-engine/guides/debugging, "Collection query aborted")."""

_INSTEAD = (
    "take the published archives instead (PANGAEA 933475, Zenodo 4766508: the same command without earth-engine), or "
    "give label tiles with --labels DIR"
)


class LabelClient(Protocol):
    """Sends requests and retries them; a session with Earth Engine."""

    def value(self, expression: Any) -> Any:
        """What ``getInfo`` of an expression gives."""

    def pixels(self, parameters: dict[str, Any]) -> NDArray[np.void]:
        """What ``computePixels`` gives for ``NUMPY_NDARRAY``: structured (H, W), one field per band."""


@dataclass(frozen=True)
class LabelAsset:
    """One image of the collection.

    Attributes:
        asset: its id.
        band: the band with the released codes.
        transform: (a, b, c, d, e, f) of pixel corners, metres, as in the asset.
        shape: (height, width), 510 or 512 px.
        biome: 1..14, 0 = not known.
        properties: those of its properties that ``metadata`` reads, as text.
    """

    asset: str
    tile_id: str
    labeler: Labeler
    band: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    hemisphere: Hemisphere
    biome: int
    properties: Mapping[str, str]

    @property
    def path(self) -> str:
        """Path of its tile below the folder of this origin."""
        place = f"{self.hemisphere}/{self.biome}/" if self.biome else ""
        return f"{self.labeler}/{place}{self.tile_id}.tif"


@dataclass(frozen=True)
class FetchedLabels:
    """What ``fetch_label_assets`` found.

    Attributes:
        images: label images in the collection, of the requested splits.
        written: tiles that were downloaded now; all others were on disk.
        failed: tile -> why its download failed; the next call retries.
        ignored: asset -> why it is no label tile.
    """

    folder: Path
    images: int
    written: int
    failed: Mapping[str, str]
    ignored: Mapping[str, str]


def fetch_label_assets(
    client: LabelClient,
    releases: Path,
    *,
    source: str,
    splits: Sequence[str] = ("train", "test"),
    collection: str = COLLECTION,
    concurrency: int = 10,
    verify: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> FetchedLabels:
    """Download the label images of a collection; tiles on disk are not requested again.

    Args:
        releases: gets ``earth-engine/<labeler>/<EH|WH>/<biome>/<dw_id>.tif``, ``earth-engine/label_assets.csv`` and
            ``earth-engine.members.json``. Once that record is complete, no requests are sent.
        source: where labels come from (``earthengine``, ``SANDBOX``); recorded in every tile and in the record.
        splits: ``test`` are the tiles of ``manifests/test_409.csv``, ``train`` all others.
        verify: list the images again, and download tiles whose bytes differ from the record.
        progress: called with (tiles done, tiles in all).

    Raises:
        DataError: the collection cannot be read, or holds no label tiles.
        AuthenticationError, QuotaError, ServiceError: requests fail; run again later.
    """
    folder = releases / EARTH_ENGINE_FOLDER
    known = read_members(folder)
    if known is not None:
        _check_origin(known, collection, source, folder)
        spoilt = known.changed(folder) if verify else known.missing(folder)
        if not verify and not spoilt and set(splits) <= set(known.origin.get("complete", ())):
            return FetchedLabels(folder, len(known.members), 0, {}, {})
        for path in spoilt:
            (folder / path).unlink(missing_ok=True)
    remove_parts(folder)
    found, ignored = list_label_assets(client, collection)
    wanted = [asset for asset in found if _split_of(asset) in splits]
    write_atomically(folder / LABEL_LIST, _list_of(found, source))
    members: dict[str, Member] = {}
    failed: dict[str, str] = {}
    before = {asset.path for asset in wanted if (folder / asset.path).is_file()}
    with closing(_each(client, wanted, folder, source=source, concurrency=concurrency)) as outcomes:
        for done, (asset, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Member):
                members[asset.path] = outcome
            else:
                failed[asset.tile_id] = outcome
            progress(done, len(wanted))
    if failed and not members:
        raise ServiceError(
            f"none of {count_of(len(wanted), 'label image')} of {collection} could be downloaded: {_first(failed)}"
        )
    complete = _complete(splits, failed, known)
    others = {path: m for path, m in (known.members if known else {}).items() if (folder / path).is_file()}
    origin = {"collection": collection, "source": source, "complete": complete, "images": len(found)}
    write_members(folder, MembersRecord(origin, (), {**others, **members}))
    return FetchedLabels(folder, len(wanted), len(members.keys() - before), failed, ignored)


def _check_origin(record: MembersRecord, collection: str, source: str, folder: Path) -> None:
    """Labels of a synthetic planet and of the Earth, or of two collections, never lie in one folder."""
    held = (record.origin.get("collection"), record.origin.get("source"))
    if held != (collection, source):
        raise DataError(
            f"{folder} holds labels of {held[0]} from {held[1]}, this run requests those of {collection} "
            f"from {source}; name another folder with --data"
        )


def _complete(splits: Sequence[str], failed: Mapping[str, str], known: MembersRecord | None) -> list[str]:
    earlier = set(known.origin.get("complete", ())) if known else set()
    return sorted(earlier - set(splits) if failed else earlier | set(splits))


def _split_of(asset: LabelAsset) -> str:
    return "test" if is_test_tile(asset.tile_id) else "train"


def _first(reasons: Mapping[str, str]) -> str:
    name, reason = next(iter(reasons.items()))
    return f"{name}: {reason}"


# Listing --------------------------------------------------------------------------------------------------------------


def list_label_assets(client: LabelClient, collection: str = COLLECTION) -> tuple[list[LabelAsset], dict[str, str]]:
    """The label images of a collection in the order of their ids, and the others with the reason.

    Raises:
        DataError: it cannot be read, or holds no label image.
        AuthenticationError, QuotaError, ServiceError: requests fail.
    """
    found: dict[str, LabelAsset] = {}
    ignored: dict[str, str] = {}
    for image in _images(client, collection):
        name = str(image.get("id", "an image without id"))
        try:
            asset = _label_asset(image)
        except (DataError, LookupError, TypeError, ValueError) as error:
            ignored[name] = str(error) or type(error).__name__
            continue
        first = found.setdefault(asset.path, asset)
        if first is not asset:
            ignored[name] = f"same tile of the same labeler as {first.asset}"
    if not found:
        kind = "that is no label tile" if len(ignored) == 1 else "that are no label tiles"
        what = f"{count_of(len(ignored), 'image')} {kind} ({_first(ignored)})" if ignored else "no images"
        raise DataError(f"{collection} on Earth Engine holds {what}; {_INSTEAD}")
    return list(found.values()), ignored


def _images(client: LabelClient, collection: str) -> Iterator[Mapping[str, Any]]:
    """Every image of a collection as ``getInfo`` describes it, page by page."""
    last = ""
    while True:
        try:
            answer = client.value(images_after(collection, last, _PAGE))
        except (QuotaError, ServiceError):
            raise
        except DwplusError as error:
            kind = AuthenticationError if isinstance(error, AuthenticationError) else DataError
            raise kind(f"the label collection {collection} cannot be read on Earth Engine: {error}; {_INSTEAD}") from (
                error
            )
        page = answer.get("features") if isinstance(answer, Mapping) else None
        if not isinstance(page, list):
            raise DataError(f"{collection} on Earth Engine is no collection of images; {_INSTEAD}")
        yield from page
        if len(page) < _PAGE:
            return
        last = str(page[-1]["properties"]["system:index"])


def _label_asset(image: Mapping[str, Any]) -> LabelAsset:
    """What an image is as a label tile.

    Raises:
        DataError: it is none; LookupError, TypeError, ValueError: it is described in another way.
    """
    properties = {plain_name(name): value for name, value in image["properties"].items()}
    tile_id = _tile_id(properties)
    band = _band(image["bands"])
    width, height = (int(size) for size in band["dimensions"])
    a, b, c, d, e, f = (float(number) for number in band["crs_transform"])
    crs = str(band["crs"]).upper()
    if re.fullmatch(r"EPSG:32[67](0[1-9]|[1-5]\d|60)", crs) is None or (a, b, d, e) != (
        RESOLUTION_M, 0, 0, -RESOLUTION_M,
    ):  # fmt: skip
        raise DataError(f"its grid is {crs} ({a:g}, {b:g}, {d:g}, {e:g}); a label tile has UTM, 10 m, north up")
    if (height, width) not in ((TILE_SIZE_PX,) * 2, (TILE_SIZE_PX + 2,) * 2):
        raise DataError(f"it has {width} x {height} px; a label tile has 510 x 510 or 512 x 512")
    places = str(properties.get("folder", "")).split("/")
    biome = str(properties.get("biome", "")).removesuffix(".0") or (places[-1] if len(places) > 1 else "")
    side = str(properties.get("hemisphere", "")) or next((p for p in places if p in ("EH", "WH")), "")
    hemisphere: Hemisphere = (
        "EH" if side == "EH" else "WH" if side == "WH" else hemisphere_of(parse_tile_id(tile_id).lon)
    )
    return LabelAsset(
        asset=str(image["id"]),
        tile_id=tile_id,
        labeler=_labeler(tile_id, str(properties.get("labeler", "")), places),
        band=str(band["id"]),
        crs=crs,
        transform=(a, b, c, d, e, f),
        shape=(height, width),
        hemisphere=hemisphere,
        biome=biome_of(tile_id, biome),
        properties={
            column: str(properties[plain_name(column)])
            for column in _PROPERTIES
            if properties.get(plain_name(column)) not in (None, "")
        },
    )


def _tile_id(properties: Mapping[str, Any]) -> str:
    """Released name of an image, by its property or, without one, by its index with ``d`` for the decimal point."""
    given = str(properties.get("dwid", "") or properties["system:index"])
    return tile_id_of(re.sub(r"(?<=\d)d(?=\d)", ".", given))


def _band(bands: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    named = [band for band in bands if band["id"] == LABEL_BAND] or (bands if len(bands) == 1 else [])
    if not named:
        raise DataError(f"its bands are {', '.join(str(b['id']) for b in bands) or 'none'}; {LABEL_BAND!r} is wanted")
    return named[0]


def _labeler(tile_id: str, stated: str, places: Iterable[str]) -> Labeler:
    """The labeler that the image names, else consensus for test tiles, else unknown."""
    for place in (stated, *places):
        found = labeler_of_folder(place)
        if found is not None:
            return found
    return "consensus" if is_test_tile(tile_id) else "unknown"


_PROPERTIES = ("S2_GEE_ID", "S2_PRODUCT_ID", "S2_DATASTRIP_ID", "S2_GRID", "date", "biome_name", "eco_region")


def _list_of(assets: Iterable[LabelAsset], source: str) -> bytes:
    """``label_assets.csv``: what the collection says of each tile, in the columns of the published workbook."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["dw_id", "labeler", "crs", "hemisphere", "biome", *_PROPERTIES, "asset", "source"])
    for one in assets:
        values = [one.properties.get(column, "") for column in _PROPERTIES]
        rows.writerow([one.tile_id, one.labeler, one.crs, one.hemisphere, one.biome or "", *values, one.asset, source])
    return text.getvalue().encode()


# Fetching -------------------------------------------------------------------------------------------------------------


def _each(
    client: LabelClient, assets: Sequence[LabelAsset], folder: Path, *, source: str, concurrency: int
) -> Generator[tuple[LabelAsset, Member | str]]:
    """Every tile as it is on disk, or why it failed; several at a time.

    An early end (credentials, quota, Ctrl-C) drops what has not begun.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="labels") as pool:
        waiting = {pool.submit(_tile_on_disk, client, asset, folder, source): asset for asset in assets}
        try:
            for future in as_completed(waiting):
                try:
                    yield waiting[future], future.result()
                except (TileError, DataError) as error:
                    yield waiting[future], str(error)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _tile_on_disk(client: LabelClient, asset: LabelAsset, folder: Path, source: str) -> Member:
    path = folder / asset.path
    if not path.is_file():
        answer = client.pixels(
            code_request(asset.asset, asset.band, crs=asset.crs, transform=asset.transform, shape=asset.shape)
        )
        tags = {"TILE": asset.tile_id, "LABELER": asset.labeler, "ASSET": asset.asset, "SOURCE": source}
        write_label(path, _codes(answer, asset), _tile_of(asset), tags)
    return member_of(path.read_bytes())


def _codes(answer: NDArray[np.void], asset: LabelAsset) -> NDArray[np.uint8]:
    """Released codes out of an answer.

    Raises:
        DataError: it does not match the request.
    """
    if answer.dtype.names != (asset.band,) or answer.shape != asset.shape:
        raise DataError(
            f"{asset.asset}: the answer has bands {answer.dtype.names} and {answer.shape} px instead of "
            f"{asset.band!r} and {asset.shape}"
        )
    return np.ascontiguousarray(answer[asset.band], dtype=np.uint8)


def _tile_of(asset: LabelAsset) -> Tile:
    day = parse_tile_id(asset.tile_id).date
    return Tile(asset.tile_id, asset.crs, asset.transform, asset.shape, day, asset.hemisphere, asset.biome)
