"""Command line of a benchmark, with the ``--tiny`` mode that every benchmark has.

``--tiny`` runs the same code at a size that takes seconds, so that a test can run it. No bar applies to its figures.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import Any

TINY = "tiny: figures mean nothing"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with ``--tiny``; the docstring of the benchmark is its help."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--tiny", action="store_true", help="run the same code at a size that takes seconds")
    return made


def parse(made: argparse.ArgumentParser, **tiny: Any) -> argparse.Namespace:
    """Parse the command line.

    Args:
        tiny: defaults under ``--tiny``; what is given on the command line comes first.
    """
    if made.parse_known_args()[0].tiny:
        made.set_defaults(**tiny)
        print(TINY, flush=True)
    return made.parse_args()


def need(module: str, install: str) -> None:
    """End the program with a clear message where a package is not installed."""
    if importlib.util.find_spec(module) is None:
        sys.exit(f"this benchmark needs {module}, which is not installed: {install}")
