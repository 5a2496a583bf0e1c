"""dwplus builds the Dynamic World+ data set and trains, scores and publishes SpecSAR-Former on it.

labels -> manifest -> export -> shards -> validate, normalise -> dataset -> train -> score -> report

From Python, nine names are enough to begin with; each is imported when it is first used:

- ``DataRoot``: a data set on disk, its records, and where its files lie.
- ``Dataset``: the tiles of a split as arrays.
- ``Recipe``: how pixels are chosen and averaged.
- ``profile``: settings of a training.
- ``train``: a network learns a data set.
- ``score``: how well it does.
- ``load``: a trained network.
- ``predict``: land-cover classes of a tile.
- ``show``: a data set, a tile, a run or a map on a map in a notebook.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .pipeline.spec.version import __version__

if TYPE_CHECKING:
    from .model.score import load, predict, score
    from .model.settings import profile
    from .model.train import train
    from .pipeline.dataset.root import DataRoot
    from .pipeline.dataset.samples import Dataset
    from .pipeline.spec.recipe import Recipe
    from .workflow.notebook.show import show

__all__ = ["DataRoot", "Dataset", "Recipe", "__version__", "load", "predict", "profile", "score", "show", "train"]

_HOMES = {
    "DataRoot": "pipeline.dataset.root",
    "Dataset": "pipeline.dataset.samples",
    "Recipe": "pipeline.spec.recipe",
    "load": "model.score",
    "predict": "model.score",
    "profile": "model.settings",
    "score": "model.score",
    "show": "workflow.notebook.show",
    "train": "model.train",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): ``import dwplus`` stays fast and loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
