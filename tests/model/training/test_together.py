"""Processes of one training that do not see the same: refused in one sentence, before anything is written."""

from __future__ import annotations

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from dwplus.model.train import train
from dwplus.model.training.together import View, difference
from dwplus.pipeline.errors import DisagreementError
from support.tile_sets import MemoryTiles
from support.trainings import CONFIG, TWO

VIEW = View("a", "/runs/one", 2, {"dwplus": "1", "train": {"lr": 0.1, "workers": 1}, "computing": []}, ("t", "v"))


def test_the_rank_that_sees_something_else_is_named() -> None:
    other = replace(VIEW, run={**VIEW.run, "train": {"lr": 0.2, "workers": 3}})

    assert difference([VIEW, VIEW]) == ""
    # Paths may differ, and so may the number of loader processes.
    assert difference([VIEW, replace(VIEW, run_dir="/b", run={**VIEW.run, "train": {"lr": 0.1, "workers": 7}})]) == ""
    assert difference([VIEW, VIEW, other]) == "rank 2 has train.lr 0.2, rank 0 0.1"
    assert difference([VIEW, replace(VIEW, host="b", batch_per_device=4)]) == (
        "rank 1 (b) has batch_per_device 4, rank 0 (a) 2"
    )
    assert difference([VIEW, replace(VIEW, tiles=("t", "w"))]) == "rank 1 has the validation tiles w, rank 0 v"


def _refused(rank: int, ports: list[int], folder: Path) -> None:
    """Two trainings: the second process has other tiles, then another folder."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared = folder / "shared"
    for name, tiles, runs in (("tiles", 10 - rank, shared), ("runs", 10, folder / f"node-{rank}")):
        os.environ["MASTER_PORT"] = str(ports.pop())
        with pytest.raises(DisagreementError) as error:
            train(CONFIG, dataset_train=MemoryTiles(TWO, count=tiles), run_dir=runs / "one")
        AcceleratorState._reset_state(reset_partial_state=True)  # as a process of its own would begin
        (folder / f"{name}-{rank}.txt").write_text(str(error.value))


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
def test_processes_with_other_data_or_another_folder_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    # Given two machines with one path to the data, and folders of runs of their own.
    for folder in ("shared", "node-0", "node-1"):
        (tmp_path / folder).mkdir()
    context, ports = multiprocessing.get_context("forkserver"), free_ports(2)
    context.set_forkserver_preload(["dwplus.model.train", "torch._dynamo"])

    processes = [context.Process(target=_refused, args=(rank, ports, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)

    assert [process.exitcode for process in processes] == [0, 0]
    tiles, runs = (sorted(p.read_text() for p in tmp_path.glob(f"{name}-?.txt")) for name in ("tiles", "runs"))
    assert tiles[0] == tiles[1]
    assert tiles[0].startswith("rank 1 has ")
    assert runs[0] == runs[1]
    assert f"rank 1 sees another run folder at {tmp_path}/node-1/one than rank 0 at {tmp_path}/node-0/one" in runs[0]
    assert [list((tmp_path / folder).iterdir()) for folder in ("shared", "node-0", "node-1")] == [[], [], []]
