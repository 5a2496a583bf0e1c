"""How ``dwplus score`` prints: scores of a run, of several seeds, of the parts of a split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .output import Column, mark, print_csv, print_table

if TYPE_CHECKING:
    from ..model.metrics import ConfusionMatrix, Metric
    from ..model.products import BesideScores
    from ..model.runs import RunFolder
    from ..model.scores.document import Scores
    from ..model.scores.groups import Group
    from ..model.scores.intervals import Intervals
    from ..model.scores.perfect import PerfectEce
    from ..model.scores.tile_table import TileTable


def print_seeds(
    name: str,
    scores: Mapping[str, Scores],
    bounds: Mapping[str, tuple[float, float] | None],
    folders: Mapping[str, RunFolder],
    *,
    as_json: bool,
) -> None:
    """Scores of the runs of several seeds: mean, deviation and interval, or all of them as JSON.

    Args:
        folders: of the runs, where their calibrated variants are wanted too.
    """
    from ..model.metrics import overall
    from ..workflow.seeds import as_text, scores_of_seeds

    if as_json:
        document = scores_of_seeds(name, scores, overall(), bounds)
        of_runs = {run: run_document(one, folders.get(run)) for run, one in scores.items()}
        click.echo(json.dumps({**document, "scores": of_runs}, indent=1))
        return
    first, *rest = as_text(name, scores, overall(), bounds)
    click.echo("\n".join([f"{first} {mark(next(iter(scores.values())).source)}".rstrip(), *rest]))


def run_document(scores: Scores, folder: RunFolder | None) -> dict[str, Any]:
    """Scores of a run for JSON; ``calibrated`` holds those of the calibrated network, None where there are none.

    Args:
        folder: of the run; None where no calibrated scores are wanted.
    """
    from ..model.scores.kept import read_calibrated

    calibrated = None if folder is None else read_calibrated(folder, scores)
    return {**scores.to_dict(), "calibrated": None if calibrated is None else calibrated.to_dict()}


def print_run(scores: Scores, folder: RunFolder | None, *, as_json: bool) -> None:
    """Scores of a run, and of the calibrated network; as text or JSON.

    Args:
        folder: of the run; None where no calibrated scores are wanted.
    """
    if as_json:
        click.echo(json.dumps(run_document(scores, folder), indent=1))
        return
    print_scores(scores)
    if folder is not None:
        print_calibrated(scores, folder)


def print_scores(scores: Scores) -> None:
    """Scores of a run: a line of the overall ones, then a row for each class."""
    from ..model.metrics import further, overall
    from ..model.scores.words import note, of_metric, of_scores
    from ..model.training_range import sentence
    from ..pipeline.spec.words import count_of

    beside = mark(scores.source)
    lost = [f"{name} in {share:.0%} of the pixels" for name, share in scores.dropped.items() if name != "seed"]
    without = f", without {' and '.join(lost)}" if lost else ""
    averaged = ", averaged over eight symmetries" if scores.variant.startswith("tta") else ""
    head = f"{of_scores(scores, overall())}  {count_of(scores.tiles, 'tile')}{without}{averaged}"
    click.echo(f"{head} {beside}".rstrip())
    click.echo(f"  {note(scores.intervals)}")
    values = scores.values()
    known = [(metric, values[metric.key]) for metric in further() if values[metric.key] is not None]
    bounds = {} if scores.intervals is None else scores.intervals.values
    for metric, value in known:
        click.echo(f"  {of_metric(value, bounds.get(metric.key), metric)}")
    if scores.perfect_ece is not None:
        click.echo(f"  {_perfect(scores.perfect_ece)}")
    click.echo(f"  {sentence(scores.outside)}")
    click.echo(f"majority guess ({scores.majority[0]}): OA {scores.majority[1]:.2%} {beside}".rstrip())
    print_table(_CLASS_COLUMNS, _class_table(scores.matrix, scores.intervals))


def print_calibrated(plain: Scores, folder: RunFolder) -> None:
    """What the calibration that belongs to scores does to confidence, and to classes where it has biases."""
    from ..model.metrics import overall
    from ..model.scores.kept import read_calibrated
    from ..model.scores.words import of_metric, of_scores

    scores = read_calibrated(folder, plain)
    if scores is None:
        click.echo("not calibrated: confidence is the softmax of the network")
        return
    values, bounds = scores.values(), {} if scores.intervals is None else scores.intervals.values
    click.echo(f"calibrated: {scores.calibration} {mark(scores.source)}".rstrip())
    for metric in (one for one in _calibration_metrics() if values[one.key] is not None):
        click.echo(f"  {of_metric(values[metric.key], bounds.get(metric.key), metric)}")
    if scores.perfect_ece is not None:
        click.echo(f"  {_perfect(scores.perfect_ece)}")
    if scores.matrix != plain.matrix:
        click.echo(f"  classes change: {of_scores(scores, overall())} {mark(scores.source)}".rstrip())


def _calibration_metrics() -> list[Metric]:
    from ..model.metrics import further

    return [metric for metric in further() if metric.key in ("ece", "brier")]


def _perfect(found: PerfectEce) -> str:
    high = f"at most {found.high:.2%} in 95 of 100 draws"
    return f"a perfectly calibrated network on these tiles: ECE {found.mean:.2%} on average, {high}"


_CLASS_COLUMNS = (
    Column("class"),
    Column("IoU", number=True),
    Column("95 % interval"),
    Column("F1", number=True),
    Column("precision", number=True),
    Column("recall", number=True),
    Column("pixels", number=True),
)


def _class_table(matrix: ConfusionMatrix, intervals: Intervals | None) -> list[tuple[str, ...]]:
    from ..model.metrics import TileCounts

    classes = TileCounts(matrix).scores()["classes"]
    return [_class_cells(intervals, name, found) for name, found in classes.items()]


def _class_cells(intervals: Intervals | None, name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """``absent`` where a class is neither true nor predicted; ``too few tiles`` where these give no interval."""
    found = None if intervals is None else intervals.classes[name]["iou"]
    interval = "" if found is None else f"[{100 * found[0]:.2f}, {100 * found[1]:.2f}]"
    if values["iou"] is None:
        return (name, "absent", "", "", "", "", "0")
    if found is None and intervals is not None:
        # 0 and 1 have none, however many tiles there are.
        interval = "too few tiles" if 0 < values["iou"] < 1 else "none"
    numbers = {
        key: "-" if values[key] is None else f"{values[key]:.2%}" for key in ("iou", "f1", "precision", "recall")
    }
    return (
        name,
        numbers["iou"],
        interval,
        numbers["f1"],
        numbers["precision"],
        numbers["recall"],
        f"{values['pixels']:,}",
    )


def print_groups(scores: Scores, table: TileTable, by: str, *, as_json: bool, as_csv: bool) -> None:
    """Scores by class or of each part of a split: as a table, as JSON or as CSV."""
    if as_json or as_csv:
        rows = _class_rows(scores.matrix, scores.intervals) if by == "class" else _group_rows(table, by)
        _print_rows({"run_of": scores.model, "source": scores.source, "by": by}, rows, as_json=as_json)
    elif by == "class":
        print_scores(scores)
    else:
        _print_group_table(table, by, mark(scores.source))


def print_groups_beside(scores: BesideScores, table: TileTable, by: str, *, as_json: bool, as_csv: bool) -> None:
    """The same of a map, of people, or of a network beside them, on the pixels that all layers share.

    Args:
        table: counts of tiles on shared pixels.
    """
    matrix, found, tag = table.counts().matrix, scores.shared_intervals, mark(scores.source)
    if as_json or as_csv:
        rows = _class_rows(matrix, found) if by == "class" else _group_rows(table, by)
        head = {"name": scores.name, "source": scores.source, "pixels": "shared", "by": by}
        _print_rows(head, rows, as_json=as_json)
        return
    click.echo(f"{scores.title}, on the pixels that all maps beside the shards share {tag}".rstrip())
    if by == "class":
        print_table(_CLASS_COLUMNS, _class_table(matrix, found))
    else:
        _print_group_table(table, by, tag)


def _print_rows(head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Rows as one JSON document, or as CSV, where each of them says where its pixels came from."""
    if as_json:
        click.echo(json.dumps({**head, "rows": rows}, indent=1))
        return
    flat = [{**_flat(row), "source": head["source"]} for row in rows]
    print_csv(list(dict.fromkeys(key for row in flat for key in row)), flat)


def _class_rows(matrix: ConfusionMatrix, intervals: Intervals | None) -> list[dict[str, Any]]:
    from ..model.metrics import TileCounts

    bounds = {} if intervals is None else intervals.classes
    classes = TileCounts(matrix).scores()["classes"]
    return [{"class": name, **values, "intervals": bounds.get(name, {})} for name, values in classes.items()]


def _group_rows(table: TileTable, by: str) -> list[dict[str, Any]]:
    from ..model.scores.groups import grouped

    return [
        {by: group.name} | {k: v for k, v in group.to_dict().items() if k != "group"} for group in grouped(table, by)
    ]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One line of a table: bounds become two columns, classes one for each metric."""
    flat: dict[str, Any] = {key: value for key, value in row.items() if not isinstance(value, dict | list | tuple)}
    for key, value in row.get("intervals", {}).items():
        if key in row and key != "classes":
            flat[f"{key}_low"], flat[f"{key}_high"] = value or (None, None)
    for name, values in row.get("classes", {}).items():
        flat |= {f"{name}_{key}": value for key, value in values.items()}
    return flat


def _print_group_table(table: TileTable, by: str, tag: str) -> None:
    from ..model.metrics import overall
    from ..model.scores.groups import grouped

    known = table.outside is not None
    columns = [
        Column(by),
        Column("tiles", number=True),
        Column("classes", number=True),
        *(Column(f"{metric.title} %", number=True) for metric in overall()),
        *([Column("outside %", number=True)] if known else []),
    ]
    print_table(
        columns, [(*_group_cells(group), *([_percent(group.outside)] if known else [])) for group in grouped(table, by)]
    )
    click.echo("95 % intervals in brackets; none below 10 tiles (or blocks of a user's labels)")
    if known:
        click.echo("outside: pixels beyond the 0.1-99.9 % range of the training split in some band")
    if tag:
        click.echo(tag)


def _group_cells(group: Group) -> Sequence[str]:
    from ..model.metrics import overall
    from ..model.scores.words import bounds, number

    values = [(metric, metric.value(group.counts)) for metric in overall()]
    cells = [
        f"{number(value, metric).rstrip('%')} {bounds(group.intervals.values[metric.key], metric)}".rstrip()
        for metric, value in values
    ]
    return (group.name, str(group.tiles), str(group.intervals.present), *cells)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
