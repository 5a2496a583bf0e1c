"""What the sides of a comparison were allowed to spend: epochs, steps, learning rates that were tried.

Read from the runs of a data root; ``comparing`` shows it beside the differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..model.run_config import RunConfig, differing_keys
from ..model.runs import RunFolder
from ..pipeline.dataset.root import DataRoot
from ..pipeline.errors import DwplusError


@dataclass(frozen=True)
class Budget:
    """What a side was allowed to spend.

    Attributes:
        epochs: that were trained.
        steps: optimiser steps in all.
        rates: learning rates that were tried: of this run, and of those in the same folder that differ from it in
            nothing but rate and seed.
    """

    epochs: int
    steps: int
    rates: int

    def differences(self, other: Budget) -> list[str]:
        """In what two budgets differ: ``epochs 20 and 40``."""
        pairs = {"epochs": "epochs", "steps": "steps", "rates": "learning rates tried"}
        return [
            f"{words} {getattr(self, name):,} and {getattr(other, name):,}"
            for name, words in pairs.items()
            if getattr(self, name) != getattr(other, name)
        ]


def budget_of(root: DataRoot, folder: Path, config: RunConfig) -> Budget:
    """What a run was trained with; of an average of runs, what its members were trained with, together.

    Args:
        folder, config: of the run.
    """
    epochs, steps, rates = 0, 0, 0
    for path, trained in _trainings(root, folder, config):
        done = len(RunFolder(path).read_rows()) or int(trained.train.get("epochs") or 0)
        epochs += done
        steps += done * math.ceil(trained.data.tiles / int(trained.train.get("batch") or 1))
        rates = max(rates, len(_rates_tried(root, trained)))
    return Budget(epochs, steps, rates)


def _trainings(root: DataRoot, folder: Path, config: RunConfig) -> Iterator[tuple[Path, RunConfig]]:
    """The trainings behind a run: its own, or those of the members of an average that are still there."""
    if not config.members:
        yield folder, config
        return
    for member in config.members:
        path = root.runs / member
        try:
            found = RunFolder(path).read_config()
        except DwplusError:
            continue  # the average holds its weights, and can be compared without it
        yield from _trainings(root, path, found)


def _rates_tried(root: DataRoot, config: RunConfig) -> set[float]:
    """Learning rates of the runs of a data root that differ from one in nothing but rate and seed."""
    ours, rates = config.to_dict(), {float(config.train.get("lr") or 0)}
    for path in root.runs.glob("*/config.json"):
        try:
            other = RunFolder(path.parent).read_config()
        except DwplusError:
            continue  # one that cannot be read was no trial that anybody chose by
        if set(differing_keys(ours, other.to_dict())) <= {"train.lr", "train.seed"}:
            rates.add(float(other.train.get("lr") or 0))
    return rates
