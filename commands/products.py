"""``dwplus score --product`` and ``--shared``: maps and people beside the networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import DataError, UsageError
from ..pipeline.spec.words import count_of
from .output import mark
from .score_tables import print_groups_beside

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


_AS_IT_IS = {"weights": "model", "accept": (), "drop": (), "mask": "dataset", "calibrate_on": None, "tta": False}
"""Options of ``score`` that mean nothing here -> what they are where nobody gave them."""


def check_plain(options: Mapping[str, Any], given: str) -> None:
    """Refuse options that would have no effect.

    Args:
        options: all of ``score``.
        given: the option that they do not go with.

    Raises:
        UsageError: there is one; names it.
    """
    if idle := [f"--{key.replace('_', '-')}" for key, plain in _AS_IT_IS.items() if options[key] != plain]:
        raise UsageError(f"{', '.join(idle)} cannot be used with {given}; leave it out")


@dataclass(frozen=True)
class Form:
    """How scores are printed.

    Attributes:
        group: what they are shown by; None: as a whole.
        as_json, as_csv: in place of text.
    """

    group: str | None
    as_json: bool
    as_csv: bool

    @property
    def of_parts(self) -> bool:
        """A table of parts is wanted; CSV is one of classes, where nothing else is said."""
        return self.group is not None or self.as_csv

    def check_one(self, runs: Sequence[Path]) -> None:
        """Raises UsageError where parts of several runs are wanted."""
        if len(runs) > 1:
            raise UsageError(f"--group and --csv are of one run: name one of {', '.join(path.name for path in runs)}")


def score_a_product(product: str, source: str, data: Path, *, split: str, quiet: bool, form: Form) -> None:
    """Score a map or people, and print its row."""
    from ..workflow.beside import score_product
    from ..workflow.console import console
    from ..workflow.source import existing_root

    root = existing_root(data, source)
    scores = score_product(root, product, split=split, progress=console(quiet=quiet))
    _show(scores, "people" if product == "non-experts" else "map", root.folder / "products" / product, form)


def score_on_shared_pixels(root: DataRoot, runs: list[Path], *, split: str, progress: Progress, form: Form) -> None:
    """Score runs on the pixels that are valid in all layers, and print their rows."""
    from ..workflow.beside import score_shared

    if form.of_parts:
        form.check_one(runs)
    scores = {path.name: score_shared(root, path, split=split, progress=progress) for path in runs}
    if form.as_json and len(scores) > 1:
        documents = {name: row_document(one, "network") for name, one in scores.items()}
        click.echo(json.dumps({"runs": list(scores), "scores": documents}, indent=1))
        return
    for path in runs:
        _show(scores[path.name], "network", path, form)


def _show(scores: BesideScores, kind: str, folder: Path, form: Form) -> None:
    """Print a row, or its parts.

    Args:
        folder: that holds the counts of its tiles.
    """
    from ..model.run_files import RunFiles
    from ..model.scores.kept import read_counts

    if not form.of_parts:
        _print(scores, kind, as_json=form.as_json)
        return
    if scores.tiles_file is None:
        raise DataError("parts are scored on the pixels that all maps share; run 'dwplus build --products' first")
    table = read_counts(RunFiles(folder), scores.tiles_file, again="score it again")
    print_groups_beside(scores, table, form.group or "class", as_json=form.as_json, as_csv=form.as_csv)


def row_document(scores: BesideScores, kind: str) -> dict[str, Any]:
    """What is kept of scores, for JSON, with what the text shows beside: scores with classes merged, the lost share."""
    from ..model.metrics import or_none
    from ..workflow.beside import row_of

    row = row_of(scores, kind)
    merged = {key: or_none(value) for key, value in row.merged.items()}
    return {**scores.to_dict(), "kind": kind, "merged": merged, "lost": row.lost}


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
