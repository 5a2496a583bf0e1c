"""A function in two processes that compute together, as ``torchrun`` starts them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed import TCPStore


def in_two_processes(function: Callable[..., None], *arguments: Any) -> None:
    """Call ``function(rank, *arguments)`` in two processes; an error of one of them is raised here.

    They meet at a store of this process, whose port is in use from the beginning: a port that was found free may be
    taken by another program before they listen on it.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # What takes seconds to import, once for both; the optimiser imports the second one.
    multiprocessing.set_forkserver_preload(["dwplus.model.train", "torch._dynamo"])
    torch.multiprocessing.start_processes(
        _begin, args=(store.port, function, arguments), nprocs=2, start_method="forkserver"
    )


def _begin(rank: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # The store is there, as under torchrun: neither of the two begins one.
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    torch.set_num_threads(1)
    function(rank, *arguments)
