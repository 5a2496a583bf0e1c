"""What a reproduction would do: what is there, what is missing, what that would cost. Writes nothing, asks nobody.

Comes after ``plan``; ``dwplus reproduce --dry-run`` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...manifests import load_toml
from ...model.runs import RunFolder
from ...model.settings import TrainConfig, profile
from ...pipeline.build.budget import GUESSED_EECU_S, SECONDS_PER_HOUR
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ...pipeline.spec.layers import products
from ...pipeline.spec.words import count_of
from ..seeds import seed_name
from .plan import Training

State = Literal["scored", "trained", "begun", "to do"]


@dataclass(frozen=True)
class Planned:
    """A training, and how far it is.

    Attributes:
        name: of the run.
        rows: of the paper that it stands for.
        mine: this machine trains it.
        gpu_hours: that it would take from the beginning.
        disk_gb: weights and checkpoints.
    """

    name: str
    rows: tuple[str, ...]
    state: State
    mine: bool
    gpu_hours: float
    disk_gb: float

    @property
    def missing(self) -> bool:
        return self.state in ("begun", "to do")


def planned(
    root: DataRoot,
    trainings: Sequence[Training],
    mine: Sequence[Training],
    *,
    seeds: Sequence[int] = (),
    settings: TrainConfig | None = None,
) -> list[Planned]:
    """Every training with its state on disk; the data root need not exist.

    Args:
        mine: those of this machine.
        seeds: one run for each; empty: one for all.
        settings: epochs count; None: the paper's.
    """
    epochs, tiles = (settings or profile("paper")).epochs, training_tiles(root)
    names = {one.name: [seed_name(one.name, s) for s in seeds] if seeds else [one.name] for one in trainings}
    return [
        Planned(name, one.rows, state_of(root, name), one in mine, one.gpu_hours(tiles, epochs), one.disk_gb)
        for one in trainings
        for name in names[one.name]
    ]


def training_tiles(root: DataRoot) -> int:
    """Training tiles of a data root; the paper's number where it has none yet."""
    try:
        return len(root.usable("train", "strict"))
    except DataError:
        return int(load_toml("paper")["section3"]["training_tiles"]["value"])


def state_of(root: DataRoot, name: str) -> State:
    """How far a run is."""
    folder = RunFolder(root.runs / name)
    if folder.complete:
        return "scored" if (folder.path / "scores.json").is_file() else "trained"
    return "begun" if folder.started else "to do"


def lines_of_trainings(plan: Sequence[Planned], *, synthetic: bool) -> list[str]:
    """A line for each training, and their sum.

    Args:
        synthetic: small networks on two cores, whose time is minutes and not hours of a GPU.
    """
    width = max((len(one.name) for one in plan), default=0)
    lines = [
        f"{one.name:<{width}}  {one.state if one.mine else 'of another machine':<18}  {_cost(one, synthetic)}"
        f"  {', '.join(one.rows)}"
        for one in plan
    ]
    left = [one for one in plan if one.mine and one.missing]
    hours, disk = sum(one.gpu_hours for one in left), sum(one.disk_gb for one in left)
    total = f"{len(left)} of {count_of(len(plan), 'training')} to do here"
    if not left:
        return [*lines, total]
    cost = (
        f"about {2 * len(left)} minutes on two cores" if synthetic else f"about {hours:,.0f} GPU hours, {disk:.3g} GB"
    )
    return [*lines, f"{total}: {cost}"]


def _cost(one: Planned, synthetic: bool) -> str:
    return "~ 2 min" if synthetic else f"{one.gpu_hours:6.1f} GPU h  {one.disk_gb:5.2f} GB"


def lines_of_maps(root: DataRoot, tiles: int | None) -> list[str]:
    """A line for each public map: scored or not, and what its export would cost.

    Args:
        tiles: of the test split; None: of the sandbox, where requests cost nothing.
    """
    lines = []
    for name in products():
        scored = (root.folder / "products" / name / "scores.json").is_file()
        cost = "" if scored or tiles is None else f": {_cost_of_map(tiles)}"
        lines.append(f"{name:<13}  {'scored' if scored else 'to do'}{cost}")
    return lines


def _cost_of_map(tiles: int) -> str:
    low, high = (tiles * seconds / SECONDS_PER_HOUR / 100 for seconds in GUESSED_EECU_S)
    return f"{count_of(tiles, 'request')}, {low:.2g}-{high:.2g} EECU-hours (a guess: a hundredth of what pixels cost)"
