"""Batches of windows beside each other: what comes out is what comes out of them one after another, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from dwplus.model.maps.classifier import Classifier
from dwplus.model.maps.streams import MOST_STREAMS, Streams, count_of, sharing_weights
from dwplus.model.missing import for_missing_inputs
from dwplus.model.score import LoadedRun
from numpy.typing import NDArray
from support.runs import make_run
from torch import Tensor, nn

TWELVE = 12


class Batch(NamedTuple):
    number: int
    inputs: tuple[NDArray[np.uint16], NDArray[np.uint16]]


@pytest.fixture(autouse=True)
def two_threads(one_thread: None) -> None:
    torch.set_num_threads(2)


def loaded(model: str = "specsar-former-small") -> LoadedRun:
    torch.manual_seed(0)
    config = make_run("net", model).config
    return LoadedRun(config.network(where="test").eval(), config, config.data.normaliser())


def batches(count: int = TWELVE) -> list[Batch]:
    """Windows of 64 px: every third one complete, without the auxiliary input and without the primary one."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        primary, auxiliary = (rng.integers(500, 9000, (1, bands, 64, 64)).astype(np.uint16) for bands in (10, 2))
        for one, lost in ((auxiliary, 1), (primary, 2)):
            if number % 3 == lost:
                one[:] = 0
        found.append(Batch(number, (primary, auxiliary)))
    return found


def together(classifier: Classifier) -> list[NDArray[np.float32]]:
    with Streams(classifier) as streams:
        found = list(streams(batches()))
    assert [batch.number for batch, _ in found] == list(range(TWELVE))
    return [probabilities for _, probabilities in found]


def by_state() -> LoadedRun:
    """A network whose norms have other statistics for each state of the inputs."""
    run = loaded("cmx-small")
    network = for_missing_inputs(run.network, 10, 2, by_state=True).eval()
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if "running_mean" in name:
            value.copy_(torch.randn(value.shape, generator=generator))
        elif "num_batches_tracked" in name:
            value.fill_(5)
    return run._replace(network=network)


@pytest.mark.parametrize("make", [loaded, by_state], ids=["network", "norms by state"])
def test_probabilities_are_those_of_windows_one_after_another(make: Any) -> None:
    classifier = Classifier(make())
    assert count_of(classifier.run, threads=2) == 2
    alone = [classifier(*batch.inputs) for batch in batches()]

    for _ in range(3):
        assert all(np.array_equal(one, other) for one, other in zip(together(classifier), alone, strict=True))


def test_each_stream_has_modules_of_its_own_and_no_weights() -> None:
    classifier = Classifier(by_state())

    other = sharing_weights(classifier).run.network

    network = classifier.run.network
    assert not {id(one) for one in network.modules()} & {id(one) for one in other.modules()}
    places = {one.data_ptr() for one in (*network.parameters(), *network.buffers())}
    assert {one.data_ptr() for one in (*other.parameters(), *other.buffers())} == places


class Keeping(nn.Module):
    """A network of somebody's own that keeps values of an image in itself, as some do: two images at once mix them."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.kept = primary.mean(1, keepdim=True)
        torch.nn.functional.conv2d(primary, torch.ones(64, 10, 9, 9), padding=4)  # takes a while
        found = torch.cat([self.kept + number for number in range(9)], dim=1)
        self.inside -= 1
        return found


def test_a_network_from_outside_answers_one_window_at_a_time() -> None:
    network = Keeping().eval()
    classifier = Classifier(loaded()._replace(network=network))
    alone = [classifier(*batch.inputs) for batch in batches()]

    found = together(classifier)

    assert network.most == 1
    assert all(np.array_equal(one, other) for one, other in zip(found, alone, strict=True))


def test_streams_are_as_many_as_threads_up_to_four_and_one_of_networks_with_hooks() -> None:
    run = loaded()
    assert [count_of(run, threads) for threads in (1, 2, 3, 16)] == [1, 2, 3, MOST_STREAMS]

    run.network.register_forward_hook(lambda *_: None)

    assert count_of(run, 2) == 1


def test_torch_has_as_many_threads_afterwards_as_before() -> None:
    together(Classifier(loaded()))

    with ThreadPoolExecutor(1) as fresh:
        assert (torch.get_num_threads(), fresh.submit(torch.get_num_threads).result()) == (2, 2)


def test_few_batches_are_under_way_and_an_empty_one_has_no_probabilities() -> None:
    asked: list[int] = []

    def asking() -> Iterator[Batch]:
        for batch in batches():
            asked.append(batch.number)
            inputs = tuple(one[:0] for one in batch.inputs) if batch.number % 2 else batch.inputs
            yield Batch(batch.number, inputs)  # type: ignore[arg-type]  # both of them

    with Streams(Classifier(loaded())) as streams:
        for done, (batch, found) in enumerate(streams(asking())):
            assert len(asked) <= done + 2 * streams.count + 1
            assert found.shape == ((0 if batch.number % 2 else 1), 9, 64, 64)


def test_a_window_that_fails_ends_it_and_what_is_waiting_is_not_computed() -> None:
    computed = []

    class Failing(nn.Module):
        def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
            computed.append(1)
            raise RuntimeError("out of memory")

    before = threading.active_count()

    streams = Streams(Classifier(loaded()._replace(network=Failing().eval())))
    with pytest.raises(RuntimeError, match="out of memory"), streams:
        list(streams(batches(100)))

    assert len(computed) <= 4
    assert threading.active_count() == before
