"""Command lines and scripts in this process: without the seconds in which a process of its own loads the libraries."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from dwplus import cli


@contextlib.contextmanager
def as_in(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """As a program that was started with these words in a folder; with ``environment`` instead of this one."""
    variables = os.environ if environment is None else environment
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", [*words]),
        mock.patch.object(sys, "path", [*sys.path]),
        mock.patch.dict(os.environ, dict(variables), clear=True),
    ):
        yield


def run_here(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run a ``dwplus`` command line in a folder: exit code, stdout, stderr, as ``subprocess.run`` gives them."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        as_in(cwd, "dwplus", *arguments, environment=environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_script(path: Path) -> str:
    """Run a script beside its modules, in its folder; what it printed."""
    out = io.StringIO()
    with as_in(path.parent, path.name), contextlib.redirect_stdout(out):
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
    return out.getvalue()
