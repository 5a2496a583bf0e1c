"""CMNeXt-B2: the row of Tables I and II with a convolutional encoder for the auxiliary input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.cmnext import (
    SMALL,
    ChannelGate,
    ChannelNorm,
    CmNext,
    CmNextConfig,
    ConvFfn,
    MspaBlock,
    NeighbourhoodMeans,
    PoolingAttention,
)
from dwplus.model.cost import count, count_by_rule, plain_forms
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn

BASE = CmNextConfig()


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 10, 64, 64), torch.randn(2, 2, 64, 64)


def small() -> CmNext:
    torch.manual_seed(0)
    return CmNext(SMALL)


def test_ten_and_two_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["cmnext"]
    with torch.device("meta"):
        network = CmNext()

    cost = count(network, 10, 2)

    assert (cost.params, cost.params_rule) == (58_704_833, 58_692_417)
    assert cost.gflops_rule == pytest.approx(117.0868, abs=5e-5)
    assert (round(cost.params_rule / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])


def test_the_rule_misses_layer_scales_and_channel_norms():
    with torch.device("meta"):
        auxiliary = CmNext().encoder.auxiliary

    scales = [p for name, p in auxiliary.named_parameters() if name.endswith("_scale")]
    norms = [p for module in auxiliary.modules() if isinstance(module, ChannelNorm) for p in module.parameters()]

    assert sum(p.numel() for p in scales) == 8_320
    assert sum(p.numel() for p in norms) == 4_096


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
        network = CmNext().eval()
        images = torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510)

        logits = network(*images)
        macs, _ = count_by_rule(network, *images)

    assert logits.shape == (1, 9, 510, 510)
    assert 2 * macs / 1e9 == pytest.approx(117.0868, abs=5e-5)


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


def test_both_inputs_matter(images: tuple[Tensor, Tensor]):
    network = small().eval()
    primary, auxiliary = images

    with torch.no_grad():
        logits = network(primary, auxiliary)
        assert not torch.allclose(logits, network(primary, auxiliary.flip(0)))
        assert not torch.allclose(logits, network(primary.flip(0), auxiliary))


def test_weights_load_strictly_into_another_instance(images: tuple[Tensor, Tensor]):
    one, other = small().eval(), CmNext(SMALL).eval()

    other.load_state_dict(one.state_dict())

    with torch.no_grad():
        assert torch.equal(one(*images), other(*images))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(UsageError, match="needs two inputs"):
        CmNextConfig(auxiliary_bands=0)
    with pytest.raises(UsageError, match="heads do not divide"):
        dataclasses.replace(BASE, heads=(3, 2, 5, 8))
    with pytest.raises(UsageError, match="auxiliary_ffn_ratios has 2 values for 4 stages"):
        dataclasses.replace(BASE, auxiliary_ffn_ratios=(8, 4))
    with pytest.raises(UsageError, match="odd number"):
        dataclasses.replace(BASE, pools=(3, 6))


def test_channel_norm_is_a_layer_norm_of_every_cell():
    torch.manual_seed(0)
    norm = ChannelNorm(4).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    image = 1e-3 * torch.randn(2, 4, 3, 5).double()  # small: epsilon counts

    found = norm(image).detach().numpy()

    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    for sample, row, column in np.ndindex(2, 3, 5):
        cell = image[sample, :, row, column].numpy()
        expected = weight * (cell - cell.mean()) / np.sqrt(cell.var() + 1e-6) + bias
        assert np.allclose(found[sample, :, row, column], expected)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_means_leave_out_what_lies_outside_the_map(form: str):
    torch.manual_seed(0)
    image = torch.randn(1, 2, 6, 9).double()  # narrower than the largest square
    means = NeighbourhoodMeans((3, 7, 11))
    means.form = form

    found = means(image)[0].numpy()

    for channel, row, column in np.ndindex(2, 6, 9):
        plane = image[0, channel].numpy()
        expected = plane[row, column]
        for half in (1, 3, 5):
            rows, columns = slice(max(0, row - half), row + half + 1), slice(max(0, column - half), column + half + 1)
            expected += plane[rows, columns].mean()
        assert found[channel, row, column] == pytest.approx(expected)


def test_pooling_attention_multiplies_its_input_by_one_to_two():
    torch.manual_seed(0)
    attention = PoolingAttention(3, (3, 7, 11)).double()
    image = torch.randn(1, 3, 8, 8).double()

    found = attention(image)

    seen = F.conv2d(image, attention.depthwise.weight, attention.depthwise.bias, padding=3, groups=3)
    total = seen + sum(F.avg_pool2d(seen, k, 1, k // 2, count_include_pad=False) for k in (3, 7, 11))
    mixed = torch.einsum("oi,bihw->bohw", attention.mix.weight[:, :, 0, 0], total)
    mixed = mixed + attention.mix.bias[:, None, None]
    assert torch.allclose(found, image / (1 + torch.exp(-mixed)) + image)
    assert ((found / image > 1) & (found / image < 2)).all()


def test_gate_of_a_channel_looks_at_the_channels_beside_it():
    gate = ChannelGate().double()
    with torch.no_grad():
        gate.conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
    averages = [0.01, 0.02, -0.03]
    image = torch.tensor(averages).double()[None, :, None, None] + torch.tensor([-0.5, 0.5])  # (1, 3, 1, 2)

    found = gate(image)

    sums = [10 * 0.01 + 100 * 0.02, 1 * 0.01 + 10 * 0.02 - 100 * 0.03, 1 * 0.02 - 10 * 0.03]
    assert found.shape == (1, 3, 1, 1)
    assert found.flatten().tolist() == pytest.approx([1 / (1 + np.exp(-x)) for x in sums])
    assert gate.conv.bias is None


def test_ffn_is_a_mix_ffn_on_maps():
    torch.manual_seed(0)
    ffn = ConvFfn(2, 3).double()
    image = torch.randn(1, 2, 4, 5).double()

    found = ffn(image)

    hidden = F.pad(ffn.expand(image), [1] * 4)
    near = ffn.depthwise.bias[:, None, None] + sum(
        ffn.depthwise.weight[:, 0, y, x, None, None] * hidden[:, :, y : y + 4, x : x + 5] for y, x in np.ndindex(3, 3)
    )
    activated = near * 0.5 * (1 + torch.erf(near / 2**0.5))
    assert torch.allclose(found, ffn.contract(activated))


def test_what_passes_by_the_ffn_is_the_gated_map():
    torch.manual_seed(0)
    block = MspaBlock(4, ratio=2, pools=(3, 7, 11), drop_path=0.0, layer_scale=1e-2).double().eval()
    image = torch.randn(2, 4, 5, 5).double()

    found = block(image)

    assert block.attention_scale.tolist() == block.ffn_scale.tolist() == [pytest.approx(1e-2)] * 4
    after = image + block.attention_scale[:, None, None] * block.attention(block.norm(image))
    ffn = block.ffn_scale[:, None, None] * block.ffn(block.ffn_norm(after))
    assert torch.allclose(found, block.gate(after) * after + ffn)
    nn.init.zeros_(block.ffn_scale)
    nn.init.zeros_(block.attention_scale)
    assert torch.allclose(block(image), block.gate(image) * image)


def test_the_auxiliary_encoder_norms_after_every_embedding_and_every_stage():
    stage = small().encoder.auxiliary[1].eval()
    image = torch.randn(1, 32, 8, 9)

    with torch.no_grad():
        found = stage(image)
        embedded = F.conv2d(image, stage.embed.weight, stage.embed.bias, stride=2, padding=1)
        expected = stage.norm(stage.blocks[0](stage.embed_norm(embedded)))

    assert found.shape == (1, 64, 4, 5)
    assert torch.allclose(found, expected, atol=1e-5)


def test_hidden_widths_of_the_auxiliary_encoder_are_8_8_4_4_times_its_widths():
    with torch.device("meta"):
        network = CmNext()

    stages = network.encoder.auxiliary
    assert [stage.embed.weight.shape for stage in stages] == [
        (64, 2, 7, 7),
        (128, 64, 3, 3),
        (320, 128, 3, 3),
        (512, 320, 3, 3),
    ]
    assert [len(stage.blocks) for stage in stages] == [3, 4, 6, 3]
    assert [stage.blocks[0].ffn.expand.out_channels for stage in stages] == [512, 1024, 1280, 2048]
