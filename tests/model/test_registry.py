"""The table of networks."""

from __future__ import annotations

import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.operations import CountedOperations
from dwplus.model.registry import MODELS, SMALL_SETTINGS, build, configure, spec
from dwplus.model.without_weights import without_weights
from dwplus.pipeline.errors import UsageError

SMALL = [f"{name}-small" for name in SMALL_SETTINGS if not name.startswith("smp/")]
WITH_SMALL = list(dict.fromkeys([*MODELS, *SMALL]))


DEEPER = ("-b3", "-b4", "-b5")
"""Encoders that are like b2 with more blocks."""


def slow_if_large(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """The full size of a network says nothing here that its small form, or a less deep one, does not."""
    return (pytest.mark.slow,) if name in SMALL_SETTINGS or name.endswith(DEEPER) else ()


def test_the_networks_are_these():
    assert set(MODELS) >= {"specsar-former", "specsar-former-small", "segformer", "segformer-small"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow_if_large(name)) for name in WITH_SMALL])
def test_every_network_is_called_the_same_way(name: str):
    with without_weights():
        network = build(name, primary_bands=5, auxiliary_bands=3)
    with torch.device("meta"), CountedOperations():
        logits = network(torch.empty(2, 5, 64, 64), torch.empty(2, 3, 64, 64))

    assert logits.shape == (2, 9, 64, 64)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=slow_if_large(name)) for name in WITH_SMALL if spec(name).inputs == "single"],
)
def test_networks_with_one_input_work_without_auxiliary_bands(name: str):
    with without_weights():
        network = build(name, primary_bands=3, auxiliary_bands=0).eval()

    with torch.device("meta"), torch.no_grad(), CountedOperations():
        assert network(torch.empty(1, 3, 64, 64), torch.empty(1, 0, 64, 64)).shape == (1, 9, 64, 64)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.paper])
def test_networks_of_the_paper_name_their_row(name: str):
    assert MODELS[name].paper in load_toml("paper")["table1"]


def test_an_override_changes_one_setting():
    config = configure("specsar-former-small", 11, 2, decoder="plain")

    assert config == type(config)(
        **{**vars(spec("specsar-former-small").defaults), "primary_bands": 11, "decoder": "plain"}
    )


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UsageError, match=r"unknown model 'unet'; choose one of specsar-former, .*segformer-small"):
        build("unet")


def test_an_unknown_override_names_the_known_ones():
    with pytest.raises(UsageError, match=r"model 'segformer': unknown key 'deocder'; known are .*decoder_width"):
        build("segformer", deocder="plain")
