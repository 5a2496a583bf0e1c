"""Networks from outside: a function of a module, or an entry point of an installed package, becomes a network by name.

``--model my_module:build`` names a function or a class that is called with ``primary_bands``, ``auxiliary_bands``,
``classes`` and the options of ``--set model_options={width=32}``, all by name, and gives an ``nn.Module`` whose
``forward(primary, auxiliary)`` gives logits (B, classes, H, W) of the input's size. Packages offer such functions under
names of their own, as entry points of the group ``dwplus.networks``. A run records the name: scoring it imports the
module again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..pipeline.errors import UsageError
from ..pipeline.spec.classes import DYNAMIC_WORLD

GROUP = "dwplus.networks"
"""Group of entry points."""


@dataclass(frozen=True)
class OutsideConfig:
    """Settings of a network from outside.

    Attributes:
        primary_bands, auxiliary_bands: channels of the two inputs; the auxiliary one may have none.
        classes: logits.
        options: whatever else its function takes.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """A function from outside, called with settings as networks of the registry are."""

    function: Callable[..., Any]

    def __call__(self, config: OutsideConfig) -> nn.Module:
        """Raises TypeError where it takes other arguments, or gives no ``nn.Module``."""
        network = self.function(
            primary_bands=config.primary_bands,
            auxiliary_bands=config.auxiliary_bands,
            classes=config.classes,
            **config.options,
        )
        if not isinstance(network, nn.Module):
            raise TypeError(f"it gives {type(network).__name__}, not an nn.Module")
        return network


def names_a_function(name: str) -> bool:
    """Whether a name of a network is of the form ``module:function``."""
    return ":" in name


def of_module(name: str) -> Any:
    """What ``module:function`` names; modules in the current folder are found too.

    Raises:
        UsageError: there is no such module or function, or the module cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"model {name!r}: write MODULE:FUNCTION, for example my_module:build")
    return _attribute(_module(module_name, name), attribute, name)


def _module(module_name: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # the last place: a file of the current folder never hides a package
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise UsageError(
                f"model {name!r}: there is no module {missing!r}; start the command in the folder that holds it, or "
                "install it"
            ) from None
        raise UsageError(f"model {name!r}: {module_name} needs {missing}, which is not installed") from None
    except Exception as error:  # whatever a module of somebody else does when it is imported
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"model {name!r}: {module_name} cannot be imported ({type(error).__name__}: {reason})"
        ) from error


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    found = getattr(module, attribute, None)
    if not callable(found):
        raise UsageError(f"model {name!r}: {module.__name__} has no function or class {attribute!r}")
    return found


@cache
def installed() -> dict[str, EntryPoint]:
    """Entry points of installed packages, by the name of the network."""
    return {point.name: point for point in entry_points(group=GROUP)}


def of_entry_point(name: str) -> Any:
    """What an entry point names: a function as of ``of_module``, or a row of the registry.

    Raises:
        UsageError: it cannot be imported.
    """
    point = installed()[name]
    try:
        return point.load()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"model {name!r}: entry point {point.value} cannot be imported ({type(error).__name__}: {reason})"
        ) from error
