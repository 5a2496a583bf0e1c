"""PSPNet: the paper's figures, the fused pyramid, the auxiliary head."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.pspnet import SMALL, PSPNet, PSPNetConfig, PyramidHead, _spread
from dwplus.model.cost import count, count_by_rule
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def small(**changes: object) -> PSPNet:
    torch.manual_seed(0)
    return PSPNet(replace(SMALL, **changes))


def inputs(height: int = 64, width: int = 64, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    primary = torch.randn(batch, 10, height, width, generator=generator)
    return primary, torch.randn(batch, 2, height, width, generator=generator)


def by_rule(config: PSPNetConfig, size: int) -> tuple[float, float]:
    """(million parameters, GFLOP) by the paper's rule, as the table prints them."""
    with torch.device("meta"):
        macs, params = count_by_rule(PSPNet(config), torch.empty(1, 10, size, size), torch.empty(1, 2, size, size))
    return round(params / 1e6, 2), round(2 * macs / 1e9, 2)


def test_twelve_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["pspnet"]  # 68.07 M, 545.54 G

    with torch.device("meta"):
        network = PSPNet()

    cost = count(network, 10, 2)

    assert cost.params == cost.params_rule == 68_069_650
    assert cost.gflops_rule == pytest.approx(545.5430, abs=5e-5)
    assert (round(cost.params / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])
    assert cost.gflops_run == pytest.approx(447.2021, abs=5e-5)  # what runs: no auxiliary head, the pyramid fused


@pytest.mark.parametrize(
    ("changes", "size", "params", "gflops"),
    [
        ({"aux": False}, 512, 65.71, 526.19),
        ({"stem": "single"}, 512, 67.97, 534.30),
        ({}, 510, 68.07, 545.42),
    ],
)
def test_no_other_stem_head_or_input_size_has_the_papers_figures(changes, size, params, gflops):
    assert by_rule(PSPNetConfig(**changes), size) == (params, gflops)


def test_the_fused_pyramid_saves_77_gflop():
    work = {}
    for form in ("plain", "fused"):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            head = PyramidHead(2048, 9, bins=(1, 2, 3, 6), dropout=0.0).eval()
            head.form = form
            head(torch.empty(1, 2048, 64, 64))
        work[form] = counter.get_total_flops() / 1e9

    assert work["plain"] - work["fused"] == pytest.approx(77, abs=0.5)


@pytest.mark.parametrize("aux", [True, False])
def test_counts_equal_thops(aux: bool):
    thop = pytest.importorskip("thop")

    class AuxOn(nn.Module):
        """thop cannot pass keywords on."""

        def __init__(self, network: PSPNet) -> None:
            super().__init__()
            self.network = network

        def forward(self, primary: Tensor, auxiliary: Tensor) -> object:
            return self.network(primary, auxiliary, aux=aux)

    network = small(aux=aux)
    network.head.form = "plain"
    wanted = thop.profile(AuxOn(copy.deepcopy(network)), inputs=inputs(62, 66, 1), verbose=False)

    assert count_by_rule(network, *inputs(62, 66, 1)) == wanted


def share(cell: int, cells: int, position: int, positions: int, align_corners: bool) -> float:
    """Weight of a cell in the bilinear mean at a position: centre to centre, in cells, clamped at the border."""
    if align_corners:
        centre = position * (cells - 1) / (positions - 1) if positions > 1 else 0.0
    else:
        centre = min(max((position + 0.5) * cells / positions - 0.5, 0), cells - 1)
    return max(0.0, 1 - abs(centre - cell))


def resized_and_convolved(level: Tensor, weight: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """By the definition: every output, every tap, every cell in turn."""
    outputs, channels = weight.shape[:2]
    side, (height, width) = level.shape[-1], size
    result = torch.zeros(1, outputs, *size, dtype=level.dtype)
    big = torch.zeros(channels, *size, dtype=level.dtype)
    for y in range(height):
        for x in range(width):
            for i in range(side):
                for j in range(side):
                    rows = share(i, side, y, height, align_corners)
                    big[:, y, x] += rows * share(j, side, x, width, align_corners) * level[0, :, i, j]
    for y in range(height):
        for x in range(width):
            for v in (-1, 0, 1):
                for u in (-1, 0, 1):
                    if 0 <= y + v < height and 0 <= x + u < width:
                        result[0, :, y, x] += weight[:, :, v + 1, u + 1] @ big[:, y + v, x + u]
    return result


@pytest.mark.parametrize("size", [(5, 4), (2, 7), (1, 1)])  # to more cells, to fewer, to one
@pytest.mark.parametrize("align_corners", [True, False])
def test_spreading_cells_is_resizing_and_convolving_them(size: tuple[int, int], align_corners: bool):
    torch.manual_seed(0)
    levels = [torch.randn(1, 2, side, side, dtype=torch.float64) for side in (1, 2, 3)]
    weights = tuple(torch.randn(3, 2, 3, 3, dtype=torch.float64) for _ in levels)

    expected = sum(
        resized_and_convolved(level, weight, size, align_corners) for level, weight in zip(levels, weights, strict=True)
    )

    spread = _spread(levels, weights, size, align_corners=align_corners)
    torch.testing.assert_close(spread, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("align_corners", [True, False])
def test_logits_and_levels_of_the_pyramid_are_resized_as_the_setting_says(align_corners: bool):
    network = small(align_corners=align_corners).eval()
    network.head.form = "plain"
    primary, auxiliary = inputs(65, 70)

    with torch.no_grad():
        third, last = network.encoder(torch.cat([primary, auxiliary], dim=1))[2:]
        resized = partial(F.interpolate, mode="bilinear", align_corners=align_corners)
        levels = [resized(level(last), last.shape[2:]) for level in network.head.pyramid.levels]
        mixed = F.relu(network.head.norm(network.head.fuse(torch.cat([last, *levels], dim=1))))
        wanted = resized(network.head.classify(mixed), (65, 70))
        wanted_aux = resized(network.aux_head(third), (65, 70))
        logits, aux_logits = network(primary, auxiliary, aux=True)

    torch.testing.assert_close(logits, wanted)
    torch.testing.assert_close(aux_logits, wanted_aux)


def test_corners_are_aligned_as_in_the_original_and_the_older_form_is_a_setting_with_the_same_weights():
    original, older = small().eval(), small(**PSPNetConfig.OLDER_FORM).eval()
    older.load_state_dict(original.state_dict(), strict=True)

    assert PSPNetConfig().align_corners
    with torch.no_grad():
        one, other = original(*inputs()), older(*inputs())
    assert not torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("align_corners", [True, False])
def test_both_forms_of_the_head_agree_in_logits_and_gradients(align_corners: bool):
    torch.manual_seed(0)
    head = PyramidHead(32, 5, bins=(1, 2, 3, 6), dropout=0.0, align_corners=align_corners)
    image = torch.randn(2, 32, 9, 7)
    results = []
    for form in ("plain", "fused"):
        one = copy.deepcopy(head)
        one.form = form
        source = image.clone().requires_grad_()
        logits = one(source)
        logits.square().mean().backward()
        results.append([logits.detach(), source.grad, *(p.grad for p in one.parameters())])

    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_three_levels_are_together_as_wide_as_the_map():
    head = PyramidHead(24, 5, bins=(1, 2, 4), dropout=0.0).eval()

    assert head.fuse.in_channels == 2 * 24
    assert head(torch.randn(1, 24, 4, 4)).shape == (1, 5, 4, 4)


def test_half_of_the_heads_input_comes_from_the_pyramid():
    with torch.device("meta"):
        head = PSPNet().head

    assert head.fuse.weight.shape == (512, 2048 + 4 * 512, 3, 3)
    assert [level[1][0].weight.shape for level in head.pyramid.levels] == 4 * [(512, 2048, 1, 1)]


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (37, 30)])
def test_logits_have_the_inputs_size(size: tuple[int, int]):
    network = small().eval()

    with torch.no_grad():
        logits, aux_logits = network(*inputs(*size, batch=1), aux=True)

    assert logits.shape == aux_logits.shape == (1, 9, *size)
    assert torch.isfinite(logits).all()


def test_510_px_need_no_padding():
    with torch.device("meta"):
        logits = PSPNet().eval()(torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510))

    assert logits.shape == (1, 9, 510, 510)


def test_a_network_with_one_input_does_not_care_where_a_band_comes_from():
    network = small().eval()
    image = torch.cat(inputs(batch=1), dim=1)

    with torch.no_grad():
        assert torch.equal(network(image[:, :10], image[:, 10:]), network(image, image[:, :0]))


def test_scoring_leaves_the_auxiliary_head_out():
    network = small().eval()
    ran = []
    network.aux_head.register_forward_hook(lambda *_: ran.append("aux"))

    with torch.no_grad():
        alone = network(*inputs())
        assert ran == []
        both = network(*inputs(), aux=True)

    assert ran == ["aux"]
    assert torch.equal(alone, both[0])


def test_the_auxiliary_loss_reaches_the_third_stage_and_not_the_fourth():
    network = small().train()

    _, aux_logits = network(*inputs(), aux=True)
    aux_logits.square().mean().backward()

    assert all(p.grad is not None for p in network.encoder.stages[2].parameters())
    assert all(p.grad is None for p in network.encoder.stages[3].parameters())


def test_training_without_asking_for_the_auxiliary_head_leaves_no_weight_without_a_gradient():
    network = small().train()

    logits = network(*inputs())
    logits.sum().backward()

    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert all(not p.grad.any() for p in network.aux_head.parameters())


def test_a_network_without_an_auxiliary_head_has_none_to_ask_for():
    network = small(aux=False)

    assert not network.has_aux
    assert not any("aux" in name for name in network.state_dict())
    with pytest.raises(UsageError, match="aux = true"):
        network(*inputs(), aux=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_close(dtype: torch.dtype):
    network = small().eval()

    with torch.no_grad():
        exact = network(*inputs())
        with torch.autocast("cpu", dtype):
            half = network(*inputs())

    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.05 * exact.abs().max().item())


def test_the_fused_head_is_one_graph():
    head = small().head.eval()
    image = torch.randn(2, 256, 8, 8)

    compiled = torch.compile(head, fullgraph=True, backend="eager")

    with torch.no_grad():
        torch.testing.assert_close(compiled(image), head(image))


def test_classification_starts_small():
    """A first loss near that of guessing, log 9: the classifying weights are not scaled by their fan-out of 9."""
    network = small().train()

    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(*inputs()), torch.zeros(2, 64, 64, dtype=torch.long))

    assert loss.item() == pytest.approx(math.log(9), abs=0.7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"primary_bands": 0}, "at least one band"),
        ({"bins": ()}, "bins is"),
        ({"output_stride": 4}, "output_stride is 4"),
        ({"blocks": (3, 4)}, "four numbers"),
        ({"bins": (1, 0)}, "bins is"),
        ({"width": 64.5}, "width is 64.5; it must be"),
        ({"dropout": 2.0}, "dropout is 2.0; it must be"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": math.nan}, "dropout is nan"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        PSPNetConfig(**settings)
