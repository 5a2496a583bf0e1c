"""What every network of the registry keeps to, tried on the small form of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from dwplus.model.config import from_mapping, to_mapping
from dwplus.model.registry import MODELS, SMALL_SETTINGS, build, configure, spec, table_rows
from dwplus.pipeline.errors import UsageError
from torch import nn

NETWORKS = [name for name in SMALL_SETTINGS if not name.startswith("smp/")]


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(f"{name}-small")


def images(batch: int = 2, height: int = 64, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(batch, bands, height, width, generator=generator) for bands in (10, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_one_image_of_an_odd_size_is_scored_as_in_a_batch(name: str):
    network = small(name).eval()
    primary, auxiliary = images(2, 70, 65)

    with torch.no_grad():
        together = network(primary, auxiliary)
        alone = network(primary[:1], auxiliary[:1])

    assert together.shape == (2, 9, 70, 65)
    assert torch.allclose(alone, together[:1], atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient_whether_or_not_the_auxiliary_head_is_asked(name: str):
    for heads in ({}, {"aux": True}) if getattr(small(name), "has_aux", False) else ({},):
        network = small(name).train()

        logits = network(*images(), **heads)
        sum(one.square().mean() for one in (logits if heads else (logits,))).backward()

        missing = [key for key, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
        assert not missing, "distributed training would stop"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_both_ways(name: str, dtype: torch.dtype):
    network = small(name).train()

    with torch.autocast("cpu", dtype):
        logits = network(*images())
    logits.float().square().mean().backward()

    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_one_network_fit_another_of_its_kind_by_name(name: str):
    one, other = small(name).eval(), build(f"{name}-small").eval()

    other.load_state_dict(one.state_dict(), strict=True)

    with torch.no_grad():
        assert torch.equal(one(*images(1)), other(*images(1)))


@pytest.mark.parametrize("name", NETWORKS)
def test_first_logits_say_little(name: str):
    """A network that begins with large logits spends its first epochs on taking them back."""
    network = small(name).train()

    logits = network(*images())
    loss = nn.functional.cross_entropy(logits, torch.randint(0, 9, (2, 64, 64)))

    assert float(loss.detach()) < 3.5  # an even guess of nine classes has log 9 = 2.2


@pytest.mark.parametrize("name", NETWORKS)
def test_the_small_form_is_small(name: str):
    with torch.device("meta"):
        network = build(f"{name}-small")

    assert sum(parameter.numel() for parameter in network.parameters()) < 3_000_000


@pytest.mark.parametrize("name", [name for name in NETWORKS if spec(name).min_batch == 1])
def test_networks_that_say_so_train_on_a_single_image(name: str):
    small(name).train()(*images(1)).sum().backward()


@pytest.mark.parametrize("name", [name for name in NETWORKS if spec(name).min_batch == 2])
def test_networks_that_need_two_images_need_them(name: str):
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        small(name).train()(*images(1))


@pytest.mark.parametrize("name", [*MODELS, *(f"{name}-small" for name in SMALL_SETTINGS), *table_rows()])
def test_settings_of_every_row_survive_json(name: str):
    settings = spec(name).defaults

    read = from_mapping(type(settings), json.loads(json.dumps(to_mapping(settings))), where=name)

    assert read == settings


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("specsar-former", {"split": (1, 1), "decoder": "plain", "auxiliary_heads": (1, 1, 1, 1)}),
        ("cmtfnet", {"dilations": ((1,), (2, 3), (4,)), "head_dilations": (5,), "heads": 8, "pooled": 8}),
        ("multisenseseg", {"auxiliary_bands": 3, "ffn_residual": "hidden", "aux": False}),
        ("pspnet", {"bins": (1, 4), "aux": False, "output_stride": 16, "stem": "single"}),
        ("vit-adapter-small", {"aux": True}),
    ],
)
def test_changed_settings_survive_json(name: str, changes: dict[str, Any]):
    settings = configure(name, **changes)

    read = from_mapping(type(settings), json.loads(json.dumps(to_mapping(settings))), where=name)

    assert read == settings != spec(name).defaults


def test_an_unknown_setting_is_refused():
    with pytest.raises(UsageError, match="unknown key 'depth'"):
        configure("ftransunet", depth=3)


def test_a_small_form_has_the_small_settings_and_no_row_in_the_paper():
    assert spec("cmx-small").paper is None
    assert spec("cmx-small").network is MODELS["cmx"].network
    with pytest.raises(UsageError, match="did you mean specsar-former"):
        spec("specsar-forme")
