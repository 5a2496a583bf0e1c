"""Statistics of BatchNorm for each state of the inputs: complete, without the auxiliary one, without the primary one.

BatchNorm normalises by its batch in training and by running statistics in scoring. Features of tiles without an input
have others than those of complete ones, by far: with one mixture for all of them, a network is scored with numbers that
it was never trained with. So each norm keeps three sets, and each sample is normalised by those of its state, in
training with the samples of the same state. A state is of a whole sample, the one that most of its pixels are in.

Comes before ``missing``, which builds networks with it and fills in what is absent.

Source: Xie et al. 2020, Adversarial examples improve image recognition, has two sets for clean and changed images.

Letters: B batch, C bands, H and W pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

STATES = ("complete", "no_auxiliary", "no_primary")

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers of a norm, of complete samples; those of the other states are ``running_mean_no_primary`` and so on."""


def with_norms_by_state(network: nn.Module, fill: Callable[..., tuple[Tensor, ...]], *, fewest: int = 1) -> nn.Module:
    """The same network, with statistics of its norms for each state of the inputs.

    All weights and buffers keep their names and stand for complete samples. A network without BatchNorm is only given
    the filled inputs.

    Args:
        network: called with two inputs, float32 (B, C, H, W) each, 0 where there is no data.
        fill: puts something where there is no data, before the network reads it.
        fewest: samples that a training step needs at a time; fewer of one state are computed with those of another.
    """
    norms = [one for one in network.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]
    for norm in norms:
        for state in STATES[1:]:
            for name in STATISTICS:
                norm.register_buffer(_of_state(name, state), getattr(norm, name).clone())
    # Not compiled itself: which samples go together depends on their pixels. What they go through is compiled. Said
    # here and not where it is defined: torch loads its compiler for it, which takes seconds.
    by_state = torch.compiler.disable(_by_state, recursive=False)  # type: ignore[no-untyped-call]  # torch has no types
    network.forward = functools.partial(by_state, network, norms, network.forward, fill, fewest)
    return network


def states_of(primary: Tensor, auxiliary: Tensor) -> list[int]:
    """Place in ``STATES`` of the state that most pixels of a sample are in; pixels without both inputs have none.

    Args:
        primary, auxiliary: float32 (B, C, H, W), 0 = no data.
    """
    first, second = ((x != 0).any(1).flatten(1) for x in (primary, auxiliary))
    pixels = torch.stack([first & second, first & ~second, second & ~first]).sum(2)  # (3, B)
    found: list[int] = pixels.argmax(0).tolist()
    return found


def reset_statistics(norm: _BatchNorm) -> None:
    """Begin the running statistics of a norm anew, of all states that it has."""
    norm.reset_running_stats()
    for state in STATES[1:]:
        for name in STATISTICS:
            if (kept := norm._buffers.get(_of_state(name, state))) is not None:
                kept.copy_(getattr(norm, name))


def _of_state(name: str, state: str) -> str:
    return f"{name}_{state}"


def _by_state(
    network: nn.Module,
    norms: Sequence[_BatchNorm],
    forward: Callable[..., Any],
    fill: Callable[..., tuple[Tensor, ...]],
    fewest: int,
    primary: Tensor,
    auxiliary: Tensor,
    **options: Any,
) -> Any:
    """What ``forward`` gives of each sample, computed with those of the same state."""
    groups = _groups(states_of(primary, auxiliary), fewest if network.training else 1)
    inputs = fill(network, (primary, auxiliary))
    found = []
    for state, places in groups.items():
        with _normalised_by(norms, STATES[state]):
            # One state is what most batches have: no copies.
            chosen = inputs if len(groups) == 1 else tuple(x[places] for x in inputs)
            found.append(forward(*chosen, **options))
    if len(found) == 1:
        return found[0]
    order = torch.tensor([place for places in groups.values() for place in places], device=primary.device).argsort()
    if isinstance(found[0], Tensor):
        return torch.cat(found)[order]
    return type(found[0])(torch.cat(parts)[order] for parts in zip(*found, strict=True))


def _groups(states: Sequence[int], fewest: int) -> dict[int, list[int]]:
    """State -> places of its samples; where it has too few of them, they go to the state that has most."""
    most = max(states, key=states.count)
    joined = [state if states.count(state) >= fewest else most for state in states]
    return {state: [i for i, one in enumerate(joined) if one == state] for state in sorted(set(joined))}


@contextmanager
def _normalised_by(norms: Sequence[_BatchNorm], state: str) -> Iterator[None]:
    """Within it, norms read and move the statistics of a state.

    A norm that has seen no sample of it reads those of complete ones, where it is not in training.
    """
    if state == STATES[0]:
        yield
        return
    changed = [norm for norm in norms if norm.training or int(getattr(norm, _of_state("num_batches_tracked", state)))]
    own = [[getattr(norm, name) for name in STATISTICS] for norm in changed]
    for norm in changed:
        for name in STATISTICS:
            setattr(norm, name, getattr(norm, _of_state(name, state)))
    try:
        yield
    finally:
        for norm, kept in zip(changed, own, strict=True):
            for name, value in zip(STATISTICS, kept, strict=True):
                setattr(norm, name, value)
