"""UPerNet's decode head against the same sums written out, and its size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks.upernet import UPerNet
from dwplus.model.cost import count_by_rule
from torch import Tensor, nn

WIDTHS = (3, 4, 5, 6)


def maps_of(side: int = 16, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, width, side >> i, side >> i) for i, width in enumerate(WIDTHS)]


def with_statistics(head: UPerNet) -> UPerNet:
    """In eval mode, with norms that do something."""
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_()
    return head.eval()


def mean_of_cells(image: Tensor, side: int) -> Tensor:
    """Averages over side x side cells that may overlap: from floor(i h / side) to ceil((i + 1) h / side)."""
    height, width = image.shape[2:]
    out = image.new_zeros(*image.shape[:2], side, side)
    for i in range(side):
        for j in range(side):
            rows = slice(i * height // side, -(-(i + 1) * height // side))
            columns = slice(j * width // side, -(-(j + 1) * width // side))
            out[:, :, i, j] = image[:, :, rows, columns].mean((2, 3))
    return out


def convolved(head: UPerNet, name: str) -> Callable[[Tensor], Tensor]:
    """Convolution, norm and ReLU out of the saved weights alone."""
    state = {key.removeprefix(f"{name}."): value for key, value in head.state_dict().items() if key.startswith(name)}

    def run(x: Tensor) -> Tensor:
        y = F.conv2d(x, state["0.weight"], padding=state["0.weight"].shape[-1] // 2)
        mean, variance = state["1.running_mean"][:, None, None], state["1.running_var"][:, None, None]
        y = (y - mean) / (variance + 1e-5).sqrt() * state["1.weight"][:, None, None] + state["1.bias"][:, None, None]
        return y.clamp(min=0)

    return run


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def test_the_head_is_pooling_laterals_sums_from_above_and_one_fusion():
    torch.manual_seed(0)
    head = with_statistics(UPerNet(WIDTHS, 7, 9))
    a, b, c, d = maps = maps_of(24)  # the coarsest 3 x 3, less than the finest cells of the pooling

    pooled = [
        up(convolved(head, f"pooling.levels.{i}.1")(mean_of_cells(d, side)), d) for i, side in enumerate((1, 2, 3, 6))
    ]
    top = convolved(head, "top")(torch.cat([d, *pooled], 1))
    third = convolved(head, "laterals.2")(c) + up(top, c)
    second = convolved(head, "laterals.1")(b) + up(third, b)
    first = convolved(head, "laterals.0")(a) + up(second, a)
    smooth = [convolved(head, f"smooth.{i}")(level) for i, level in enumerate((first, second, third))]
    fused = convolved(head, "fuse")(torch.cat([up(level, a) for level in (*smooth, top)], 1))
    wanted = F.conv2d(fused, head.classify.weight, head.classify.bias)

    torch.testing.assert_close(head(maps), wanted, rtol=1e-4, atol=1e-5)


def test_size_of_the_head_of_512_channels_on_four_maps_of_768():
    with torch.device("meta"):
        head = UPerNet((768,) * 4, 512, 9)
        maps = [torch.empty(1, 768, side, side) for side in (128, 64, 32, 16)]

    macs, params = count_by_rule(head, maps)

    pooling, top = 4 * (768 * 512 + 1024), 9 * (768 + 4 * 512) * 512 + 1024
    laterals, smooth = 3 * (768 * 512 + 1024), 3 * (9 * 512 * 512 + 1024)
    fuse, classify = 9 * 4 * 512 * 512 + 1024, 512 * 9 + 9
    assert params == sum(p.numel() for p in head.parameters()) == pooling + top + laterals + smooth + fuse + classify
    assert macs > 9 * 4 * 512 * 512 * 128**2  # the fusing convolution at 1/4 alone is 154.6 of all


def test_a_map_of_any_size_gives_logits_at_the_finest_one():
    torch.manual_seed(0)
    head = UPerNet((3, 4), 8, 5).eval()

    logits = head([torch.randn(1, 3, 13, 9), torch.randn(1, 4, 5, 3)])

    assert logits.shape == (1, 5, 13, 9)


def test_every_parameter_has_a_gradient():
    torch.manual_seed(0)
    head = UPerNet(WIDTHS, 8, 9).train()

    head(maps_of()).square().sum().backward()

    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_the_classification_starts_small_and_without_a_preference():
    torch.manual_seed(0)
    head = UPerNet(WIDTHS, 256, 9)

    assert head.classify.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not head.classify.bias.any()
