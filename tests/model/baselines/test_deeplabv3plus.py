"""DeepLabV3+ with Xception: a convolutional row of the paper's tables."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dwplus.manifests import load_toml
from dwplus.model.baselines.deeplabv3plus import SMALL, AtrousPyramid, DeepLabV3Plus, DeepLabV3PlusConfig
from dwplus.model.blocks.xception import SeparableStep
from dwplus.model.config import from_mapping, to_mapping
from dwplus.model.cost import count, count_by_rule
from dwplus.pipeline.errors import UsageError
from torch import Tensor, nn


def inputs(batch: int = 2, height: int = 64, width: int = 64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def settled(config: DeepLabV3PlusConfig = SMALL) -> DeepLabV3Plus:
    """In evaluation mode, every BatchNorm with statistics and weights of its own."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


class Reference:
    """The whole network as one list of calls on a state dict, ReLUs in place where asked.

    Args:
        dilations: of the middle blocks, the exit block, the exit steps; the first ``undilated`` middle blocks have 1.
        third_relu: whether the third entry block begins with a ReLU.
        align_corners: of every resizing.
    """

    def __init__(
        self,
        state: dict[str, Tensor],
        config: DeepLabV3PlusConfig,
        *,
        in_place: bool,
        dilations: tuple[int, int, int],
        undilated: int,
        third_relu: bool,
        align_corners: bool,
    ) -> None:
        self.state, self.config, self.in_place = state, config, in_place
        self.dilations, self.undilated = dilations, undilated
        self.third_relu, self.align_corners = third_relu, align_corners

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.state[f"{name}.0.weight"]
        x = F.conv2d(x, weight, None, stride, dilation * (weight.shape[2] // 2), dilation)
        return self.norm(x, f"{name}.1")

    def step(
        self, x: Tensor, name: str, stride: int = 1, dilation: int = 1, norm: bool = True, relu: bool = True
    ) -> Tensor:
        if relu:
            x = F.relu_(x) if self.in_place else F.relu(x)
        depthwise = self.state[f"{name}.depthwise.weight"]
        x = F.conv2d(F.pad(x, (dilation,) * 4), depthwise, None, stride, 0, dilation, len(depthwise))
        x = F.conv2d(self.norm(x, f"{name}.depthwise_norm"), self.state[f"{name}.pointwise.weight"])
        return self.norm(x, f"{name}.norm") if norm else x

    def block(
        self,
        x: Tensor,
        name: str,
        stride: int = 1,
        dilation: int = 1,
        second_norm: bool = True,
        project: bool = True,
        relu: bool = True,
    ) -> Tensor:
        out = self.step(x, f"{name}.steps.0", 1, dilation, relu=relu)
        out = self.step(out, f"{name}.steps.1", 1, dilation, norm=second_norm)
        out = self.step(out, f"{name}.steps.2", stride, dilation)
        return out + (self.conv(x, f"{name}.shortcut", stride) if project else x)

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv(image, "encoder.stem.0", 2))
        x = self.block(F.relu(self.conv(x, "encoder.stem.1")), "encoder.entry.0", 2)
        low = F.relu(x)
        x = self.block(x, "encoder.entry.1", 2)
        x = self.block(x, "encoder.entry.2", 2, relu=self.third_relu)
        for i in range(self.config.middle_blocks):
            dilation = 1 if i < self.undilated else self.dilations[0]
            x = self.block(x, f"encoder.middle.{i}", dilation=dilation, project=False)
        middle = x
        x = self.block(x, "encoder.exit_block", dilation=self.dilations[1], second_norm=False)
        for i in range(3):
            x = self.step(x, f"encoder.exit_steps.{i}", dilation=self.dilations[2])
        aux = F.relu(self.conv(middle, "aux_head.0"))
        aux = F.conv2d(aux, self.state["aux_head.2.weight"], self.state["aux_head.2.bias"])
        return self.enlarged(self.decoded(F.relu(x), low), image), self.enlarged(aux, image)

    def decoded(self, deep: Tensor, low: Tensor) -> Tensor:
        branches = [self.conv(deep, "pyramid.point")]
        branches += [self.conv(deep, f"pyramid.dilated.{i}", 1, rate) for i, rate in enumerate(self.config.rates)]
        branches += [self.conv(deep.mean((2, 3), keepdim=True), "pyramid.average.1").expand_as(branches[0])]
        x = F.relu(self.conv(F.relu(torch.cat(branches, 1)), "pyramid.project.0"))
        x = torch.cat([self.enlarged(x, low), F.relu(self.conv(low, "decoder.low_level"))], 1)
        x = F.relu(self.conv(F.relu(self.conv(x, "decoder.refine.0")), "decoder.refine.2"))
        return F.conv2d(x, self.state["decoder.classify.weight"], self.state["decoder.classify.bias"])

    def enlarged(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=self.align_corners)


XCEPTION_71 = {
    "in_place": True,
    "dilations": (2, 2, 4),
    "undilated": 1,
    "third_relu": False,
    "align_corners": True,
}
"""The original's structure: one entry block without stride or dilation, ReLUs in place but before the third block."""

OLDER = {"in_place": False, "dilations": (1, 1, 2), "undilated": 0, "third_relu": True, "align_corners": False}
"""What versions before ``OLDER_FORM`` built."""


def test_twelve_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["deeplabv3plus"]
    with torch.device("meta"):
        network = DeepLabV3Plus()

    cost = count(network, 10, 2)

    assert cost.params == cost.params_rule == 57_564_748
    assert cost.gflops_rule == pytest.approx(174.4238, abs=5e-5)
    assert (round(cost.params / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])


def test_the_sixteen_middle_blocks_of_xception_65_do_not_fit_the_table():
    with torch.device("meta"):
        network = DeepLabV3Plus(DeepLabV3PlusConfig(middle_blocks=16))

    cost = count(network, 10, 2)

    assert round(cost.params / 1e6, 4) == 55.9464
    assert round(cost.gflops_rule, 2) == 171.09


def test_counts_equal_thops():
    thop = pytest.importorskip("thop")

    class WithAux(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
            pair: tuple[Tensor, Tensor] = self.network(primary, auxiliary, aux=True)
            return pair

    network = DeepLabV3Plus(SMALL)
    pair = inputs(1, 62, 67)

    assert count_by_rule(network, *pair) == thop.profile(WithAux(network), inputs=pair, verbose=False)


def agrees_with_reference(config: DeepLabV3PlusConfig, structure: dict[str, Any]) -> None:
    network = settled(config)
    primary, auxiliary = inputs(2, 65, 70)

    with torch.no_grad():
        logits, aux_logits = network(primary, auxiliary, aux=True)
        image = torch.cat([primary, auxiliary], dim=1)
        wanted, wanted_aux = Reference(network.state_dict(), config, **structure)(image)

    assert logits.shape == aux_logits.shape == (2, 9, 65, 70)
    assert torch.allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    assert torch.allclose(aux_logits, wanted_aux, rtol=1e-4, atol=1e-5)


def test_by_default_it_is_the_originals_xception_71_with_output_stride_8():
    agrees_with_reference(replace(SMALL, middle_blocks=3), XCEPTION_71)


def test_the_older_form_is_reached_by_settings():
    agrees_with_reference(older(), OLDER)


@pytest.mark.parametrize(
    ("setting", "structure"),
    [
        ({"skip": "rectified"}, {"in_place": True}),
        ({"dilations": (2, 1, 4)}, {"dilations": (2, 1, 4)}),
        ({"undilated": 2, "dilations": (2, 2, 2)}, {"undilated": 2, "dilations": (2, 2, 2)}),
        ({"third_relu": False}, {"third_relu": False}),
        ({"align_corners": True}, {"align_corners": True}),
    ],
    ids=str,
)
def test_each_setting_changes_what_it_names_and_nothing_else(setting: dict[str, Any], structure: dict[str, Any]):
    agrees_with_reference(replace(older(), **setting), OLDER | structure)


def older() -> DeepLabV3PlusConfig:
    plain = {**to_mapping(SMALL), **DeepLabV3PlusConfig.OLDER_FORM}
    return from_mapping(DeepLabV3PlusConfig, plain, where="deeplabv3plus")


def test_no_setting_of_the_original_changes_names_or_sizes_of_weights():
    one, other = DeepLabV3Plus(SMALL).state_dict(), DeepLabV3Plus(older()).state_dict()

    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in other.items()}
    assert "encoder.middle.1.steps.2.pointwise.weight" in one


def test_dilations_lie_in_the_middle_the_exit_block_and_the_exit_steps():
    with torch.device("meta"):
        encoder = DeepLabV3Plus().encoder
    dilations = {
        name: module.depthwise.dilation[0]
        for name, module in encoder.named_modules()
        if isinstance(module, SeparableStep)
    }

    assert {name: d for name, d in dilations.items() if d == 1}.keys() == {
        *(f"entry.{i}.steps.{j}" for i in range(3) for j in range(3)),
        *(f"middle.0.steps.{j}" for j in range(3)),
    }
    assert {d for name, d in dilations.items() if name.startswith("exit_steps")} == {4}
    assert {d for name, d in dilations.items() if name.startswith(("middle.1.", "middle.16.", "exit_block"))} == {2}


def test_a_dilated_branch_sees_pixels_its_rate_away():
    torch.manual_seed(0)
    pyramid = AtrousPyramid(1, 1, rates=(4,), dropout=0.0).eval()
    image = torch.zeros(1, 1, 11, 11)
    image[0, 0, 5, 5] = 1.0

    with torch.no_grad():
        seen = pyramid.dilated[0][0](image)[0, 0].nonzero().tolist()

    assert seen == [[y, x] for y in (1, 5, 9) for x in (1, 5, 9)]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 70), (510, 510)])
def test_logits_have_the_inputs_size(height: int, width: int):
    with torch.device("meta"):
        network = DeepLabV3Plus().eval()
        logits = network(torch.empty(1, 10, height, width), torch.empty(1, 2, height, width))

    assert logits.shape == (1, 9, height, width)


def test_no_auxiliary_input_is_needed():
    network = DeepLabV3Plus(replace(SMALL, primary_bands=3, auxiliary_bands=0)).eval()

    with torch.no_grad():
        assert network(torch.randn(1, 3, 64, 64), torch.empty(1, 0, 64, 64)).shape == (1, 9, 64, 64)


@pytest.mark.parametrize("aux", [False, True])
def test_every_parameter_has_a_gradient(aux: bool):
    network = DeepLabV3Plus(replace(SMALL, aux=aux)).train()

    network(*inputs()).sum().backward()

    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_an_unasked_auxiliary_head_does_not_run_in_evaluation_and_learns_nothing_in_training():
    network = DeepLabV3Plus(SMALL)
    runs: list[bool] = []
    network.aux_head.register_forward_hook(lambda *_: runs.append(network.training))

    with torch.no_grad():
        network.eval()(*inputs())
    network.train()(*inputs()).sum().backward()

    assert runs == [True]
    assert all(not parameter.grad.any() for parameter in network.aux_head.parameters() if parameter.grad is not None)


def test_an_auxiliary_head_that_is_not_there_cannot_be_asked():
    network = DeepLabV3Plus(replace(SMALL, aux=False)).eval()

    assert not network.has_aux
    with pytest.raises(UsageError, match="no auxiliary head"):
        network(*inputs(), aux=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_even_before_the_norms_have_settled(dtype: torch.dtype):
    network = DeepLabV3Plus(replace(SMALL, middle_blocks=17))

    with torch.autocast("cpu", dtype):
        trained = network.train()(*inputs())
        evaluated = network.eval()(*inputs())

    assert trained.isfinite().all()
    assert evaluated.isfinite().all()


@pytest.mark.slow
def test_it_compiles_in_one_graph_and_exports():
    network, pair = settled(), inputs(1, 65, 70)

    with torch.no_grad():
        wanted = network(*pair)
        compiled = torch.compile(network, fullgraph=True, backend="eager")(*pair)
        exported = torch.export.export(network, pair).module()(*pair)

    assert torch.allclose(compiled, wanted, atol=1e-6)
    assert torch.allclose(exported, wanted, atol=1e-6)


def test_a_copy_gives_the_same_logits():
    network, pair = settled(), inputs(1, 65, 70)

    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network)(*pair), network(*pair))


def test_weights_load_strictly_into_another_instance():
    one, other = settled(), DeepLabV3Plus(SMALL).eval()

    other.load_state_dict(one.state_dict(), strict=True)

    with torch.no_grad():
        assert torch.equal(one(*inputs()), other(*inputs()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"primary_bands": 0}, "at least one band"),
        ({"middle_blocks": 0}, "middle_blocks is 0"),
        ({"undilated": 18}, "undilated is 18; choose 0 to middle_blocks"),
        ({"undilated": -1}, "undilated is -1"),
        ({"dilations": (2, 0, 4)}, "dilations is"),
        ({"rates": (12, 24, -36)}, "rates is"),
        ({"exit_widths": (1024, 0, 1536, 2048)}, "exit_widths is"),
        ({"low_level_width": 0}, "low_level_width is 0; it must be"),
        ({"dropouts": (0.5, 1.0, 0.1)}, "dropouts is .*; it must be"),
        ({"dropouts": (0.5, -0.5, 0.1)}, "dropouts is"),
        ({"dropouts": (0.5, math.nan, 0.1)}, "dropouts is"),
        ({"entry_widths": (2, 2, 2)}, "the auxiliary head needs 4"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(wrong: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        DeepLabV3PlusConfig(**wrong)
