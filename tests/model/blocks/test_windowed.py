"""Windows, their shifts and masks, attention within them, and the encoder made of these."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dwplus.model.blocks.windowed import (
    ConvFfn,
    PatchMerging,
    WindowAttention,
    WindowBlock,
    WindowEncoder,
    Windows,
    WindowSettings,
    WindowStage,
    query_width,
)

SETTINGS = WindowSettings(window=4, ratio=2, query_ratio=1.5, group_width=4, residual="normed")


def cut_by_loops(tokens: np.ndarray, side: int, shift: tuple[int, int]) -> np.ndarray:
    """(B, h, w, C) -> (B * M, N, C), one token after another; zeros beyond the grid."""
    batch, height, width, channels = tokens.shape
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    out = np.zeros((batch * rows * columns, side * side, channels), tokens.dtype)
    for b in range(batch):
        for i in range(rows * side):
            for j in range(columns * side):
                y, x = (i + shift[0]) % (rows * side), (j + shift[1]) % (columns * side)
                if y < height and x < width:
                    window = (b * rows + i // side) * columns + j // side
                    out[window, i % side * side + j % side] = tokens[b, y, x]
    return out


@pytest.mark.parametrize(
    ("grid", "shifted", "shift"),
    [
        ((8, 12), False, (0, 0)),
        ((8, 12), True, (2, 2)),
        ((7, 5), True, (2, 2)),
        ((4, 8), True, (0, 2)),  # one window covers four rows: nothing to share down there
        ((2, 3), True, (0, 0)),
    ],
)
def test_a_cut_rolls_pads_and_splits_as_loops_do_and_joining_undoes_it(
    grid: tuple[int, int], shifted: bool, shift: tuple[int, int]
):
    tokens = torch.arange(1, 1 + 2 * grid[0] * grid[1] * 3, dtype=torch.float32).reshape(2, *grid, 3)
    windows = Windows(grid, 4, shifted)

    cut = windows.cut(tokens)

    assert windows.shift == shift
    assert np.array_equal(cut.numpy(), cut_by_loops(tokens.numpy(), 4, shift))
    assert torch.equal(windows.join(cut), tokens)


@pytest.mark.parametrize("grid", [(8, 12), (4, 8), (8, 4), (7, 13)])
def test_outsiders_are_tokens_of_a_window_that_were_a_window_or_more_apart(grid: tuple[int, int]):
    windows = Windows(grid, 4, shifted=True)
    height, width = windows.padded
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1)

    cut = Windows((height, width), 4, shifted=True).cut(places[None])  # (M, N, 2): where each token came from
    apart = (cut[:, :, None] - cut[:, None, :]).abs().amax(dim=-1) >= 4

    outsiders = windows.outsiders(torch.device("cpu"))
    assert outsiders is not None
    assert torch.equal(outsiders, apart)
    assert outsiders.any()


@pytest.mark.parametrize("grid", [(8, 8), (4, 8), (4, 4), (3, 2), (7, 4), (1, 9)])
def test_rolling_single_windows_too_is_the_originals_cut_and_mask(grid: tuple[int, int]):
    """The original rolls every grid by half a window and marks slices of the rolled grid; here it is written out."""
    side, half = 4, 2
    height, width = (math.ceil(length / side) * side for length in grid)
    windows = Windows(grid, side, shifted=True, roll_single=True)
    tokens = torch.arange(1, 1 + grid[0] * grid[1], dtype=torch.float32).reshape(1, *grid, 1)
    slices = (slice(0, -side), slice(-side, -half), slice(-half, None))
    marks = np.zeros((1, height, width, 1))
    for number, (rows, columns) in enumerate((a, b) for a in slices for b in slices):
        marks[:, rows, columns] = number

    marked = cut_by_loops(marks, side, (0, 0))[..., 0]

    assert windows.shift == (half, half)
    assert np.array_equal(windows.cut(tokens).numpy(), cut_by_loops(tokens.numpy(), side, (half, half)))
    assert torch.equal(windows.join(windows.cut(tokens)), tokens)
    outsiders = windows.outsiders(torch.device("cpu"))
    assert outsiders is not None
    assert np.array_equal(outsiders.numpy(), marked[:, :, None] != marked[:, None, :])


@pytest.mark.parametrize(("roll_single", "alike"), [(True, False), (False, True)])
def test_a_shifted_block_on_a_grid_of_one_window_is_parted_only_where_single_windows_roll(
    roll_single: bool, alike: bool
):
    torch.manual_seed(0)
    settings = replace(SETTINGS, roll_single=roll_single)
    stage = WindowStage(8, 2, [0.0, 0.0], settings).eval()
    image = torch.randn(1, 8, 4, 4)
    plain = Windows((4, 4), 4)

    with torch.no_grad():
        without = stage.blocks[1](stage.blocks[0](image, plain, None), plain, None)
        assert torch.allclose(stage(image)[0], without, atol=1e-6) == alike


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_attention_drops_weights_and_results_in_training_alone(form: str):
    torch.manual_seed(0)
    windows = torch.randn(3, 16, 12)
    quiet = WindowAttention(12, heads=3, window=4, queries=6)
    weights = WindowAttention(12, heads=3, window=4, queries=6, attention_dropout=0.5)
    results = WindowAttention(12, heads=3, window=4, queries=6, dropout=0.5)
    for module in (quiet, weights, results):
        module.load_state_dict(quiet.state_dict())
        module.form = form

    with torch.no_grad():
        wanted = quiet(windows)
        assert torch.equal(weights.eval()(windows), wanted)
        assert torch.equal(results.eval()(windows), wanted)
        kept = results.train()(windows)
        assert (kept == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
        assert torch.allclose(kept[kept != 0], 2 * wanted[kept != 0], atol=1e-5)
        many = torch.stack([weights.train()(windows) for _ in range(400)])
    assert not torch.allclose(many[0], wanted, atol=1e-3)
    assert torch.allclose(many.mean(0), wanted, atol=0.25)  # dropout keeps the expectation


def test_the_feed_forward_part_drops_after_each_of_its_three_convolutions():
    torch.manual_seed(0)
    ffn = ConvFfn(4, 2, groups=2, residual="normed", dropout=0.3).train()
    seen: list[tuple[int, ...]] = []
    ffn.dropout.register_forward_hook(lambda _module, args, _output: seen.append(tuple(args[0].shape)))

    ffn(torch.randn(2, 4, 5, 5))

    assert seen == [(2, 8, 5, 5), (2, 8, 5, 5), (2, 4, 5, 5)]
    assert ffn.dropout.p == 0.3


def test_the_encoder_drops_tokens_that_enter_and_passes_its_rates_on():
    settings = replace(SETTINGS, dropout=0.2, attention_dropout=0.3)
    encoder = WindowEncoder(8, depths=(2, 1), heads=(1, 2), drop_path=0.0, settings=settings)

    blocks = [block for stage in encoder.stages for block in stage.blocks]
    assert encoder.dropout.p == 0.2
    assert {block.attention.dropout.p for block in blocks} == {block.ffn.dropout.p for block in blocks} == {0.2}
    assert {block.attention.attention_dropout.p for block in blocks} == {0.3}


@pytest.mark.parametrize("windows", [Windows((8, 8), 4), Windows((4, 3), 4, shifted=True)])
def test_nobody_is_a_stranger_where_nothing_is_rolled(windows: Windows):
    assert windows.outsiders(torch.device("cpu")) is None


def attention_by_loops(module: WindowAttention, windows: np.ndarray, outsiders: np.ndarray, side: int) -> np.ndarray:
    """Token by token, head by head; the bias is looked up by the difference of rows and columns."""
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    both = windows @ state["query_key_value.weight"].T + state["query_key_value.bias"]
    queries, width, heads = module.widths[0], module.widths[2], module.heads
    one, value_one = queries // heads, width // heads
    out = np.zeros_like(windows)
    for m in range(len(windows)):
        for head in range(heads):
            q = both[m, :, head * one : (head + 1) * one]
            k = both[m, :, queries + head * one : queries + (head + 1) * one]
            v = both[m, :, 2 * queries + head * value_one : 2 * queries + (head + 1) * value_one]
            for i in range(side * side):
                scores = np.full(side * side, -np.inf)
                for j in range(side * side):
                    if not outsiders[m % len(outsiders), i, j]:
                        row, column = i // side - j // side + side - 1, i % side - j % side + side - 1
                        bias = state["position_bias"][row * (2 * side - 1) + column, head]
                        scores[j] = q[i] @ k[j] / math.sqrt(value_one) + bias
                weights = np.exp(scores - scores.max())
                out[m, i, head * value_one : (head + 1) * value_one] = weights / weights.sum() @ v
    return out @ state["projection.weight"].T + state["projection.bias"]


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_attention_is_that_of_loops_over_heads_and_pairs(form: str):
    torch.manual_seed(0)
    attention = WindowAttention(12, heads=3, window=2, queries=6).double()
    torch.nn.init.normal_(attention.position_bias)
    attention.form = form
    cut = Windows((4, 4), 2, shifted=True)
    windows, outsiders = torch.randn(2 * 4, 4, 12, dtype=torch.float64), cut.outsiders(torch.device("cpu"))
    assert outsiders is not None

    with torch.no_grad():
        mixed = attention(windows, outsiders)

    wanted = attention_by_loops(attention, windows.numpy(), outsiders.numpy(), side=2)
    assert np.allclose(mixed.numpy(), wanted, atol=1e-12)


def test_both_forms_have_the_same_gradients():
    torch.manual_seed(0)
    attention = WindowAttention(12, heads=2, window=4, queries=6)
    windows, outsiders = torch.randn(4, 16, 12), Windows((8, 8), 4, shifted=True).outsiders(torch.device("cpu"))

    gradients = {}
    for form in ("fused", "plain"):
        attention.form = form
        attention.zero_grad()
        attention(windows, outsiders).square().sum().backward()
        gradients[form] = [parameter.grad.clone() for parameter in attention.parameters()]

    for one, other in zip(gradients["fused"], gradients["plain"], strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_queries_are_21_wide_in_each_head_but_scaled_by_the_values_32():
    widths = [query_width(96 * 2**stage, 3 * 2**stage, 1.5) for stage in range(4)]

    assert widths == [63, 126, 252, 504]
    assert WindowAttention(96, 3, 8, 63).scale == pytest.approx(32**-0.5)


def test_merging_takes_the_upper_left_token_then_the_one_below_it():
    merge = PatchMerging(2).eval()
    merge.norm, merge.reduce = torch.nn.Identity(), torch.nn.Identity()
    image = torch.arange(2 * 4 * 6, dtype=torch.float32).reshape(1, 2, 4, 6)

    merged = merge(image)

    assert merged.shape == (1, 8, 2, 3)
    for y in range(2):
        for x in range(3):
            order = [(2 * y, 2 * x), (2 * y + 1, 2 * x), (2 * y, 2 * x + 1), (2 * y + 1, 2 * x + 1)]
            assert merged[0, :, y, x].tolist() == [image[0, c, i, j].item() for i, j in order for c in range(2)]


@pytest.mark.parametrize("residual", ["normed", "hidden"])
def test_the_feed_forward_parts_own_residual(residual: str):
    torch.manual_seed(0)
    ffn = ConvFfn(4, 2, groups=2, residual=residual).eval()
    image = torch.randn(2, 4, 5, 5)

    with torch.no_grad():
        hidden = torch.nn.functional.gelu(ffn.expand[0](image))
        near = torch.nn.functional.gelu(ffn.depthwise[0](hidden) / math.sqrt(1 + 1e-5))
        wanted = ffn.contract(near) + image if residual == "normed" else ffn.contract(near + hidden)
        assert torch.allclose(ffn(image), wanted, atol=1e-6)


def test_even_blocks_widen_in_groups_and_odd_ones_densely():
    groups = [SETTINGS.block(number, 16, 2, 0.0).ffn.expand[0].groups for number in range(4)]

    assert groups == [4, 1, 4, 1]  # 16 channels in groups of 4


def test_a_block_adds_attention_after_a_layer_norm_and_then_the_rest_after_a_batch_norm():
    torch.manual_seed(0)
    block: WindowBlock = SETTINGS.block(1, 8, 2, 0.0).eval()
    image, windows = torch.randn(2, 8, 8, 8), Windows((8, 8), 4, shifted=True)
    outsiders = windows.outsiders(image.device)

    with torch.no_grad():
        out = block(image, windows, outsiders)

        normed = torch.nn.functional.layer_norm(image.permute(0, 2, 3, 1), (8,))
        after = image + windows.join(block.attention(windows.cut(normed), outsiders)).permute(0, 3, 1, 2)
        assert torch.allclose(out, after + block.ffn(after / math.sqrt(1 + 1e-5)), atol=1e-5)


def test_a_plain_block_stays_in_its_window_and_a_shifted_one_does_not_wrap_around():
    """A token at the corner (0, 0) is changed: who notices, by attention alone?"""
    torch.manual_seed(0)
    image = torch.randn(1, 8, 8, 8)
    other = image.clone()
    other[0, :, 0, 0] += 1

    noticed = {}
    for shifted in (False, True):
        attention, windows = SETTINGS.block(0, 8, 2, 0.0).attention, Windows((8, 8), 4, shifted)
        out = [
            windows.join(attention(windows.cut(one.permute(0, 2, 3, 1)), windows.outsiders(one.device)))
            for one in (image, other)
        ]
        noticed[shifted] = ((out[0] - out[1]).abs().sum(dim=(0, 3)) > 0).nonzero().tolist()

    assert noticed[False] == [[y, x] for y in range(4) for x in range(4)]
    assert noticed[True] == [[y, x] for y in range(2) for x in range(2)]  # the corner of half a window


def test_the_encoder_halves_the_grid_and_doubles_the_width():
    torch.manual_seed(0)
    encoder = WindowEncoder(8, depths=(2, 1, 3), heads=(1, 2, 2), drop_path=0.1, settings=SETTINGS).eval()

    with torch.no_grad():
        maps = encoder(torch.randn(2, 8, 16, 8))

    assert [tuple(one.shape) for one in maps] == [(2, 8, 16, 8), (2, 16, 8, 4), (2, 32, 4, 2)]
    assert [stage.blocks[-1].drop_path.rate for stage in encoder.stages] == pytest.approx([0.02, 0.04, 0.1])
    for one in maps:  # what leaves the encoder is normed over channels
        assert torch.allclose(one.mean(dim=1), torch.zeros(()), atol=1e-5)


def test_a_stage_with_shifted_windows_compiles_into_one_graph():
    torch.manual_seed(0)
    stage = WindowStage(8, 2, [0.0, 0.0], SETTINGS).eval()
    image = torch.randn(1, 8, 8, 6)

    compiled = torch.compile(stage, fullgraph=True, backend="eager")

    with torch.no_grad():
        assert torch.allclose(compiled(image)[0], stage(image)[0], atol=1e-5)
