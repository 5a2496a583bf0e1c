"""The order of an epoch and how it is cut: the same samples in each step, whatever computes them."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.model.training.order import Cut, EpochOrder, MicroBatch


def test_each_epoch_has_its_own_order_and_always_the_same() -> None:
    order = EpochOrder(20, seed=7, cut=Cut(batch=4, at_once=2))
    first, second = order.samples(0), order.samples(1)

    assert sorted(first) == list(range(20))
    assert order.samples(0) == first != second
    assert EpochOrder(20, seed=8, cut=Cut(batch=4, at_once=2)).samples(0) != first


def test_micro_batches_go_to_the_processes_in_turn() -> None:
    # Given ten samples in steps of eight, two at a time on each of two processes.
    order = list("abcdefghij")
    cuts = [Cut(8, 2, processes=2, rank=rank) for rank in (0, 1)]

    assert cuts[0].step(order, 0) == [MicroBatch(("a", "b"), 0), MicroBatch(("e", "f"), 4)]
    assert cuts[1].step(order, 0) == [MicroBatch(("c", "d"), 2), MicroBatch(("g", "h"), 6)]
    # Two are left for the last step: the second process computes them for nothing, so that both are done together.
    assert cuts[0].step(order, 1) == [MicroBatch(("i", "j"), 8)]
    assert cuts[1].step(order, 1) == [MicroBatch(("i", "j"), 8, counts=False)]


@pytest.mark.parametrize(("at_once", "processes"), [(1, 1), (2, 1), (8, 1), (1, 2), (4, 2), (1, 8)])
def test_a_step_has_the_same_samples_however_it_is_cut(at_once: int, processes: int) -> None:
    order = list(range(100, 121))  # three steps, the last one of five samples

    for step in range(3):
        parts = [part for rank in range(processes) for part in Cut(8, at_once, processes, rank).step(order, step)]

        counted = sorted((part for part in parts if part.counts), key=lambda part: part.place)
        assert [number for part in counted for number in part.numbers] == order[step * 8 : step * 8 + 8]
        assert all(order[part.place] == part.numbers[0] for part in parts)
        assert len(parts) >= processes


def test_an_epoch_does_without_a_last_micro_batch_that_is_too_small() -> None:
    # Given five samples, two at a time: the fifth would come alone.
    order = EpochOrder(5, seed=0, cut=Cut(batch=2, at_once=2), fewest=2)

    epochs = [order.samples(epoch) for epoch in range(6)]

    assert all(len(epoch) == 4 for epoch in epochs)
    assert {number for epoch in epochs for number in epoch} == set(range(5))  # another one each time
    assert (order.steps, len(order)) == (2, 2)
    assert EpochOrder(5, seed=0, cut=Cut(batch=2, at_once=2)).steps == 3


def test_samples_are_drawn_by_their_chances_and_counted() -> None:
    # Given that the first of four samples comes three times as often as each other one.
    chances = np.array([0.5, 1 / 6, 1 / 6, 1 / 6])
    order = EpochOrder(4, seed=0, cut=Cut(batch=4, at_once=2), chances=chances)

    drawn = [number for epoch in range(500) for number in order.samples(epoch)]

    assert drawn.count(0) == pytest.approx(1000, abs=100)
    assert order.samples(3) == order.samples(3)
    for epoch in range(9):
        order.set_epoch(epoch)
        (whole,) = ([n for part in order.step(0) for n in part.numbers],)
        before = [count for part in order.step(0) for count in order.drawn_before(part)]
        assert before == [whole[:i].count(number) for i, number in enumerate(whole)]


def test_an_epoch_begins_at_any_of_its_steps() -> None:
    order = EpochOrder(10, seed=0, cut=Cut(batch=4, at_once=2))
    whole = list(order)

    order.set_epoch(0, first_step=1)

    assert list(order) == whole[2:]
    assert len(order) == 3
