"""The fuse head of MultiSenseSeg: experts and the matching of their channels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks.modality_fusion import (
    ChannelGate,
    ChannelSimilarity,
    FuseHead,
    ModalityExpert,
    MultimodalMatching,
    log_offsets,
    markers,
)


def small_matching(channels: int = 6) -> MultimodalMatching:
    torch.manual_seed(0)
    return MultimodalMatching(2, 4, channels, heads=4, offset_scale=8).eval()


def test_two_inputs_are_marked_by_the_cosines_of_0_and_67_degrees():
    assert markers(2) == pytest.approx([1.0, 0.390731128])
    assert markers(3) == pytest.approx([1.0, math.sqrt(0.5), 0.0])  # 0, 45 and 90 degrees


def test_a_gate_scales_each_channel_by_what_all_means_decide():
    torch.manual_seed(0)
    gate = ChannelGate(4, 2)
    image = torch.randn(2, 4, 3, 5)
    narrow, wide = gate.gate[1].weight[:, :, 0, 0], gate.gate[3].weight[:, :, 0, 0]

    factors = torch.sigmoid((image.mean(dim=(2, 3)) @ narrow.T).clamp(0, 6) @ wide.T)

    assert torch.allclose(gate(image), image * factors[:, :, None, None], atol=1e-6)


def test_an_expert_is_its_layers_one_after_the_other():
    torch.manual_seed(0)
    expert = ModalityExpert(3, 8, group_width=2, marker=0.39, ratio=4).eval()
    image, norm = torch.randn(2, 3, 6, 7), 1 / math.sqrt(1 + 1e-5)  # BatchNorm with fresh statistics

    with torch.no_grad():
        embedded = F.relu(F.conv2d(image, expert.embed[0].weight, padding=1) * norm)
        marked = F.conv2d(embedded, expert.reduce.weight) + 0.39
        mixed = F.conv2d(marked, expert.mix[0].weight, expert.mix[0].bias, padding=1, groups=2) * norm
        change = F.relu(F.conv2d(mixed, expert.expand[0].weight, expert.expand[0].bias))
        assert torch.allclose(expert(image), expert.gate(embedded + change), atol=1e-6)


def test_a_marker_is_no_parameter():
    one, other = (ModalityExpert(3, 8, group_width=2, marker=marker, ratio=4) for marker in (1.0, 0.39))

    assert not any("marker" in name for name in one.state_dict())
    other.load_state_dict(one.state_dict())
    image = torch.randn(2, 3, 6, 6)
    assert not torch.allclose(one(image), other(image))


def test_offsets_between_channels_are_log_spaced():
    offsets = log_offsets(8, scale=8)

    assert offsets[0, 0] == 0
    assert offsets[7, 0] == pytest.approx(math.log2(9) / 3)  # the farthest: 8 after scaling
    assert offsets[0, 7] == -offsets[7, 0]
    assert offsets[3, 1] == pytest.approx(math.log2(1 + 2 / 7 * 8) / 3)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_channels_that_are_unlike_get_the_larger_weights():
    torch.manual_seed(0)
    similarity = ChannelSimilarity(5, heads=2, offset_scale=8)
    query, key = torch.randn(3, 2, 5, 7), torch.randn(3, 2, 5, 7)

    with torch.no_grad():
        weights = similarity(query, key).numpy()

    first, second = similarity.bias.mlp[0], similarity.bias.mlp[2]
    w1, b1, w2 = (x.detach().numpy() for x in (first.weight, first.bias, second.weight))
    for head in range(2):
        for b in range(3):
            q, k = query[b, head].numpy(), key[b, head].numpy()
            score = np.empty((5, 5))
            for i in range(5):
                for j in range(5):
                    cosine = q[i] @ k[j] / np.linalg.norm(q[i]) / np.linalg.norm(k[j])
                    x = (i - j) / 4 * 8
                    x = np.sign(x) * np.log2(1 + abs(x)) / 3
                    bias = w2[head] @ np.maximum(w1[:, 0] * x + b1, 0)
                    score[i, j] = 10 * cosine + 1 / (1 + np.exp(-bias))
            wanted = softmax(1 - softmax(score))
            assert np.allclose(weights[b, head], wanted, atol=1e-6)
            assert np.array_equal(weights[b, head].argmin(axis=-1), score.argmax(axis=-1))


def test_the_learned_scale_starts_at_10_and_ends_at_100():
    similarity = ChannelSimilarity(5, heads=2, offset_scale=8)
    query, key = torch.randn(1, 2, 5, 7), torch.randn(1, 2, 5, 7)
    assert similarity.log_scale.exp().flatten().tolist() == pytest.approx([10.0, 10.0])

    with torch.no_grad():
        similarity.log_scale.fill_(math.log(100.0))
        at_100 = similarity(query, key)
        similarity.log_scale.fill_(50.0)
        assert torch.allclose(similarity(query, key), at_100)


def test_heads_share_out_positions_and_each_mixes_the_channels():
    matching = small_matching()
    image = torch.randn(2, 8, 32, 32)

    with torch.no_grad():
        near = matching.query_near, matching.key_near
        query = F.conv2d(F.max_pool2d(matching.query(image), 8), near[0].weight, near[0].bias, groups=8)
        key = F.conv2d(F.max_pool2d(matching.key(image), 8), near[1].weight, near[1].bias, groups=8)
        value = matching.value_patches(matching.value(image))  # (2, 8, 8, 8)
        assert query.shape == key.shape == (2, 8, 2, 2)  # four positions: one for each head
        weights = matching.similarity(
            query.flatten(2).permute(0, 2, 1)[..., None], key.flatten(2).permute(0, 2, 1)[..., None]
        )
        mixed = torch.empty_like(value)
        for head in range(4):
            rows = slice(2 * head, 2 * head + 2)  # a quarter of the eight rows
            mixed[:, :, rows] = torch.einsum("bij,bjyx->biyx", weights[:, head], value[:, :, rows])
        wanted = F.layer_norm(matching.mix(mixed).permute(0, 2, 3, 1), (6,))
        wanted = wanted + F.layer_norm(matching.shortcut(image).permute(0, 2, 3, 1), (6,))
        assert torch.allclose(matching(image), wanted.permute(0, 3, 1, 2), atol=1e-5)


def test_queries_of_one_input_do_not_see_the_other():
    matching = small_matching()
    image = torch.randn(1, 8, 32, 32)
    other = image.clone()
    other[:, 4:] += 1

    for layer in (matching.query, matching.key, matching.value):
        assert torch.equal(layer(image)[:, :4], layer(other)[:, :4])
        assert not torch.allclose(layer(image)[:, 4:], layer(other)[:, 4:])


def test_both_forms_of_the_values_agree_with_their_gradients():
    matching = small_matching()
    for layer in (matching.value, matching.value_patches):
        torch.nn.init.normal_(layer.bias)
    image = torch.randn(2, 8, 32, 64)

    results, gradients = [], []
    for form in ("fused", "plain"):
        matching.form = form
        matching.zero_grad()
        results.append(matching(image))
        results[-1].square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in matching.named_parameters()})

    assert torch.allclose(*results, atol=1e-5)
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (64, 160)])
def test_heads_divide_the_positions_of_every_multiple_of_32(size: tuple[int, int]):
    with torch.device("meta"):
        head = FuseHead((10, 2), width=8, group_width=4, channels=6, heads=4, offset_scale=8, ratio=8)
        patches, details = head(torch.empty(1, 10, *size), torch.empty(1, 2, *size))

    assert patches.shape == (1, 6, size[0] // 4, size[1] // 4)
    assert details.shape == (1, 8, *size)
