"""Runs as the report shows them: read one by one, so that a run that cannot be read never ends the page.

Comes after training and scoring; ``comparison`` sets runs beside the paper's rows and beside each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...model.config import from_mapping, to_mapping
from ...model.metrics import TileCounts, overall
from ...model.registry import NetworkConfig, spec
from ...model.run_config import RunConfig
from ...model.runs import RunFolder
from ...model.scores.document import Scores
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError, DwplusError, in_brief
from ...pipeline.spec.version import __version__
from ...pipeline.spec.words import count_of

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

_LARGEST_NUMBER = 2**63


@dataclass(frozen=True)
class Run:
    """A scored run.

    Attributes:
        rows: of ``metrics.jsonl``, one an epoch; empty where they cannot be read.
        faults: what cannot be read of it, a sentence each; its scores can.
    """

    name: str
    folder: Path
    config: RunConfig
    scores: Scores
    rows: list[dict[str, Any]]
    faults: tuple[str, ...] = ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands that it sees, the primary input's first."""
        return (*self.config.data.primary, *self.config.data.auxiliary)

    @property
    def inputs(self) -> str:
        """``S2 (10) + S1 (2)``."""
        optical = sum(band.startswith("B") for band in self.bands)
        radar = len(self.bands) - optical
        parts = [f"S2 ({optical})" if optical else "", f"S1 ({radar})" if radar else ""]
        return " + ".join(part for part in parts if part)


@dataclass
class Faults:
    """What could not be read of which run, collected while a page is made.

    Attributes:
        sentences: run -> sentences, in the order in which they were met.
    """

    sentences: dict[str, list[str]] = field(default_factory=dict)

    def add(self, run: str, sentence: str) -> None:
        known = self.sentences.setdefault(run, [])
        if sentence not in known:
            known.append(sentence)

    def attempt(self, run: Run, read: Callable[[], T], otherwise: T) -> T:
        """What ``read`` gives; ``otherwise`` where it fails, and the sentence is kept."""
        try:
            return read()
        except Exception as error:  # a run of another version fails in ways that nobody can list
            self.add(run.name, sentence_of(error, run.folder))
            return otherwise


def sentence_of(error: Exception, place: Path) -> str:
    """An error as one line that says where; our own errors say it themselves."""
    words = " ".join(str(error).split())
    if isinstance(error, DwplusError):
        return words
    kind = type(error).__name__
    return f"{place} cannot be read ({kind}: {in_brief(error)}); train again under another name"


# --- reading ----------------------------------------------------------------------------------------------------------


def scored_runs(root: DataRoot) -> list[Run]:
    """Runs whose scores on the test split and settings can be read, in order of their names."""
    return [outcome for _, outcome in _outcomes(root) if isinstance(outcome, Run)]


def unreadable_runs(root: DataRoot) -> dict[str, str]:
    """Runs with scores or settings that cannot be read: name -> a sentence that says why and what to do."""
    return {name: outcome for name, outcome in _outcomes(root) if isinstance(outcome, str)}


def unscored_runs(root: DataRoot) -> dict[str, str]:
    """Runs without scores on the test split: name -> what to do."""
    found = {}
    for path in sorted(root.runs.glob("*/config.json")):
        name, folder = path.parent.name, RunFolder(path.parent)
        if not (path.parent / "scores.json").exists():
            what_next = f"dwplus score runs/{name}" if folder.complete else f"dwplus train --name {name}"
            found[name] = root.command(what_next)
    return found


def _outcomes(root: DataRoot) -> list[tuple[str, Run | str]]:
    """(name, the run or why it cannot be read) of each run with scores."""
    outcomes: list[tuple[str, Run | str]] = []
    for path in sorted(root.runs.glob("*/scores.json")):
        try:
            outcomes.append((path.parent.name, _scored_run(root, path)))
        except Exception as error:  # whatever is wrong with one run is no reason to hide the others
            outcomes.append((path.parent.name, sentence_of(error, path)))
    return outcomes


def _scored_run(root: DataRoot, path: Path) -> Run:
    folder, name = RunFolder(path.parent), path.parent.name
    try:
        scores = checked_scores(Scores.from_dict(folder.read_json(path.name)))
    except (DataError, TypeError, ValueError, AttributeError) as error:
        # ``from_dict`` ends its own sentences with what to do.
        words = in_brief(error).partition("; score the run again")[0].removeprefix(f"{path} ")
        again = root.command(f"dwplus score runs/{name}")
        raise DataError(f"{path} {words}; score the run again, with '{again}'") from None
    config = folder.read_config()
    if scores.matrix.names != config.data.classes.names:
        raise DataError(
            f"{path} is of {count_of(len(scores.matrix.names), 'class', 'classes')}, the run of "
            f"{len(config.data.classes)}; score the run again, with '{root.command(f'dwplus score runs/{name}')}'"
        )
    rows, faults = _epoch_rows(folder) if config.has_training else ([], ())
    if not folder.complete:
        faults = (*faults, f"{folder.weights} is missing: no predictions are drawn; resume with 'dwplus train'")
    return Run(name, path.parent, config, scores, rows, faults)


def checked_scores(scores: Scores) -> Scores:
    """The same scores, whose fields are of the kinds that pages print.

    Raises:
        DataError: one is not.
    """
    kinds: dict[str, tuple[object, type]] = {
        **{key: (getattr(scores, key), str) for key in ("split", "protocol", "source", "model", "tiles_hash")},
        **{key: (getattr(scores, key), Real) for key in ("tiles", "seconds", "fps")},
        "majority.class": (scores.majority[0], str),
        "majority.oa": (scores.majority[1], Real),
    }
    for key, (value, kind) in kinds.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(f"{key} is {in_brief(repr(value))}")
        if isinstance(value, int | float) and not 0 <= value < _LARGEST_NUMBER:
            raise DataError(f"{key} is {value}; it must be a number from 0 on")
    return scores


def _epoch_rows(folder: RunFolder) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Rows of the run's epochs, and a sentence where they cannot be read."""
    path = folder.path / "metrics.jsonl"
    if not path.exists():
        return [], (f"{path} is missing: its curves are not drawn",)
    try:
        rows = folder.read_rows()
        _check_rows(rows, path)
    except (DwplusError, OSError, RecursionError) as error:
        return [], (sentence_of(error, path),)
    return rows, ()


def _check_rows(rows: list[Any], path: Path) -> None:
    """Make sure that each row has the numbers that curves are drawn of.

    Raises:
        DataError: one has not.
    """
    for number, row in enumerate(rows, 1):
        numbers = [row.get(key) for key in ("epoch", "loss", "seconds")] if isinstance(row, dict) else [None]
        if isinstance(row, dict) and row.get("miou") is not None:
            numbers.append(row["miou"])
        if not all(isinstance(value, Real) and not isinstance(value, bool) for value in numbers):
            raise DataError(f"{path}: line {number} is no row of an epoch; train again under another name")


# --- what follows from a run ------------------------------------------------------------------------------------------


def overall_scores(run: Run) -> dict[str, float]:
    """Every overall metric of a run by key, 0..1."""
    return {metric.key: metric.value(TileCounts(run.scores.matrix)) for metric in overall()}


def network_settings(config: RunConfig) -> NetworkConfig:
    """Settings of a run's network, with the bands that it sees; what the run does not name is the network's default.

    Raises:
        DataError: this version has no such network or setting, or the settings do not fit each other.
    """
    bands = {"primary_bands": len(config.data.primary), "auxiliary_bands": len(config.data.auxiliary)}
    try:
        defaults = spec(config.model).defaults
        settings: NetworkConfig = from_mapping(
            type(defaults), {**to_mapping(defaults), **bands, **config.model_config}, where="config.json"
        )
    except (DwplusError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        words = in_brief(error)
        raise DataError(
            f"this dwplus ({__version__}) cannot make its network ({words}); read it with dwplus {config.dwplus}, "
            "which trained it"
        ) from None
    return settings


def parameters_of(run: Run) -> int:
    """Parameters of the run's own network, as it was configured.

    Raises:
        DataError: this version cannot make it.
        UsageError: an extra is missing.
    """
    network = _without_weights(run.config.model, network_settings(run.config))
    return sum(parameter.numel() for parameter in network.parameters())


def _without_weights(model: str, settings: NetworkConfig) -> nn.Module:
    """The network on the meta device, where it can be made there."""
    from ...model.without_weights import without_weights

    try:
        with without_weights():
            return spec(model).network(settings)
    except (RuntimeError, NotImplementedError):  # some encoders of the extra compute while they are made
        return spec(model).network(settings)


def summary_json(root: DataRoot) -> str:
    """Scores of all runs of a data root as one JSON document; a run that cannot be read has an ``error``."""
    documents: list[dict[str, Any]] = [{"run": run.name, **run.scores.to_dict()} for run in scored_runs(root)]
    documents += [{"run": name, "error": sentence} for name, sentence in unreadable_runs(root).items()]
    return json.dumps(sorted(documents, key=lambda document: str(document["run"])), indent=1)
