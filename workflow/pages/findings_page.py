"""Findings page: ``findings/index.html``, what validation and audit found, with pictures of the worst tiles.

Draws what the audit read; the page stands alone, pictures are inside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.dataset.findings import Finding
from ...pipeline.dataset.makers import Makers, makers_of, released_maker_of, terms_of
from ...pipeline.dataset.manifest import ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ...pipeline.files.atomic import write_atomically
from ...pipeline.progress import Progress
from ...pipeline.raster.geotiff import read_bands, read_codes
from ...pipeline.spec.tiles import biome_names
from ...pipeline.spec.version import __version__
from ...pipeline.validation.audit import AuditResult
from ...pipeline.validation.quarantine import REASON
from ...pipeline.validation.set_rules import (
    FEW_OBSERVATIONS,
    NEAR_KM,
    PAIRS,
    SET_RULES,
    SetView,
    class_counts,
    distances,
    set_shifts,
)
from ...pipeline.validation.shift import CLEAR
from . import figures
from .html import embed, render
from .pixels import TileView

WORST_TILES = 12
LISTED = 200
"""So many findings are listed on the page; all of them stand in ``findings.csv``."""


def write_findings_page(root: DataRoot, result: AuditResult, *, progress: Progress) -> Path:
    """Write ``findings/index.html`` of a data root; its path."""
    with progress.stage("Writing the findings page", None, unit="pages") as step:
        path = root.findings_page
        write_atomically(path, render("findings.html.j2", content_of(root, result)))
        step.advance()
    return path


def content_of(root: DataRoot, result: AuditResult) -> dict[str, Any]:
    """Everything the page shows, by name."""
    view = result.view
    makers = set_makers(root, view)
    mark = makers.mark or ("" if makers.pixels else makers.name)
    counting = result.counting
    return {
        "version": __version__,
        "makers": makers,
        "tiles": len(view.rows),
        "errors": result.number("error"),
        "warnings": result.number("warning"),
        "rules": rule_table(result),
        "set_findings": [finding for finding in counting if not finding.tile],
        "findings": by_weight([finding for finding in counting if finding.tile])[:LISTED],
        "listed": LISTED,
        "tile_findings": sum(bool(finding.tile) for finding in counting),
        "waived": [(f, w) for f, w in result.waived.items()][:LISTED],
        "waived_number": len(result.waived),
        "unused": result.unused,
        "quarantined": [
            (row.tile, row.detail) for row in sorted(view.ledger.values(), key=lambda r: r.tile) if row.reason == REASON
        ],
        "worst": worst_tiles(root, result, mark),
        "splits": split_table(view),
        "near_km": NEAR_KM,
        "nearest": [
            (split, other, float(km.min()), float(np.median(km)), int((km < NEAR_KM).sum()), len(km))
            for (split, other), km in distances(view).items()
        ],
        "few": FEW_OBSERVATIONS,
        "clear": CLEAR,
        "shifts": [(PAIRS[pair], middle) for pair, middle in set_shifts(view).items()],
        "pictures": distribution_pictures(view, mark),
    }


def set_makers(root: DataRoot, view: SetView) -> Makers:
    """Who made pixels and labels of the tiles that the audit looked at; of nobody where no tile is complete."""
    source = next((row.source for row in view.ledger.values() if row.source), "")
    if not source or not view.rows:
        return Makers()
    released, terms = released_maker_of(root, source), terms_of(root, view.rows)
    return makers_of(view.rows, view.ledger, source=source, released=released, terms=terms)


def by_weight(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then by tile."""
    return sorted(findings, key=lambda f: (f.severity != "error", f.tile, f.rule))


def rule_table(result: AuditResult) -> list[dict[str, Any]]:
    """One row for each rule that found something, errors first: what should hold, how often it does not."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in result.findings:
        counts[finding.rule]["waived" if finding in result.waived else finding.severity] += 1
    rows = [
        {"rule": rule, "holds": SET_RULES.get(rule, ""), **{k: of[k] for k in ("error", "warning", "waived")}}
        for rule, of in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["error"], -row["warning"], row["rule"]))


def split_table(view: SetView) -> list[tuple[str, int, int, float, str, str]]:
    """(split, tiles, biomes, mean marked share, first day, last day) of each split."""
    table = []
    for split, rows in view.by_split().items():
        shares = [view.summaries[r.tile.id].marked_share for r in rows if r.tile.id in view.summaries]
        days = [row.tile.date for row in rows]
        biomes = len({row.tile.biome for row in rows if row.tile.biome})
        marked = float(np.mean(shares)) if shares else float("nan")
        table.append((split, len(rows), biomes, marked, min(days).isoformat(), max(days).isoformat()))
    return table


# --- pictures ---------------------------------------------------------------------------------------------------------


def worst_tiles(root: DataRoot, result: AuditResult, mark: str) -> list[dict[str, Any]]:
    """Tiles with most errors, then most warnings: their findings, and a picture where their pixels can be read."""
    by_tile: dict[str, list[Finding]] = defaultdict(list)
    for finding in result.counting:
        by_tile[finding.tile].append(finding)
    rows = {row.tile.id: row for row in result.view.rows}

    def weight(tile: str) -> tuple[int, int, str]:
        errors = sum(finding.severity == "error" for finding in by_tile[tile])
        return -errors, errors - len(by_tile[tile]), tile

    chosen = sorted((tile for tile in by_tile if tile in rows), key=weight)[:WORST_TILES]
    return [
        {
            "tile": tile,
            "place": _place(rows[tile]),
            "findings": by_weight(by_tile[tile]),
            "picture": _picture(root, rows[tile], mark),
        }
        for tile in chosen
    ]


def _place(row: ManifestRow) -> str:
    lon, lat = row.tile.centre
    biome = biome_names().get(row.tile.biome, "biome not known")
    return f"{row.split_strict}, {row.tile.date}, {lon:.3f}, {lat:.3f}, {biome}"


def _picture(root: DataRoot, row: ManifestRow, mark: str) -> str:
    """True colour, VV and label as a data URL; empty where they cannot be read."""
    path = root.shard(row.tile)
    try:
        rgb, vv = read_bands(path, ("B4", "B3", "B2")), read_bands(path, ("VV",))[0]
        label = root.classes().class_indices(read_codes(root.label(row)))
    except DataError:
        return ""
    return embed(figures.strip_figure(TileView(row.tile.id, rgb, vv, label, {}), classes=root.classes(), mark=mark))


def distribution_pictures(view: SetView, mark: str) -> list[tuple[str, str, str]]:
    """(title, what is drawn, data URL) of each distribution that has something to show."""
    splits = view.by_split()
    if not splits:
        return []
    known = {s: [view.summaries[r.tile.id] for r in rows if r.tile.id in view.summaries] for s, rows in splits.items()}
    marked = {s: np.array([100 * t.marked_share for t in of]) for s, of in known.items()}
    observations = {s: np.array([t.s1_median for t in of]) for s, of in known.items()}
    months = {
        s: np.array([r.tile.date.year + (r.tile.date.month - 0.5) / 12 for r in rows]) for s, rows in splits.items()
    }
    apart = {f"{split} to {other}": km for (split, other), km in distances(view).items()}
    places = {split: [row.tile.centre for row in rows] for split, rows in splits.items()}
    shares = {f"{s} ({len(rows)})": class_counts(rows, view) for s, rows in splits.items()}
    drawn = [
        (
            "Classes of each split",
            "share of marked pixels",
            figures.class_distribution_figure(shares, classes=view.classes, mark=mark),
        ),
        (
            "Classes of each biome, split by split",
            "share of marked pixels (paper, Fig. 3); number of tiles in brackets",
            figures.class_distribution_figure(_by_biome(splits, view), classes=view.classes, mark=mark),
        ),
        ("Biomes of each split", "share of the split's tiles", figures.shares_figure(_biome_shares(splits), mark=mark)),
        ("Where the tiles lie", "colour by split", figures.map_figure(places, mark=mark)),
        ("Nearest tile of the other split", "km between centres", figures.histogram_figure(apart, "km", mark=mark)),
        ("Marked share", "of each tile", figures.histogram_figure(marked, "% of pixels with a class", mark=mark)),
        ("Dates", "of labels and their Sentinel-2 scenes", figures.histogram_figure(months, "year", mark=mark)),
        (
            "Sentinel-1 observations",
            "of each tile's median pixel",
            figures.histogram_figure(observations, "observations", mark=mark),
        ),
    ]
    shifts = {
        PAIRS[pair]: np.array([(s.dx, s.dy) for s in of.values() if s is not None and s.clear]).reshape(-1, 2)
        for pair, of in view.shifts.items()
    }
    if any(len(points) for points in shifts.values()):
        drawn.append(("Shifts", "tiles with a clear peak, pixels", figures.shift_figure(shifts, mark=mark)))
    return [(title, words, embed(png)) for title, words, png in drawn]


def _by_biome(splits: Mapping[str, Sequence[ManifestRow]], view: SetView) -> dict[str, NDArray[np.int64]]:
    names = biome_names()
    groups: dict[str, NDArray[np.int64]] = {}
    for biome in sorted({row.tile.biome for rows in splits.values() for row in rows}):
        for split, rows in splits.items():
            of = [row for row in rows if row.tile.biome == biome]
            if of:
                groups[f"{biome} {names.get(biome, 'not known')}, {split} ({len(of)})"] = class_counts(of, view)
    return groups


def _biome_shares(splits: Mapping[str, Sequence[ManifestRow]]) -> dict[str, dict[str, float]]:
    biomes = sorted({row.tile.biome for rows in splits.values() for row in rows})
    return {
        split: {str(biome): sum(row.tile.biome == biome for row in rows) / len(rows) for biome in biomes}
        for split, rows in splits.items()
    }
