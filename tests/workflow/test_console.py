"""Progress on a terminal and in a log file: names and ids are whole, one thing is one thing."""

from __future__ import annotations

import re

import pytest
from dwplus.workflow.console import BarProgress, LineProgress, console

NAME = "Training specsar-former-with-a-name-that-is-longer-than-any-terminal-of-forty-columns"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_title_of_a_stage_is_never_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")

    with BarProgress().stage(NAME, 3) as step:
        step.advance()

    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "…" not in shown
    if width > len(NAME) + 40:
        assert NAME in shown
    assert "forty-columns"[-5:] in shown


@pytest.mark.parametrize("width", [40, 200])
def test_a_message_keeps_paths_whole_and_brackets_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    message = "pip install 'dwplus[models]'; data/sandbox/runs/specsar-former-with-a-long-name/model.safetensors"

    BarProgress().say(message)

    assert capsys.readouterr().err == message + "\n"


@pytest.mark.parametrize(
    ("done", "total", "unit", "line"),
    [(1, None, "pages", "1 page,"), (2, 2, "tiles", "2 tiles,"), (1, 1, "epochs", "1 epoch,"), (0, None, "x", "0 xs,")],
)
def test_one_thing_is_one_thing(
    capsys: pytest.CaptureFixture[str], done: int, total: int | None, unit: str, line: str
) -> None:
    with LineProgress().stage("Doing it", total, unit=unit) as step:
        step.advance(done)

    assert f"Doing it: {line}" in capsys.readouterr().err


@pytest.mark.parametrize(("rank", "told"), [(None, True), ("0", True), ("1", False), ("7", False)])
def test_of_processes_that_train_together_the_first_alone_tells_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str | None, told: bool
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)

    progress = console()
    progress.say("2 of 4 tiles left out")
    with progress.stage("Training a", 3) as step:
        step.advance()

    said = capsys.readouterr().err
    assert ("left out" in said) == told
    assert ("Training a" in said) == told
