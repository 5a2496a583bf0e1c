"""Fixtures shared by the tests: tiles, data roots, real data."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from dwplus import cli
from dwplus.pipeline.spec.tiles import Tile
from support.fixture_types import LayOut, Run
from support.paths import REAL_DATA
from support.roots import lay_out_ready_root, lay_out_root
from support.tiles import make_tile

# Tests run beside each other and on tiny tensors: threads of torch would wait for cores, busily. torch and the programs
# that tests start read this when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Leave the modules and tests that are loaded now out of every later search for garbage: they stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("real label tiles and scenes are not on this machine (shared/realdata)")
    return REAL_DATA


@pytest.fixture
def dwplus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command line in an empty folder of this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dwplus", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def dwplus_unconfigured(dwplus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The same on a machine where nothing of Earth Engine is configured."""
    for name in ("EE_URL", "EE_PROJECT_ID", "EARTHENGINE_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS", "DWPLUS_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return dwplus


@pytest.fixture
def tile() -> Tile:
    return make_tile()


@pytest.fixture
def data_root(tmp_path: Path) -> LayOut:
    """A function that lays out a data root of small tiles, as ``build`` would leave it before validation."""
    return partial(lay_out_root, tmp_path / "data" / "sandbox")


@pytest.fixture
def ready_root(tmp_path: Path) -> LayOut:
    """A function that lays out such a root as it is after validation and statistics."""
    return partial(lay_out_ready_root, tmp_path / "data" / "sandbox")
