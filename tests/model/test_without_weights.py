"""Networks without weights have the modules and shapes of those with weights."""

from __future__ import annotations

import pytest
from dwplus.model.registry import SMALL_SETTINGS, spec
from dwplus.model.without_weights import without_weights

NAMES = [f"{name}-small" for name in SMALL_SETTINGS if not name.startswith("smp/")]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_the_network_with_weights(name: str) -> None:
    row = spec(name)
    with without_weights():
        empty = row.network(row.defaults)

    assert all(parameter.is_meta for parameter in empty.parameters())
    shapes = {key: tuple(value.shape) for key, value in row.network(row.defaults).state_dict().items()}
    assert {key: tuple(value.shape) for key, value in empty.state_dict().items()} == shapes


def test_networks_made_afterwards_have_weights_again() -> None:
    row = spec("segformer-small")
    with without_weights():
        row.network(row.defaults)

    parameters = list(row.network(row.defaults).parameters())
    assert not any(parameter.is_meta for parameter in parameters)
    assert sum(float(parameter.detach().abs().sum()) for parameter in parameters) > 0
