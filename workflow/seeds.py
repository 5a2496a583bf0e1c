"""Runs that differ in their seed alone: trained by one command under one name, and told as one row.

``--seeds 0,1,2`` trains ``<name>-s0``, ``<name>-s1`` and ``<name>-s2``; ``score`` and ``report`` know them as one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..model.metrics import or_none
from ..model.run_config import RunConfig, differing_keys
from ..model.runs import RunFolder
from ..model.scores.document import Scores
from ..model.scores.intervals import Bounds
from ..model.scores.words import bounds as bounds_as_text
from ..model.settings import TrainConfig
from ..pipeline.dataset.root import DataRoot
from ..pipeline.errors import DataError, UsageError
from ..pipeline.spec.words import count_of

_NO_BOUNDS: Mapping[str, Bounds | None] = {}
_SEEDS = re.compile(r"\s*[0-9]{1,18}\s*(,\s*[0-9]{1,18}\s*)*")
_OF_A_SEED = re.compile(r"(.+)-s(\d+)")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds out of ``0,1,2``.

    Raises:
        UsageError: they are no whole numbers from 0 on, or one comes twice.
    """
    seeds = tuple(int(part) for part in text.split(",")) if _SEEDS.fullmatch(text) else ()
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text}: write different whole numbers, such as --seeds 0,1,2")
    return seeds


def seed_name(name: str, seed: int) -> str:
    """Name of the run of one seed."""
    return f"{name}-s{seed}"


def settings_of_seeds(name: str, settings: TrainConfig, seeds: Sequence[int]) -> dict[str, TrainConfig]:
    """Name of each run -> its settings."""
    return {seed_name(name, seed): replace(settings, seed=seed) for seed in seeds}


def find_run(root: DataRoot, given: str) -> Path:
    """Folder of a run that was named by path, by ``runs/<name>`` or by name alone.

    Raises:
        DataError: there is no such run; names those there are.
    """
    below = root.runs / given.removeprefix("runs/")
    # Where runs lie in a folder of their own, one of the data set is not meant, whatever its name.
    for path in (Path(given), root.folder / given, below) if root.runs_folder is None else (below, Path(given)):
        if RunFolder(path).started:
            return path
    runs = sorted(path.parent.name for path in root.runs.glob("*/config.json"))
    there = f"there are {', '.join(runs)}" if runs else "there is none yet: run 'dwplus train'"
    raise DataError(f"no run {given!r} in {root}; {there}")


def find_runs(root: DataRoot, given: str) -> list[Path]:
    """Folders of the run that was named (``training.find_run``), or of those of several seeds, in order of the seeds.

    Raises:
        DataError: there is no such run.
    """
    try:
        return [find_run(root, given)]
    except DataError:
        below = root.runs / given.removeprefix("runs/")
        found = {
            int(match[2]): path
            for path in below.parent.glob(f"{below.name}-s*")
            if (match := _OF_A_SEED.fullmatch(path.name)) and match[1] == below.name and RunFolder(path).started
        }
        if not found:
            raise
        return [found[seed] for seed in sorted(found)]


@dataclass(frozen=True)
class Spread:
    """Mean of a score over seeds, and its standard deviation (of a sample); None with one seed."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        """``43.10 % ± 0.52``."""
        if isnan(self.mean):
            return "-"
        return f"{self.mean:.2%}" + ("" if self.deviation is None else f" ± {100 * self.deviation:.2f}")


def spread(values: Sequence[float | None]) -> Spread:
    """Of the values that are numbers."""
    known = [value for value in values if value is not None and not isnan(value)]
    if not known:
        return Spread(float("nan"), None)
    return Spread(mean(known), stdev(known) if len(known) > 1 else None)


def groups_of(configs: Mapping[str, RunConfig]) -> dict[str, list[str]]:
    """Runs that differ in nothing but their seeds, two or more: common name -> names of runs, in order of the seeds."""
    by_name: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, config in configs.items():
        match = _OF_A_SEED.fullmatch(name)
        if match and config.train.get("seed") == int(match[2]):
            by_name[match[1]].append((int(match[2]), name))
    groups = {name: [one for _, one in sorted(members)] for name, members in by_name.items() if len(members) > 1}
    return {name: members for name, members in groups.items() if _same_but_seeds([configs[one] for one in members])}


def _same_but_seeds(configs: Sequence[RunConfig]) -> bool:
    first = configs[0].to_dict()
    return all(set(differing_keys(first, one.to_dict())) <= {"train.seed"} for one in configs[1:])


def check_one_training(runs: Sequence[Path]) -> None:
    """Make sure that runs differ in their seeds alone.

    Raises:
        UsageError: they do not; names a setting.
    """
    first = RunFolder(runs[0]).read_usable_config().to_dict()
    for path in runs[1:]:
        keys = [k for k in differing_keys(first, RunFolder(path).read_usable_config().to_dict()) if k != "train.seed"]
        if keys:
            raise UsageError(
                f"runs {runs[0].name} and {path.name} differ in {', '.join(keys[:3])}, not in their seeds alone; score "
                "them one by one"
            )


def scores_of_seeds(
    name: str, scores: Mapping[str, Scores], metrics: Sequence[Any], bounds: Mapping[str, Bounds | None] = _NO_BOUNDS
) -> dict[str, Any]:
    """The document of several seeds, for JSON: mean, deviation and interval of each overall score; scores of each run.

    Args:
        bounds: 95 % intervals of the means by metric, as ``comparing.seed_bounds`` gives them.
    """
    documents = {run: one.to_dict() for run, one in scores.items()}
    spreads = {m.key: spread([document[m.key] for document in documents.values()]) for m in metrics}
    return {
        "run": name,
        "runs": list(scores),
        **{
            key: {"mean": or_none(one.mean), "deviation": one.deviation, "interval": bounds.get(key)}
            for key, one in spreads.items()
        },
        "scores": documents,
    }


def as_text(
    name: str, scores: Mapping[str, Scores], metrics: Sequence[Any], bounds: Mapping[str, Bounds | None] = _NO_BOUNDS
) -> list[str]:
    """One row for all seeds, then one for each class; ``bounds`` as of ``scores_of_seeds``."""
    documents = [one.to_dict() for one in scores.values()]
    words = [
        f"{m.title} {spread([document[m.key] for document in documents])} "
        f"{bounds_as_text(bounds.get(m.key), m)}".rstrip()
        for m in metrics
    ]
    lines = [f"{name}: {'  '.join(words)}  ({count_of(len(scores), 'seed')})"]
    for class_name in documents[0]["classes"]:
        found = spread([document["classes"][class_name]["iou"] for document in documents])
        lines.append(f"  {class_name:<20} IoU {'absent' if isnan(found.mean) else found}")
    return lines
