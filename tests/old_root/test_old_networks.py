"""Networks of five kinds as revision 259910e recorded and built them: read after it, with the same logits.

``networks.json`` holds for each the settings of its ``config.json`` and, for weights and images made by formula, some
of its logits. ``python test_old_networks.py``, run with that revision, wrote it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from dwplus.model.config import from_mapping, to_mapping
from dwplus.model.registry import configure, spec
from torch import Tensor, nn

RECORD = Path(__file__).with_name("networks.json")
NETWORKS = ("pspnet", "deeplabv3plus", "cmtfnet", "vit-adapter", "multisenseseg")
PLACES = ((0, 0), (0, 64), (31, 17), (40, 50), (69, 64))
"""Row and column of the logits that are kept, of 70 x 65 px: corners and some in between."""


def waves(shape: tuple[int, ...], phase: float) -> Tensor:
    """Numbers from -1 to 1 that do not depend on a random generator."""
    return (torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + phase).sin().reshape(shape).float()


def filled(network: nn.Module) -> nn.Module:
    """In evaluation mode, with weights of usual size made by formula, the same for the same names."""
    state = network.state_dict()
    for number, name in enumerate(sorted(name for name, value in state.items() if value.is_floating_point())):
        value, wave = state[name], waves(tuple(state[name].shape), number)
        if value.ndim > 1:
            wave = wave * (2 / value[0].numel()) ** 0.5
        state[name] = 1 + wave / 2 if name.endswith("running_var") else wave
    network.load_state_dict(state)
    return network.eval()


def kept_logits(network: nn.Module) -> list[list[float]]:
    with torch.no_grad():
        logits = filled(network)(waves((1, 10, 70, 65), 0.0), waves((1, 2, 70, 65), 1.0))[0]
    return [logits[:, row, column].tolist() for row, column in PLACES]


def record() -> dict[str, Any]:
    kept = {}
    for name in NETWORKS:
        settings = configure(f"{name}-small")
        network = spec(f"{name}-small").network(settings)
        kept[name] = {"model_config": to_mapping(settings), "logits": kept_logits(network)}
    return kept


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_network_of_an_older_version_gives_the_same_logits(name: str) -> None:
    from dwplus.model.registry import completed  # the revision that wrote the record has no such function

    old = json.loads(RECORD.read_text(encoding="utf-8"))[name]
    model = spec(f"{name}-small")
    settings = from_mapping(type(model.defaults), completed(f"{name}-small", old["model_config"]), where=name)

    logits = kept_logits(model.network(settings))

    wanted = torch.tensor(old["logits"])
    assert torch.allclose(torch.tensor(logits), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


@pytest.mark.parametrize("name", NETWORKS)
def test_without_the_values_of_the_older_form_it_would_be_another_network(name: str) -> None:
    old = json.loads(RECORD.read_text(encoding="utf-8"))[name]
    model = spec(f"{name}-small")
    defaults = to_mapping(model.defaults)

    assert old["model_config"].keys() < defaults.keys()
    assert {**defaults, **model.defaults.OLDER_FORM} == {**old["model_config"], **model.defaults.OLDER_FORM}
