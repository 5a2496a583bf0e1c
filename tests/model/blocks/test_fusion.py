"""Feature rectification and fusion of CMX and CMNeXt: dwplus.model.blocks.fusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks.fusion import (
    ChannelEmbedding,
    ChannelWeights,
    DualEncoder,
    FeatureFusion,
    FeatureRectification,
    GlobalContext,
    SpatialWeights,
    read_context,
)
from torch import Tensor, nn


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    """Two maps of 4 channels on a grid of 3 x 5, in double precision."""
    generator = torch.Generator().manual_seed(0)
    primary, auxiliary = torch.randn(2, 2, 4, 3, 5, generator=generator).double()
    return primary, auxiliary


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def linear(module: nn.Linear | nn.Conv2d, x: np.ndarray) -> np.ndarray:
    """A Linear or a 1 x 1 convolution on one vector."""
    weight = module.weight.detach().numpy().reshape(module.weight.shape[0], -1)
    return weight @ x + (0 if module.bias is None else module.bias.detach().numpy())


def test_channel_weights_come_from_averages_then_maxima_of_both_maps(maps: tuple[Tensor, Tensor]):
    torch.manual_seed(0)
    weights = ChannelWeights(4).double()

    of_primary, of_auxiliary = weights(torch.cat(maps, dim=1))

    for sample in range(2):
        rows = [one[sample, channel].numpy() for one in maps for channel in range(4)]
        pooled = np.array([row.mean() for row in rows] + [row.max() for row in rows])  # (4C,)
        expected = sigmoid(linear(weights.mlp[2], np.maximum(linear(weights.mlp[0], pooled), 0)))
        assert np.allclose(of_primary[sample, :, 0, 0].detach(), expected[:4])
        assert np.allclose(of_auxiliary[sample, :, 0, 0].detach(), expected[4:])


def test_spatial_weights_see_one_cell_at_a_time(maps: tuple[Tensor, Tensor]):
    torch.manual_seed(0)
    weights = SpatialWeights(4).double()

    of_primary, of_auxiliary = weights(torch.cat(maps, dim=1))

    for row in range(3):
        for column in range(5):
            cell = np.concatenate([one[1, :, row, column].numpy() for one in maps])  # (2C,)
            expected = sigmoid(linear(weights.mlp[2], np.maximum(linear(weights.mlp[0], cell), 0)))
            assert of_primary[1, 0, row, column].item() == pytest.approx(expected[0])
            assert of_auxiliary[1, 0, row, column].item() == pytest.approx(expected[1])


def test_rectification_adds_half_of_the_other_map_by_each_of_its_two_weights(maps: tuple[Tensor, Tensor]):
    torch.manual_seed(0)
    rectify = FeatureRectification(4).double()
    channel = [one.detach().numpy() for one in rectify.channel(torch.cat(maps, dim=1))]
    spatial = [one.detach().numpy() for one in rectify.spatial(torch.cat(maps, dim=1))]

    found = rectify(*maps)

    for mine, other in ((0, 1), (1, 0)):
        expected = np.empty((2, 4, 3, 5))
        for b, c, y, x in np.ndindex(expected.shape):
            factor = 0.5 * channel[other][b, c, 0, 0] + 0.5 * spatial[other][b, 0, y, x]
            expected[b, c, y, x] = maps[mine][b, c, y, x] + factor * maps[other][b, c, y, x]
        assert np.allclose(found[mine].detach(), expected)


def test_a_map_that_is_weighted_with_zero_changes_nothing(maps: tuple[Tensor, Tensor]):
    rectify = FeatureRectification(4).double()
    with torch.no_grad():
        rectify.channel.mlp[2].weight.zero_()
        rectify.spatial.mlp[2].weight.zero_()
        rectify.channel.mlp[2].bias.copy_(torch.tensor([-1e9] * 4 + [1e9] * 4))  # primary 0, auxiliary 1
        rectify.spatial.mlp[2].bias.copy_(torch.tensor([-1e9, 1e9]))

    primary, auxiliary = rectify(*maps)

    assert torch.allclose(primary, maps[0] + maps[1])
    assert torch.equal(auxiliary, maps[1])


@pytest.mark.parametrize("heads", [1, 2])
def test_context_is_a_softmax_over_key_channels_of_sums_over_tokens(heads: int):
    torch.manual_seed(0)
    summary = GlobalContext(4, heads).double()
    tokens = torch.randn(1, 7, 4).double()
    size = 4 // heads

    context = summary(tokens)

    keys_values = [linear(summary.key_value, token.numpy()) for token in tokens[0]]  # 7 x (2C,)
    for head in range(heads):
        sums = np.zeros((size, size))
        for pair in keys_values:
            for key, value in np.ndindex(size, size):
                sums[key, value] += pair[head * size + key] * pair[4 + head * size + value]
        powers = np.exp(sums / np.sqrt(size))
        assert np.allclose(context[0, head].detach(), powers / powers.sum(axis=0, keepdims=True))
    assert torch.allclose(context.sum(dim=2), torch.ones(1, heads, size).double())
    assert summary.key_value.bias is None


def test_context_is_read_head_by_head():
    tokens = torch.arange(8.0).reshape(1, 2, 4)  # 2 tokens, 2 heads of 2 channels
    swap, double = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])

    answer = read_context(tokens, torch.stack([swap, double])[None])

    assert answer[0].tolist() == [[1, 0, 4, 6], [5, 4, 12, 14]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_context_of_many_large_tokens_stays_finite_in_half_precision(dtype: torch.dtype):
    torch.manual_seed(0)
    summary = GlobalContext(8, 1)
    tokens = 100 * torch.rand(1, 4096, 8)
    key, value = summary.key_value(tokens).chunk(2, dim=2)

    with torch.no_grad(), torch.autocast("cpu", dtype):
        context = summary(tokens)

    assert (key.transpose(1, 2) @ value).abs().max() > torch.finfo(torch.float16).max
    assert context.isfinite().all()
    assert context.float().sum(dim=2) == pytest.approx(torch.ones(1, 1, 8), abs=0.02)


def test_each_input_reads_the_context_of_the_other_one(maps: tuple[Tensor, Tensor]):
    torch.manual_seed(0)
    fuse = FeatureFusion(4, 2).double().eval()

    found = fuse(*maps)

    paths = (fuse.primary, fuse.auxiliary)
    tokens = [one.permute(0, 2, 3, 1).reshape(2, 15, 4) for one in maps]  # row by row
    hidden = [F.relu(path.expand(x)) for path, x in zip(paths, tokens, strict=True)]
    contexts = [path.context(both[..., 4:]) for path, both in zip(paths, hidden, strict=True)]
    joined = []
    for mine, other in ((0, 1), (1, 0)):
        asks = hidden[mine][..., 4:]
        answer = torch.cat([asks[..., :2] @ contexts[other][:, 0], asks[..., 2:] @ contexts[other][:, 1]], dim=2)
        change = paths[mine].contract(torch.cat([hidden[mine][..., :4], answer], dim=2))
        joined.append(F.layer_norm(tokens[mine] + change, (4,)))
    expected = fuse.embedding(torch.cat(joined, dim=2).reshape(2, 3, 5, 8).permute(0, 3, 1, 2))
    assert torch.allclose(found, expected)


def test_embedding_norms_its_chain_and_then_the_sum_with_the_residual():
    torch.manual_seed(0)
    embedding = ChannelEmbedding(3).double().eval()
    norm, last = embedding.embed[4], embedding.norm
    with torch.no_grad():
        for one in (norm, last):
            one.running_mean.uniform_(-1, 1)
            one.running_var.uniform_(0.5, 2)
    both = torch.randn(1, 6, 4, 4).double()

    found = embedding(both)

    def normed(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
        return (x - layer.running_mean[:, None, None]) / (layer.running_var[:, None, None] + 1e-5).sqrt()

    first, depthwise, _, project, _ = embedding.embed
    lifted = F.pad(torch.einsum("oi,bihw->bohw", first.weight[:, :, 0, 0], both) + first.bias[:, None, None], [1] * 4)
    seen = depthwise.bias[:, None, None] + sum(
        depthwise.weight[:, 0, y, x, None, None] * lifted[:, :, y : y + 4, x : x + 4] for y, x in np.ndindex(3, 3)
    )
    chain = torch.einsum("oi,bihw->bohw", project.weight[:, :, 0, 0], seen.relu()) + project.bias[:, None, None]
    residual = torch.einsum("oi,bihw->bohw", embedding.residual.weight[:, :, 0, 0], both)
    assert embedding.residual.bias is None
    assert torch.allclose(found, normed(last, residual + normed(norm, chain)))


def test_the_rectified_maps_go_on_and_the_fused_ones_go_out():
    torch.manual_seed(0)
    primary_stages, auxiliary_stages = (
        nn.ModuleList([nn.Conv2d(bands, 4, 1), nn.Conv2d(4, 6, 2, 2)]) for bands in (3, 2)
    )
    encoder = DualEncoder(primary_stages, auxiliary_stages, widths=(4, 6), heads=(1, 2)).eval()
    primary, auxiliary = torch.randn(1, 3, 4, 6), torch.randn(1, 2, 4, 6)

    found = encoder(primary, auxiliary)

    first = encoder.rectifications[0](primary_stages[0](primary), auxiliary_stages[0](auxiliary))
    second = encoder.rectifications[1](primary_stages[1](first[0]), auxiliary_stages[1](first[1]))
    assert [tuple(one.shape) for one in found] == [(1, 4, 4, 6), (1, 6, 2, 3)]
    assert torch.equal(found[0], encoder.fusions[0](*first))
    assert torch.equal(found[1], encoder.fusions[1](*second))
