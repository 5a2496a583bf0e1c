"""Splits of a data root, opened for a network: which bands it sees, what is left out, whether it was trained here."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from ..model.run_config import RunConfig
from ..pipeline.dataset.manifest import Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset, PixelMask, ReadFrom
from ..pipeline.errors import DataError
from ..pipeline.progress import Progress
from ..pipeline.spec.bands import preset
from ..pipeline.spec.words import count_of

READ_VARIABLE = "DWPLUS_READ"
"""Environment variable: ``shards`` or ``store`` where the choice of ``auto`` shall not do."""


@dataclass(frozen=True)
class Inputs:
    """What a network sees: names of band presets; ``none`` for no auxiliary input."""

    primary: str = "ms10"
    auxiliary: str = "sar"

    @property
    def bands(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return preset(self.primary), () if self.auxiliary == "none" else preset(self.auxiliary)

    def __str__(self) -> str:
        return self.primary if self.auxiliary == "none" else f"{self.primary}+{self.auxiliary}"


def open_split(root: DataRoot, split: str, protocol: Protocol, inputs: Inputs) -> Dataset:
    primary, auxiliary = inputs.bands
    return Dataset(root, split=split, protocol=protocol, primary=primary, auxiliary=auxiliary, read=_read_from())


def tiles_as_text(dataset: Dataset) -> list[str]:
    """What is said before a split is used: tiles that are left out, and tiles that are used in spite of an error."""
    lines = left_out_as_text(dataset)
    if dataset.waived:
        used = count_of(len(dataset), f"{dataset.split} tile")
        lines.append(
            f"{len(dataset.waived)} of {used} used although validation found an error in them, which waivers.toml "
            f"accepts ({_some(dataset.waived)})"
        )
    return lines


def say_new(lines: Collection[str], progress: Progress, told: set[str] | None) -> None:
    """Say those lines that were not ``told`` before, and remember them there; without it, all."""
    for line in lines:
        if told is None or line not in told:
            progress.say(line)
    if told is not None:
        told.update(lines)


def _some(names: Sequence[str]) -> str:
    return names[0] + ", ..." * (len(names) > 1)


def left_out_as_text(dataset: Dataset) -> list[str]:
    """``1 of 4 test tiles left out because ...``, one line per reason; empty where all tiles of the split are used."""
    total = len(dataset) + sum(len(one.tiles) for one in dataset.left_out)
    return [
        f"{len(one.tiles)} of {total} {dataset.split} tiles left out because {one.reason} ({_some(one.tiles)})"
        for one in dataset.left_out
    ]


def _read_from() -> ReadFrom:
    """Where samples are read from, by the environment; ``Dataset`` refuses what it does not know."""
    return cast(ReadFrom, os.environ.get(READ_VARIABLE, "auto"))


def trained_here(root: DataRoot, run: RunConfig) -> bool:
    """Whether a run was trained on this data set as it is now: its statistics are those of the same tiles."""
    protocol: Protocol = "paper" if run.data.protocol == "paper" else "strict"
    try:
        return root.statistics(protocol).shards_hash == run.data.shards_hash
    except DataError:
        return False


def open_as_trained(
    root: DataRoot, run: RunConfig, split: str, *, own: bool = True, mask: PixelMask = "dataset"
) -> Dataset:
    """A split with the bands and the protocol that a run was trained with.

    Args:
        own: the run was trained on this data set; otherwise its own statistics are enough.
        mask: which pixels count.
    """
    protocol: Protocol = "paper" if run.data.protocol == "paper" else "strict"
    return Dataset(
        root,
        split=split,
        protocol=protocol,
        primary=run.data.primary,
        auxiliary=run.data.auxiliary,
        read=_read_from(),
        trained_here=own,
        mask=mask,
        s2_level=run.data.s2_level,
    )
