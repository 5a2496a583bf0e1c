"""A report on a map as a JSON object, and as rows of a CSV; a figure that cannot be estimated is null, or empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from .estimate import AreaReport, Part
from .estimators import Bounds, Estimate


def to_dict(report: AreaReport) -> dict[str, Any]:
    """The report as a JSON object."""
    return {
        **asdict(report),
        "whole": _part_dict(report.whole),
        "districts": [_part_dict(part) for part in report.districts],
    }


def to_csv(report: AreaReport) -> str:
    """The report as CSV: of the map and each district, a row per class, one for all classes, one for unmapped land."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for part in (report.whole, *report.districts):
        for row in _rows(part):
            table.writerow({"source": report.source, "part": part.name, **row})
    return text.getvalue()


_FIGURES = {"area_ha": "area_hectares", "users": "users_accuracy", "producers": "producers_accuracy"}
"""Figure in the CSV -> in the JSON object."""

_ENDINGS = {"": "value", "_se": "standard_error", "_low_95": "low_95", "_high_95": "high_95"}
_COLUMNS = [
    *("source", "part", "class"),
    *(figure + ending for figure in (*_FIGURES, "overall") for ending in _ENDINGS),
    *("pixel_count_ha_biased", "omission_points"),
]


def _rows(part: Part) -> Iterator[dict[str, Any]]:
    document = _part_dict(part)
    for one in document["classes"]:
        figures = {f"{name}{end}": one[key][of] for name, key in _FIGURES.items() for end, of in _ENDINGS.items()}
        biased = one["pixel_count_biased"]["hectares"]
        yield {
            "class": one["name"],
            **figures,
            "pixel_count_ha_biased": biased,
            "omission_points": one["omission_points"],
        }
    overall = {f"overall{end}": document["overall_accuracy"][of] for end, of in _ENDINGS.items()}
    yield {"class": "all classes", "area_ha": part.mapped_hectares, **overall}
    yield {"class": "unmapped", "area_ha": part.unmapped_hectares}


def _part_dict(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "mapped_hectares": part.mapped_hectares,
        "unmapped_hectares": part.unmapped_hectares,
        "points": part.points,
        "overall_accuracy": _figure(part.overall, part.overall_bounds),
        "classes": [
            {
                "name": row.name,
                "area_hectares": _figure(row.area, row.area_bounds),
                "users_accuracy": _figure(row.users, row.users_bounds),
                "producers_accuracy": _figure(row.producers, row.producers_bounds),
                "pixel_count_biased": {"pixels": row.pixels, "hectares": row.pixel_hectares},
                "mapped_points": row.mapped_points,
                "reference_points": row.reference_points,
                "omission_points": row.omission_points,
            }
            for row in part.classes
        ],
        "warnings": list(part.cautions),
    }


def _figure(one: Estimate, bounds: Bounds | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "value": _number(one.value),
        "standard_error": _number(one.standard_error),
        "low_95": _number(one.low) if _number(one.standard_error) is not None else None,
        "high_95": _number(one.high) if _number(one.standard_error) is not None else None,
    }
    if bounds is not None:
        figures["with_undecided"] = {"low": _number(bounds.low), "high": _number(bounds.high)}
    return figures


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
