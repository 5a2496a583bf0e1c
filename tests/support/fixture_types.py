"""Types of the fixtures of ``conftest``."""

from collections.abc import Callable

from dwplus.pipeline.dataset.root import DataRoot

Run = Callable[..., tuple[int, str, str]]
"""Runs a command line: exit code, stdout, stderr."""

LayOut = Callable[..., DataRoot]
"""Lays out a data root of small tiles, as ``build`` leaves it before validation."""
