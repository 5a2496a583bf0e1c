"""CMX-B2: the row of Tables I and II with two equal encoders."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.baselines.cmx import SMALL, Cmx, CmxConfig
from dwplus.model.cost import count, count_by_rule, plain_forms
from dwplus.pipeline.errors import UsageError
from torch import Tensor

BASE = CmxConfig()


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 10, 64, 64), torch.randn(2, 2, 64, 64)


def small() -> Cmx:
    torch.manual_seed(0)
    return Cmx(SMALL)


def test_ten_and_two_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["cmx"]
    with torch.device("meta"):
        network = Cmx()

    cost = count(network, 10, 2)

    assert cost.params == cost.params_rule == 66_583_825
    assert cost.gflops_rule == pytest.approx(114.7375, abs=5e-5)
    assert (round(cost.params / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])


@pytest.mark.parametrize(("width", "millions"), [(256, 65.53), (768, 68.16)])
def test_other_decoder_widths_do_not_have_the_printed_size(width: int, millions: float):
    with torch.device("meta"):
        network = Cmx(CmxConfig(decoder_width=width))

    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")
    images = torch.randn(1, 10, 64, 70), torch.randn(1, 2, 64, 70)
    network = small()

    found = count_by_rule(network, *images)

    with plain_forms(network):
        assert found == thop.profile(network, inputs=images, verbose=False)


def test_any_size_from_29_px_keeps_its_size():
    network = small().eval()

    with torch.no_grad():
        for size in ((64, 64), (65, 70), (29, 33)):
            assert network(torch.zeros(1, 10, *size), torch.zeros(1, 2, *size)).shape == (1, 9, *size)
    with pytest.raises(UsageError, match="too small"):
        network(torch.zeros(1, 10, 28, 64), torch.zeros(1, 2, 28, 64))


def test_510_px_come_back_as_510_px_and_cost_what_512_px_cost():
    with torch.device("meta"):
        network = Cmx().eval()
        images = torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510)

        logits = network(*images)
        macs, _ = count_by_rule(network, *images)

    assert logits.shape == (1, 9, 510, 510)
    assert 2 * macs / 1e9 == pytest.approx(114.7375, abs=5e-5)


def test_every_parameter_gets_a_gradient(images: tuple[Tensor, Tensor]):
    network = small().train()

    network(*images).sum().backward()

    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_folded_and_plain_forms_agree(images: tuple[Tensor, Tensor]):
    network = small().eval()

    with torch.no_grad():
        folded = network(*images)
        with plain_forms(network):
            plain = network(*images)

    assert not torch.equal(folded, plain)
    assert torch.allclose(folded, plain, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_near(images: tuple[Tensor, Tensor], dtype: torch.dtype):
    network = small().eval()

    with torch.no_grad(), torch.autocast("cpu", dtype):
        half = network(*images)

    exact = network(*images)
    assert half.isfinite().all()
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()


def test_both_inputs_matter_and_each_has_an_encoder_of_its_own(images: tuple[Tensor, Tensor]):
    network = small().eval()
    primary, auxiliary = images

    with torch.no_grad():
        logits = network(primary, auxiliary)
        assert not torch.allclose(logits, network(primary, auxiliary.flip(0)))
        assert not torch.allclose(logits, network(primary.flip(0), auxiliary))

    states = [stages.state_dict() for stages in (network.encoder.primary, network.encoder.auxiliary)]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    assert {name for name in shapes[0] if shapes[0][name] != shapes[1].get(name)} == {"0.embed.conv.weight"}
    assert shapes[1]["0.embed.conv.weight"] == (32, 2, 7, 7)


def test_weights_load_strictly_into_another_instance(images: tuple[Tensor, Tensor]):
    one, other = small().eval(), Cmx(SMALL).eval()

    other.load_state_dict(one.state_dict())

    with torch.no_grad():
        assert torch.equal(one(*images), other(*images))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(UsageError, match="needs two inputs"):
        CmxConfig(auxiliary_bands=0)
    with pytest.raises(UsageError, match="heads do not divide"):
        dataclasses.replace(BASE, heads=(3, 2, 5, 8))
    with pytest.raises(UsageError, match="for 4 stages"):
        dataclasses.replace(BASE, widths=(64, 128, 320))
