"""Fig. 8 of the paper: what the choice of the loss does to the scores of each class."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ....manifests import load_toml
from ....model.metrics import overall
from ....model.run_config import MAY_DIFFER
from ...seeds import spread
from .. import svg
from ..runs import Run, overall_scores

_WIDTH, _HEIGHT = 520, 330
_BESIDE = 0.16
"""Distance of two losses at a class, as a share of the distance of classes."""


@dataclass(frozen=True)
class LossRow:
    """Scores of one loss; means where it was trained with several seeds.

    Attributes:
        title: ``L_Focal``, as the paper calls it.
        runs: their names.
        values: percent: IoU of each class, then the overall scores.
    """

    title: str
    runs: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class LossSet:
    """Trainings of one network that differ in their loss alone (and in seeds)."""

    network: str
    columns: tuple[str, ...]
    rows: tuple[LossRow, ...]


def loss_sets(runs: Sequence[Run]) -> list[LossSet]:
    """Every network that was trained with two losses or more, on the same data with the same settings."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_besides_loss(run)].append(run)
    return [_set(members) for members in groups.values() if len({_loss(run) for run in members}) > 1]


def _loss(run: Run) -> str:
    return str(run.config.train.get("loss", ""))


def _besides_loss(run: Run) -> str:
    """Everything but loss and seed that two trainings have in common, as a key."""
    config, scores = run.config, run.scores
    left_out = {key.removeprefix("train.") for key in MAY_DIFFER} | {"loss", "gamma", "class_scale", "seed"}
    train = {key: value for key, value in config.train.items() if key not in left_out}
    scored = (scores.split, scores.protocol, scores.source, scores.tiles_hash, scores.weights)
    data = (config.data.primary, config.data.auxiliary, config.data.protocol, config.data.shards_hash)
    return json.dumps([config.model, config.model_config, train, data, scored], sort_keys=True, default=str)


def _set(runs: Sequence[Run]) -> LossSet:
    titles = {row["loss"]: row["title"] for row in load_toml("paper")["losses"].values()}
    by_loss: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_loss[_loss(run)].append(run)
    order = [loss for loss in titles if loss in by_loss] + sorted(by_loss.keys() - titles.keys())
    rows = tuple(
        LossRow(titles.get(loss, loss), tuple(run.name for run in by_loss[loss]), _values(by_loss[loss]))
        for loss in order
    )
    columns = (*runs[0].config.data.classes.titles, *(metric.title for metric in overall()))
    return LossSet(runs[0].config.model, columns, rows)


def _values(runs: Sequence[Run]) -> tuple[float, ...]:
    each = [[*run.scores.matrix.iou.tolist(), *overall_scores(run).values()] for run in runs]
    return tuple(100 * spread(column).mean for column in zip(*each, strict=True))


def loss_figure(found: LossSet, *, mark: str) -> Markup:
    """Classes from left to right, a mark and a line for each loss."""
    values = [value for row in found.rows for value in row.values if value == value]
    x = svg.Scale(-0.5, len(found.columns) - 0.5, 44, _WIDTH - 10)
    y = svg.Scale(0, max([*values, 1.0]) * 1.08, _HEIGHT - 92, 26)
    frame = svg.Frame(x, y)
    parts = frame.axes("", "IoU and scores, %", ticks_x=[])
    for place, column in enumerate(found.columns):
        at = f"{x(place) + 4:.1f} {y.start + 14:.1f}"
        parts.append(
            svg.text(
                x(place) + 4, y.start + 14, column, text_anchor="end", transform=f"rotate(-38 {at})", class_="small"
            )
        )
    for number, row in enumerate(found.rows):
        beside = (number - (len(found.rows) - 1) / 2) * _BESIDE
        points = [(x(place + beside), y(value), value) for place, value in enumerate(row.values) if value == value]
        parts.append(svg.line([point[:2] for point in points], number))
        parts += [svg.mark_at(*point[:2], number, f"{row.title}: {point[2]:.1f} %") for point in points]
    said = f"Scores of {found.network} by loss: " + "; ".join(_said(row, found.columns) for row in found.rows)
    return svg.drawing(_WIDTH, _HEIGHT, parts, said=said, mark=mark)


def _said(row: LossRow, columns: Sequence[str]) -> str:
    return f"{row.title} " + ", ".join(f"{c} {v:.1f}" for c, v in zip(columns, row.values, strict=True) if v == v)


def series_key(titles: Sequence[str]) -> list[Mapping[str, Any]]:
    """What a legend shows of each line: title, drawing."""
    return [{"title": title, "drawing": _sample(number)} for number, title in enumerate(titles)]


def _sample(number: int) -> Markup:
    parts = [svg.line([(1, 7), (33, 7)], number), svg.mark_at(17, 7, number, "")]
    return svg.tag("svg", *parts, class_="chart", viewBox="0 0 34 14", style="width:34px;flex:none", aria_hidden="true")
