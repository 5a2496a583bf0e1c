"""Which band of a file is which: by the names that the file gives them, or by a table of the user.

::

    [bands]
    B2 = 1            # the first band of the file
    B3 = "green"      # or the name that the file gives it

Comes before ``pixels_products``, which reads files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import DataError, UsageError
from ..spec.bands import OPTIONAL_BANDS, S1_BANDS, S2_BANDS, Sensor
from ..validation.file_view import canonical_names

BandTable = Mapping[str, int | str]
"""Band of a shard -> its number in a file, from 1, or its name there."""

SENSOR_BANDS: dict[Sensor, tuple[str, ...]] = {"S2": S2_BANDS, "S1": S1_BANDS}
"""What a product of a sensor holds; it may lack ``OPTIONAL_BANDS``."""

_KNOWN = (*S2_BANDS, *S1_BANDS)
_SHOWN = 14
_HOW = 'write [bands] and lines such as B2 = 1 or B3 = "green"'


def read_band_table(path: Path) -> BandTable:
    """The table of a TOML file.

    Raises:
        UsageError: there is no such file.
        DataError: it is no table of bands; says where and why.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--bands {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not TOML: {error}; {_HOW}") from None
    table = content.get("bands")
    if not isinstance(table, dict) or len(content) != 1 or not table:
        raise DataError(f"{path} has no table [bands] alone; {_HOW}")
    for band, place in table.items():
        if band not in _KNOWN:
            raise DataError(f"{path}: {band!r} is no band of a shard; they are {', '.join(_KNOWN)}")
        number = isinstance(place, int) and not isinstance(place, bool) and place >= 1
        if not number and not (isinstance(place, str) and place):
            raise DataError(f"{path}: {band} is {place!r}; write the number of a band, from 1, or its name in the file")
    twice = sorted(str(place) for place in set(table.values()) if list(table.values()).count(place) > 1)
    if twice:
        bands = [band for band, place in table.items() if str(place) == twice[0]]
        raise DataError(f"{path} takes band {twice[0]} of the file for {' and for '.join(bands)}; each is one band")
    return table


def bands_of_stack(
    name: str, descriptions: Sequence[str], sensors: Sequence[Sensor], table: BandTable | None
) -> dict[Sensor, dict[str, int]]:
    """Sensor -> band -> its number in the file, of those sensors that the file has bands of; may be empty.

    Args:
        name: of the file, for messages.
        descriptions: names of the file's bands, in order; empty where a band has none.
        table: of the user, in place of the names; None = the file's own.

    Raises:
        DataError: a band that is not optional is missing, or is named twice, or the file is of another product level.
    """
    places = _by_table(name, descriptions, table) if table is not None else _by_name(name, descriptions, sensors)
    found: dict[Sensor, dict[str, int]] = {}
    for sensor in sensors:
        wanted = SENSOR_BANDS[sensor]
        held = {band: places[band] for band in wanted if band in places}
        if not held:
            continue
        missing = missing_bands(sensor, held)
        if missing:
            where = "--bands names" if table is not None else "it holds"
            raise DataError(
                f"{name} lacks {', '.join(missing)} of {sensor_title(sensor)}; {where} {listed(list(places))}: "
                f"stack all of {', '.join(wanted)} (B1 may be left out), or say with --bands which band is which"
            )
        found[sensor] = held
    return found


def missing_bands(sensor: Sensor, held: Iterable[str]) -> list[str]:
    """Bands that a product of a sensor has to hold, and does not."""
    there = {*held, *OPTIONAL_BANDS}
    return [band for band in SENSOR_BANDS[sensor] if band not in there]


def _by_table(name: str, descriptions: Sequence[str], table: BandTable) -> dict[str, int]:
    places = {}
    for band, place in table.items():
        if isinstance(place, int):
            if place > len(descriptions):
                raise DataError(f"{name} has {len(descriptions)} bands; --bands takes {band} from number {place}")
            places[band] = place
            continue
        if descriptions.count(place) != 1:
            how = "twice" if place in descriptions else "not at all"
            raise DataError(
                f"{name} names a band {place!r} {how}, which --bands takes for {band}; it holds {listed(descriptions)}"
            )
        places[band] = descriptions.index(place) + 1
    return places


def _by_name(name: str, descriptions: Sequence[str], sensors: Sequence[Sensor]) -> dict[str, int]:
    names = canonical_names(descriptions)
    if "S2" in sensors and "B10" in names:
        raise DataError(
            f"{name} holds B10, which only top-of-atmosphere reflectance (L1C) has; take the L2A product of the scene"
        )
    for band in _KNOWN:
        if names.count(band) > 1:
            numbers = " and ".join(str(n) for n, one in enumerate(names, start=1) if one == band)
            raise DataError(f"{name} names {band} twice (bands {numbers}); say with --bands which one is meant")
    several = [one for one in names if _SECOND_DATE.match(one)]
    if several:
        raise DataError(
            f"{name} holds several dates ({', '.join(several[:3])}, ...); write one file per date, or say with --bands "
            "which bands are meant"
        )
    return {band: names.index(band) + 1 for band in _KNOWN if band in names}


_SECOND_DATE = re.compile(r"^(B\d{1,2}A?|VV|VH)_\d+$")

_BAND_FILE = re.compile(
    r"^(?P<before>.*?)(?:^|[_.-])(?P<band>B0?[1-9]|B1[0-2]|B8A|VV|VH)(?:_(?P<metres>10|20|60)m)?$", re.IGNORECASE
)


def band_of_file(stem: str) -> tuple[str, str, int] | None:
    """What a file of one band says by its name: what stands before the band, the band, its pixel size in metres.

    ``T33UUP_20170613T101031_B02_10m`` -> ``("T33UUP_20170613T101031", "B2", 10)``; 0 m where it is not said; None where
    the name ends in no band.
    """
    match = _BAND_FILE.match(stem)
    if match is None:
        return None
    (band,) = canonical_names([match["band"]])
    return match["before"].rstrip("_.-"), band, int(match["metres"] or 0)


def sensor_title(sensor: Sensor) -> str:
    return {"S2": "Sentinel-2", "S1": "Sentinel-1"}[sensor]


def listed(names: Sequence[str]) -> str:
    """The first names of a file's bands, as text."""
    shown = ", ".join(name or "(no name)" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
