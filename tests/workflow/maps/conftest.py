"""The run that tests of maps of files share."""

from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.model.score import LoadedRun, load
from support.map_images import YEAR
from support.runs import lay_out, make_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained, on real pixels by its settings."""
    made = make_run("net")
    data = replace(made.config.data, source="user:own", radars=(YEAR,))
    return lay_out(replace(made, config=replace(made.config, data=data)), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(run_dir: Path) -> LoadedRun:
    return load(run_dir, device="cpu")
