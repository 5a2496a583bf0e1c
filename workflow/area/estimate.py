"""Answers become areas and accuracies, beside the pixel count, with everything that a reader has to be told.

Comes after the interpreter. Points are believed only where the design knows them: each keeps its place and its
probability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from ...pipeline.errors import DataError
from ...pipeline.spec.words import count_of
from .cautions import cautions, class_cautions
from .class_map import ClassMap, Stratification, rows_of, sha256_of_file
from .design import Design, DesignPoint
from .districts import Districts
from .estimators import (
    UNDECIDED,
    Bounds,
    ClassEstimate,
    Estimate,
    Estimates,
    Sample,
    area_bounds,
    estimate,
    overall_bounds,
    producers_bounds,
    users_bounds,
)
from .point_files import CANNOT_TELL, Answer

_MOST_LINES = 10
"""Points that a refusal names."""


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        pixels, pixel_hectares: counted on the map: biased by the map's errors.
        area: hectares.
        area_bounds, users_bounds, producers_bounds: with all undecided points against the figure, or for it; None
            where every point was decided.
    """

    name: str
    pixels: int
    pixel_hectares: float
    area: Estimate
    users: Estimate
    producers: Estimate
    mapped_points: int
    reference_points: int
    omission_points: int
    area_bounds: Bounds | None = None
    users_bounds: Bounds | None = None
    producers_bounds: Bounds | None = None


@dataclass(frozen=True)
class Part:
    """The whole map, or one district.

    Attributes:
        unmapped_hectares: without a class on the map; the sample says nothing of it.
        points: decided ones.
    """

    name: str
    classes: tuple[ClassRow, ...]
    overall: Estimate
    overall_bounds: Bounds | None
    mapped_hectares: float
    unmapped_hectares: float
    points: int
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class AreaReport:
    """Everything that is said of a map.

    Attributes:
        source: who the map's pixels came from; empty = not known.
        drawn, decided, undecided, unanswered: points.
        in_training: decided points in training tiles; None = not looked up.
        unanswered_by: stratum -> points without an answer.
    """

    map: str
    source: str
    drawn: int
    decided: int
    undecided: int
    unanswered: int
    unanswered_by: Mapping[str, int]
    in_training: int | None
    whole: Part
    districts: tuple[Part, ...] = ()


def check_map(of: ClassMap, design: Design) -> None:
    """Make sure that a map is the one that was sampled.

    Raises:
        DataError: it is another one.
    """
    found = sha256_of_file(of.path)
    if found != design.map_sha256:
        raise DataError(
            f"{of.path} is not the map that was sampled ({design.map}): sha256 {found[:12]} instead of "
            f"{design.map_sha256[:12]}; estimate with that file, or draw a sample of this one"
        )


def match(answers: Sequence[Answer], design: Design, path: Path) -> dict[int, str]:
    """Answers by plot, once every row is known to be a point of the design, at its place.

    Args:
        path: of the answers, for messages.

    Returns:
        plotid -> the answer as written; empty where there is none. Points that are missing from the file are too.

    Raises:
        DataError: points were added, moved or doubled, or have no probability; a line for each.
    """
    points = {one.plotid: one for one in design.points}
    seen = Counter(one.plotid for one in answers)
    faults = [fault for one in answers if (fault := _fault(one, points, seen))]
    if faults:
        more = len(faults) - _MOST_LINES
        lines = [f"{path}: {fault}" for fault in faults[:_MOST_LINES]] + ([f"and {more} more"] if more > 0 else [])
        raise DataError("\n".join(lines))
    given = {one.plotid: one.answer for one in answers}
    return {plotid: given.get(plotid, "") for plotid in points}


def _fault(one: Answer, points: Mapping[int, DesignPoint], seen: Counter[int | None]) -> str:
    """What is wrong with a row; empty where nothing is."""
    if one.plotid is None:
        return f"{one.where} has no plotid, so no inclusion probability; remove it"
    if one.plotid not in points:
        return f"point {one.plotid} was added: the design does not know it; remove it"
    if seen[one.plotid] > 1:
        return f"point {one.plotid} is there {seen[one.plotid]} times; keep one"
    if one.lon is not None and one.lat is not None:
        point = points[one.plotid]
        moved_m = pyproj.Geod(ellps="WGS84").inv(point.lon, point.lat, one.lon, one.lat)[2]
        # A quarter of a pixel: tables round coordinates, and the point is still in its pixel.
        if not moved_m <= (point.hectares * 10_000) ** 0.5 / 4:
            return f"point {one.plotid} was moved by {moved_m:,.1f} m; put it back to {point.lon:.6f}, {point.lat:.6f}"
    return ""


def decode(given: Mapping[int, str], names: Sequence[str], codes: Sequence[int], path: Path) -> dict[int, int]:
    """Plot -> class index or ``UNDECIDED``; plots without an answer are left out.

    Raises:
        DataError: an answer is neither a class (its name or code) nor "cannot tell".
    """
    meaning = {str(code): index for index, code in enumerate(codes)}
    meaning |= {_plain(name): index for index, name in enumerate(names)} | {CANNOT_TELL: UNDECIDED}
    decoded = {}
    for plotid, answer in given.items():
        if not answer:
            continue
        if _plain(answer) not in meaning:
            known = ", ".join([*names, CANNOT_TELL])
            raise DataError(f"{path}: point {plotid} has the answer {answer!r}, which is no class; use one of {known}")
        decoded[plotid] = meaning[_plain(answer)]
    return decoded


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())


def sample_of(design: Design, decoded: Mapping[int, int], codes: Sequence[int]) -> tuple[Sample, list[DesignPoint]]:
    """The answered points as a sample, and their designs in the same order."""
    points = [one for one in design.points if one.plotid in decoded]
    index = {code: n for n, code in enumerate(codes)}
    sample = Sample(
        areas=np.array([one.hectares for one in design.strata]),
        pixels=np.array([one.pixels for one in design.strata], dtype=np.int64),
        stratum=np.array([one.stratum for one in points], dtype=np.int64),
        mapped=np.array([index[one.code] for one in points], dtype=np.int64),
        reference=np.array([decoded[one.plotid] for one in points], dtype=np.int64),
        size=np.array([one.hectares for one in points]),
        classes=len(codes),
    )
    return sample, points


def report(
    of: ClassMap, design: Design, answers: Sequence[Answer], path: Path, *, by: Districts | None = None
) -> AreaReport:
    """What a sample says of a map.

    Args:
        path: of the answers, for messages.
        by: districts to be reported one by one; reads the map once.

    Raises:
        DataError: the map is another one, an answer is none, or a stratum has fewer than two decided points.
    """
    check_map(of, design)
    of = replace(of, nodata=design.nodata, no_class=design.no_class)
    names, codes = [one.name for one in design.classes], [one.code for one in design.classes]
    decoded = decode(match(answers, design, path), names, codes, path)
    sample, points = sample_of(design, decoded, codes)
    decided = sample.where(sample.reference != UNDECIDED)
    _check_strata(decided, design, path)
    strata = [one.name for one in design.strata]
    silent = Counter(strata[one.stratum] for one in design.points if one.plotid not in decoded)
    known = [one for one in points if decoded[one.plotid] != UNDECIDED]
    return AreaReport(
        map=design.map,
        source=design.source,
        drawn=len(design.points),
        decided=len(decided),
        undecided=len(sample) - len(decided),
        unanswered=sum(silent.values()),
        unanswered_by=dict(silent),
        in_training=sum(one.in_training for one in known) if design.training_checked else None,
        whole=_whole(design, sample, decided, names, strata),
        districts=() if by is None else _districts(of, design, decided, known, names, codes, by),
    )


def _check_strata(decided: Sample, design: Design, path: Path) -> None:
    for one, count in zip(design.strata, decided.counts, strict=True):
        if count < min(2, one.pixels):
            raise DataError(
                f"{path}: stratum {one.name} has {count_of(int(count), 'decided point')} of {one.points}; at least 2 "
                "are needed: interpret more of its points"
            )


def _whole(design: Design, sample: Sample, decided: Sample, names: Sequence[str], strata: Sequence[str]) -> Part:
    found = estimate(decided)
    rows = [_row(c.name, (c.pixels, c.hectares), one) for c, one in zip(design.classes, found.classes, strict=True)]
    doubtful = len(sample) > len(decided)
    if doubtful:
        rows = [
            replace(
                row,
                area_bounds=area_bounds(sample, n),
                users_bounds=users_bounds(sample, n),
                producers_bounds=producers_bounds(sample, n),
            )
            for n, row in enumerate(rows)
        ]
    return Part(
        name=design.map,
        classes=tuple(rows),
        overall=found.overall,
        overall_bounds=overall_bounds(sample) if doubtful else None,
        mapped_hectares=decided.area,
        unmapped_hectares=design.unmapped_hectares,
        points=len(decided),
        cautions=tuple(cautions(decided, found, names, strata)),
    )


def _row(name: str, counted: tuple[int, float], one: ClassEstimate) -> ClassRow:
    points = one.mapped_points, one.reference_points, one.omission_points
    return ClassRow(name, *counted, one.area, one.users, one.producers, *points)


# --- districts --------------------------------------------------------------------------------------------------------


def _districts(
    of: ClassMap,
    design: Design,
    decided: Sample,
    points: Sequence[DesignPoint],
    names: Sequence[str],
    codes: Sequence[int],
    by: Districts,
) -> tuple[Part, ...]:
    pixels, hectares, unmapped, of_point = _count_districts(of, design, points, codes, by)
    parts = []
    for district, name in enumerate(by.names):
        inside = of_point == district
        mapped = float(hectares[district].sum())
        found = estimate(decided, inside, mapped)
        rows = [
            _row(class_, (int(pixels[district, n]), float(hectares[district, n])), found.classes[n])
            for n, class_ in enumerate(names)
        ]
        warned = class_cautions(found, names, f"{name}: ")
        parts.append(
            Part(
                name=name,
                classes=tuple(rows),
                overall=found.overall,
                overall_bounds=None,
                mapped_hectares=mapped,
                unmapped_hectares=float(unmapped[district]),
                points=found.points,
                cautions=tuple([*_few_points(name, found), *warned] if mapped else [f"{name}: nothing is mapped here"]),
            )
        )
    return tuple(parts)


_FEW_POINTS = 30
"""Points of a district below which the normal interval of a ratio is a guess (Cochran 1977, section 6.4)."""


def _few_points(name: str, found: Estimates) -> list[str]:
    if found.points >= _FEW_POINTS:
        return []
    return [
        f"{name}: only {count_of(found.points, 'point')} lie here; at least {_FEW_POINTS} are needed for its intervals"
    ]


def _count_districts(
    of: ClassMap, design: Design, points: Sequence[DesignPoint], codes: Sequence[int], by: Districts
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Pixels and hectares (districts, classes), unmapped hectares (districts), and each point's district or -1."""
    classes, count = len(codes), len(by.names)
    pixels, hectares = np.zeros(count * classes, dtype=np.int64), np.zeros(count * classes)
    unmapped, of_point = np.zeros(count), np.full(len(points), -1, dtype=np.int64)
    rows_of_points = np.array([one.row for one in points], dtype=np.int64)
    columns = np.array([one.column for one in points], dtype=np.int64)
    for rows in rows_of(of, Stratification(tuple(codes)), _area_of(of, design)):
        number = by.numbers(rows.first, len(rows.codes))
        here = (rows_of_points >= rows.first) & (rows_of_points < rows.first + len(rows.codes))
        of_point[here] = number[rows_of_points[here] - rows.first, columns[here]]
        within = rows.inside & (number >= 0)
        mapped, rest = within & (rows.strata >= 0), within & (rows.strata < 0)
        key = number[mapped] * classes + rows.strata[mapped]
        pixels += np.bincount(key, minlength=count * classes)
        hectares += np.bincount(key, rows.hectares[mapped], count * classes)
        unmapped += np.bincount(number[rest], rows.hectares[rest], count)
    return pixels.reshape(count, classes), hectares.reshape(count, classes), unmapped, of_point


def _area_of(of: ClassMap, design: Design) -> Any:
    if not design.area_wkt:
        return None
    return Districts(("area",), (shapely.from_wkt(design.area_wkt),), of.grid).inside
