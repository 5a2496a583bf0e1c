"""Scores of parts of the test set on the page, and confusion matrices as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....pipeline.spec.classes import ClassTable
from ..runs import Run


@dataclass(frozen=True)
class Share:
    """One field of a matrix: share of its row, 0..1; None where the label has no pixel of the class."""

    share: float | None

    @property
    def style(self) -> str:
        """Its colour: bluer with a larger share; ``page.css`` mixes it, so that words can be read in light and dark."""
        return f"--share:{100 * self.share:.0f}%" if self.share else ""


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of a run: rows are the label's classes, columns the prediction's."""

    run: str
    rows: tuple[tuple[str, tuple[Share, ...]], ...]


def matrix_of(run: Run, classes: ClassTable) -> Matrix:
    """Each row as shares of its pixels."""
    counts = run.scores.matrix.counts
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    rows = [
        (title, tuple(Share(float(one) if total else None) for one in row))
        for title, row, total in zip(classes.titles, shares, totals[:, 0], strict=True)
    ]
    return Matrix(run.name, tuple(rows))


def matrices_of(runs: Sequence[Run], classes: ClassTable) -> list[Matrix]:
    return [matrix_of(run, classes) for run in runs]
