"""CMTFNet: the paper's figures, the gates, the attention and the fusion by plain loops."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.baselines.cmtfnet import (
    SMALL,
    ChannelGate,
    CMTFNet,
    CMTFNetConfig,
    Decoder,
    FeedForward,
    Fusion,
    FusionHead,
    MultiscaleAttention,
    MultiscaleBlock,
    MultiscaleGate,
    SpatialGate,
)
from dwplus.model.cost import count, count_by_rule
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn


def small() -> CMTFNet:
    torch.manual_seed(0)
    return CMTFNet(SMALL)


def inputs(height: int = 64, width: int = 64, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    primary = torch.randn(batch, 10, height, width, generator=generator)
    return primary, torch.randn(batch, 2, height, width, generator=generator)


def settled(module: nn.Module) -> nn.Module:
    """In eval mode, with norms that differ from channel to channel."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.2, 0.5)
    return module.eval()


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def convolved(image: np.ndarray, conv: nn.Conv2d) -> np.ndarray:
    """(C_in, h, w) -> (C, h, w) by the definition: every output, every tap; zeros around."""
    weight, (_, height, width) = array(conv.weight), image.shape
    result = np.zeros((len(weight), height, width)) + (0 if conv.bias is None else array(conv.bias)[:, None, None])
    middle, dilation, each = conv.kernel_size[0] // 2, conv.dilation[0], conv.out_channels // conv.groups
    for channel in range(conv.out_channels):
        first = channel // each * weight.shape[1]
        seen = image[first : first + weight.shape[1]]
        for y, x, v, u in np.ndindex(height, width, *conv.kernel_size):
            row, column = y + (v - middle) * dilation, x + (u - middle) * dilation
            if 0 <= row < height and 0 <= column < width:
                result[channel, y, x] += weight[channel, :, v, u] @ seen[:, row, column]
    return result


def normed(image: np.ndarray, norm: nn.BatchNorm2d) -> np.ndarray:
    mean, scale = array(norm.running_mean), array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    return (image - mean[:, None, None]) * scale[:, None, None] + array(norm.bias)[:, None, None]


def relu6(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 6)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def layer(image: np.ndarray, conv_norm: nn.Sequential) -> np.ndarray:
    """Convolution, norm, ReLU6."""
    return relu6(normed(convolved(image, conv_norm[0]), conv_norm[1]))


def multiscale(image: np.ndarray, gate: MultiscaleGate) -> np.ndarray:
    reduced = layer(image, gate.reduce)
    total = sum(layer(layer(reduced, scale[0]), scale[1]) for scale in gate.scales)
    return layer(total, gate.mix) * image


def channel_gated(image: np.ndarray, gate: ChannelGate) -> np.ndarray:
    mean = image.mean(axis=(1, 2), keepdims=True)
    return sigmoid(convolved(relu6(convolved(mean, gate.weigh[1])), gate.weigh[3])) * image


def pooled(image: np.ndarray, side: int) -> np.ndarray:
    """Means over ``side`` x ``side`` windows from floor(i n / side) to ceil((i + 1) n / side)."""
    result = np.zeros((len(image), side, side))
    for i, j in np.ndindex(side, side):
        rows, columns = (
            slice(k * n // side, -(-(k + 1) * n // side)) for k, n in zip((i, j), image.shape[1:], strict=True)
        )
        result[:, i, j] = image[:, rows, columns].mean(axis=(1, 2))
    return result


def attended(image: np.ndarray, attention: MultiscaleAttention) -> np.ndarray:
    """Head by head and position by position; the queries are the image itself."""
    channels, height, width = image.shape
    source = convolved(pooled(multiscale(image, attention.multiscale), attention.pool.output_size), attention.key_value)
    keys, values = (half.reshape(channels, -1) for half in (source[:channels], source[channels:]))
    result, wide = np.zeros_like(image), channels // attention.heads
    for head in range(attention.heads):
        own = slice(head * wide, (head + 1) * wide)
        for y, x in np.ndindex(height, width):
            scores = np.exp(image[own, y, x] @ keys[own] / math.sqrt(wide))
            result[own, y, x] = values[own] @ (scores / scores.sum())
    return result + channel_gated(image, attention.channel_gate)


def assert_same(module: nn.Module, image: Tensor, expected: np.ndarray) -> None:
    with torch.no_grad():
        np.testing.assert_allclose(module(image)[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_parameters_and_multiply_accumulates_are_the_papers():
    printed = load_toml("paper")["table2"]["cmtfnet"]  # 30.10 M, 34.93 G
    with torch.device("meta"):
        network = CMTFNet()

    cost = count(network, 10, 2)

    assert cost.params == 30_099_641
    assert cost.params_rule == 30_099_641 - 6  # bare numbers, the fusions' weights, are invisible to the rule
    assert round(cost.params / 1e6, 2) == round(cost.params_rule / 1e6, 2) == printed["params"]
    assert cost.gflops_rule == pytest.approx(69.8639, abs=5e-5)  # 2 x, as all other rows
    assert round(cost.gflops_rule / 2, 2) == printed["flops"]  # 1 x: what this row prints
    assert cost.gflops == pytest.approx(71.6696, abs=5e-5)  # attention counted


def test_510_px_have_another_count_than_the_papers():
    with torch.device("meta"):
        macs, _ = count_by_rule(CMTFNet(), torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510))

    assert round(macs / 1e9, 2) == 34.91


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")
    network = small()
    wanted = thop.profile(copy.deepcopy(network), inputs=inputs(62, 66, 1), verbose=False)

    assert count_by_rule(network, *inputs(62, 66, 1)) == wanted


def test_a_multiscale_gate_is_its_loops():
    gate = settled(MultiscaleGate(8, (1, 3)))
    image = torch.randn(1, 8, 5, 4)

    assert_same(gate, image, multiscale(array(image[0]), gate))


def test_a_channel_gate_is_its_loops():
    gate = settled(ChannelGate(8))
    image = torch.randn(1, 8, 3, 5)

    assert_same(gate, image, channel_gated(array(image[0]), gate))


def test_a_spatial_gate_weighs_positions_by_mean_and_maximum():
    gate = settled(SpatialGate())
    image = torch.randn(1, 4, 6, 5)
    channels = array(image[0])

    summary = np.stack([channels.mean(axis=0), channels.max(axis=0)])

    assert_same(gate, image, sigmoid(convolved(summary, gate.weigh[0])) * channels)
    assert gate.weigh[0].bias is not None


@pytest.mark.parametrize("size", [(6, 5), (2, 2)])  # more cells than the pooled 3 x 3, and fewer
def test_attention_is_its_loops(size: tuple[int, int]):
    attention = settled(MultiscaleAttention(8, heads=2, pooled=3, dilations=(1, 2)))
    image = torch.randn(1, 8, *size)

    assert_same(attention, image, attended(array(image[0]), attention))


def test_the_feed_forward_is_its_loops():
    feed_forward = settled(FeedForward(8))
    image = torch.randn(1, 8, 6, 5)

    reduced = layer(array(image[0]), feed_forward.reduce)
    expected = layer(layer(reduced, feed_forward.wide) + layer(reduced, feed_forward.narrow), feed_forward.expand)

    assert_same(feed_forward, image, expected)
    assert (feed_forward.wide[0].kernel_size, feed_forward.narrow[0].kernel_size) == ((5, 5), (3, 3))


def test_a_block_norms_what_attention_found_and_adds_twice():
    block = settled(MultiscaleBlock(8, heads=2, pooled=2, dilations=(1,)))
    image = torch.randn(1, 8, 4, 4)

    with torch.no_grad():
        between = image + block.norm(block.attention(image))
        expected = between + block.feed_forward(between)

        assert torch.equal(block(image), expected)


def test_only_keys_and_values_are_projected():
    with torch.device("meta"):
        attention = Decoder(CMTFNetConfig()).blocks[0].attention

    own = {name for name, _ in attention.named_parameters() if not name.startswith(("multiscale.", "channel_gate."))}
    assert own == {"key_value.weight"}
    assert attention.key_value.weight.shape == (1024, 512, 1, 1)


@pytest.mark.parametrize("size", [512, 510, 200])
def test_every_map_is_seen_as_256_keys(size: int):
    shapes = []
    with torch.device("meta"):
        network = CMTFNet().eval()
        for block in network.decoder.blocks:
            block.attention.pool.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
        network(torch.empty(1, 10, size, size), torch.empty(1, 2, size, size))

    assert shapes == 3 * [(1, 512, 16, 16)]


def test_dilations_grow_towards_the_finest_map():
    with torch.device("meta"):
        network = CMTFNet()

    gates = [*(block.attention.multiscale for block in network.decoder.blocks), network.head.multiscale]
    dilations = [[scale[0][0].dilation[0] for scale in gate.scales] for gate in gates]
    assert dilations == [[1, 3, 5], [3, 5, 7], [5, 7, 9], [7, 9, 11]]
    assert all(scale[0][0].padding == scale[0][0].dilation for gate in gates for scale in gate.scales)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((1.0, 1.0), (0.5, 0.5)),
        ((1.0, 3.0), (0.25, 0.75)),
        ((-1.0, 2.0), (0.0, 1.0)),  # a negative weight counts as none
        ((9.0, 2.0), (0.75, 0.25)),  # 6 and 2
        ((0.0, 0.0), (0.0, 0.0)),  # not 0 / 0
    ],
)
def test_fusion_is_a_weighted_mean(weights: tuple[float, float], shares: tuple[float, float]):
    fusion = Fusion(4).eval()
    fusion.smooth = nn.Identity()
    fusion.weights.data = torch.tensor(weights)
    skip, coarse = torch.full((1, 4, 6, 4), 8.0), torch.full((1, 4, 3, 2), 4.0)

    with torch.no_grad():
        fused = fusion(skip, coarse)

    torch.testing.assert_close(fused, torch.full((1, 4, 6, 4), 8 * shares[0] + 4 * shares[1]))


def test_a_fusion_smooths_with_a_norm_after_each_convolution_and_one_relu6():
    fusion = settled(Fusion(4))
    skip = torch.randn(1, 4, 6, 5)
    depthwise, pointwise = fusion.smooth

    between = normed(convolved(array(skip[0]), depthwise[0]), depthwise[1])  # half of each, both the same
    expected = relu6(normed(convolved(between, pointwise[0]), pointwise[1]))

    assert between.min() < 0
    with torch.no_grad():
        np.testing.assert_allclose(fusion(skip, skip)[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_coarse_map_is_resized_bilinearly():
    fusion = Fusion(1).eval()
    fusion.smooth = nn.Identity()
    fusion.weights.data = torch.tensor([0.0, 1.0])
    coarse = torch.tensor([[[[0.0, 4.0]]]])

    with torch.no_grad():
        fused = fusion(torch.zeros(1, 1, 2, 4), coarse)

    torch.testing.assert_close(fused[0, 0], torch.tensor([[0.0, 1.0, 3.0, 4.0]]).expand(2, 4))


def test_the_decoder_goes_from_coarse_to_fine_and_takes_the_second_map_as_it_is():
    order = []
    network = small().eval()
    for name, module in network.decoder.named_modules():
        if isinstance(module, MultiscaleBlock | Fusion) or name in ("reduce_last", "reduce_third", "narrow"):
            module.register_forward_hook(lambda _m, _i, out, name=name: order.append((name, out.shape[1:])))

    with torch.no_grad():
        network(*inputs(128, 128, 1))

    assert order == [
        ("reduce_last", (64, 4, 4)),
        ("blocks.0", (64, 4, 4)),
        ("reduce_third", (64, 8, 8)),
        ("fusions.0", (64, 8, 8)),
        ("blocks.1", (64, 8, 8)),
        ("fusions.1", (64, 16, 16)),
        ("blocks.2", (64, 16, 16)),
        ("narrow", (32, 16, 16)),
        ("fusions.2", (32, 32, 32)),
    ]


def test_the_head_adds_three_gated_maps_and_classifies_without_a_bias():
    head = settled(FusionHead(8, 3, (1, 2), dropout=0.0))
    image = torch.randn(1, 8, 5, 5)

    with torch.no_grad():
        total = head.multiscale(image) + head.channel_gate(image) + head.spatial_gate(image)
        expected = nn.functional.conv2d(head.smooth(total), head.classify.weight)

        assert torch.equal(head(image), expected)
    assert head.classify.bias is None
    assert head.smooth[0][0].kernel_size == (3, 3)


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (33, 20)])
def test_logits_have_the_inputs_size(size: tuple[int, int]):
    network = small().eval()

    with torch.no_grad():
        logits = network(*inputs(*size, batch=1))

    assert logits.shape == (1, 9, *size)
    assert torch.isfinite(logits).all()


def test_510_px_need_no_padding():
    with torch.device("meta"):
        logits = CMTFNet().eval()(torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510))

    assert logits.shape == (1, 9, 510, 510)


def test_a_network_with_one_input_does_not_care_where_a_band_comes_from():
    network = small().eval()
    image = torch.cat(inputs(batch=1), dim=1)

    with torch.no_grad():
        assert torch.equal(network(image[:, :10], image[:, 10:]), network(image, image[:, :0]))


def test_every_weight_gets_a_gradient():
    network = small().train()

    network(*inputs()).square().mean().backward()

    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert all(fusion.weights.grad.any() for fusion in network.decoder.fusions)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_close(dtype: torch.dtype):
    network = small().train()

    with torch.no_grad():
        network(*inputs(batch=4))  # statistics of the norms
        network.eval()
        exact = network(*inputs())
        with torch.autocast("cpu", dtype):
            half = network(*inputs())

    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.05 * exact.abs().max().item())


@pytest.mark.slow
def test_a_transformer_block_is_one_graph():
    block = small().decoder.blocks[0].eval()
    image = torch.randn(2, 64, 4, 4)

    compiled = torch.compile(block, fullgraph=True, backend="eager")

    with torch.no_grad():
        torch.testing.assert_close(compiled(image), block(image))


def left_out(head: FusionHead) -> Tensor:
    """(B, C, h, w), bool: what dropout sets to zero of a map of ones, in training."""
    torch.manual_seed(0)
    return head.train().dropout(torch.ones(4, 8, 5, 5)) == 0


def test_dropout_leaves_out_whole_channels_as_in_the_original():
    torch.manual_seed(0)
    zeros = left_out(CMTFNet(replace(SMALL, dropout=0.5)).head)

    assert zeros.any()
    assert not zeros.all()
    assert (zeros == zeros[:, :, :1, :1]).all()  # all positions of a channel, or none
    assert CMTFNetConfig().dropout_unit == "channels"


def test_the_older_form_leaves_out_single_numbers():
    zeros = left_out(CMTFNet(replace(SMALL, dropout=0.5, **CMTFNetConfig.OLDER_FORM)).head)

    assert not (zeros == zeros[:, :, :1, :1]).all()
    assert zeros.float().mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"primary_bands": 0}, "at least one band"),
        ({"blocks": (3, 4)}, "four numbers"),
        ({"heads": 15}, "15 heads do not divide 512"),
        ({"pooled": 0}, "pooled is 0; it must be"),
        ({"dilations": ((1,), (2,))}, "three transformer blocks"),
        ({"head_dilations": ()}, "from 1 on"),
        ({"heads": 0}, "heads is 0; it must be"),
        ({"dilations": ((1, 3), (3, 0), (5, 7))}, "dilations is .*; it must be"),
        ({"dropout": 2.0}, "dropout is 2.0; it must be"),
        ({"dropout": math.nan}, "dropout is nan"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        CMTFNetConfig(**settings)
