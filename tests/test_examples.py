"""The scripts of ``docs/examples`` run as they are, on tiles of 128 px."""

import shutil
import sys
from pathlib import Path

import pytest
from dwplus.model.runs import RunFolder
from support.fixture_types import LayOut, Run
from support.in_process import run_script
from support.paths import REPOSITORY

EXAMPLES = REPOSITORY / "docs" / "examples"


@pytest.fixture
def folder(ready_root: LayOut, tmp_path: Path) -> Path:
    """A folder with the examples and ``data/sandbox``."""
    ready_root(train=3, test=1, size=128)
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_ten_lines_open_draw_train_and_score(folder: Path) -> None:
    lines = (EXAMPLES / "ten_lines.py").read_text(encoding="utf-8").splitlines()
    assert sum(1 for line in lines[1:] if line and not line.startswith(("import", "from"))) <= 10

    try:
        said = run_script(folder / "ten_lines.py")
    finally:
        sys.modules.pop("my_network", None)

    assert said.startswith("mIoU 0.")
    assert (folder / "tile.png").stat().st_size > 1000
    assert RunFolder(folder / "runs" / "mine").read_config().model == "my_network:build"


def test_the_network_of_the_example_is_trained_and_scored_from_the_command_line(
    folder: Path, dwplus: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    model = "--model my_network:build --epochs 1 --set model_options={width=8} --set device=cpu --set workers=0"

    assert dwplus("train", "-q", *model.split())[0] == 0
    code, said, _ = dwplus("score", "my_network-build", "-q")

    assert (code, "mIoU" in said) == (0, True)
    config = RunFolder(folder / "data" / "sandbox" / "runs" / "my_network-build").read_config()
    assert config.model_config["options"] == {"width": 8}
