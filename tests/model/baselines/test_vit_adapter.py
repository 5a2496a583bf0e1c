"""ViT-Adapter: its size, deformable attention against plain loops, and how its parts work together."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.vit_adapter import (
    SMALL,
    DeformableAttention,
    Extractor,
    Injector,
    MapMerger,
    PatchEmbedding,
    PyramidFfn,
    SpatialPrior,
    TransformerBlock,
    VitAdapter,
    VitAdapterConfig,
    centres,
    grids_of,
    sample,
)
from dwplus.model.cost import count, count_by_rule
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn

BASE = VitAdapterConfig()
WITH_AUX = replace(SMALL, aux=True)
CLASS_DEFAULTS = {"deform_heads": 6, "deform_ratio": 1.0}  # of the authors' class, not of their configuration
GRIDS = ((4, 6), (2, 3))


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Random images are the same in every run."""
    torch.manual_seed(0)


def images(*size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    height, width = size if size else (64, 64)
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def awake(network: nn.Module) -> nn.Module:
    """With gamma and the deformable attention's zeros replaced, as after some training: every part takes part."""
    for module in network.modules():
        if isinstance(module, Injector):
            nn.init.normal_(module.gamma)
        if isinstance(module, DeformableAttention):
            for layer in (module.offsets, module.weights):
                nn.init.normal_(layer.weight, std=0.3)
                nn.init.normal_(layer.bias)
    return network


# Size


def test_the_authors_base_network_has_its_own_figures_and_not_those_of_the_papers_row():
    printed = load_toml("paper")["table2"]["vit-adapter"]
    with torch.device("meta"):
        network = VitAdapter()

    cost = count(network, 10, 2)

    assert (cost.params, cost.params_rule) == (133_530_665, 133_355_561)
    assert round(cost.gflops_rule, 1) == 773.5
    bare = 197 * 768 + 3 * 768 + 4 * 768 + 12 * 2 * 768  # positions, levels, gamma, layer scales
    assert cost.params - cost.params_rule == bare
    assert (printed["params"], printed["flops"]) == (179.35, 1978.31)  # another network, which nobody could identify


@pytest.mark.parametrize(
    ("changes", "params"),
    [
        ({"layer_scale": False}, 133_512_233),
        ({"aux": True}, 135_302_962),
        ({"aux": True, "layer_scale": False}, 135_284_530),
    ],
)
def test_layer_scales_are_18_432_parameters_that_the_papers_rule_does_not_see(changes, params):
    with torch.device("meta"):
        network = VitAdapter(replace(BASE, **changes))

    scales = [p for name, p in network.named_parameters() if name.endswith("_scale")]
    assert sum(p.numel() for p in network.parameters()) == params
    assert sum(p.numel() for p in scales) == (18_432 if BASE.layer_scale and "layer_scale" not in changes else 0)


@pytest.mark.parametrize(
    ("changes", "params", "gflops"),
    [
        ({"aux": True}, 135.13, None),
        ({"head_channels": 768}, 168.95, 1302.5),
        ({"head_channels": 1024}, 217.52, 2039.3),
        ({"width": 384, "heads": 6, **CLASS_DEFAULTS}, 57.42, 530.8),
    ],
)
def test_other_choices_have_the_figures_of_an_independent_implementation(changes, params, gflops):
    with torch.device("meta"):
        network = VitAdapter(replace(BASE, **changes))
        macs, params_rule = count_by_rule(network, torch.empty(1, 10, 512, 512), torch.empty(1, 2, 512, 512))

    assert round(params_rule / 1e6, 2) == params
    assert gflops is None or round(2 * macs / 1e9, 1) == gflops


class WithAux(nn.Module):
    """thop calls a network with its inputs alone."""

    def __init__(self, network: VitAdapter) -> None:
        super().__init__()
        self.network = network

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        return self.network(primary, auxiliary, aux=self.network.has_aux)


@pytest.mark.parametrize("config", [SMALL, WITH_AUX])
def test_counts_equal_thops(config: VitAdapterConfig):
    thop = pytest.importorskip("thop")
    inputs = images(64, 96, batch=1)

    macs, params = thop.profile(WithAux(VitAdapter(config)), inputs=inputs, verbose=False)

    assert count_by_rule(VitAdapter(config), *inputs) == (macs, params)


# Deformable attention


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """(h, w, d) at a place where 0 and 1 are the outer edges; cells outside the image are zero."""
    height, width, channels = image.shape
    column, row = x * width - 0.5, y * height - 0.5
    left, top = math.floor(column), math.floor(row)
    out = np.zeros(channels)
    for i, j in product((top, top + 1), (left, left + 1)):
        if 0 <= i < height and 0 <= j < width:
            out += (1 - abs(row - i)) * (1 - abs(column - j)) * image[i, j]
    return out


def levels_of(cells: np.ndarray, grids: tuple[tuple[int, int], ...]) -> list[np.ndarray]:
    """(S, ...) -> one (h, w, ...) per level."""
    parts = np.split(cells, np.cumsum([h * w for h, w in grids])[:-1])
    return [part.reshape(*grid, *part.shape[1:]) for part, grid in zip(parts, grids, strict=True)]


def test_sampling_is_the_weighted_sum_of_bilinear_values_with_zeros_outside():
    batch, queries, heads, points, channels = 2, 5, 3, 4, 2
    cells = sum(h * w for h, w in GRIDS)
    value = torch.randn(batch, cells, heads, channels, dtype=torch.float64)
    places = torch.rand(len(GRIDS), batch, queries, heads, points, 2, dtype=torch.float64) * 1.6 - 0.3  # -0.3 to 1.3
    weights = torch.rand(batch, queries, heads, len(GRIDS), points, dtype=torch.float64)

    wanted = np.zeros((batch, queries, heads, channels))
    for b, q, h, p in product(range(batch), range(queries), range(heads), range(points)):
        for level, image in enumerate(levels_of(value[b, :, h].numpy(), GRIDS)):
            x, y = places[level, b, q, h, p].tolist()
            wanted[b, q, h] += weights[b, q, h, level, p].item() * bilinear(image, x, y)

    result = sample(value, GRIDS, list(places), weights)

    np.testing.assert_allclose(result.numpy(), wanted.reshape(batch, queries, -1), atol=1e-12)


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def by_loops(attention: DeformableAttention, queries: np.ndarray, at: np.ndarray, source: np.ndarray) -> np.ndarray:
    """(Q, C), (Q, 2), (S, C) -> (Q, C): one image, one query, one head, one level, one point at a time."""
    heads, levels, points = attention.heads, attention.levels, attention.points
    value = linear(attention.value, source).reshape(len(source), heads, -1)
    mixed = np.zeros((len(queries), heads, value.shape[2]))
    for q, query in enumerate(queries):
        offsets = linear(attention.offsets, query).reshape(heads, levels, points, 2)
        scores = np.exp(linear(attention.weights, query).reshape(heads, levels * points))
        weights = (scores / scores.sum(1, keepdims=True)).reshape(heads, levels, points)
        for head in range(heads):
            for level, image in enumerate(levels_of(value[:, head], GRIDS)):
                height, width = image.shape[:2]
                for point in range(points):
                    dx, dy = offsets[head, level, point]
                    found = bilinear(image, at[q, 0] + dx / width, at[q, 1] + dy / height)
                    mixed[q, head] += weights[head, level, point] * found
    return linear(attention.projection, mixed.reshape(len(queries), -1))


def test_deformable_attention_equals_plain_loops():
    attention = awake(DeformableAttention(12, 6, heads=3, levels=2, points=4)).double()
    queries = torch.randn(2, 6, 12, dtype=torch.float64)
    source = torch.randn(2, 30, 12, dtype=torch.float64)
    at = centres(((2, 3),), like=queries)

    result = attention(queries, at, source, GRIDS).detach().numpy()

    for b in range(2):
        wanted = by_loops(attention, queries[b].numpy(), at.numpy(), source[b].numpy())
        np.testing.assert_allclose(result[b], wanted, atol=1e-12)


def test_gradients_reach_values_places_and_weights():
    value = torch.randn(1, 30, 2, 2, dtype=torch.float64, requires_grad=True)
    places = torch.rand(2, 1, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda v, p, w: sample(v, GRIDS, list(p.unbind()), w), (value, places, weights))


def test_looking_at_its_own_centre_a_query_finds_its_own_cell():
    value = torch.randn(1, 24, 1, 3)
    at = centres(((4, 6),), like=value)

    found = sample(value, ((4, 6),), [at[None, :, None, None]], torch.ones(1, 24, 1, 1, 1))

    torch.testing.assert_close(found, value[:, :, 0])


def test_heads_start_by_looking_1_2_3_cells_away_each_in_its_direction():
    attention = DeformableAttention(8, 8, heads=8, levels=2, points=3)

    attention.initialise()

    first = attention.offsets.bias.detach().reshape(8, 2, 3, 2)
    directions = torch.tensor([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1.0]])
    wanted = directions[:, None, None] * torch.tensor([1, 2, 3])[:, None]
    torch.testing.assert_close(first, wanted.expand(8, 2, 3, 2), atol=1e-5, rtol=0)
    assert not any(t.any() for t in (attention.offsets.weight, attention.weights.weight, attention.weights.bias))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_places_and_sums_are_float32_under_autocast(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    seen: list[torch.dtype] = []
    genuine = F.grid_sample

    def spy(image: Tensor, places: Tensor, **options: object) -> Tensor:
        seen.extend((image.dtype, places.dtype))
        return genuine(image, places, **options)

    monkeypatch.setattr(F, "grid_sample", spy)
    attention = awake(DeformableAttention(12, 6, heads=3, levels=2, points=4))
    queries = torch.randn(1, 6, 12)

    with torch.autocast("cpu", dtype):
        result = attention(queries, centres(((2, 3),), like=queries.to(dtype)), torch.randn(1, 30, 12), GRIDS)

    assert result.dtype == dtype
    assert set(seen) == {torch.float32}


# Geometry and positions


def test_centres_are_x_then_y_row_by_row_level_by_level():
    points = centres(((1, 2), (2, 1)), like=torch.empty(0, dtype=torch.bfloat16))

    assert points.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]
    assert points.dtype == torch.float32


def test_grids_are_height_first():
    geometry = grids_of(torch.empty(1, 1, 64, 96))

    assert (geometry.patches, geometry.levels) == ((4, 6), ((8, 12), (4, 6), (2, 3)))
    assert len(geometry.patch_centres) == 4 * 6
    assert len(geometry.level_centres) == 8 * 12 + 4 * 6 + 2 * 3


def cubic(distance: float) -> float:
    """Weight of a cell at a distance: cubic convolution with a = -0.75."""
    d = abs(distance)
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def cubic_matrix(old: int, new: int) -> np.ndarray:
    """(new, old): cells of a new grid out of those of an old one, borders repeated."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) * old / new - 0.5
        for cell in range(math.floor(place) - 1, math.floor(place) + 3):
            matrix[i, min(max(cell, 0), old - 1)] += cubic(place - cell)
    return matrix


def test_positions_are_resized_bicubically_without_the_class_tokens():
    embed = PatchEmbedding(2, 5, side=4)

    table = embed.positions[1:].detach().numpy().reshape(4, 4, 5)
    wanted = np.einsum("yi,xj,ijc->yxc", cubic_matrix(4, 6), cubic_matrix(4, 3), table)

    np.testing.assert_allclose(embed.positions_on((6, 3))[0].detach().numpy(), wanted.reshape(18, 5), atol=1e-6)


def test_positions_on_their_own_grid_are_the_table():
    embed = PatchEmbedding(2, 5, side=14)

    torch.testing.assert_close(embed.positions_on((14, 14))[0], embed.positions[1:])


def test_a_token_is_its_patch_times_the_weights_plus_its_position():
    embed, image = PatchEmbedding(2, 5, side=2), torch.randn(1, 2, 32, 48)

    tokens = embed(image)

    patch = image[0, :, 16:32, 32:48]  # row 1, column 2 of a grid of 2 x 3
    wanted = (embed.conv.weight * patch).sum((1, 2, 3)) + embed.conv.bias + embed.positions_on((2, 3))[0, 5]
    torch.testing.assert_close(tokens[0, 5], wanted, atol=1e-5, rtol=1e-5)


# Parts


def test_the_spatial_prior_gives_a_map_at_a_quarter_and_tokens_of_three_levels():
    prior = SpatialPrior(12, 4, 8).eval()
    with torch.no_grad():
        prior.level_embedding.copy_(torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 8))
        for projection in prior.projections:
            projection.weight.zero_()
            projection.bias.zero_()

        finest, tokens = prior(torch.randn(1, 12, 64, 96))

    assert finest.shape == (1, 8, 16, 24)
    assert not finest.any()  # the finest level has no embedding
    assert tokens[0, :, 0].tolist() == [1.0] * (8 * 12) + [2.0] * (4 * 6) + [3.0] * (2 * 3)


def test_the_pyramids_convolution_keeps_levels_apart():
    ffn, grids = PyramidFfn(6, 4), ((4, 4), (2, 2), (1, 1))
    tokens = torch.randn(1, 21, 6)
    changed = tokens.clone()
    changed[:, 16:20] += 1  # the middle level

    same = (ffn(tokens, grids) == ffn(changed, grids)).all(2)[0]

    assert same[:16].all()
    assert not same[16:20].any()
    assert same[20:].all()


def test_an_injector_starts_as_if_it_were_not_there():
    injector, geometry = Injector(SMALL), grids_of(torch.empty(1, 1, 64, 64))
    tokens, pyramid = torch.randn(1, 16, 32), torch.randn(1, 84, 32)

    assert torch.equal(injector(tokens, pyramid, geometry), tokens)
    assert not torch.equal(awake(injector)(tokens, pyramid, geometry), tokens)


def test_an_extractor_looks_at_the_transformers_grid_from_every_level():
    extractor, geometry = Extractor(SMALL), grids_of(torch.empty(1, 1, 64, 96))
    extractor.attention.initialise()
    pyramid, tokens = torch.randn(1, 126, 32), torch.randn(1, 24, 32)
    changed = tokens.clone()
    changed[:, 0] += torch.randn(32)  # top left; at the start the four heads look along rows and columns

    change = (extractor(pyramid, tokens, geometry) - extractor(pyramid, changed, geometry)).abs().amax(2)[0]

    first, middle, last = change.split([96, 24, 6])
    assert min(first[0], middle[1], last[0]) > 1e-2
    assert middle.reshape(4, 6)[2:, 2:].max() < 1e-5  # neither in its row and column nor in a neighbouring one


def test_maps_are_summed_with_the_transformers_at_their_own_resolution():
    merge = MapMerger(3).eval()
    finest, levels = torch.randn(1, 3, 16, 16), [torch.randn(1, 3, side, side) for side in (8, 4, 2)]
    tokens = [torch.randn(1, 3, 4, 4) for _ in range(4)]

    maps = merge(finest, levels, tokens)

    norm = (1 + 1e-5) ** -0.5  # fresh norms divide by this
    halved = tokens[3].reshape(1, 3, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(maps[3], (levels[2] + halved) * norm)
    torch.testing.assert_close(maps[2], (levels[1] + tokens[2]) * norm)
    raised = F.conv_transpose2d(levels[0], merge.up.weight, merge.up.bias, stride=2)
    wanted = raised + finest + F.interpolate(tokens[0], scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps[0], wanted * norm)


@pytest.mark.parametrize("layer_scale", [True, False])
def test_a_block_adds_what_attention_and_feed_forward_find_times_a_factor_per_channel(layer_scale: bool):
    block = TransformerBlock(6, 2, 4, drop_path=0.0, eps=1e-6, layer_scale=layer_scale).double().eval()
    first, second = torch.ones(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    if layer_scale:
        nn.init.normal_(block.attention_scale)
        nn.init.normal_(block.ffn_scale)
        first, second = block.attention_scale, block.ffn_scale
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)

    with torch.no_grad():
        after = tokens + block.attention(F.layer_norm(tokens, (6,), eps=1e-6)) * first
        hidden = F.gelu(F.layer_norm(after, (6,), eps=1e-6) @ block.ffn[0].weight.T + block.ffn[0].bias)
        wanted = after + (hidden @ block.ffn[2].weight.T + block.ffn[2].bias) * second

        torch.testing.assert_close(block(tokens), wanted)


def test_layer_scales_start_at_one_so_that_the_older_form_starts_with_the_same_logits():
    network = awake(VitAdapter(SMALL)).eval()
    older = VitAdapter(replace(SMALL, **VitAdapterConfig.OLDER_FORM)).eval()
    state = network.state_dict()
    added = {
        f"backbone.interactions.{i}.blocks.0.{name}" for i in range(4) for name in ("attention_scale", "ffn_scale")
    }

    older.load_state_dict({name: value for name, value in state.items() if name not in added}, strict=True)

    assert state.keys() - older.state_dict().keys() == added
    assert all((state[name] == 1).all() for name in added)
    inputs = images(batch=1)
    with torch.no_grad():
        assert torch.equal(network(*inputs), older(*inputs))


@pytest.mark.parametrize(("unit", "whole"), [("channels", True), ("numbers", False)])
def test_dropout_of_the_auxiliary_head_leaves_out_channels_or_numbers(unit: str, whole: bool):
    network = VitAdapter(replace(WITH_AUX, dropout=0.5, aux_dropout_unit=unit)).train()

    zeros = network.aux_head[1](torch.ones(4, 8, 5, 5)) == 0

    assert zeros.any()
    assert bool((zeros == zeros[:, :, :1, :1]).all()) == whole


def test_drop_path_rises_in_the_transformer_and_is_constant_in_the_extractors():
    with torch.device("meta"):
        interactions = VitAdapter().backbone.interactions

    rates = [block.drop_path.rate for one in interactions for block in one.blocks]
    assert rates == pytest.approx(np.linspace(0, 0.3, 12))
    assert [len(one.extractors) for one in interactions] == [1, 1, 1, 3]
    assert {extractor.drop_path.rate for one in interactions for extractor in one.extractors} == {0.3}


# The network


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (33, 47)])
def test_logits_have_the_size_of_the_input(size: tuple[int, int]):
    network = VitAdapter(SMALL).eval()

    with torch.no_grad():
        assert network(*images(*size, batch=1)).shape == (1, 9, *size)


def test_the_full_network_takes_a_tile_of_510_px():
    with torch.device("meta"):
        network = VitAdapter().eval()
        logits = network(torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510))

    assert logits.shape == (1, 9, 510, 510)


def test_a_network_with_one_input_does_not_care_where_a_band_comes_from():
    network = VitAdapter(SMALL).eval()
    image = torch.randn(1, 12, 40, 64)

    with torch.no_grad():
        assert torch.equal(network(image[:, :10], image[:, 10:]), network(image, image[:, :0]))


def test_at_the_first_step_gradients_stop_at_zeros_and_nowhere_else():
    network = VitAdapter(SMALL).train()

    network(*images()).square().sum().backward()

    still = {name for name, p in network.named_parameters() if not p.grad.any()}  # fails where a gradient is missing
    injectors = {name for name, _ in network.named_parameters() if ".injector." in name and "gamma" not in name}
    queries = {name for name, _ in network.named_parameters() if ".extractors." in name and "query_norm" in name}
    assert still == injectors | queries  # behind gamma = 0, and behind offsets and weights of 0


@pytest.mark.parametrize("config", [SMALL, WITH_AUX])
def test_later_every_parameter_has_a_gradient(config: VitAdapterConfig):
    network = awake(VitAdapter(config)).train()

    logits = network(*images(), aux=config.aux)
    sum(one.square().sum() for one in (logits if config.aux else [logits])).backward()

    assert all(p.grad.any() for p in network.parameters())


def test_no_aux_head_unless_asked_for():
    network = VitAdapter(SMALL)

    assert not network.has_aux
    assert not hasattr(network, "aux_head")
    with pytest.raises(UsageError, match="aux = true"):
        network(*images(), aux=True)


def test_the_aux_head_runs_in_training_or_when_asked_and_leaves_the_logits_alone():
    network = VitAdapter(WITH_AUX)
    runs: list[int] = []
    network.aux_head.register_forward_hook(lambda *_: runs.append(1))

    with torch.no_grad():
        logits = network.eval()(*images(65, 70))
        assert not runs
        pair = network(*images(65, 70), aux=True)
    assert [one.shape for one in (logits, *pair)] == [(2, 9, 65, 70)] * 3
    assert len(runs) == 1

    network.train()(*images()).square().sum().backward()
    assert len(runs) == 2
    assert all(p.grad is not None and not p.grad.any() for p in network.aux_head.parameters())


def test_checkpointing_changes_no_gradient():
    plain = awake(VitAdapter(replace(SMALL, drop_path=0.3))).train()
    saving = VitAdapter(replace(SMALL, drop_path=0.3, checkpointing=True)).train()
    saving.load_state_dict(plain.state_dict())
    inputs = images()

    for network in (plain, saving):
        torch.manual_seed(1)
        network(*inputs).square().sum().backward()

    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_near(dtype: torch.dtype):
    network = awake(VitAdapter(WITH_AUX)).eval()
    inputs = images()
    with torch.no_grad():
        wanted = network(*inputs)

    with torch.autocast("cpu", dtype):
        near = network(*inputs)
        loss = network.train()(*inputs).float().square().mean()
    loss.backward()

    assert (near.float() - wanted).abs().max() < 0.1 * wanted.abs().max()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.slow
def test_an_exported_interaction_gives_the_same_tokens():
    backbone = awake(VitAdapter(SMALL).backbone).eval()
    interaction = backbone.interactions[0]
    inputs = torch.randn(1, 16, 32), torch.randn(1, 84, 32), grids_of(torch.empty(1, 1, 64, 64))

    exported = torch.export.export(interaction, inputs).module()

    torch.testing.assert_close(exported(*inputs), interaction(*inputs))


def test_copies_and_saved_weights_give_the_same_logits():
    network, inputs = awake(VitAdapter(WITH_AUX)).eval(), images(batch=1)
    other = VitAdapter(WITH_AUX).eval()

    other.load_state_dict(network.state_dict(), strict=True)

    with torch.no_grad():
        wanted = network(*inputs)
        assert torch.equal(other(*inputs), wanted)
        assert torch.equal(copy.deepcopy(network)(*inputs), wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary_bands": 0}, "at least one band"),
        ({"depth": 6}, "multiple of 4"),
        ({"heads": 5}, "5 heads do not divide 768"),
        ({"deform_heads": 9}, "9 heads do not divide 384"),
        ({"deform_ratio": 0.0}, "deform_ratio is 0.0; it must be"),
        ({"deform_ratio": math.nan}, "deform_ratio is nan"),
        ({"extractor_ffn_ratio": math.inf}, "extractor_ffn_ratio is inf; it must be"),
        ({"deform_points": 0}, "deform_points is 0"),
        ({"head_channels": -512}, "head_channels is -512"),
        ({"heads": 0}, "heads is 0; it must be"),
        ({"norm_eps": 0.0}, "norm_eps is 0.0; it must be"),
        ({"dropout": 2.0}, "dropout is 2.0"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"drop_path": -0.1}, "drop_path is -0.1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(BASE, **changes)
