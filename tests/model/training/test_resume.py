"""Resume anywhere: a training that was killed, or asked to stop, ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from dwplus.model.runs import RunFolder
from dwplus.model.training.checkpoint import Progress
from dwplus.model.training.computing import write_down
from dwplus.model.training.listener import Position
from dwplus.pipeline.machine import processor_name
from dwplus.pipeline.spec.version import __version__
from support.trainings import STEPS, newest, result, start, train_here

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_here(tmp_path_factory.mktemp("runs") / "whole")


def checkpoints(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_killed_after_three_steps_drawn_at_random_a_run_ends_with_the_same_bytes(
    undisturbed: Path, tmp_path: Path
) -> None:
    # Given checkpoints after each step, at ends of epochs alone, and every 30 ms.
    moments = sorted(np.random.default_rng(15).choice(len(STEPS), 3, replace=False).tolist())

    for moment, minutes in zip(moments, (0, 15, 0.0005), strict=True):
        process = start(tmp_path, die_at=STEPS[moment], checkpoint_minutes=minutes)
        process.join(120)
        assert process.exitcode == KILLED
    train_here(tmp_path)

    assert result(tmp_path) == result(undisturbed)


@pytest.mark.slow
def test_killed_twenty_times_at_any_moment_a_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    # Given a run of 180 steps; kills come by the clock, in the middle of steps, validations and writes.
    rng, settings = np.random.default_rng(16), {"epochs": 60, "checkpoint_every": 10}
    whole = train_here(tmp_path / "whole", **settings)

    for kill in range(20):
        process = start(tmp_path / "killed", **settings, checkpoint_minutes=0.001)
        # It has to get somewhere before it is killed.
        before = newest(tmp_path / "killed")
        while process.is_alive() and newest(tmp_path / "killed") == before:
            time.sleep(0.01)
        process.join(float(rng.uniform(0, 0.3)))
        process.kill()
        process.join()
        assert process.exitcode == KILLED, f"kill {kill} came after the end of the run"
    train_here(tmp_path / "killed", **settings)

    assert result(tmp_path / "killed") == result(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_after_the_step(undisturbed: Path, tmp_path: Path, number: signal.Signals) -> None:
    def send(now: Position) -> None:
        if (now.epoch, now.step) == (2, 1):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, on_step=send)

    assert checkpoints(tmp_path) == ["epoch-00001-step-0000002.pt", "epoch-00001.pt"]
    assert signal.getsignal(number) is before
    train_here(tmp_path)
    assert result(tmp_path) == result(undisturbed)


def test_a_signal_while_an_epoch_is_scored_keeps_the_epoch(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a signal that comes with the last step of the second epoch.
    def send(now: Position) -> None:
        if (now.epoch, now.step) == (2, 3):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, on_step=send)

    assert checkpoints(tmp_path)[0] == "epoch-00001-step-0000003.pt"
    train_here(tmp_path)
    assert result(tmp_path) == result(undisturbed)


def test_the_newest_checkpoint_is_read_within_an_epoch_or_after_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for epochs, steps in ((9, 0), (9, 90), (9, 100), (10, 0)):
        folder.write_checkpoint(epochs, {"rows": [], "network": {}, "at": (epochs, steps)}, steps=steps)
        found = folder.read_checkpoint()
        assert found is not None
        assert found["at"] == (epochs, steps)

    assert checkpoints(tmp_path) == ["epoch-00009-step-0000100.pt", "epoch-00010.pt"]


def test_a_run_goes_on_with_other_micro_batches_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop(now: Position) -> None:
        if (now.epoch, now.step) == (2, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, on_step=stop, checkpoint_minutes=0)
    steps: list[tuple[int, int]] = []
    train_here(tmp_path, on_step=lambda now: steps.append((now.epoch, now.step)), batch_per_device=4)

    assert steps == [(2, 3), (3, 1), (3, 2), (3, 3)]
    assert "1 x cpu in fp32, 2 samples at a time so far, and on 1 x cpu in fp32, 4 samples at a time" in caplog.text
    recorded = [(*one.begins, one.batch_per_device) for one in RunFolder(tmp_path).read_config().computing]
    assert recorded == [(1, 0, 2), (2, 2, 4)]


def test_progress_is_kept_as_it_is_and_older_checkpoints_are_of_whole_epochs() -> None:
    now = Progress([{"epoch": 1}])
    now.add([(3.0, 6.0), (1.0, 2.0)], seconds=5.0)

    assert Progress.of_state(now.to_state()) == now == Progress([{"epoch": 1}], 2, 4.0, 8.0, 5.0)
    assert Progress.of_state({"rows": [{"epoch": 1}], "network": {}}) == Progress([{"epoch": 1}])


def test_packages_and_device_of_a_run_are_on_record_and_a_change_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, run = RunFolder(tmp_path), RunFolder(train_here(tmp_path, epochs=1)).read_config()
    (found,) = run.computing
    assert found.versions == {
        "dwplus": __version__,
        **{name: version(name) for name in ("torch", "accelerate", "numpy")},
    }
    assert found.device_name == processor_name()

    # Given that the next epoch is computed by another torch on another processor.
    later = replace(found, from_epoch=3, device_name="abacus", versions={**found.versions, "torch": "0.4"})
    write_down(folder, run, later, tiles=(), pretrained_on=())

    assert [one.from_epoch for one in folder.read_config().computing] == [1, 3]
    torch_now = found.versions["torch"]
    assert f"at a time on {found.device_name}, torch {torch_now} so far, and on 1 x cpu in fp32" in caplog.text
    assert "at a time on abacus, torch 0.4 from here on" in caplog.text
    # A run of an earlier version recorded neither: that is no change.
    assert replace(found, device_name="", versions={}).same_as(found)
