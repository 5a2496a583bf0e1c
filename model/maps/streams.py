"""Batches of windows classified beside each other, and beside whatever is done with their probabilities.

Two networks with one thread each answer sooner than one network with two: threads that share an operation wait for each
other at its end, and small operations are not shared at all (measured: ``docs/maps.md``). Each stream therefore
has a part of torch's threads. The probabilities are the same, bit for bit, and come in the order of the batches.

Comes after ``classifier``.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..score import LoadedRun
from .classifier import Classifier

MOST_STREAMS = 4
"""Each takes the memory of a batch."""

PACKAGES = ("dwplus", "torch", "torchvision")
"""Modules of other packages may keep something of a batch where two threads would mix it up."""


class Batch(Protocol):
    """What a classifier reads, and whatever else belongs to it."""

    @property
    def inputs(self) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Primary and auxiliary, uint16 (B, C, H, W); B may be 0."""


AnyBatch = TypeVar("AnyBatch", bound=Batch)


class Streams:
    """Threads that classify batches; a context, which waits at its end for those that are being computed.

    Args:
        classifier: what is asked. Each thread has a network of its own, which shares the weights.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier, self._threads = classifier, torch.get_num_threads()
        self.count = count_of(classifier.run, self._threads)
        self._own = threading.local()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="stream", initializer=self._begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        # Torch gives a new thread of the process what the last one asked for.
        torch.set_num_threads(self._threads)

    def __call__(self, batches: Iterable[AnyBatch]) -> Iterator[tuple[AnyBatch, NDArray[np.float32]]]:
        """Batches and their probabilities, float32 (B, K, H, W), in order; two for each stream are under way."""
        waiting: deque[tuple[AnyBatch, Future[NDArray[np.float32]]]] = deque()
        for batch in batches:
            waiting.append((batch, self._pool.submit(self._classify, batch)))
            if len(waiting) > 2 * self.count:
                done, found = waiting.popleft()
                yield done, found.result()
        for done, found in waiting:
            yield done, found.result()

    def _begin(self) -> None:
        torch.set_num_threads(max(1, self._threads // self.count))
        self._own.classifier = self._classifier if self.count == 1 else sharing_weights(self._classifier)

    def _classify(self, batch: Batch) -> NDArray[np.float32]:
        primary, auxiliary = batch.inputs
        if not len(primary):
            return np.empty((0, len(self._classifier.classes), *primary.shape[2:]), dtype=np.float32)
        found: NDArray[np.float32] = self._own.classifier(primary, auxiliary)
        return found


def count_of(run: LoadedRun, threads: int) -> int:
    """Streams: 1 on a GPU, which one batch fills, and of networks that may keep something of a batch."""
    on_cpu = run.normaliser.primary.factor.device.type == "cpu"
    return min(threads, MOST_STREAMS) if on_cpu and _known(run.network) else 1


def _known(network: nn.Module) -> bool:
    """Whether all of it is code that is known to keep nothing of a batch but in its modules."""
    modules = list(network.modules())
    hooked = any(one._forward_hooks or one._forward_pre_hooks for one in modules)
    return not hooked and all(type(one).__module__.split(".")[0] in PACKAGES for one in modules)


def sharing_weights(classifier: Classifier) -> Classifier:
    """A classifier whose network has modules of its own, and the same weights in memory."""
    network = classifier.run.network
    shared = {id(one): one for one in chain(network.parameters(), network.buffers())}
    return classifier.with_network(copy.deepcopy(network, shared))
