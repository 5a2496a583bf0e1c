"""``dwplus score --product`` and ``--shared``: maps and people beside the networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.spec.words import count_of
from .output import mark

if TYPE_CHECKING:
    from ..model.products import BesideScores
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.progress import Progress


def check_choice(run: str | None, product: str | None, *, shared: bool) -> str:
    """The run that is meant; empty for a product.

    Raises:
        UsageError: neither is named, or both are.
    """
    if product is not None and (run is not None or shared):
        raise UsageError(f"--product {product} is scored in place of a run; leave the run and --shared out")
    if product is None and run is None:
        raise UsageError("name a run, such as runs/specsar-former, or a map: --product worldcover")
    return run or ""


def score_a_product(product: str, source: str, data: Path, *, split: str, quiet: bool, as_json: bool) -> None:
    """Score a map or people, and print its row."""
    from ..workflow.beside import score_product
    from ..workflow.console import console
    from ..workflow.source import existing_root

    root = existing_root(data, source)
    scores = score_product(root, product, split=split, progress=console(quiet=quiet))
    _print(scores, "people" if product == "non-experts" else "map", as_json=as_json)


def score_on_shared_pixels(root: DataRoot, runs: list[Path], *, split: str, progress: Progress, as_json: bool) -> None:
    """Score runs on the pixels that are valid in all layers, and print their rows."""
    from ..workflow.beside import score_shared

    scores = {path.name: score_shared(root, path, split=split, progress=progress) for path in runs}
    if as_json and len(scores) > 1:
        documents = {name: row_document(one, "network") for name, one in scores.items()}
        click.echo(json.dumps({"runs": list(scores), "scores": documents}, indent=1))
        return
    for one in scores.values():
        _print(one, "network", as_json=as_json)


def row_document(scores: BesideScores, kind: str) -> dict[str, Any]:
    """What is kept of scores, for JSON, with what the text shows beside: scores with classes merged, the lost share."""
    from ..workflow.beside import row_of

    row = row_of(scores, kind)
    return {**scores.to_dict(), "kind": kind, "merged": row.merged, "lost": row.lost}


def _print(scores: BesideScores, kind: str, *, as_json: bool) -> None:
    from ..model.metrics import overall
    from ..model.scores.words import of_metric
    from ..workflow.beside import row_of

    if as_json:
        click.echo(json.dumps(row_document(scores, kind), indent=1))
        return
    row, beside = row_of(scores, kind), mark(scores.source)
    click.echo(f"{row.title}, {count_of(scores.tiles, 'tile')} {beside}".rstrip())
    for title, values, intervals in (
        ("own pixels", row.own, row.intervals),
        ("shared pixels", row.shared, row.shared_intervals),
        ("grass and shrub as one class", row.merged, row.merged_intervals),
    ):
        words = "  ".join(of_metric(values[m.key], intervals.get(m.key), m) for m in overall()) if values else "-"
        click.echo(f"  {title:<29} {words}")
    without = f"{count_of(scores.lost_tiles, 'tile')} without any"
    click.echo(f"  lost: {row.lost:.2%} of {scores.labelled:,} labelled pixels, {without}")
    click.echo(f"  years of the labels {row.label_years}; of this row {row.years}")
