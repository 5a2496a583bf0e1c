"""The trainings that the paper's rows need, which rows share one, and what each would cost.

Ten networks, eight variants of components, six of inputs, three of widths and three losses: 30 rows, 25 trainings.
Comes after ``numbers``; ``workflow.reproduce`` carries the plan out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ...manifests import load_toml
from ...model.config import to_mapping
from ...model.cost import cost_of
from ...model.registry import MODELS, SMALL_SETTINGS, configure
from ...model.settings import profile
from ..machines import Machine
from ..splits import Inputs
from .numbers import PaperNumber, row_key
from .verdicts import Need

GPU_TFLOPS = 10.0
"""Useful operations a second of the GPU that hours are estimated for, in 1e12. An assumption: no GPU has been measured
(docs/performance.md)."""

PASSES = 3
"""Forward passes that a training step costs: the backward pass takes about two."""

TABLES_OF_FIGURES: Mapping[int, tuple[str, ...]] = {2: ("table1",), 3: (), 7: ("table1",), 8: ("losses",)}
"""Figure -> tables whose rows it shows; Fig. 3 needs labels alone."""


@dataclass(frozen=True)
class Training:
    """One network to train and score.

    Attributes:
        name: of the run.
        model: in the registry.
        inputs: what it sees.
        options: changes to the network's settings.
        loss: name in ``losses.LOSSES``.
        rows: of the paper that it stands for: ``table1.pspnet``, ``losses.ce``.
    """

    name: str
    model: str
    inputs: Inputs
    options: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "focal"
    rows: tuple[str, ...] = ()

    @property
    def small(self) -> Training:
        """The same with few channels, as the sandbox trains it."""
        return replace(self, model=f"{self.model}-small")

    @property
    def changes(self) -> dict[str, Any]:
        """Settings of the training that are its own, over those of a profile."""
        return {
            "model": self.model,
            **({"model_options": dict(self.options)} if self.options else {}),
            **({"loss": self.loss} if self.loss != "focal" else {}),
        }

    @property
    def parameters(self) -> int:
        """Of the network at full size, as the paper's rule counts them."""
        return cost_of(self._published).params

    @property
    def _published(self) -> str:
        return self.model.removesuffix("-small") if self.model not in MODELS else self.model

    def gpu_hours(self, tiles: int, epochs: int) -> float:
        """Hours of one GPU at ``GPU_TFLOPS``; a variant counts as its network, of which it is a part."""
        operations = cost_of(self._published).gflops_run * 1e9
        return PASSES * operations * tiles * epochs / (GPU_TFLOPS * 1e12) / 3600

    @property
    def disk_gb(self) -> float:
        """Of weights and two checkpoints, each of which has both moments of AdamW too."""
        return self.parameters * 4 * (1 + 2 * 3) / 1e9


_NAMES = {
    "table1.specsar-former": "specsar-s1s2",
    "table1.segformer": "segformer-s1s2",
    "table5.ms": "segformer-s2",
}
"""Names of runs that earlier versions trained; the others are called like their rows."""


@cache
def trainings() -> tuple[Training, ...]:
    """Every training that the paper's rows need, each once, in the order of the tables."""
    found: dict[str, Training] = {}
    for row in _rows():
        key = repr((row.model, _settings_of(row), row.inputs, row.loss))
        found[key] = replace(found[key], rows=(*found[key].rows, *row.rows)) if key in found else row
    return tuple(found.values())


def _settings_of(row: Training) -> Mapping[str, Any]:
    primary, auxiliary = row.inputs.bands
    return to_mapping(configure(row.model, len(primary), len(auxiliary), **row.options))


def _rows() -> Iterator[Training]:
    """A training for each row of the paper, equal ones among them."""
    paper = load_toml("paper")
    for name, model in MODELS.items():
        if model.paper is not None:
            yield _row(1, model.paper, name, Inputs(model.primary, model.auxiliary or "none"))
    own = MODELS["specsar-former"]
    both = Inputs(own.primary, own.auxiliary)
    for key, row in paper["table4"].items():
        yield _row(4, key, "specsar-former", both, row["model"])
    for key, row in paper["table5"].items():
        yield _row(5, key, row["model"], Inputs(row["primary"], row["auxiliary"] or "none"))
    for key, row in paper["table6"].items():
        name = "table6-" + "-".join(map(str, row["model"]["split"]))
        yield _row(6, key, "specsar-former", both, row["model"], name)
    for key, row in paper["losses"].items():
        yield Training(f"loss-{key}", "specsar-former", both, loss=row["loss"], rows=(f"losses.{key}",))


def _row(
    table: int, key: str, model: str, inputs: Inputs, options: Mapping[str, Any] | None = None, name: str = ""
) -> Training:
    row = row_key(table, key)
    plain = key if table == 1 else f"table{table}-{key}"
    return Training(name or _NAMES.get(row, plain), model, inputs, dict(options or {}), rows=(row,))


SANDBOX_ROWS = ("table1.specsar-former", "table1.segformer", "table5.ms")
"""What the sandbox trains where no table or figure is named: two networks, and what Sentinel-1 adds to one."""


def tables_wanted(tables: Collection[int], figures: Collection[int]) -> frozenset[str]:
    """Keys of the tables that are meant: ``table1``, ``losses``; all of them where nothing is named.

    Table III shows the networks of Table I; Table II is counted.
    """
    if not tables and not figures:
        return frozenset({"table1", "table2", "table4", "table5", "table6", "losses"})
    of_tables = {f"table{1 if table == 3 else table}" for table in tables}
    return frozenset(of_tables | {table for figure in figures for table in TABLES_OF_FIGURES[figure]})


def wanted(tables: Collection[int] = (), figures: Collection[int] = (), *, small: bool = False) -> list[Training]:
    """The trainings that tables and figures of the paper need; all where none is named.

    Args:
        small: those of the sandbox: few channels, and without a table or figure three networks alone.
    """
    keys = tables_wanted(tables, figures)
    chosen = [one for one in trainings() if any(row.partition(".")[0] in keys for row in one.rows)]
    if not small:
        return chosen
    if not tables and not figures:
        chosen = [one for one in chosen if any(row in SANDBOX_ROWS for row in one.rows)]
    return [one.small for one in chosen if one.model in SMALL_SETTINGS]


def wants_products(tables: Collection[int], figures: Collection[int]) -> bool:
    """Whether public maps are needed: for the row of Dynamic World, and for the pictures of Fig. 7."""
    return not (tables or figures) or 1 in tables or bool({2, 7} & {*figures})


# --- machines ---------------------------------------------------------------------------------------------------------


def share(trainings: Sequence[Training], machine: Machine) -> list[Training]:
    """The trainings of one machine: the longest goes first, each to the machine that has least to do.

    Every machine finds the same division, without being told anything of the others.
    """
    loads = [0.0] * machine.count
    mine = []
    for one in sorted(trainings, key=lambda t: (-t.gpu_hours(1, 1), t.name)):
        least = loads.index(min(loads))
        loads[least] += one.gpu_hours(1, 1)
        if least == machine.number - 1:
            mine.append(one)
    return [one for one in trainings if one in mine]


# --- what a number needs ----------------------------------------------------------------------------------------------


def need_of(number: PaperNumber) -> Need | None:
    """What it takes to have a number of the paper, of real pixels; None for those that are always there."""
    if number.kind == "speed":
        return Need(0.0, f"dwplus cost {_network_of(number.row)} --speed")
    if number.kind == "set":
        return Need(0.0, "dwplus build --region all --project MY-PROJECT")
    if number.row == "table1.dynamic-world":
        return Need(0.0, "dwplus build --products --split test && dwplus score --product dynamic-world")
    if number.kind not in ("score", "gain"):
        return None
    row = number.row.replace("table3.", "table1.")
    rows = (row, number.over) if number.over else (row,)
    needed = [one for one in trainings() if any(row in one.rows for row in rows)]
    table = {"1": "I", "4": "IV", "5": "V", "6": "VI"}[row[5]]
    hours = sum(one.gpu_hours(_tiles_of_paper(), profile("paper").epochs) for one in needed)
    return Need(hours, f"dwplus reproduce --scope paper --table {table} --project MY-PROJECT")


def _tiles_of_paper() -> int:
    return int(load_toml("paper")["section3"]["training_tiles"]["value"])


def _network_of(row: str) -> str:
    method = row.partition(".")[2]
    return next(name for name, model in MODELS.items() if model.paper == method)
