"""Training on a data root: settings that suit its size, weights to begin with, and what is said meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dwplus.model.runs import RunFolder
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.progress import Silent
from dwplus.workflow.splits import say_new
from dwplus.workflow.training import proposed_profile, training_settings
from support.fixture_types import LayOut, Run
from support.tile_sets import numbered
from support.tiles import make_tile

SMALL_NETWORK = ("--set", "model_options={widths=[16,32],depths=[1,1],heads=[1,2],reductions=[4,2],decoder_width=16}")


def ready(root: DataRoot) -> DataRoot:
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return root


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_trainings_of_one_command_say_once_what_they_leave_out() -> None:
    said, told = Said(), set[str]()

    say_new(["1 of 4 test tiles left out"], said, told)
    say_new(["1 of 4 test tiles left out", "2 of 9 val tiles left out"], said, told)
    assert said.lines == ["1 of 4 test tiles left out", "2 of 9 val tiles left out"]

    # A command of its own says it each time.
    say_new(["1 of 4 test tiles left out"], said, None)
    assert len(said.lines) == 3


@pytest.mark.parametrize(
    ("count", "size", "name"),
    [(499, 510, "small"), (500, 510, "paper"), (5000, 128, "small"), (10_000, 128, "paper"), (0, 510, "small")],
)
def test_a_data_set_is_small_by_its_pixels(count: int, size: int, name: str) -> None:
    # 500 tiles of 510 px have as many pixels as 7937 of 128 px.
    assert proposed_profile([make_tile(size=size)] * count) == name


def test_settings_follow_the_size_and_crops_fit_the_tiles(ready_root: LayOut) -> None:
    root = ready_root(train=4, test=1, size=32)

    proposed = training_settings(None, root, {})

    assert (proposed.steps, proposed.crop_px) == (400, 32)
    assert training_settings("small", root, {"crop_px": 16}).crop_px == 16
    assert training_settings("paper", root, {}).epochs == 200
    assert training_settings(None, root, {"epochs": 2}).steps is None


KEPT_AT_ITS_END = ("--epochs", "1000", "--set", "checkpoint_every=1000")
LONG = ("--source", "sandbox", "--set", "device=cpu", "--set", "workers=0", *KEPT_AT_ITS_END, *SMALL_NETWORK)
"""A training of many epochs."""


def begun(run: Path) -> bool:
    return len(RunFolder(run).read_rows()) >= 2


def test_the_signal_of_a_batch_system_leaves_a_checkpoint_and_exits_130(dwplus: Run, ready_root: LayOut) -> None:
    # Given a training of many epochs, of which one is under way.
    run, ended = ready_root(train=4, test=1, size=32).runs / "long", threading.Event()

    def send() -> None:
        while not begun(run):
            if ended.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        code, _, said = dwplus("train", "--name", "long", *LONG)
    finally:
        ended.set()
        sender.join()

    assert code == 130, said
    assert "dwplus: interrupted; run the same command again to resume" in said
    (kept,) = (run / "checkpoints").iterdir()
    assert torch.load(kept)["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=["SIGTERM", "SIGUSR1"])
def test_the_signal_ends_a_program_of_its_own_the_same_way(ready_root: LayOut, number: signal.Signals) -> None:
    root = ready_root(train=4, test=1, size=32)
    command = ["train", "--name", "long", "--data", str(root.folder.parent), *LONG]
    process = subprocess.Popen([sys.executable, "-m", "dwplus.cli", *command], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not begun(root.runs / "long"):
        time.sleep(0.05)

    process.send_signal(number)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "dwplus: interrupted; run the same command again to resume" in said
    (kept,) = (root.runs / "long" / "checkpoints").iterdir()
    assert torch.load(kept)["rows"]


def test_a_run_begins_with_another_of_the_data_root_and_says_what_it_takes(dwplus: Run, ready_root: LayOut) -> None:
    root = ready_root(train=4, test=1, size=32)
    common = ("--source", "sandbox", "--epochs", "1", "--set", "device=cpu", "--set", "workers=0", *SMALL_NETWORK)
    code, _, said = dwplus("train", "--name", "one", *common, "--set", "keep_best=true")
    assert code == 0, said
    assert "1 of 1 validation tile, drawn by experts, choose the best epoch" in said
    assert "settings: profile small, by the size of the training split (3 tiles); --profile names another" in said
    assert "one: specsar-former-small on 3 training tiles" in said
    assert "timing a first batch" in said
    assert "this training will take about" in said

    more = ("--init", "one", "--freeze", "encoder", "--labels-share", "0.7", "--set", "lr_encoder=0.1")
    code, _, said = dwplus("train", "--name", "two", "--primary", "rgb", *more, *common)

    assert code == 0, said
    assert "two: specsar-former-small on 2 training tiles (70% of the labels)" in said
    assert "two begins with" in said
    assert "taken by name: bands B4, B3, B2, VV, VH; classes water, trees, grass," in said
    assert "taken in part: embed_primary.conv.weight\n" in said
    record = RunFolder(root.runs / "two").read_config()
    assert (record.train["freeze"], record.train["lr_encoder"], record.data.tiles) == ("encoder", 0.1, 2)
    assert dwplus("score", "two", "-q")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--init", "nowhere"), 1, "no run 'nowhere' in"),
        (("--freeze", "encoder"), 2, "freeze is encoder, and there is nothing to keep: name weights with --init"),
        (("--accept", "s1"), 2, "--accept s1 is about weights to begin with; name them with --init"),
        (("--epochs", "0"), 2, "epochs is 0; it must be"),
        (("--labels-share", "0"), 2, "--labels-share"),
        (("--model", "nothing:build"), 2, "there is no module 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    dwplus: Run, ready_root: LayOut, words: tuple[str, ...], code: int, message: str
) -> None:
    ready_root(train=3, test=1, size=32)

    found, _, said = dwplus("train", "--source", "sandbox", *words)

    assert (found, message in " ".join(said.split())) == (code, True), said


def test_runs_that_are_there_are_named(ready_root: LayOut, tmp_path: Path) -> None:
    root = ready_root(train=3, test=1, size=32)
    settings: dict[str, Any] = {"init": "other"}

    with pytest.raises(DataError, match=r"no run 'other' .*there is none yet"):
        training_settings(None, root, settings)
    (tmp_path / "w.safetensors").write_bytes(b"")
    assert training_settings(None, root, {"init": str(tmp_path / "w.safetensors")}).init is not None


def test_a_data_set_of_other_classes_goes_through_train_and_score(dwplus: Run, data_root: LayOut) -> None:
    # Given labels that hold the codes 0..10 of a table of 40 classes.
    root = data_root(train=4, test=2, size=32)
    classes = numbered(40)
    write_manifest(root.folder, replace(root.manifest(), classes=classes))
    ready(root)
    common = ("--source", "sandbox", "-q")

    code, _, said = dwplus("train", "--name", "one", "--epochs", "1", "--set", "device=cpu", *SMALL_NETWORK, *common)
    assert code == 0, said
    code, out, said = dwplus("score", "one", "--json", *common)

    assert code == 0, said
    scores = json.loads(out)
    assert tuple(scores["classes"]) == classes.names
    assert scores["pixels"] == sum(int((sample.label != 255).sum()) for sample in Dataset(root, split="test"))
    assert RunFolder(root.runs / "one").read_config().data.classes == classes
