"""Splits of a data root as runs see them, each opened once for a page: forty runs of the same inputs share one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...pipeline.dataset.root import DataRoot
from ...pipeline.dataset.samples import Dataset
from ...pipeline.errors import DataError
from ..splits import open_as_trained
from .runs import Run


@dataclass(frozen=True)
class Opened:
    """A split; ``tiles_hash`` changes with any of its shards and labels."""

    dataset: Dataset
    tiles_hash: str


@dataclass
class OpenedSplits:
    """Splits that runs of a page were scored on."""

    root: DataRoot
    _known: dict[tuple[object, ...], Opened] = field(default_factory=dict)

    def of(self, run: Run) -> Opened:
        """The split that a run was scored on, with its bands and its protocol.

        Raises:
            DataError: the split is empty, or the data set is not validated, or has changed since then.
            UsageError: the data set lacks a band.
        """
        data, split = run.config.data, run.scores.split
        key = (split, data.protocol, data.primary, data.auxiliary, data.s2_level)
        if key not in self._known:
            dataset = open_as_trained(self.root, run.config, split)
            self._known[key] = Opened(dataset, dataset.tiles_hash)
        return self._known[key]

    def is_stale(self, run: Run) -> bool:
        """Whether the data set has changed since the run was scored."""
        try:
            now = self.of(run)
        except DataError:
            return True
        shards_hash = now.dataset.statistics.shards_hash
        other_training = run.config.published is None and shards_hash != run.config.data.shards_hash
        return other_training or now.tiles_hash != run.scores.tiles_hash
