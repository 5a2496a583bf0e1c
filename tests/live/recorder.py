"""Golden record of a build: the requests that were sent, and statistics of every shard; made, written and compared.

What is recorded is what leaves the client, whoever answers, so a record of Google's service and one of a local Earth
Engine can be laid side by side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import dwplus
import ee
import numpy as np
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.raster.geotiff import read_bands
from dwplus.pipeline.spec.bands import S1_BANDS, SHARD_BANDS

Record = dict[str, Any]

MEAN_SHARE, MEAN_DN, MEAN_SAR = 0.005, 2.0, 5.0
"""A mean may differ by half a percent or 2 DN of Sentinel-2, and by 0.05 dB of Sentinel-1 (stored in 0.01 dB)."""

EXTREME_SHARE = 0.05
"""Least and largest value may differ by 5 %: single pixels, next to gaps, depend on the interpolation."""

NODATA_SHARE = 0.001
"""Share of pixels without data: 0.1 %, two and a half rows of a tile."""


# --- recording --------------------------------------------------------------------------------------------------------


@dataclass
class Requests:
    """What the client sent while ``listening``: one entry for each request, in no particular order."""

    sent: list[Record] = field(default_factory=list)

    def add(self, call: str, expression: Any, **more: Any) -> None:
        graph = ee.serializer.encode(expression, for_cloud_api=True)
        self.sent.append({"call": call, "sha256": _sha256(graph), **more, "expression": graph})

    def sorted(self) -> list[Record]:
        """Each different request once, so that retries and threads change nothing."""
        different = {json.dumps(one, sort_keys=True): one for one in self.sent}
        return sorted(different.values(), key=lambda one: (one["call"], one["sha256"]))


@contextmanager
def listening() -> Iterator[Requests]:
    """Note every request for values and pixels that the client sends within the block."""
    heard = Requests()
    pixels, value = ee.data.computePixels, ee.data.computeValue

    def compute_pixels(parameters: dict[str, Any]) -> Any:
        heard.add("computePixels", parameters["expression"], grid=parameters["grid"])
        return pixels(parameters)

    def compute_value(expression: Any) -> Any:
        heard.add("computeValue", expression)
        return value(expression)

    with (
        mock.patch.object(ee.data, "computePixels", compute_pixels),
        mock.patch.object(ee.data, "computeValue", compute_value),
    ):
        yield heard


def _sha256(graph: Any) -> str:
    return hashlib.sha256(json.dumps(graph, sort_keys=True).encode()).hexdigest()


def record(root: DataRoot, requests: Requests) -> Record:
    """The record of the build that a data root holds."""
    rows = root.ledger()
    return {
        "recorded": datetime.now(UTC).date().isoformat(),
        "dwplus": dwplus.__version__,
        "earthengine-api": ee.__version__,
        "source": sorted({row.source for row in rows.values()}),
        "recipe": sorted({row.recipe for row in rows.values()}),
        "tiles": {tile_id: _tile(row, root) for tile_id, row in sorted(rows.items())},
        "requests": requests.sorted(),
    }


def _tile(row: LedgerRow, root: DataRoot) -> Record:
    known = {"state": row.state, "reason": row.reason, "scene": row.scene, "rule": row.rule}
    path = next((root.folder / "shards").rglob(f"{row.tile}.tif"), None)
    if path is None:
        return known
    stored = read_bands(path, SHARD_BANDS)
    return {
        **known,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bands": {band: statistics(stored[number]) for number, band in enumerate(SHARD_BANDS)},
    }


def statistics(stored: np.ndarray[Any, Any]) -> dict[str, float]:
    """Of one band (H, W), in stored units, over the pixels with data; all 0 where there are none."""
    valid = stored[stored > 0]
    share = round(1 - valid.size / stored.size, 6)
    if not valid.size:
        return {"min": 0, "mean": 0.0, "max": 0, "nodata": share}
    return {
        "min": int(valid.min()),
        "mean": round(float(valid.mean(dtype=np.float64)), 3),
        "max": int(valid.max()),
        "nodata": share,
    }


def write(path: Path, content: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Record:
    content: Record = json.loads(path.read_text(encoding="utf-8"))
    return content


# --- comparing --------------------------------------------------------------------------------------------------------


def compare_or_record(path: Path, now: Record, *, anew: bool = False) -> list[str] | None:
    """``differences`` from the record at a path; where there is none, or ``anew``, it is written: None."""
    if anew or not path.is_file():
        write(path, now)
        return None
    return differences(read(path), now)


def differences(golden: Record, now: Record) -> list[str]:
    """What is not as recorded, beyond the tolerances of this file; empty = nothing."""
    told = [
        f"{name}: recorded {golden[name]}, now {now[name]}"
        for name in ("source", "recipe")
        if golden[name] != now[name]
    ]
    for call in ("computePixels", "computeValue"):
        before, after = ([r["sha256"] for r in one["requests"] if r["call"] == call] for one in (golden, now))
        if before != after:
            told.append(f"{call}: {len(set(after) - set(before))} of {len(after)} requests are not the recorded ones")
    for tile_id in sorted({*golden["tiles"], *now["tiles"]}):
        before, after = golden["tiles"].get(tile_id), now["tiles"].get(tile_id)
        if before is None or after is None:
            told.append(f"{tile_id}: {'not recorded' if before is None else 'recorded, but not built'}")
        else:
            told += [f"{tile_id} {line}" for line in _tile_differences(before, after)]
    return told


def _tile_differences(before: Record, after: Record) -> Iterator[str]:
    for name in ("state", "reason", "scene", "rule"):
        if before[name] != after[name]:
            yield f"{name}: recorded {before[name]!r}, now {after[name]!r}"
    if before.get("sha256") == after.get("sha256"):
        return
    for band in before.get("bands", {}).keys() & after.get("bands", {}).keys():
        old, new = before["bands"][band], after["bands"][band]
        least = MEAN_SAR if band in S1_BANDS else 0.05 if band == "S1_N" else MEAN_DN
        allowed = {
            "mean": least if band in S1_BANDS else max(least, MEAN_SHARE * old["mean"]),
            "min": max(1.0, EXTREME_SHARE * old["min"]),
            "max": max(1.0, EXTREME_SHARE * old["max"]),
            "nodata": NODATA_SHARE,
        }
        for name, tolerance in allowed.items():
            if abs(new[name] - old[name]) > tolerance:
                yield f"{band} {name}: recorded {old[name]:g}, now {new[name]:g} (tolerance {tolerance:.3g})"
