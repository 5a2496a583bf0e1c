"""The conformity table: programs in the words of the real client, and what Earth Engine's documentation says they give.

Each module has a list ``PROGRAMS`` of one kind; ``program`` says what a row is.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from support.conformity.program import Program


def programs() -> list[Program]:
    """Those of all modules, so that none is forgotten."""
    names = sorted(one.name for one in pkgutil.iter_modules(__path__) if one.name != "program")
    return [program for name in names for program in import_module(f"{__name__}.{name}").PROGRAMS]
