"""A map becomes a sample: strata are counted, points allocated and drawn, three files written.

Comes after the map and before the interpreter; ``estimate`` reads what comes back.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError, UsageError
from ...pipeline.files.atomic import read_json, read_toml
from ...pipeline.files.records import write_record
from ...pipeline.spec.version import __version__
from ...pipeline.spec.words import count_of
from .allocation import allocate, sample_size
from .class_map import Census, ClassMap, Stratification, rare_codes, rows_of, sha256_of_file, take_census
from .design import Design, DesignClass, DesignPoint, DesignStratum, design_file
from .districts import Districts
from .drawing import Drawn, choose, find
from .point_files import CANNOT_TELL, csv_file, write_ceo, write_points

EXPECTED = 0.8
"""Accuracy that is expected of a class of which nothing is said."""


@dataclass(frozen=True)
class SampleOrder:
    """What is wanted of a sample.

    Attributes:
        expected: class -> user's accuracy that is expected, 0..1.
        measured: the same of a run's test tiles, for classes that ``expected`` does not name; may name others.
        otherwise: the same for all other classes.
        standard_error: wanted, of the overall accuracy; counts where ``total`` is None.
        total: points.
        minimum: points of each stratum.
        buffer_px: width of the buffer around rare classes; 0 = none.
        rare: names of the rare classes; empty = those below ``rare_share`` of the mapped area.
    """

    expected: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    otherwise: float = EXPECTED
    standard_error: float = 0.01
    total: int | None = None
    minimum: int = 50
    buffer_px: int = 0
    rare: tuple[str, ...] = ()
    rare_share: float = 0.02
    seed: int = 0


def draw_sample(
    of: ClassMap, asked: SampleOrder, *, area: Districts | None = None, trained_on: DataRoot | None = None
) -> Design:
    """Draw a sample of a map; reads it two or three times, writes nothing.

    Args:
        area: of interest; None = the whole raster.
        trained_on: data root whose training tiles are flagged.

    Raises:
        DataError: the map is damaged, or has fewer than two classes.
        UsageError: an expectation or a rare class is of no class of the map.
    """
    inside = None if area is None else area.inside
    first = take_census(of, None, inside)
    by = _stratification(of, first, asked)
    census = take_census(of, by, inside) if asked.buffer_px else first
    counted = _strata_of(by, census, of, buffered=bool(asked.buffer_px))
    expected = _expected(of, by, first, asked)
    pixels, hectares = [p for p, _ in counted], [h for _, h in counted]
    total = asked.total or sample_size(
        [h / sum(hectares) for h in hectares], expected, asked.standard_error, sum(pixels)
    )
    points = allocate(total, hectares, pixels, asked.minimum)
    rng = np.random.default_rng(asked.seed)
    drawn = find(rows_of(of, by, inside), choose(pixels, points, rng))
    order = rng.permutation(len(drawn))
    return Design(
        dwplus=__version__,
        source=of.source,
        map=of.path.name,
        map_sha256=sha256_of_file(of.path),
        nodata=of.nodata,
        no_class=of.no_class,
        area_wkt="" if area is None else shapely.to_wkt(shapely.union_all(area.shapes), rounding_precision=-1),
        seed=asked.seed,
        buffer_px=by.buffer_px,
        rare=by.rare,
        standard_error=None if asked.total else asked.standard_error,
        minimum=asked.minimum,
        expected=tuple(expected),
        strata=tuple(
            DesignStratum(name, p, h, n, n / p)
            for name, p, h, n in zip(by.names(of), pixels, hectares, points, strict=True)
        ),
        classes=(
            *(DesignClass(code, of.name_of(code), p, h) for code, (p, h) in first.classes.items()),
            *_missed(of, first),
        ),
        unmapped_pixels=first.unmapped[0],
        unmapped_hectares=first.unmapped[1],
        training_checked=trained_on is not None,
        points=_points(of, [drawn[n] for n in order], trained_on),
    )


def _missed(of: ClassMap, census: Census) -> list[DesignClass]:
    """Classes that the map has a name for and shows nowhere: an interpreter may meet them all the same."""
    shown = {of.nodata, *of.no_class, *census.classes}
    return [DesignClass(code, name, 0, 0.0) for code, name in of.names.items() if code not in shown]


def _stratification(of: ClassMap, census: Census, asked: SampleOrder) -> Stratification:
    codes = tuple(census.classes)
    if len(codes) < 2:
        count = count_of(len(codes), "class", "classes")
        raise DataError(f"{of.path} has {count} where it is mapped; a sample needs at least 2")
    known = [of.name_of(code) for code in codes]
    for name in (*asked.expected, *asked.rare):
        if name not in known:
            raise UsageError(f"{of.path} has no class {name!r}; it has {', '.join(known)}")
    if not asked.buffer_px:
        return Stratification(codes)
    named = tuple(code for code in codes if of.name_of(code) in asked.rare)
    return Stratification(codes, named or rare_codes(census, asked.rare_share), asked.buffer_px)


def _strata_of(by: Stratification, census: Census, of: ClassMap, *, buffered: bool) -> list[tuple[int, float]]:
    """Pixels and hectares of each stratum, in order."""
    keys = range(len(by)) if buffered else by.codes
    empty = [name for key, name in zip(keys, by.names(of), strict=True) if key not in census.strata]
    if empty:
        raise UsageError(f"no pixel is left of {', '.join(empty)} outside the buffer; use a smaller --buffer")
    return [census.strata[key] for key in keys]


def _expected(of: ClassMap, by: Stratification, census: Census, asked: SampleOrder) -> list[float]:
    """Expected accuracy of each stratum; of the buffer, the mean of the classes that are not rare."""
    known = {**asked.measured, **asked.expected}
    found = [known.get(of.name_of(code), asked.otherwise) for code in by.codes]
    if by.buffer_px:
        weights = [census.classes[code][1] * (code not in by.rare) for code in by.codes]
        found.append(float(np.average(found, weights=weights)) if sum(weights) else asked.otherwise)
    return found


def _points(of: ClassMap, drawn: Sequence[Drawn], trained_on: DataRoot | None) -> tuple[DesignPoint, ...]:
    places = [of.grid.lon_lat(one.row, one.column) for one in drawn]
    flags = [False] * len(drawn) if trained_on is None else in_training(trained_on, places)
    return tuple(
        DesignPoint(number, lon, lat, one.row, one.column, one.stratum, one.code, one.hectares, bool(flag))
        for number, (one, (lon, lat), flag) in enumerate(zip(drawn, places, flags, strict=True), start=1)
    )


def in_training(root: DataRoot, places: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Bool (n): which places (lon, lat) lie in a training tile of a data root, by either protocol."""
    tiles = [row.tile for row in root.manifest().rows if "train" in (row.split_strict, row.split_paper)]
    outlines = [shapely.Polygon(tile.outline) for tile in tiles]
    tree = shapely.STRtree(outlines)
    flags = np.zeros(len(places), dtype=bool)
    for turn in (-360, 0, 360):  # outlines go beyond 180 degrees at the date line
        points = shapely.points([(lon + turn, lat) for lon, lat in places])
        flags[tree.query(points, predicate="intersects")[0]] = True
    return flags


def write_sample(path: Path, design: Design) -> None:
    """Write the points for QGIS and for Collect Earth Online, then the design; all three, or none.

    Raises:
        MachineError: one of them cannot be written.
    """
    legend = ", ".join([*(one.name for one in design.classes), CANNOT_TELL])
    of = f"{design.map} ({design.source})" if design.source else design.map
    try:
        write_points(path, design.points, f"{of}. Column answer: {legend}")
        write_ceo(csv_file(path), design.points)
        write_record(design_file(path), design, option="-o")
    except BaseException:
        # ``check_new`` saw none of them before: what is there now is of this sample.
        for one in (path, csv_file(path), design_file(path)):
            with contextlib.suppress(OSError):
                one.unlink()
        raise


def check_new(path: Path) -> None:
    """Make sure that a sample can be written, before the map is read.

    Raises:
        UsageError: the file is no GeoPackage by name, or one of the three files exists.
    """
    if path.suffix.casefold() != ".gpkg":
        raise UsageError(f"{path} is no GeoPackage by its name; use -o points.gpkg")
    for one in (path, csv_file(path), design_file(path)):
        if one.exists():
            raise UsageError(f"{one} exists and may hold answers; name another file with -o, or move it away")


# --- what is expected -------------------------------------------------------------------------------------------------


def parse_expectations(texts: Sequence[str]) -> tuple[dict[str, float], float]:
    """Expected user's accuracies by class, and for all other classes.

    Args:
        texts: each ``water=0.9``, ``0.8`` for all others, or a TOML file of ``water = 0.9``.

    Raises:
        UsageError: one is no accuracy between 0 and 1.
    """
    by_class: dict[str, float] = {}
    otherwise = EXPECTED
    for text in texts:
        name, sign, value = text.rpartition("=")
        if sign:
            by_class[name] = _accuracy(value, text)
        elif text.endswith(".toml"):
            by_class |= {key: _accuracy(one, f"{text}: {key}") for key, one in read_toml(Path(text)).items()}
        else:
            otherwise = _accuracy(value, text)
    return by_class, otherwise


def _accuracy(value: object, where: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise UsageError(f"--expect {where}: an accuracy between 0 and 1 is wanted (water=0.9, 0.8, or a TOML file)")
    return number


def expected_of_run(folder: Path) -> dict[str, float]:
    """User's accuracies of a run on its test tiles, for classes that it predicted there.

    Raises:
        DataError: the run has no scores.
    """
    path, typed = folder / "scores.json", shlex.quote(str(folder))
    if not path.is_file():
        raise DataError(f"{folder} has no scores.json; use --expect, or first: dwplus score {typed}")
    try:
        matrix = read_json(path)["matrix"]
        counts, names = np.asarray(matrix["counts"], dtype=np.float64), [str(name) for name in matrix["classes"]]
        pairs = list(zip(names, np.diag(counts), counts.sum(axis=0), strict=True))
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path} holds no confusion matrix; score it again: dwplus score {typed}") from None
    # Nothing is known of a class that was never predicted.
    return {name: float(right / all_) for name, right, all_ in pairs if all_}
