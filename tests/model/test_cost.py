"""The paper's way of counting, compared with thop itself, and the true work."""

from __future__ import annotations

import pytest
import torch
from dwplus.model.baselines.segformer import SegFormer, SegFormerConfig
from dwplus.model.blocks.decoder import MlpDecoder
from dwplus.model.cost import count, count_by_rule
from dwplus.model.specsar_former import SpecSarFormer, SpecSarFormerConfig
from torch import Tensor, nn

thop = pytest.importorskip("thop")

SMALL = {"widths": (16, 32), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "decoder_width": 8}


class Zoo(nn.Module):
    """One module of every kind that thop has a rule for and a network for images may hold."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(
            nn.Conv2d(4, 8, 3, padding=1, groups=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 2, 2),
            nn.InstanceNorm2d(6),
            nn.ReLU6(),
            nn.AvgPool2d(2),
            nn.PReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.UpsamplingNearest2d(scale_factor=2),
            nn.Dropout(0.1),
            nn.MaxPool2d(2),
            nn.Softmax(dim=1),
            nn.AdaptiveAvgPool2d((5, 3)),
            nn.LayerNorm(3),
            nn.GELU(),
            nn.Linear(3, 7),
        )
        self.twice = nn.Linear(7, 7)
        self.never = nn.Linear(7, 100)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        out: Tensor = self.twice(self.twice(self.chain(torch.cat([primary, auxiliary], dim=1))))
        return out


class Own(nn.Conv2d):
    """thop goes by the exact type: this one it does not know."""


def by_thop(network: nn.Module, primary: Tensor, auxiliary: Tensor) -> tuple[float, float]:
    macs, params = thop.profile(network, inputs=(primary, auxiliary), verbose=False)
    return macs, params


def test_counts_equal_thops_module_by_module():
    primary, auxiliary = torch.randn(1, 3, 17, 13), torch.randn(1, 1, 17, 13)

    assert count_by_rule(Zoo(), primary, auxiliary) == by_thop(Zoo(), primary, auxiliary)


@pytest.mark.parametrize("size", [64, 62])
def test_counts_equal_thops_on_both_networks(size: int):
    primary, auxiliary = torch.randn(1, 3, size, size), torch.randn(1, 2, size, size)
    networks = [
        SpecSarFormer(SpecSarFormerConfig(3, 2, **SMALL, decoder="plain")),
        SegFormer(SegFormerConfig(3, 2, **SMALL, decoder="plain")),
    ]

    for network in networks:
        assert count_by_rule(network, primary, auxiliary) == by_thop(network, primary, auxiliary)


def test_a_subclass_is_not_counted_and_neither_are_its_parameters():
    image = torch.randn(1, 2, 8, 8)

    assert count_by_rule(Own(2, 2, 1), image) == (0, 0)
    assert count_by_rule(nn.Conv2d(2, 2, 1), image) == (8 * 8 * 2 * 2, 6)


def test_a_folded_decoder_is_counted_in_its_plain_form_and_stays_folded():
    with torch.device("meta"):
        folded = SpecSarFormer(SpecSarFormerConfig(3, 2, **SMALL))
        plain = SpecSarFormer(SpecSarFormerConfig(3, 2, **SMALL, decoder="plain"))

    one, other = count(folded, 3, 2, size=64), count(plain, 3, 2, size=64)

    assert one.gflops_rule == other.gflops_rule
    assert one.gflops == other.gflops == other.gflops_run != one.gflops_run
    assert [m.form for m in folded.modules() if isinstance(m, MlpDecoder)] == ["folded"]


def test_true_work_has_the_attention_products_that_the_rule_leaves_out():
    class Attention(nn.Module):
        def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
            query, key = primary.flatten(2).transpose(1, 2), auxiliary.flatten(2).transpose(1, 2)
            return nn.functional.scaled_dot_product_attention(query[:, None], key[:, None], key[:, None])

    cost = count(Attention(), 4, 4, size=8)  # 64 queries, 64 keys, 4 channels: two products

    assert cost.gflops * 1e9 == 2 * (2 * 64 * 64 * 4)
    assert cost.gflops_rule == 0


def test_counting_leaves_the_network_as_it_was():
    network = SegFormer(SegFormerConfig(3, 2, **SMALL)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    count(network, 3, 2, size=32)

    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
