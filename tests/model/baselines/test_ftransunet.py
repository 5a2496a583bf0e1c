"""FTransUNet: the paper's figures, its unusual parts one by one, and the whole against a second formulation."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.ftransunet import (
    SMALL,
    Attention,
    FTransUNet,
    FTransUNetConfig,
    PairAttention,
    PairEmbedding,
)
from dwplus.model.blocks.weight_standardised import DualResNet, StandardisedConv2d
from dwplus.model.cost import count, count_by_rule, plain_forms
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Random images are the same in every run."""
    torch.manual_seed(0)


def images(height: int, width: int, *, batch: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def blank(size: int) -> tuple[Tensor, Tensor]:
    """Images without memory."""
    return torch.empty(1, 10, size, size, device="meta"), torch.empty(1, 2, size, size, device="meta")


def on_meta(config: FTransUNetConfig | None = None) -> FTransUNet:
    with torch.device("meta"):
        return FTransUNet(config)


def shaken(network: nn.Module) -> nn.Module:
    """The network with every parameter and buffer moved off its first value, so that none can be mixed up unseen."""
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.mul_(0.8 + 0.4 * torch.rand_like(tensor)).add_(0.02 * torch.randn_like(tensor))
    return network


# --- figures ---


def test_twelve_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["ftransunet"]

    cost = count(on_meta(), 10, 2)

    assert (cost.params, cost.params_rule) == (208_147_673, 184_142_529)
    assert (round(cost.params_rule / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])
    assert cost.gflops > 1.5 * cost.gflops_rule  # the rule sees neither standardised convolutions nor attention


def test_the_published_form_has_1024_tokens_and_does_not_fit_the_table():
    network = on_meta(FTransUNetConfig(patch=1, grid=32))

    macs, params_rule = count_by_rule(network, *blank(512))

    assert sum(p.numel() for p in network.parameters()) == pytest.approx(204.02e6, abs=5e3)
    assert params_rule == pytest.approx(179.42e6, abs=5e3)
    assert 2 * macs / 1e9 == pytest.approx(451.1, abs=0.05)


def test_what_the_papers_counter_does_not_see_is_24_million_parameters():
    network = on_meta()

    hidden = {
        kind: sum(p.numel() for m in network.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))
        for kind in (StandardisedConv2d, nn.GroupNorm, PairEmbedding, PairAttention)
    }

    assert list(hidden.values()) == [23_728_896, 79_616, 196_608, 24]
    assert sum(hidden.values()) == 208_147_673 - 184_142_529


def test_softmax_and_upsampling_modules_have_their_share_of_the_flops():
    network = on_meta()
    outputs = {nn.Softmax: 0, nn.UpsamplingBilinear2d: 0}

    def add(module: nn.Module, _args: object, output: Tensor) -> None:
        outputs[type(module)] += output.numel()

    for module in network.modules():
        if type(module) in outputs:
            module.register_forward_hook(add)
    with torch.no_grad(), plain_forms(network):
        network(*blank(512))

    rows = outputs[nn.Softmax] // 256
    assert rows == (2 * 6 + 4 * 6) * 12 * 256  # six layers with two attentions, six with four; 12 heads, 256 queries
    assert 2 * rows * (3 * 256 - 1) / 1e9 == pytest.approx(0.1696, abs=5e-5)
    assert 2 * 11 * outputs[nn.UpsamplingBilinear2d] / 1e9 == pytest.approx(0.7036, abs=5e-5)


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")
    primary, auxiliary = images(64, 96)
    network = FTransUNet(SMALL)

    wanted = count_by_rule(network, primary, auxiliary)
    with plain_forms(network):
        counted = thop.profile(network, inputs=(primary, auxiliary), verbose=False)

    assert wanted == counted


# --- convolutional part ---


def test_a_standardised_filter_has_mean_0_and_variance_1_before_it_is_used():
    conv = StandardisedConv2d(2, 3, 3, bias=False)
    image = torch.randn(1, 2, 3, 3)  # as large as the filter: one output a filter

    got = conv(image).flatten().tolist()

    for number, weight in enumerate(conv.weight.detach().double().numpy()):
        centred = weight - weight.mean()
        standard = centred / math.sqrt((centred**2).mean() + 1e-5)
        assert got[number] == pytest.approx((standard * image[0].numpy()).sum(), rel=1e-4, abs=1e-5)


def test_scaling_and_shifting_the_filters_does_not_change_what_they_give():
    conv = StandardisedConv2d(4, 4, 3, padding=1, bias=False)
    image = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        conv.weight *= 10  # away from eps
        before = conv(image)
        conv.weight.mul_(7).add_(3)
        after = conv(image)

    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)


def small_encoder() -> DualResNet:
    return DualResNet((3, 2), width=8, units=(1, 1, 1), groups=4, ratio=4).eval()


def test_maps_lie_at_a_sixteenth_and_skips_at_an_eighth_a_quarter_and_a_half():
    with torch.no_grad():
        (primary, auxiliary), skips = small_encoder()(torch.randn(1, 3, 64, 96), torch.randn(1, 2, 64, 96))

    assert primary.shape == auxiliary.shape == (1, 128, 4, 6)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(64, 8, 12), (32, 16, 24), (8, 32, 48)]


def test_the_skip_at_a_quarter_is_filled_with_zeros_on_the_right_and_below():
    with torch.no_grad():
        _, (eighth, quarter, _) = small_encoder()(torch.randn(1, 3, 64, 96), torch.randn(1, 2, 64, 96))

    assert quarter[..., -1, :].abs().max() == quarter[..., -1].abs().max() == 0
    assert quarter[..., -2, :-1].abs().amax() > 0
    assert quarter[..., :-1, -2].abs().amax() > 0
    assert eighth[..., -1].abs().amax() > 0  # 15 cells, strided, are 8 again: nothing to fill


def test_the_primary_branch_sees_the_auxiliary_one_but_not_the_other_way_round():
    encoder = small_encoder()
    primary, auxiliary = torch.randn(1, 3, 32, 32), torch.randn(1, 2, 32, 32)

    with torch.no_grad():
        (first, second), skips = encoder(primary, auxiliary)
        (_, second_of_other), _ = encoder(primary + 1, auxiliary)
        (first_with_other, _), skips_with_other = encoder(primary, torch.randn(1, 2, 32, 32))

    assert torch.equal(second, second_of_other)
    assert not torch.allclose(first, first_with_other)
    assert not any(torch.allclose(a, b) for a, b in zip(skips, skips_with_other, strict=True))


# --- transformer ---


def attention_by_loops(query: Tensor, key: Tensor, value: Tensor) -> np.ndarray:
    """(heads, N, d) each -> (N, heads x d), one query after the other."""
    heads, tokens, depth = query.shape
    out = np.zeros((tokens, heads * depth))
    for head in range(heads):
        for token in range(tokens):
            scores = [float(query[head, token] @ other) / math.sqrt(depth) for other in key[head]]
            weights = np.exp(scores) / np.exp(scores).sum()
            for weight, seen in zip(weights, value[head], strict=True):
                out[token, head * depth : (head + 1) * depth] += weight * seen.numpy()
    return out


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_attention_is_a_mean_of_values_weighted_by_softmax(form):
    attention = Attention(0.1).eval()
    attention.form = form
    query, key, value = torch.randn(3, 2, 3, 5, 4)  # (B, heads, N, d) each

    got = attention(query, key, value)

    assert got.shape == (2, 5, 12)
    for one in range(2):
        np.testing.assert_allclose(got[one], attention_by_loops(query[one], key[one], value[one]), atol=1e-5)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_attention_weights_are_dropped_in_training_alone(form):
    attention = Attention(0.1)
    attention.form = form
    query, key = torch.randn(2, 1, 1, 200, 4)
    ones = torch.ones(1, 1, 200, 4)  # weights sum to 1

    trained, scored = attention.train()(query, key, ones), attention.eval()(query, key, ones)

    torch.testing.assert_close(scored, torch.ones(1, 200, 4))
    assert trained.std() > 0.01
    assert trained.mean() == pytest.approx(1, abs=0.03)


def test_both_forms_of_attention_give_the_same_logits():
    network = shaken(FTransUNet(SMALL)).eval()
    primary, auxiliary = images(64, 64)

    with torch.no_grad():
        fused = network(primary, auxiliary)
        with plain_forms(network):
            plain = network(primary, auxiliary)

    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)
    assert {module.form for module in network.modules() if isinstance(module, Attention)} == {"fused"}


def split(linear: nn.Linear, tokens: Tensor) -> Tensor:
    """(N, C) -> (2 heads, N, C / 2)."""
    return torch.stack(linear(tokens).chunk(2, dim=1))


def test_crossing_attention_mixes_what_each_finds_in_itself_and_in_the_other():
    pair = PairAttention(8, 2, crosses=True, dropout=0.0).eval()
    first, second = torch.randn(2, 5, 8)
    with torch.no_grad():
        pair.mix.copy_(torch.tensor([[0.7, 0.2], [-0.4, 1.5]]))
        got = pair(first[None], second[None])
        wanted = []
        for mine, my_tokens, own, other in [
            (pair.primary, first, (pair.primary, first), (pair.auxiliary, second)),
            (pair.auxiliary, second, (pair.auxiliary, second), (pair.primary, first)),
        ]:
            found = []
            for theirs, tokens in (own, other):
                seen = attention_by_loops(
                    split(mine.query, my_tokens), split(theirs.key, tokens), split(theirs.value, tokens)
                )
                found.append(mine.out(torch.tensor(seen).float()))
            weights = pair.mix[len(wanted)]
            wanted.append(weights[0] * found[0] + weights[1] * found[1])

    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one[0], other, rtol=1e-4, atol=1e-5)


def test_six_layers_in_the_middle_cross_and_begin_with_equal_weights():
    layers = on_meta().transformer.layers
    small = FTransUNet(SMALL).transformer.layers

    assert [layer.attention.mix is not None for layer in layers] == 3 * [False] + 6 * [True] + 3 * [False]
    assert small[1].attention.mix.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def cubic(x: float) -> float:
    """Keys' kernel with a = -0.75."""
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def cubic_matrix(cells: int, wanted: int) -> np.ndarray:
    """(wanted, cells): weights of the old cells in each new one; beyond the border the outermost cell goes on."""
    matrix = np.zeros((wanted, cells))
    for row in range(wanted):
        centre = (row + 0.5) * cells / wanted - 0.5
        for cell in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[row, min(max(cell, 0), cells - 1)] += cubic(centre - cell)
    return matrix


def test_the_position_table_is_itself_on_its_own_grid_and_bicubic_on_others():
    embedding = PairEmbedding(4, 3, patch=2, grid=4, dropout=0.0)
    nn.init.normal_(embedding.positions)
    table = embedding.positions.detach().numpy().reshape(4, 4, 3)

    wanted = np.einsum("yh,xw,hwc->yxc", cubic_matrix(4, 6), cubic_matrix(4, 3), table)

    assert embedding.positions_on((4, 4)) is embedding.positions
    np.testing.assert_allclose(embedding.positions_on((6, 3)).detach()[0], wanted.reshape(18, 3), atol=1e-5)


def test_both_modalities_get_the_same_positions_row_by_row():
    embedding = PairEmbedding(4, 3, patch=2, grid=2, dropout=0.0)
    nn.init.normal_(embedding.positions)
    for convolution in (embedding.primary, embedding.auxiliary):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    nn.init.ones_(embedding.primary.weight)
    image = torch.zeros(1, 4, 4, 4)
    image[0, 0, 0, 3] = 5.0  # upper right patch

    (first, second), grid = embedding(image, image)

    assert grid == (2, 2)
    assert torch.equal(second, embedding.positions)
    torch.testing.assert_close((first - second)[0, :, 0], torch.tensor([0.0, 5.0, 0.0, 0.0]))


def test_510_px_are_padded_to_512_px_and_meet_the_default_table_as_it_is():
    network = on_meta()
    grids = []
    network.embed.register_forward_hook(lambda _module, _args, output: grids.append(output[1]))

    with torch.no_grad():
        logits = network(*blank(510))

    assert logits.shape == (1, 9, 510, 510)
    assert grids == [(network.config.grid, network.config.grid)] == [(16, 16)]


# --- the whole against a second formulation: plain functions on the state_dict, float64 ---


class Reference:
    """The network once more: explicit convolutions, norms and attention, by the names of the state_dict."""

    def __init__(self, network: FTransUNet) -> None:
        self.config = network.config
        self.state = {name: value.double() for name, value in network.state_dict().items()}

    def conv(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0, standard: bool = False) -> Tensor:
        weight = self.state[f"{name}.weight"]
        if standard:
            flat = weight.flatten(1)
            flat = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            weight = flat.view_as(weight)
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding)

    def affine(self, name: str, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return x * self.state[f"{name}.weight"].view(shape) + self.state[f"{name}.bias"].view(shape)

    def group_norm(self, name: str, x: Tensor, groups: int, eps: float = 1e-6) -> Tensor:
        parts = x.reshape(x.shape[0], groups, -1)
        parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, correction=0, keepdim=True) + eps).sqrt()
        return self.affine(name, parts.reshape(x.shape))

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        mean, var = (self.state[f"{name}.running_{kind}"].view(1, -1, 1, 1) for kind in ("mean", "var"))
        return self.affine(name, (x - mean) / (var + 1e-5).sqrt())

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        normed = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-6).sqrt()
        return normed * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def unit(self, name: str, x: Tensor, stride: int) -> Tensor:
        groups, y = self.config.norm_groups, x
        for part, padding in enumerate((0, 1, 0)):
            step = stride if part == 1 else 1
            y = self.conv(f"{name}.branch.{part}.0", y, stride=step, padding=padding, standard=True)
            y = self.group_norm(f"{name}.branch.{part}.1", y, groups)
            y = y.relu() if part < 2 else y
        if f"{name}.shortcut.0.weight" in self.state:
            x = self.conv(f"{name}.shortcut.0", x, stride=stride, standard=True)
            x = self.group_norm(f"{name}.shortcut.1", x, groups=x.shape[1], eps=1e-5)
        return (x + y).relu()

    def stem(self, name: str, x: Tensor) -> Tensor:
        x = self.conv(f"{name}.stem.0", x, stride=2, padding=3, standard=True)
        return self.group_norm(f"{name}.stem.1", x, self.config.norm_groups).relu()

    def block(self, name: str, level: int, x: Tensor) -> Tensor:
        for unit in range(self.config.units[level]):
            x = self.unit(f"{name}.blocks.{level}.{unit}", x, stride=2 if level and not unit else 1)
        return x

    def fuse(self, level: int, x: Tensor, y: Tensor) -> Tensor:
        total = 0
        for name, image in (("primary", x), ("auxiliary", y)):
            prefix = f"encoder.fusions.{level}.{name}.weigh"
            hidden = self.conv(f"{prefix}.0", F.adaptive_avg_pool2d(image, 1)).relu()
            total = total + image / (1 + torch.exp(-self.conv(f"{prefix}.2", hidden)))
        return total

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        x, y = self.stem("encoder.primary", x), self.stem("encoder.auxiliary", y)
        x = self.fuse(0, x, y)
        skips = [x]
        x, y = F.max_pool2d(x, 3, 2), F.max_pool2d(y, 3, 2)
        for level in range(3):
            x, y = self.block("encoder.primary", level, x), self.block("encoder.auxiliary", level, y)
            x = self.fuse(level + 1, x, y)
            skips.append(x)
        filled = torch.zeros_like(F.pad(skips[1], (0, 1, 0, 1)))
        filled[..., :-1, :-1] = skips[1]
        return x, y, [skips[2], filled, skips[0]]

    def attend(self, name: str, query_of: str, source_of: str, tokens: dict[str, Tensor]) -> Tensor:
        query = self.linear(f"{name}.{query_of}.query", tokens[query_of])
        key, value = (self.linear(f"{name}.{source_of}.{kind}", tokens[source_of]) for kind in ("key", "value"))
        width = query.shape[2] // self.config.heads
        parts = []
        for q, k, v in zip(query.split(width, 2), key.split(width, 2), value.split(width, 2), strict=True):
            parts.append(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(width), dim=2) @ v)
        return self.linear(f"{name}.{query_of}.out", torch.cat(parts, dim=2))

    def layer(self, name: str, streams: dict[str, Tensor]) -> dict[str, Tensor]:
        normed = {who: self.layer_norm(f"{name}.{who}.attention_norm", x) for who, x in streams.items()}
        mix, out = self.state.get(f"{name}.attention.mix"), {}
        for row, (who, other) in enumerate((("primary", "auxiliary"), ("auxiliary", "primary"))):
            found = self.attend(f"{name}.attention", who, who, normed)
            if mix is not None:
                crossed = self.attend(f"{name}.attention", who, other, normed)
                found = mix[row, 0] * found + mix[row, 1] * crossed
            x = streams[who] + found
            hidden = F.gelu(self.linear(f"{name}.{who}.mlp.expand", self.layer_norm(f"{name}.{who}.mlp_norm", x)))
            out[who] = x + self.linear(f"{name}.{who}.mlp.contract", hidden)
        return out

    def double(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def conv_norm(self, name: str, x: Tensor) -> Tensor:
        return self.batch_norm(f"{name}.1", self.conv(f"{name}.0", x, padding=1)).relu()

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        x, y, skips = self.encode(x, y)
        positions = self.state["embed.positions"]
        streams = {
            who: self.conv(f"embed.{who}", image, stride=2).flatten(2).transpose(1, 2) + positions
            for who, image in (("primary", x), ("auxiliary", y))
        }
        for number in range(sum(self.config.layers)):
            streams = self.layer(f"transformer.layers.{number}", streams)
        tokens = sum(self.layer_norm(f"transformer.{who}_norm", stream) for who, stream in streams.items())
        x = tokens.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid))
        x = self.double(self.conv_norm("decoder.begin", x))
        for number in range(4):
            x = torch.cat([self.double(x), *skips[number : number + 1]], dim=1)
            for part in range(2):
                x = self.conv_norm(f"decoder.steps.{number}.convolve.{part}", x)
        return self.conv("decoder.classify", x, padding=1)


def test_the_network_equals_a_second_formulation_with_the_same_weights():
    network = shaken(FTransUNet(replace(SMALL, grid=2, layers=(1, 2, 1)))).double().eval()
    primary, auxiliary = (image.double() for image in images(64, 64, batch=2))

    with torch.no_grad():
        got, wanted = network(primary, auxiliary), Reference(network)(primary, auxiliary)

    assert got.std() > 0.01
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


# --- as a network of this project ---


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (65, 70), (12, 40)])
def test_logits_have_the_inputs_size(size):
    network = FTransUNet(SMALL).eval()

    with torch.no_grad():
        logits = network(*images(*size))

    assert logits.shape == (1, 9, *size)
    assert logits.isfinite().all()


def test_a_border_of_one_pixel_is_a_reflection_and_is_cut_off_again():
    network = shaken(FTransUNet(SMALL)).eval()
    primary, auxiliary = images(62, 62)

    with torch.no_grad():
        logits = network(primary, auxiliary)
        whole = network(*(F.pad(image, (1, 1, 1, 1), mode="reflect") for image in (primary, auxiliary)))

    assert torch.equal(logits, whole[..., 1:-1, 1:-1])


def test_an_image_too_small_to_be_padded_is_refused():
    with pytest.raises(UsageError, match="11 x 64 px is too small"):
        FTransUNet(SMALL)(*images(11, 64))


def test_every_parameter_gets_a_gradient():
    network = FTransUNet(SMALL).train()

    network(*images(64, 64, batch=2)).square().sum().backward()

    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert not [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["fused", "plain"])
def test_half_precision_stays_near_full_precision(dtype, form):
    network = shaken(FTransUNet(SMALL)).eval()
    for module in network.modules():
        if isinstance(module, Attention):
            module.form = form
    primary, auxiliary = images(64, 64)

    with torch.no_grad():
        full = network(primary, auxiliary)
        with torch.autocast("cpu", dtype):
            half = network(primary, auxiliary).float()

    assert half.isfinite().all()
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_training_in_bfloat16_gives_finite_gradients():
    network = FTransUNet(replace(SMALL, dropout=0.1, attention_dropout=0.1)).train()

    with torch.autocast("cpu", torch.bfloat16):
        loss = network(*images(64, 64, batch=2)).float().square().mean()
    loss.backward()

    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_weights_move_strictly_from_one_instance_to_another_and_copies_agree():
    network, other = shaken(FTransUNet(SMALL)).eval(), FTransUNet(SMALL).eval()
    primary, auxiliary = images(64, 64)

    other.load_state_dict(network.state_dict(), strict=True)

    with torch.no_grad():
        logits = network(primary, auxiliary)
        assert torch.equal(other(primary, auxiliary), logits)
        assert torch.equal(copy.deepcopy(network)(primary, auxiliary), logits)


@pytest.mark.slow
def test_the_network_is_one_graph():
    network = shaken(FTransUNet(replace(SMALL, units=(1, 1, 1), layers=(1, 1, 0)))).eval()
    primary, auxiliary = images(62, 64)

    with torch.no_grad():
        logits = network(primary, auxiliary)
        compiled = torch.compile(network, fullgraph=True, backend="eager")(primary, auxiliary)

    torch.testing.assert_close(compiled, logits, rtol=1e-5, atol=1e-5)


def test_it_begins_as_the_original_without_its_pretrained_weights():
    network = FTransUNet(SMALL)

    mlp = network.transformer.layers[0].primary.mlp
    limit = math.sqrt(6 / (SMALL.token_width + SMALL.mlp_width))  # Xavier, uniform

    assert network.embed.positions.abs().max() == 0
    assert 0.95 * limit < mlp.expand.weight.abs().max() <= limit
    assert 0 < mlp.expand.bias.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auxiliary_bands": 0}, "both inputs"),
        ({"primary_bands": 0}, "both inputs"),
        ({"width": 48}, "multiple of norm_groups"),
        ({"units": (3, 0, 9)}, "1 or more"),
        ({"layers": (3, -1, 3)}, "0 or more"),
        ({"heads": 7}, "7 heads do not divide 768"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        FTransUNetConfig(**change)
