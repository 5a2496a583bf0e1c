"""The learner: a network with its first weights, and the optimiser of those that are trained."""

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
        optimiser: of its trained weights.
        resting: modules that stay in evaluation mode, since all that they hold is frozen.
        has_aux: the network has an auxiliary head.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    resting: list[nn.Module]
    has_aux: bool


def make_learner(config: TrainConfig, begins: Beginning) -> Learner:
    """A network with weights drawn by the seed, or taken over, and its optimiser.

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
    groups = parameter_groups(network, encoder, config.lr_encoder, decay_all=config.decay_on == "all")
    optimiser = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return Learner(network, optimiser, resting, has_aux)
