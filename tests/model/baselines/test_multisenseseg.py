"""MultiSenseSeg: the counts of Table II, the pyramid and the gates, and what every network has to stand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.multisenseseg import (
    MULTIPLE,
    SMALL,
    GatedDecoder,
    MaxPyramidPooling,
    MultiSenseSeg,
    MultiSenseSegConfig,
    PyramidNeck,
)
from dwplus.model.config import from_mapping
from dwplus.model.cost import count, count_by_rule, plain_forms
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn

BATCH_NORM = 1 / math.sqrt(1 + 1e-5)
"""What a BatchNorm with fresh statistics multiplies by in eval mode."""


def small() -> MultiSenseSeg:
    torch.manual_seed(0)
    return MultiSenseSeg(SMALL)


def images(height: int = 64, width: int = 64, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def full(**choices: bool) -> MultiSenseSeg:
    with torch.device("meta"):
        return MultiSenseSeg(MultiSenseSegConfig(**choices))


def test_ten_and_two_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["multisenseseg"]

    cost = count(full(), 10, 2)

    assert cost.params == 58_661_039
    assert cost.params_rule == 58_624_585
    assert cost.params - cost.params_rule == 36_450 + 4  # relative positions and scales, which the rule does not see
    assert cost.gflops_rule == pytest.approx(531.5040, abs=5e-5)
    assert (round(cost.params_rule / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])


def test_the_aux_head_is_part_of_the_papers_figures():
    cost = count(full(aux=False), 10, 2)

    assert round(cost.gflops_rule, 2) == 529.69
    assert cost.params == 58_661_039 - 887_561


def test_softmax_modules_of_windows_and_of_channels_are_in_the_count():
    network = full()
    sizes = []
    for module in network.modules():
        if type(module) is nn.Softmax:
            module.register_forward_hook(lambda _module, _args, output: sizes.append(output.shape))
    with torch.device("meta"):
        count_by_rule(network, torch.empty(1, 10, 512, 512), torch.empty(1, 2, 512, 512))

    macs = sum(shape.numel() // shape[-1] * (3 * shape[-1] - 1) for shape in sizes)
    assert 2 * macs / 1e9 == pytest.approx(0.0988, abs=5e-5)
    assert sizes.count(torch.Size([1, 4, 64, 64])) == 2  # one softmax of another, between 64 channels
    assert sizes.count(torch.Size([256, 3, 64, 64])) == 2  # 16 x 16 windows of 64 tokens in the first stage


def test_each_part_has_its_share_of_the_parameters():
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in full().named_children()}

    assert parts == {
        "fuse_head": 145_188,
        "encoder": 24_797_046,
        "neck": 31_420_416,
        "decoder": 1_410_828,
        "aux_head": 887_561,
    }


class WithAux(nn.Module):
    """Runs the auxiliary head too, for a counter that passes inputs alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        both: tuple[Tensor, Tensor] = self.network(primary, auxiliary, aux=True)
        return both


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")
    inputs = images(batch=1)
    network = small().eval()

    with plain_forms(network):
        macs, params = thop.profile(WithAux(copy.deepcopy(network)), inputs=inputs, verbose=False)

    assert count_by_rule(network, *inputs) == (macs, params)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 70), (20, 33)])
def test_logits_have_the_size_of_the_input(height: int, width: int):
    with torch.no_grad():
        logits = small().eval()(*images(height, width, batch=1))

    assert logits.shape == (1, 9, height, width)
    assert logits.isfinite().all()


def test_510_px_run_as_512():
    network = full().eval()
    seen = []
    network.fuse_head.register_forward_hook(lambda _module, args, _output: seen.append(tuple(args[0].shape)))
    with torch.device("meta"), torch.no_grad():
        logits, aux = network(torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510), aux=True)

    assert MULTIPLE == 32
    assert seen == [(1, 10, 512, 512)]
    assert logits.shape == aux.shape == (1, 9, 510, 510)


def test_both_forms_of_the_whole_network_agree():
    network, inputs = small().eval(), images()

    with torch.no_grad():
        fused = network(*inputs)
        with plain_forms(network):
            plain = network(*inputs)

    assert torch.allclose(fused, plain, atol=1e-4 * plain.abs().max().item())


def test_every_parameter_gets_a_gradient_also_where_the_aux_head_is_not_asked_for():
    network = small().train()

    network(*images()).sum().backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert all(not p.grad.any() for p in network.aux_head.parameters() if p.grad is not None)


def test_the_aux_head_runs_when_asked_for_and_not_in_evaluation():
    network, inputs = small().eval(), images(65, 64)
    calls = []
    network.aux_head.register_forward_hook(lambda _module, args, _output: calls.append(args[0].shape))

    with torch.no_grad():
        alone = network(*inputs)
        assert calls == []
        logits, aux = network(*inputs, aux=True)

    assert torch.equal(logits, alone)
    assert aux.shape == logits.shape == (2, 9, 65, 64)
    assert calls == [(2, 4 * SMALL.width, 6, 4)]  # 1/16 of 96 x 64 px


def test_no_aux_head_no_auxiliary_logits():
    network = full(aux=False)

    assert not network.has_aux
    assert full().has_aux
    with torch.device("meta"), pytest.raises(UsageError, match="no auxiliary head"):
        network(torch.empty(1, 10, 64, 64), torch.empty(1, 2, 64, 64), aux=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite(dtype: torch.dtype):
    network = small().train()

    with torch.autocast("cpu", dtype):
        logits, aux = network(*images(), aux=True)
    (logits.float().mean() + aux.float().mean()).backward()

    assert logits.isfinite().all()
    assert aux.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_weights_move_strictly_from_one_instance_to_another():
    network, other, inputs = small().eval(), MultiSenseSeg(SMALL).eval(), images()

    other.load_state_dict(network.state_dict(), strict=True)

    with torch.no_grad():
        assert torch.equal(network(*inputs), other(*inputs))


def test_the_pyramid_pools_maxima():
    torch.manual_seed(0)
    pooling = MaxPyramidPooling(3, 4, (1, 2)).eval()
    image = torch.randn(1, 3, 4, 4)

    with torch.no_grad():
        whole = image.amax(dim=(2, 3), keepdim=True)
        quarters = image.reshape(1, 3, 2, 2, 2, 2).amax(dim=(3, 5))
        levels = [
            F.interpolate(F.relu(level[1][0](cells) * BATCH_NORM), (4, 4), mode="bilinear")
            for level, cells in zip(pooling.levels, (whole, quarters), strict=True)
        ]
        wanted = F.relu(pooling.merge[0](torch.cat([image, *levels], dim=1)) * BATCH_NORM)
        assert torch.allclose(pooling(image), wanted, atol=1e-5)


def test_the_neck_climbs_from_the_coarsest_map_and_then_looks_at_all():
    torch.manual_seed(0)
    neck = PyramidNeck((2, 3, 4), 5, (1, 2)).eval()
    maps = [torch.randn(1, channels, side, side) for channels, side in ((2, 8), (3, 4), (4, 2))]

    with torch.no_grad():
        coarse = neck.pool(maps[2])
        middle = neck.smooths[1](F.interpolate(coarse, (4, 4), mode="bilinear")) + neck.laterals[1](maps[1])
        fine = neck.smooths[0](F.interpolate(middle, (8, 8), mode="bilinear")) + neck.laterals[0](maps[0])
        lifted = [F.interpolate(one, (8, 8), mode="bilinear") for one in (middle, coarse)]
        assert torch.allclose(neck(maps), neck.fuse(torch.cat([fine, *lifted], dim=1)), atol=1e-5)


def test_decoding_gates_by_place_and_by_channel():
    torch.manual_seed(0)
    decoder = GatedDecoder(16, details=4, classes=3, ratio=4).eval()
    image, details = torch.randn(2, 16, 4, 5), torch.randn(2, 4, 16, 20)
    gate = decoder.detail_gate

    with torch.no_grad():
        reduced = F.conv2d(image, decoder.reduce[0].weight, padding=1) * BATCH_NORM
        y = F.conv2d(reduced, gate.map[0].weight, gate.map[0].bias) * BATCH_NORM
        pooled = details.reshape(2, 4, 4, 4, 5, 4).amax(dim=(3, 5))
        z = F.conv2d(pooled, gate.details[0].weight, gate.details[0].bias) * BATCH_NORM
        factor = torch.sigmoid(F.conv2d(F.relu(y + z), gate.gate[1].weight, gate.gate[1].bias) * BATCH_NORM)
        assert factor.shape == (2, 1, 4, 5)
        mixed = decoder.mix[0](y * factor + decoder.channel_gate(reduced)) * BATCH_NORM
        wanted = decoder.classify(F.relu(image + F.conv2d(mixed, decoder.expand.weight)))
        assert torch.allclose(decoder(image, details), wanted, atol=1e-5)


def test_by_default_it_has_the_originals_dropouts_aligned_corners_and_rolled_grids():
    network = full()
    rates = {name: module.p for name, module in network.named_modules() if isinstance(module, nn.Dropout)}

    assert set(rates.values()) == {0.1}
    assert rates.keys() == {
        "fuse_head.matching.dropout",
        "encoder.dropout",
        *(
            f"encoder.stages.{stage}.blocks.{block}.{part}"
            for stage, depth in enumerate((2, 2, 8, 2))
            for block in range(depth)
            for part in ("attention.dropout", "attention.attention_dropout", "ffn.dropout")
        ),
    }
    assert all(stage.roll_single for stage in network.encoder.stages)
    assert network.config.align_corners


def test_the_older_form_is_reached_by_settings_and_has_the_same_weights():
    older = replace(SMALL, **MultiSenseSegConfig.OLDER_FORM)
    one, other = small().eval(), MultiSenseSeg(older).eval()

    other.load_state_dict(one.state_dict(), strict=True)

    assert {module.p for module in other.modules() if isinstance(module, nn.Dropout)} == {0.0}
    assert not any(stage.roll_single for stage in other.encoder.stages)
    with torch.no_grad():
        assert not torch.allclose(one(*images()), other(*images()), atol=1e-4)


@pytest.mark.parametrize("align_corners", [True, False])
def test_every_resizing_aligns_corners_or_none_does(align_corners: bool, monkeypatch: pytest.MonkeyPatch):
    network = MultiSenseSeg(replace(SMALL, align_corners=align_corners)).eval()
    seen: list[object] = []
    genuine = F.interpolate

    def spy(image: Tensor, **options: object) -> Tensor:
        seen.append(options["align_corners"])
        return genuine(image, **options)

    monkeypatch.setattr(F, "interpolate", spy)
    with torch.no_grad():
        network(*images(128, 128, batch=1), aux=True)

    assert seen
    assert set(seen) == {align_corners}


def test_dropout_acts_in_training_and_not_in_scoring():
    network, inputs = MultiSenseSeg(replace(SMALL, dropout=0.1, attention_dropout=0.1)), images()

    with torch.no_grad():
        noisy = [network.train()(*inputs) for _ in range(2)]
        calm = [network.eval()(*inputs) for _ in range(2)]

    assert not torch.equal(*noisy)
    assert torch.equal(*calm)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"auxiliary_bands": 0}, "two inputs"),
        ({"depths": [2, 2, 2], "heads": [1, 2, 4]}, "4 stages"),
        ({"heads": [3, 6, 12]}, "3 values for 4 stages"),
        ({"heads": [5, 6, 12, 24]}, "5 heads do not divide 96"),
        ({"fuse_heads": 8}, "choose 1, 2 or 4"),
        ({"width": 84}, "multiple of group_width"),
        ({"expert_width": 24}, "half of expert_width is 12"),
        ({"gate_ratio": 64}, "without channels"),
        ({"ffn_residual": "none"}, "normed, hidden"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be"),
        ({"attention_dropout": -0.1}, "attention_dropout is -0.1"),
        ({"drop_path": math.nan}, "drop_path is nan"),
        ({"window": 0}, "window is 0; it must be"),
        ({"depths": [2, 2, 0, 2]}, "depths is"),
        ({"pools": [1, 0]}, "pools is"),
        ({"query_ratio": 0.0}, "query_ratio is 0.0; it must be"),
        ({"query_ratio": math.inf}, "query_ratio is inf"),
        ({"query_ratio": 99.0}, "leaves no queries in stage 1"),
        ({"offset_scale": 1}, "offset_scale is 1; choose 2 or more"),
        ({"group_width": 0}, "group_width is 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(choices: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        from_mapping(MultiSenseSegConfig, choices, where="multisenseseg")
