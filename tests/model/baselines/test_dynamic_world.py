"""The network of Dynamic World: its sizes, its antialiased halving, its classification by direction."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.model.baselines.dynamic_world import SMALL, DirectionHead, DynamicWorldConfig, DynamicWorldNet, halve
from dwplus.model.cost import count, count_by_rule
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn


def inputs(batch: int = 2, height: int = 64, width: int = 64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def settled() -> DynamicWorldNet:
    """In evaluation mode, every BatchNorm with statistics and weights of its own."""
    torch.manual_seed(0)
    network = DynamicWorldNet(SMALL)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.01, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def test_nine_bands_have_the_published_graphs_parameters_and_statistics():
    with torch.device("meta"):
        network = DynamicWorldNet(DynamicWorldConfig(primary_bands=9, auxiliary_bands=0))

    parameters = sum(parameter.numel() for parameter in network.parameters())
    statistics = sum(buffer.numel() for buffer in network.buffers() if buffer.ndim)

    assert parameters == 225_513
    assert parameters + statistics == 231_209


def test_nine_bands_take_16_2_g_multiply_accumulates_at_510_px():
    with torch.device("meta"):
        network = DynamicWorldNet(DynamicWorldConfig(primary_bands=9, auxiliary_bands=0))

    cost = count(network, 9, 0, size=510)

    full, half = 510**2, 255**2
    first, second, third = (
        2 * a * b + 2 * b * b + 3 * 9 * b for a, b in ((64, 96), (96, 144), (192, 144))
    )  # two 1 x 1 a -> b, two b -> b, three depthwise
    norms = 4 * (64 * full + 7 * (96 + 144 + 144) * half + 2 * 48 * half)
    macs = full * (81 * 64 + 144 * 9) + half * (first + second + third + 64 * 48 + 9 * 48) + norms
    assert cost.params_rule == 225_513
    assert round(cost.gflops_rule * 1e9 / 2) == macs
    assert round(macs / 1e9, 1) == 16.2


def test_twelve_bands_add_three_to_the_stem_alone():
    with torch.device("meta"):
        network = DynamicWorldNet()

    assert sum(parameter.numel() for parameter in network.parameters()) == 225_513 + 3 * 9 * 64


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")
    network, pair = DynamicWorldNet(SMALL), inputs(1, 33, 47)
    network.head.form = "plain"

    assert count_by_rule(network, *pair) == thop.profile(network, inputs=pair, verbose=False)


def halved_in_loops(row: np.ndarray) -> np.ndarray:
    """One row of values, each new one the mean under a tent of twice the new pixel's width, cut at the row's ends."""
    count = len(row) // 2
    scale = len(row) / count
    result = np.empty(count)
    for i in range(count):
        centre = (i + 0.5) * scale
        weights = [max(0.0, 1.0 - abs(j + 0.5 - centre) / scale) for j in range(len(row))]
        result[i] = sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights)
    return result


@pytest.mark.parametrize(("height", "width"), [(8, 6), (9, 7), (10, 5), (3, 2)])
def test_halving_is_a_tent_of_twice_the_width_cut_at_the_border(height: int, width: int):
    torch.manual_seed(0)
    image = torch.randn(1, 1, height, width)

    rows = np.stack([halved_in_loops(row) for row in image[0, 0].double().numpy()])
    wanted = np.stack([halved_in_loops(column) for column in rows.T]).T

    assert halve(image).shape == (1, 1, height // 2, width // 2)
    np.testing.assert_allclose(halve(image)[0, 0].numpy(), wanted, atol=1e-6)


def test_halving_an_even_row_weighs_four_pixels_1_3_3_1():
    row = torch.zeros(1, 1, 2, 12)
    row[0, 0, :, 5] = 8.0

    assert halve(row)[0, 0, 0].tolist() == pytest.approx([0, 0, 3, 1, 0, 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halving_knows_half_precision_on_the_cpu(dtype: torch.dtype):
    torch.manual_seed(0)
    image = torch.randn(1, 2, 7, 6, dtype=dtype, requires_grad=True)

    result = halve(image)
    result.sum().backward()

    assert result.dtype == dtype
    assert torch.equal(result, halve(image.float()).to(dtype))
    assert image.grad is not None


def head(form: str, channels: int = 5) -> DirectionHead:
    torch.manual_seed(0)
    head = DirectionHead(channels, 3)
    head.form = form
    return head


def test_every_pixels_features_are_scaled_to_length_one():
    torch.manual_seed(1)
    features, one = torch.randn(2, 5, 4, 3), head("plain")

    with torch.no_grad():
        logits = one(features, torch.Size((7, 6)))

    enlarged = F.interpolate(features, (7, 6), mode="bilinear", align_corners=False).double().numpy()
    weight, bias = (parameter.detach().double().numpy() for parameter in (one.classify.weight, one.classify.bias))
    for b, y, x in np.ndindex(2, 7, 6):
        vector = enlarged[b, :, y, x]
        unit = vector / np.sqrt(max(np.dot(vector, vector), 1e-12))
        np.testing.assert_allclose(logits[b, :, y, x], weight[:, :, 0, 0] @ unit + bias, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
def test_classifying_before_enlarging_changes_nothing_but_the_work(size: tuple[int, int]):
    torch.manual_seed(1)
    features = [torch.randn(2, 5, 4, 3).requires_grad_() for _ in range(2)]
    features[1].data = features[0].data.clone()
    fused, plain = head("fused"), head("plain")

    results = [one(x, torch.Size(size)) for one, x in zip((fused, plain), features, strict=True)]
    for result in results:
        result.square().sum().backward()

    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(features[0].grad, features[1].grad, atol=1e-5)
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_length_does_not_matter_and_none_at_all_gives_the_bias(form: str):
    torch.manual_seed(1)
    features, one = torch.randn(1, 5, 4, 4), head(form)
    nothing = torch.zeros(1, 5, 4, 4, requires_grad=True)
    size = torch.Size((8, 8))

    assert torch.allclose(one(features, size), one(1000 * features, size), atol=1e-6)
    logits = one(nothing, size)
    logits.sum().backward()
    assert torch.allclose(logits, one.classify.bias[:, None, None].expand_as(logits))
    assert nothing.grad.isfinite().all()


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_features_whose_squares_leave_float16_still_count(form: str):
    features, one = torch.full((1, 5, 4, 4), 3e4), head(form)

    with torch.autocast("cpu", torch.float16), torch.no_grad():
        logits = one(features.half(), torch.Size((8, 8)))

    wanted = one.classify.weight.sum((1, 2, 3)) / 5**0.5 + one.classify.bias
    assert torch.allclose(logits[0, :, 3, 3], wanted, atol=1e-4)


def test_logits_are_those_of_one_plain_list_of_calls():
    network, (primary, auxiliary) = settled(), inputs(2, 33, 46)
    state = network.state_dict()

    def layer(x: Tensor, name: str, groups: int = 1) -> Tensor:
        weight, bias = state[f"{name}.0.weight"], state[f"{name}.0.bias"]
        x = F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=groups)
        mean, var, gamma, beta = (
            state[f"{name}.1.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-3).sqrt() * gamma + beta
        return x * torch.tanh(torch.log1p(torch.exp(x)))  # Mish

    def separable(x: Tensor, name: str) -> Tensor:
        x = layer(x, f"{name}.0")
        return layer(x, f"{name}.1", groups=x.shape[1])

    def block(x: Tensor, name: str) -> Tensor:
        steps = separable(separable(separable(x, f"{name}.steps.0"), f"{name}.steps.1"), f"{name}.steps.2")
        return steps + layer(x, f"{name}.shortcut")

    with torch.no_grad():
        stem = halve(layer(torch.cat([primary, auxiliary], 1), "stem"))
        encoded = block(block(stem, "encoder.0"), "encoder.1")
        decoded = block(torch.cat([encoded, separable(stem, "skip")], 1), "decoder")
        enlarged = F.interpolate(decoded, (33, 46), mode="bilinear", align_corners=False)
        unit = enlarged / enlarged.square().sum(1, keepdim=True).sqrt()
        wanted = F.conv2d(unit, state["head.classify.weight"], state["head.classify.bias"])

        assert torch.allclose(network(primary, auxiliary), wanted, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 70), (510, 510), (2, 3)])
def test_logits_have_the_inputs_size(height: int, width: int):
    with torch.device("meta"):
        network = DynamicWorldNet().eval()
        logits = network(torch.empty(1, 10, height, width), torch.empty(1, 2, height, width))

    assert logits.shape == (1, 9, height, width)


def test_no_auxiliary_input_is_needed():
    network = DynamicWorldNet(DynamicWorldConfig(9, 0, stem_width=8, widths=(8, 8), skip_width=4)).eval()

    with torch.no_grad():
        assert network(torch.randn(1, 9, 16, 16), torch.empty(1, 0, 16, 16)).shape == (1, 9, 16, 16)


def test_every_parameter_has_a_gradient():
    network = DynamicWorldNet(SMALL).train()

    network(*inputs()).sum().backward()

    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_full(dtype: torch.dtype):
    network, pair = settled(), inputs(1)

    with torch.no_grad():
        wanted = network(*pair)
        with torch.autocast("cpu", dtype):
            logits = network(*pair)
            trained = network.train()(*pair)

    assert trained.isfinite().all()
    assert (logits - wanted).abs().mean() < 0.05 * wanted.abs().mean()


@pytest.mark.slow
def test_it_compiles_in_one_graph_and_exports():
    network, pair = settled(), inputs(1, 33, 46)

    with torch.no_grad():
        wanted = network(*pair)
        compiled = torch.compile(network, fullgraph=True, backend="eager")(*pair)
        exported = torch.export.export(network, pair).module()(*pair)

    assert torch.allclose(compiled, wanted, atol=1e-6)
    assert torch.allclose(exported, wanted, atol=1e-6)


def test_a_copy_gives_the_same_logits():
    network, pair = settled(), inputs(1, 33, 46)

    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network)(*pair), network(*pair))


def test_weights_load_strictly_into_another_instance():
    one, other = settled(), DynamicWorldNet(SMALL).eval()

    other.load_state_dict(one.state_dict(), strict=True)

    with torch.no_grad():
        assert torch.equal(one(*inputs()), other(*inputs()))


def test_no_band_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one band"):
        DynamicWorldConfig(primary_bands=0)
