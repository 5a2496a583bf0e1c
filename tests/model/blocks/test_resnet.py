"""ResNet: torchvision's maps with torchvision's weights, dilation, both stems."""

from __future__ import annotations

import re

import pytest
import torch
from dwplus.model.blocks.resnet import RESNET50, RESNET101, Bottleneck, ResNet, map_widths
from dwplus.pipeline.errors import UsageError
from torch import nn

PARTS = {"1": "reduce", "2": "spatial", "3": "expand"}


def own_name(theirs: str) -> str:
    """torchvision's name of a weight -> ours: ``layer3.1.bn2.weight`` -> ``stages.2.1.spatial.1.weight``."""
    name = re.sub(r"layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", theirs).replace(
        "downsample", "shortcut"
    )
    if not name.startswith("stages"):
        return name.replace("conv1.", "stem.0.").replace("bn1.", "stem.1.")
    name = re.sub(r"conv(\d)\.", lambda found: f"{PARTS[found[1]]}.0.", name)
    return re.sub(r"bn(\d)\.", lambda found: f"{PARTS[found[1]]}.1.", name)


def shake_norms(network: nn.Module) -> None:
    """Statistics and weights that differ from channel to channel, so that a mixed-up norm shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)


def spatial(network: ResNet) -> list[list[nn.Conv2d]]:
    """The 3 x 3 convolution of every block, stage by stage."""
    return [[block.spatial[0] for block in stage] for stage in network.stages]


@pytest.mark.parametrize(
    ("output_stride", "dilate"),
    [(32, [False, False, False]), (16, [False, False, True]), (8, [False, True, True])],
)
def test_torchvisions_weights_give_torchvisions_maps(output_stride: int, dilate: list[bool]):
    resnet = pytest.importorskip("torchvision.models.resnet")
    torch.manual_seed(0)
    theirs = resnet.ResNet(resnet.Bottleneck, [1, 2, 2, 2], replace_stride_with_dilation=dilate).eval()
    shake_norms(theirs)
    own = ResNet(3, (1, 2, 2, 2), output_stride=output_stride).eval()
    state = {own_name(name): value for name, value in theirs.state_dict().items() if not name.startswith("fc.")}
    own.load_state_dict(state, strict=True)
    image = torch.randn(1, 3, 70, 65)

    with torch.no_grad():
        maps = own(image)
        expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for layer, one in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), maps, strict=True):
            expected = layer(expected)
            torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("blocks", "params"), [(RESNET50, 23_508_032), (RESNET101, 42_500_160)])
def test_three_bands_have_torchvisions_parameters_without_its_classifier(blocks, params):
    with torch.device("meta"):
        network = ResNet(3, blocks)

    assert sum(p.numel() for p in network.parameters()) == params


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        (32, [[1, 1], [2, 1], [2, 1], [2, 1]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        (16, [[1, 1], [2, 1], [2, 1], [1, 1]], [[1, 1], [1, 1], [1, 1], [1, 2]]),
        (8, [[1, 1], [2, 1], [1, 1], [1, 1]], [[1, 1], [1, 1], [1, 2], [2, 4]]),
    ],
)
def test_where_a_stage_does_not_stride_all_blocks_but_its_first_dilate_more(output_stride, strides, dilations):
    network = ResNet(2, (2, 2, 2, 2), width=2, output_stride=output_stride)

    assert [[conv.stride[0] for conv in stage] for stage in spatial(network)] == strides
    assert [[conv.dilation[0] for conv in stage] for stage in spatial(network)] == dilations
    assert all(conv.padding == conv.dilation for stage in spatial(network) for conv in stage)


@pytest.mark.parametrize(("output_stride", "sides"), [(8, [128, 64, 64, 64]), (32, [128, 64, 32, 16])])
def test_maps_of_510_px_are_those_of_512(output_stride: int, sides: list[int]):
    with torch.device("meta"):
        network = ResNet(12, output_stride=output_stride, stem="deep")
        maps = network(torch.empty(1, 12, 510, 510)), network(torch.empty(1, 12, 512, 512))

    shapes = [(1, channels, side, side) for channels, side in zip((256, 512, 1024, 2048), sides, strict=True)]
    assert [one.shape for one in maps[0]] == [one.shape for one in maps[1]] == shapes


def test_a_deep_stem_is_three_convolutions_and_twice_as_wide():
    with torch.device("meta"):
        network = ResNet(12, stem="deep")

    convs = [module for module in network.stem.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(12, 64), (64, 64), (64, 128)]
    assert [(conv.kernel_size, conv.stride) for conv in convs] == [((3, 3), (2, 2)), ((3, 3), (1, 1)), ((3, 3), (1, 1))]
    assert network.stages[0][0].reduce[0].in_channels == 128


def test_a_block_whose_last_norm_is_zero_passes_its_input_on():
    block = Bottleneck(8, 2).eval()
    nn.init.zeros_(block.expand[1].weight)
    image = torch.rand(1, 8, 3, 3)

    with torch.no_grad():
        assert torch.equal(block(image), image)


def test_norms_start_at_one_and_convolutions_at_the_scale_of_their_fan_out():
    torch.manual_seed(0)
    network = ResNet(12, (1, 1, 1, 1), width=32)

    weight = network.stages[3][0].spatial[0].weight  # (256, 256, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert all((m.weight == 1).all() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_widths_of_the_maps():
    assert map_widths(64) == (256, 512, 1024, 2048)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (1, 1, 1)}, "four numbers"),
        ({"blocks": (1, 1, 1, 0)}, "from 1 on"),
        ({"width": 0}, "at least one channel"),
        ({"output_stride": 4}, "choose one of 8, 16, 32"),
    ],
)
def test_what_is_no_resnet_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ResNet(3, **settings)
