"""The learner: a network with its first weights, and the optimisers of those that are trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ..settings import TrainConfig
from ..transfer import encoder_names, freeze, parameter_groups
from .beginning import Beginning


class Learner(NamedTuple):
    """What is trained.

    Attributes:
        network: on the CPU, not wrapped.
        optimisers: of its trained weights, one for each view of a crop (``drop_views``). AdamW scales a step by running
            moments of the gradients, and those of crops without an input are others.
        resting: modules that stay in evaluation mode, since all that they hold is frozen.
        has_aux: the network has an auxiliary head.
    """

    network: nn.Module
    optimisers: tuple[torch.optim.Optimizer, ...]
    resting: list[nn.Module]
    has_aux: bool


def make_learner(config: TrainConfig, begins: Beginning) -> Learner:
    """A network with weights drawn by the seed, or taken over, and its optimisers.

    Raises:
        UsageError: settings name parts that the network does not have.
    """
    run = begins.run
    torch.manual_seed(config.seed)
    network = run.network(where="model")
    if begins.before is not None and begins.made is not None:
        begins.made.apply(network, begins.before.weights)
    has_aux = bool(getattr(network, "has_aux", False))
    encoder = encoder_names(network, config.model) if config.freeze or config.lr_encoder != 1 else frozenset()
    fixed = encoder if config.freeze and run.initial else frozenset()
    resting = freeze(network, fixed - {*run.initial.partly, *run.initial.anew}) if run.initial else []
    if config.compile:
        network.compile()  # in place: the names of the weights stay what they are
    optimisers = tuple(
        torch.optim.AdamW(
            parameter_groups(network, encoder, config.lr_encoder, decay_all=config.decay_on == "all"),
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=True,
        )
        for _ in range(config.views)
    )
    return Learner(network, optimisers, resting, has_aux)
