"""Runs averaged: a network whose probabilities are the mean of the calibrated probabilities of several runs.

It is a run like any other, with the weights of all its members in its own file, so that scores, reports, comparisons
and maps need to know nothing of it. Members read the same bands, normalised by the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..pipeline.errors import DataError, UsageError
from ..pipeline.spec.version import __version__
from .calibration import Calibration, without_focal
from .missing import for_missing_inputs
from .registry import make_network
from .run_config import RunConfig, run_name
from .runs import TILES, WEIGHTS, RunFolder, check_numbers

MODEL = "dwplus.model.ensemble:build"
"""What the configuration of such a run names as its network."""


class Ensemble(nn.Module):
    """Mean of calibrated probabilities.

    Args:
        networks: of the members.
        calibrations: gamma, temperature and biases of each, as ``Calibration`` has them.
    """

    def __init__(self, networks: Sequence[nn.Module], calibrations: Sequence[tuple[float, float, list[float]]]) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)
        self._calibrations = list(calibrations)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Logarithms of the mean probabilities: (B, C_p, H, W) and (B, C_a, H, W) -> float32 (B, K, H, W)."""
        total: Tensor | None = None
        for network, (gamma, temperature, biases) in zip(self.members, self._calibrations, strict=True):
            # A member may change its input in place.
            logits = without_focal(network(primary.clone(), auxiliary.clone()).float(), gamma) / temperature
            bias = torch.tensor(biases, dtype=logits.dtype, device=logits.device)[:, None, None]
            found = (logits + bias).softmax(dim=1)
            total = found if total is None else total + found
        assert total is not None
        return (total / len(self.members)).clamp(min=torch.finfo(total.dtype).tiny).log()


def build(*, primary_bands: int, auxiliary_bands: int, classes: int, members: Sequence[Mapping[str, Any]]) -> Ensemble:
    """The network of an ensemble's configuration, with fresh weights.

    Args:
        primary_bands, auxiliary_bands: of every member.
        classes: K.
        members: of each its ``model``, ``model_config``, ``tokens``, ``by_state``, ``gamma``, ``temperature`` and
            ``biases`` (K).

    Raises:
        ValueError: there is no member, or one has another number of biases than there are classes.
    """
    if not members or any(len(one["biases"]) != classes for one in members):
        raise ValueError(f"{len(members)} members with a bias for each of {classes} classes")
    networks = []
    for one in members:
        network = make_network(str(one["model"]), one["model_config"], where="member of an ensemble")
        if one["tokens"]:
            by_state = bool(one.get("by_state"))  # ensembles of earlier versions do not say it
            network = for_missing_inputs(network, primary_bands, auxiliary_bands, by_state=by_state)
        networks.append(network)
    found = [(float(one["gamma"]), float(one["temperature"]), [float(b) for b in one["biases"]]) for one in members]
    return Ensemble(networks, found)


def make_ensemble(members: Sequence[Path], run_dir: Path) -> RunConfig:
    """Write the run that averages others; its configuration.

    Each member is averaged as its calibration says (``Calibration.read``), one without as it is.

    Args:
        members: folders of complete runs.
        run_dir: of the new run; one that averages just these is left as it is.

    Raises:
        UsageError: fewer than two, one twice, runs that do not belong together, or another run has this name.
        DataError: a run is not complete or damaged.
    """
    run_name(run_dir.name)
    check_members(members)
    configs = [RunFolder(path).read_usable_config() for path in members]
    config = _config_of(members, configs)
    folder = RunFolder(run_dir)
    if folder.started:
        if folder.read_config().to_dict() != config.to_dict():
            raise UsageError(
                f"{run_dir} is another run, or these runs were calibrated or trained again since; choose another "
                "--ensemble NAME"
            )
        if folder.complete:
            return config
    state: dict[str, Tensor] = {}
    for number, path in enumerate(members):
        weights = RunFolder(path).read_weights()
        check_numbers(weights, where=str(path / WEIGHTS))
        state |= {f"members.{number}.{name}": values for name, values in weights.items()}
    folder.write_config(config)
    first = RunFolder(members[0])
    if (first.path / TILES).is_file():
        folder.write_json(TILES, first.read_json(TILES))
    folder.write_weights(WEIGHTS, state)  # the last: its presence means that the run is complete
    return config


def check_members(members: Sequence[Path]) -> None:
    """Make sure that runs can be averaged: complete, trained on the same data, reading the same bands.

    Raises:
        UsageError: they cannot; names two runs and what differs.
        DataError: a run is not complete.
    """
    if len(members) < 2 or len({path.resolve() for path in members}) < len(members):
        raise UsageError("name two or more different runs to average: dwplus score A B --ensemble NAME")
    first: RunConfig | None = None
    for path in members:
        folder = RunFolder(path)
        if not folder.complete:
            raise DataError(f"run {path.name} is not complete; resume with 'dwplus train --name {path.name}'")
        config = folder.read_usable_config()
        if config.published is not None:
            raise UsageError(f"{path.name} was trained elsewhere; runs that are averaged were trained on one data set")
        first = first or config
        for what, name in _SAME.items():
            ours, theirs = getattr(first.data, name), getattr(config.data, name)
            if ours != theirs:
                raise UsageError(
                    f"{members[0].name} and {path.name} cannot be averaged: their {what} differ ({_short(ours)} and "
                    f"{_short(theirs)})"
                )


_SAME = {
    "classes": "classes",
    "primary bands": "primary",
    "auxiliary bands": "auxiliary",
    "protocols": "protocol",
    "sources": "source",
    "data sets": "shards_hash",
    "levels of Sentinel-2": "s2_level",
    "kinds of Sentinel-2": "composite",
    "scalings of inputs": "input_scaling",
    "statistics": "statistics",
    "kinds of Sentinel-1": "radars",
}


def _short(value: object) -> str:
    text = " ".join(value) if isinstance(value, tuple) and all(isinstance(one, str) for one in value) else str(value)
    return (text or "none")[:60]


def _config_of(members: Sequence[Path], configs: Sequence[RunConfig]) -> RunConfig:
    data = configs[0].data
    names = data.classes.names
    documents = []
    for path, config in zip(members, configs, strict=True):
        found = Calibration.read(path)
        documents.append(
            {
                "run": path.name,
                "weights_sha256": next(reversed(RunFolder(path).sums().get(WEIGHTS, ())), ""),
                "model": config.model,
                "model_config": config.model_config,
                "tokens": config.tokens,
                **({"by_state": True} if config.by_state else {}),
                "gamma": 0.0 if found is None else found.gamma,
                "temperature": 1.0 if found is None else found.temperature,
                "biases": [0.0 if found is None else found.biases.get(name, 0.0) for name in names],
            }
        )
    built = [{key: value for key, value in one.items() if key not in ("run", "weights_sha256")} for one in documents]
    bands = {"primary_bands": len(data.primary), "auxiliary_bands": len(data.auxiliary), "classes": len(names)}
    made_of = [{key: one[key] for key in ("run", "weights_sha256")} for one in documents]
    return RunConfig(
        __version__, MODEL, {**bands, "options": {"members": built}}, {"ensemble": made_of}, data, configs[0].validation
    )
