"""What a run is, as its ``config.json`` says: settings, data, beginning and computers. No files in here.

``runs`` reads and writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from torch import nn

from ..pipeline.errors import UsageError, in_brief
from ..pipeline.spec.bands import BANDS, Composite, S2Level, composite_as_text
from ..pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from ..pipeline.spec.radar import Radar
from ..pipeline.spec.sources import Source
from ..pipeline.spec.words import count_of
from .config import from_mapping, to_mapping
from .loader import InputScaling, Normaliser, TileSet, composite_of, plain_statistics, planet_of, radars_of
from .missing import for_missing_inputs
from .registry import completed, make_network, older_form, spec
from .training_range import fault_of, ranges_of

MAY_DIFFER = frozenset(
    {
        *("dwplus", "train.workers", "train.keep_mb", "train.tracker", "train.device", "computing"),
        *("train.batch_per_device", "train.checkpoint_minutes", "train.pictures_every", "train.init", "initial.given"),
    }
)
"""Keys that a run may be resumed with others of. ``computing`` is written down each time that it changes."""


_LAST_UNRECORDED_PLANET = 2
"""Version of the synthetic planet of runs that do not record one."""


@dataclass(frozen=True)
class DataCard:
    """The data that a network was trained on.

    Attributes:
        primary, auxiliary: band names.
        protocol: ``strict`` or ``paper``.
        source: where the pixels came from.
        shards_hash: of the training shards and labels.
        tiles: number of training tiles.
        class_counts: training pixels of each class.
        statistics: (mean, std) by band of what is normalised, see ``input_scaling``.
        classes: the class table of the labels; runs of versions that recorded none had Dynamic World's.
        radars: how the Sentinel-1 that was read was made; empty where none was, or in a run of an earlier version.
        planet: version of the synthetic planet that the pixels show; None for real ones, or in a run of an earlier
            version.
        input_scaling: what is normalised of Sentinel-2: ``linear``: reflectance; ``log``: log(1 + 0.005 DN).
        s2_level: of Sentinel-2: surface reflectance (L2A), or that at the top of the atmosphere (L1C).
        composite: what Sentinel-2 was of several scenes; None for single scenes.
        ranges: 0.1 and 99.9 % percentile of each band in the training split, in its unit (``training_range``); empty
            where they are not known, as in a run of an earlier version.
    """

    primary: tuple[str, ...]
    auxiliary: tuple[str, ...]
    protocol: str
    source: str
    shards_hash: str
    tiles: int
    class_counts: tuple[int, ...]
    statistics: dict[str, tuple[float, float]]
    classes: ClassTable = DYNAMIC_WORLD
    radars: tuple[Radar, ...] = ()
    planet: int | None = None
    input_scaling: InputScaling = "linear"
    s2_level: S2Level = "L2A"
    composite: Composite | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, tiles: TileSet, input_scaling: InputScaling = "linear") -> DataCard:
        return cls(
            primary=tuple(tiles.primary),
            auxiliary=tuple(tiles.auxiliary),
            protocol=tiles.protocol,
            source=tiles.source,
            shards_hash=tiles.statistics.shards_hash,
            tiles=len(tiles),
            class_counts=tuple(int(pixels) for pixels in tiles.statistics.class_counts),
            statistics=plain_statistics(tiles, input_scaling),
            classes=tiles.classes,
            radars=radars_of(tiles),
            planet=planet_of(tiles),
            input_scaling=input_scaling,
            composite=composite_of(tiles),
            ranges=ranges_of(tiles),
        )

    def composite_difference(self, other: Composite | None) -> str:
        """How the Sentinel-2 of a data set or an image differs from that trained on; empty where it does not."""
        if other == self.composite or not any(BANDS[band].sensor == "S2" for band in (*self.primary, *self.auxiliary)):
            return ""
        return f"{composite_as_text(other)} of Sentinel-2, not {composite_as_text(self.composite)}"

    def planet_difference(self, other: int | None) -> str:
        """How the synthetic planet of a data set differs from the one trained on, as text; empty where it does not.

        Args:
            other: version of the data set's planet; None where it is not known.
        """
        ours = self.planet or (_LAST_UNRECORDED_PLANET if Source.of(self.source).synthetic else None)
        if None in (ours, other) or ours == other:
            return ""
        return f"version {other} of the synthetic planet, not version {ours}"

    def fault(self) -> str:
        """Why no network can have been trained on this, as text; empty where one can."""
        unknown = [name for name in (*self.primary, *self.auxiliary) if name not in BANDS]
        if unknown or not self.primary:
            named = in_brief((*self.primary, *self.auxiliary))
            return f"its bands are {named}; there are {', '.join(BANDS)}"
        if missing := [name for name in (*self.primary, *self.auxiliary) if name not in self.statistics]:
            return f"there are no statistics of band {', '.join(missing)}"
        if not all(isfinite(number) for pair in self.statistics.values() for number in pair):
            return "a mean or a deviation is not a number"
        if wrong := fault_of(self.ranges, (*self.primary, *self.auxiliary)):
            return wrong
        classes, counts = len(self.classes), (*self.class_counts, self.tiles)
        if len(self.class_counts) != classes or not all(0 <= n < 2**63 for n in counts):
            return f"numbers of tiles and of pixels are counts from 0 on, those of pixels one for each of {classes}"
        return "" if self.protocol in ("strict", "paper") else f"protocol is {in_brief(self.protocol)}"

    def normaliser(self) -> Normaliser:
        return Normaliser(self.primary, self.auxiliary, self.statistics, self.input_scaling)


@dataclass(frozen=True)
class Initial:
    """What a run began with, where that are weights trained before (``transfer.py``).

    Attributes:
        given: the run or file, as it was named.
        sha256: of its file of weights.
        model: the network of that run; empty for a file that belongs to none.
        taken: number of weights that were taken as they were.
        partly: weights that were taken for some bands or classes.
        anew: weights of which nothing was taken.
        classes: classes that began as those of the same name.
        mapped: (class, class of Dynamic World) of those that began as the class that they map to.
        bands: bands that are read as before, with the statistics of that run.
        tiles_known: it is recorded which tiles the weights were trained on.
        shared_blocks: those of these tiles that share a geographic block with val or test tiles.
        accepted: what of the data differs from what the weights were trained on, and was accepted.
    """

    given: str
    sha256: str
    model: str
    taken: int
    partly: tuple[str, ...]
    anew: tuple[str, ...]
    classes: tuple[str, ...]
    mapped: tuple[tuple[str, str], ...]
    bands: tuple[str, ...]
    tiles_known: bool
    shared_blocks: tuple[str, ...]
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """Whose weights a run is, where they were trained elsewhere and imported (``published.py``).

    Attributes:
        origin: where they are published.
        sha256: of the files that they were read from.
        licence: by its SPDX name.
    """

    origin: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Computing:
    """What a run was computed on: its weights depend on it in their last digits, and with dropout in more.

    Attributes:
        from_epoch: first epoch (from 1) that was computed so.
        processes: how many trained together.
        device: kind of device, ``cpu`` or ``cuda``.
        from_step: optimiser steps of that epoch that were done before.
        batch_per_device: samples at a time on each; 0 for a run of an earlier version.
        precision: what the network really computed in, whatever was asked for: ``bf16`` where autocast was on, else
            ``fp32``, or ``fp32, convolutions tf32`` on GPUs that round the inputs of convolutions.
        device_name: of the first process's GPU or processor; empty for a run of an earlier version, or where the system
            does not say.
        versions: of the packages that compute, and of dwplus, by name; empty for a run of an earlier version.
    """

    from_epoch: int
    processes: int
    device: str
    precision: str
    from_step: int = 0
    batch_per_device: int = 0
    device_name: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        at_once = f", {count_of(self.batch_per_device, 'sample')} at a time" if self.batch_per_device else ""
        return f"{self.processes} x {self.device} in {self.precision}{at_once}"

    @property
    def begins(self) -> tuple[int, int]:
        """Epoch and steps done in it: the order of these records."""
        return self.from_epoch, self.from_step

    def same_as(self, other: Computing) -> bool:
        """Whether nothing but the beginning differs, as far as both know."""
        found = replace(self, from_epoch=other.from_epoch, from_step=other.from_step)
        return found.completed(other) == other

    def completed(self, other: Computing) -> Computing:
        """With the name of the device and the versions of ``other``, where an earlier version recorded none."""
        return self if self.versions else replace(self, device_name=other.device_name, versions=other.versions)

    def beside(self, other: Computing) -> str:
        """As text, with the device's name and the versions that differ from those of ``other``."""
        name = f" on {self.device_name}" if self.device_name != other.device_name else ""
        packages = [name for name in self.versions if self.versions[name] != other.versions.get(name)]
        return "".join([str(self), name, *(f", {package} {self.versions[package]}" for package in packages)])


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run learns.

    Attributes:
        dwplus: version that started it.
        model: name in the registry.
        model_config: the network's settings, resolved.
        train: ``TrainConfig``, as plain values.
        data: what it is trained on.
        validation: split that is scored after each epoch, or None.
        initial: weights trained before that it began with, or None.
        computing: what it was computed on, in the order of epochs; empty for a run of an earlier version.
        tokens: the network reads learned values where an input has no data (``missing.for_missing_inputs``).
        by_state: it has statistics of norms for each state of the inputs too (``input_states``); runs of earlier
            versions with tokens have not.
        published: whose weights it is, where nothing was trained here; else None.
    """

    dwplus: str
    model: str
    model_config: dict[str, Any]
    train: dict[str, Any]
    data: DataCard
    validation: str | None = None
    initial: Initial | None = None
    computing: tuple[Computing, ...] = ()
    tokens: bool = False
    by_state: bool = False
    published: Published | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the runs that this one averages; empty for one that was trained."""
        return tuple(str(one["run"]) for one in self.train.get("ensemble") or ())

    @property
    def network_title(self) -> str:
        """The network's name in the registry; of an average, what it averages."""
        return f"average of {', '.join(self.members)}" if self.members else self.model

    @property
    def has_training(self) -> bool:
        """It has epochs, a seed and settings of its own: neither weights from elsewhere nor an average of runs."""
        return self.published is None and not self.members

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what runs of earlier versions do not have is left out where it says nothing."""
        document = to_mapping(self)
        if self.data.classes == DYNAMIC_WORLD:
            del document["data"]["classes"]
        if self.data.planet is None:
            del document["data"]["planet"]
        if self.data.s2_level == "L2A":
            del document["data"]["s2_level"]
        if self.data.composite is None:
            del document["data"]["composite"]
        if not self.data.ranges:
            del document["data"]["ranges"]
        if self.published is None:
            del document["published"]
        if self.initial is None:
            del document["initial"]
        elif not self.initial.accepted:
            del document["initial"]["accepted"]
        if not self.tokens:
            del document["tokens"]
        if not self.by_state:
            del document["by_state"]
        return document

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str) -> RunConfig:
        """Settings that an older version recorded build the network that it built (``registry.completed``)."""
        config = from_mapping(cls, mapping, where=where)
        return replace(config, model_config=completed(config.model, config.model_config))

    def network(self, *, where: str) -> nn.Module:
        """The network with fresh weights.

        Raises:
            UsageError: its settings do not fit; ``where`` they are from stands in the message.
        """
        made = make_network(self.model, self.model_config, where=where)
        if not self.tokens:
            return made
        fewest, bands = spec(self.model).min_batch, (len(self.data.primary), len(self.data.auxiliary))
        return for_missing_inputs(made, *bands, by_state=self.by_state, fewest=fewest)

    def resuming(self, begun: RunConfig) -> RunConfig:
        """These settings, with those of ``begun`` where a default has changed since then and nobody chose a value.

        What a run of an earlier version does not record of its data stays unrecorded.
        """
        if not begun.data.radars:
            self = replace(self, data=replace(self.data, radars=()))
        if begun.data.planet is None:
            self = replace(self, data=replace(self.data, planet=None))
        if not begun.data.ranges:
            self = replace(self, data=replace(self.data, ranges={}))
        if begun.tokens and not begun.by_state and not self.train.get("drop_views"):
            # Views were trained in another way too: their runs are refused.
            self = replace(self, by_state=False)
        if begun.model != self.model:
            return self
        chosen = self.train.get("model_options") or {}
        kept = {key: begun.model_config[key] for key in older_form(self.model) if key not in chosen}
        return replace(self, model_config={**self.model_config, **kept})


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def run_name(text: str) -> str:
    """The name of a run, once it is known to be one: it names a folder, a row of tables and a line of figures.

    Raises:
        UsageError: it is empty, too long, or holds something else than letters, digits, ``.``, ``_`` and ``-``.
    """
    if _NAME.fullmatch(text) is None:
        raise UsageError(
            f"{text[:60]!r} is no name of a run: write 1 to 100 letters, digits, '.', '_' and '-', the first of them a "
            "letter, a digit or '_'"
        )
    return text


def differing_keys(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Dotted keys, sorted, whose values differ; ``MAY_DIFFER`` left out."""
    one, other = _flat(wanted), _flat(found)
    differ = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    return sorted(differ - MAY_DIFFER)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
