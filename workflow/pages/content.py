"""Everything that the report shows, by name, section by section; ``report`` writes it.

What cannot be read (a run, a tile) is named on the page, and never ends it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...manifests import load_toml
from ...model.metrics import overall
from ...pipeline.dataset.makers import makers_of_root
from ...pipeline.dataset.root import DataRoot
from ...pipeline.spec.classes import ClassTable
from ...pipeline.spec.version import __version__
from ..beside import beside_rows
from ..reproduction.document import verdicts_of
from ..reproduction.verdicts import Verdict
from ..seeds import groups_of
from . import svg
from .comparison import class_rows, cost_rows, s1_gains
from .confidence import confidence_of_runs
from .drawn import NETWORKS_DRAWN, WITH_EXTREMES, Drawing, best_first, drawn_runs
from .kept_predictions import KeptPredictions
from .parts import parts_of_runs, table_of
from .pixels import TileView
from .runs import Faults, Run, scored_runs, unreadable_runs, unscored_runs
from .sections import biomes, bubbles, curves, dataset, details, losses, origin, panels, scores, summary, tables
from .tile_use import TileUse, findings_of

FINDINGS_LISTED = 50
"""So many findings stand on the page, errors first; all of them stand in ``findings.csv``."""

DETAILED = 10
"""Runs whose parts, confidence and confusion matrix are printed; those of the others are folded away."""

KEPT = ".predictions"
"""Folder beside the page."""


def content_of(root: DataRoot) -> dict[str, Any]:
    """Everything the page shows, by name.

    Raises:
        DataError: the root holds no data set.
    """
    makers, rows, classes = makers_of_root(root), root.complete(), root.classes()
    runs, faults = scored_runs(root), Faults({name: [why] for name, why in unreadable_runs(root).items()})
    for run in runs:
        for fault in run.faults:
            faults.add(run.name, fault)
    # The paper's numbers are of its own labels and classes.
    beside_paper = not any(row.release == "own" for row in rows)
    unread: dict[str, str] = {}
    kept = KeptPredictions(root.report_page.with_name(KEPT))
    drawing = Drawing(root, rows, kept, faults, unread)
    counts = dataset.class_counts(root, rows, unread)
    verdicts = verdicts_of(root, runs) if beside_paper else ()
    content = {
        "version": __version__,
        "makers": makers,
        "beside_paper": beside_paper,
        "metrics": overall(),
        "class_titles": classes.titles,
        "class_table": classes.name,
        "class_key": biomes.class_key(classes),
        "runs": runs,
        "verdicts": verdicts,
        **_of_paper(root, verdicts, makers.mark),
        **_of_runs(root, runs, drawing, beside_paper=beside_paper),
        **_of_pictures(runs, drawing, classes, makers.mark),
        **_of_training(runs, makers.mark),
        **_of_data(root, drawing, counts, makers.mark),
        "run_origins": origin.run_origins(runs),
        "data_origin": origin.data_origin(root),
        "citations": origin.CITATIONS,
        "detailed": DETAILED,
        "faults": faults.sentences,
        "unread": unread,
    }
    kept.forget_others()
    return content | {"contents": _contents(content), "mark": makers.mark}


def _of_paper(root: DataRoot, verdicts: Sequence[Verdict], mark: str) -> dict[str, Any]:
    found = bubbles.bubbles_of(verdicts)
    text = [one for one in verdicts if not one.number.key.startswith("table")]
    return {
        "facts": summary.facts(verdicts),
        "square_rows": summary.square_rows(verdicts),
        "verdict_legend": summary.legend(verdicts),
        "verdict_number": len(verdicts),
        "paper_tables": tables.paper_tables(verdicts),
        "text_verdicts": [(v.number.place, tables.cell_of(v, ""), v.number.notes) for v in text],
        "tables_md": tables_file(root.report_page, "md").name,
        "tables_csv": tables_file(root.report_page, "csv").name,
        "bubbles": bubbles.bubble_figure(found, mark=mark if any(one.ours for one in found) else "") if found else None,
        "bubbles_ours": any(one.ours for one in found),
        "costs": cost_rows() if verdicts else (),
    }


def _of_runs(root: DataRoot, runs: Sequence[Run], drawing: Drawing, *, beside_paper: bool) -> dict[str, Any]:
    summaries = [scores.run_summary(run, drawing.faults) | {"stale": drawing.is_stale(run)} for run in runs]
    by_note = _names_by(summaries, lambda one: str(one["interval_note"]))
    by_absent = _names_by([one for one in summaries if one["absent"]], lambda one: ", ".join(one["absent"]))
    return {
        "score_rows": scores.score_rows(summaries, groups_of({run.name: run.config for run in runs})),
        "interval_note": next(iter(by_note))
        if len(by_note) == 1
        else "; ".join(f"{n}: {w}" for w, n in by_note.items()),
        "absent_classes": [(names, absent) for absent, names in by_absent.items()],
        "paper_metrics": tuple(next(iter(load_toml("paper")["table1"].values()))),
        "s1_gains": s1_gains(runs),
        "class_rows": class_rows(runs, beside_paper=beside_paper),
        "beside": beside_rows(root, drawing.faults.add),
        "unscored": unscored_runs(root),
        "matrices": details.matrices_of(best_first(runs), root.classes()),
    }


def _names_by(summaries: Sequence[dict[str, Any]], words: Callable[[dict[str, Any]], str]) -> dict[str, str]:
    """Words about runs -> names of the runs that they are about, so that many runs say one thing once."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in summaries:
        found[words(one)].append(one["name"])
    return {said: ", ".join(names) for said, names in found.items()}


def _of_pictures(runs: Sequence[Run], drawing: Drawing, classes: ClassTable, mark: str) -> dict[str, Any]:
    shown = drawn_runs(runs, groups_of({run.name: run.config for run in runs}))
    by_name = {run.name: table for run in best_first(runs) if (table := table_of(run, drawing.faults)) is not None}
    of_extremes = [run.name for run in shown if run.name in by_name][:WITH_EXTREMES]
    views, best_and_worst = drawing.views(shown, {name: by_name[name] for name in of_extremes})
    parts, left = parts_of_runs(list(by_name.items())), len(runs) - len(shown)
    return {
        "panel_rows": panels.panel_rows(views, classes),
        "merged_drawn": any(_merged(view) for view in views),
        "runs_left_out": f" {NETWORKS_DRAWN} networks at most, one seed of each: {left} not drawn." if left else "",
        "tiles_rule": panels.TILES_RULE,
        "box_rule": panels.BOX_RULE,
        "confidence": confidence_of_runs(
            [(run, by_name[run.name]) for run in best_first(runs) if run.name in by_name],
            drawing.faults,
            mark=mark,
        ),
        "parts": [one for one in parts if one.groups or one.run in best_and_worst],
        "counted_by_tile": bool(by_name),
        "extremes": {name: panels.panel_rows(found, classes) for name, found in best_and_worst.items()},
    }


def _merged(view: TileView) -> bool:
    return any(one is not None and bool((one == panels.MERGED).any()) for one in view.predictions.values())


def _of_training(runs: Sequence[Run], mark: str) -> dict[str, Any]:
    epochs = {run.name: run.rows for run in best_first(runs) if run.rows}
    found = losses.loss_sets(runs)
    return {
        "curves": curves.curve_figures(epochs, mark=mark),
        "curves_key": losses.series_key(list(epochs)[: svg.SERIES]),
        "curves_grey": max(0, len(epochs) - svg.SERIES),
        "loss_sets": [
            {
                "found": one,
                "drawing": losses.loss_figure(one, mark=mark),
                "key": losses.series_key([row.title for row in one.rows]),
            }
            for one in found
        ],
    }


def _of_data(root: DataRoot, drawing: Drawing, counts: Mapping[str, NDArray[np.int64]], mark: str) -> dict[str, Any]:
    use, places, rows = TileUse.of(root), dataset.places_of(drawing.rows), drawing.rows
    return {
        "map": dataset.world_map(places, mark=mark),
        "map_key": [
            {"title": f"{split or 'no split'} ({len(points):,})", "drawing": dataset.map_sample(split)}
            for split, points in places.items()
        ],
        "tiles": dataset.tile_table(rows),
        "use": use.by_split(),
        "unused": use.unused(),
        "findings": findings_of(root, listed=FINDINGS_LISTED),
        "statistics": dataset.strict_statistics(root),
        "biome_bars": biomes.bars_of(counts, root.classes()),
        "biome_numbers": [(name, (n / n.sum()).tolist(), int(n.sum())) for name, n in counts.items() if n.sum()],
    }


def _contents(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(id, title) of the sections that the page has."""
    paper = content["beside_paper"]
    found = [("scores", "Runs"), *([("tables", "Tables I to VI")] if paper else []), ("figures", "Figures")]
    found += [("training", "Training")] + ([("details", "Right and wrong")] if content["runs"] else [])
    return [*found, ("data", "Data set"), ("origin", "Origin"), ("cite", "How to cite")]


def tables_file(page: Path, kind: str) -> Path:
    """``tables.md`` or ``tables.csv`` beside the page."""
    return page.with_name(f"tables.{kind}")
