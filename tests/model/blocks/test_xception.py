"""Xception's parts against plain loops and against the ReLUs in place of the implementation that was counted."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks.xception import SeparableStep, Xception, XceptionBlock, initialise_step
from torch import Tensor, nn

NARROW = {"stem": (4, 6), "entry": (6, 8, 10), "middle_blocks": 2, "exit_widths": (12, 14, 14, 16)}


def settled(network: nn.Module) -> nn.Module:
    """In evaluation mode, every BatchNorm with statistics and weights of its own."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def normalised(value: float, norm: nn.BatchNorm2d, channel: int) -> float:
    mean, variance = norm.running_mean[channel].item(), norm.running_var[channel].item()
    return (value - mean) / math.sqrt(variance + norm.eps) * norm.weight[channel].item() + norm.bias[channel].item()


def step_in_loops(step: SeparableStep, image: Tensor, stride: int, dilation: int) -> Tensor:
    """One pixel, one channel, one tap after the other."""
    channels_in, height, width = image.shape
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    result = torch.empty(step.pointwise.out_channels, rows, columns)
    for i in range(rows):
        for j in range(columns):
            pixel = []
            for c in range(channels_in):
                total = 0.0
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        y, x = stride * i + dilation * di, stride * j + dilation * dj
                        if 0 <= y < height and 0 <= x < width:
                            value = max(0.0, image[c, y, x].item())
                            total += value * step.depthwise.weight[c, 0, 1 + di, 1 + dj].item()
                pixel.append(normalised(total, step.depthwise_norm, c))
            for o in range(result.shape[0]):
                mixed = sum(step.pointwise.weight[o, c, 0, 0].item() * pixel[c] for c in range(channels_in))
                result[o, i, j] = normalised(mixed, step.norm, o) if isinstance(step.norm, nn.BatchNorm2d) else mixed
    return result


@pytest.mark.parametrize(
    ("stride", "dilation", "norm"), [(1, 1, True), (2, 1, True), (1, 2, True), (1, 1, False)], ids=str
)
def test_a_step_is_relu_depthwise_norm_pointwise_norm(stride: int, dilation: int, norm: bool):
    torch.manual_seed(0)
    step = settled(SeparableStep(2, 3, stride=stride, dilation=dilation, norm=norm))
    image = torch.randn(1, 2, 5, 4)

    with torch.no_grad():
        result = step(image)[0]

    assert torch.allclose(result, step_in_loops(step, image[0], stride, dilation), atol=1e-5)


def test_the_shortcut_of_a_block_gets_its_input_as_it_is():
    torch.manual_seed(0)
    block = settled(XceptionBlock(3, (3, 3, 3)))
    image = torch.randn(1, 3, 6, 6)

    with torch.no_grad():
        assert torch.equal(block(image), image + block.steps(image))


@pytest.mark.parametrize(("widths", "stride"), [((3, 3, 3), 1), ((3, 5, 5), 1), ((5, 5, 5), 2)])
def test_rectified_skips_are_what_a_relu_in_place_makes_of_them(widths: tuple[int, int, int], stride: int):
    torch.manual_seed(0)
    block = settled(XceptionBlock(3, widths, stride=stride, skip="rectified"))
    image = torch.randn(1, 3, 7, 6)

    with torch.no_grad():
        result = block(image)
        changed = image.clone()
        steps = block.steps(F.relu_(changed))  # the first ReLU of the steps has changed the block's input
        wanted = steps + block.shortcut(changed)

    assert torch.equal(result, wanted)
    assert not torch.allclose(result, block.steps(image) + block.shortcut(image))


@pytest.mark.parametrize("skip", ["raw", "rectified"])
def test_a_block_without_a_first_relu_gives_its_input_as_it_is_to_step_and_shortcut(skip: str):
    torch.manual_seed(0)
    block = settled(XceptionBlock(3, (5, 5, 5), stride=2, rectify=False, skip=skip))
    image = torch.randn(1, 3, 7, 6)
    first = block.steps[0]

    with torch.no_grad():
        spatial = F.conv2d(image, first.depthwise.weight, padding=1, groups=3)
        after_first = first.norm(first.pointwise(first.depthwise_norm(spatial)))
        wanted = block.steps[2](block.steps[1](after_first)) + block.shortcut(image)

        assert torch.allclose(block(image), wanted, atol=1e-6)


def test_a_dilated_block_dilates_all_its_steps():
    block = XceptionBlock(3, (3, 3, 3), dilation=2)

    assert [step.depthwise.dilation for step in block.steps] == [(2, 2)] * 3
    assert block(torch.randn(2, 3, 9, 8)).shape == (2, 3, 9, 8)


def test_with_sixteen_middle_blocks_it_has_sixty_five_layers():
    with torch.device("meta"):
        encoder = Xception(12)

    stem = sum(isinstance(module, nn.Conv2d) for module in encoder.stem.modules())
    steps = sum(isinstance(module, SeparableStep) for module in encoder.modules())

    assert stem + steps == 65


def test_only_the_second_step_of_the_exit_block_has_no_norm():
    with torch.device("meta"):
        encoder = Xception(12)

    bare = [
        name for name, m in encoder.named_modules() if isinstance(m, SeparableStep) and isinstance(m.norm, nn.Identity)
    ]

    assert bare == ["exit_block.steps.1"]


@pytest.mark.parametrize("skip", ["raw", "rectified"])
def test_maps_lie_at_a_quarter_and_at_a_sixteenth_and_two_of_them_are_rectified(skip: str):
    torch.manual_seed(0)
    encoder = settled(Xception(3, **NARROW, skip=skip))

    with torch.no_grad():
        low, middle, deep = encoder(torch.randn(1, 3, 65, 70))

    assert (low.shape, middle.shape, deep.shape) == ((1, 6, 17, 18), (1, 10, 5, 5), (1, 16, 5, 5))
    assert low.min() >= 0
    assert deep.min() >= 0
    assert (middle.min() < 0) == (skip == "raw")


def test_a_step_neither_enlarges_nor_shrinks_what_it_gets():
    torch.manual_seed(0)
    step = SeparableStep(64, 256)
    nn.init.normal_(step.depthwise.weight, std=(2 / 9) ** 0.5)

    step.apply(initialise_step)

    with torch.no_grad():
        result = step.eval()(torch.randn(1, 64, 32, 32))
    assert result.std().item() == pytest.approx(1.0, abs=0.15)
