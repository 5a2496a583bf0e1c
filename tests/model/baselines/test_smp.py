"""Networks of segmentation_models_pytorch as ours, and what is said where it is missing."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from dwplus.model.baselines.smp import SMALL, Smp, SmpConfig
from dwplus.model.cost import count
from dwplus.pipeline.errors import UsageError
from torch import Tensor


@pytest.fixture
def smp():
    """For tests that need the library itself."""
    return pytest.importorskip("segmentation_models_pytorch")


def inputs(batch: int = 2, height: int = 64, width: int = 64) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 10, height, width), torch.randn(batch, 2, height, width)


def on_meta(architecture: str, encoder: str) -> Smp:
    with torch.device("meta"):
        return Smp(SmpConfig(architecture=architecture, encoder=encoder))


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)

    with pytest.raises(UsageError, match=r"need segmentation_models_pytorch.*pip install 'dwplus\[models\]'"):
        Smp()


def test_a_torchvision_that_does_not_fit_torch_is_told_like_a_missing_library(monkeypatch: pytest.MonkeyPatch):
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("importlib.import_module", fail)

    with pytest.raises(UsageError, match=r"torchvision::nms does not exist.*pip install 'dwplus\[models\]'"):
        Smp()


def test_settings_need_no_library(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)

    assert SmpConfig(encoder="resnet18") == SMALL


def test_no_band_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one band"):
        SmpConfig(primary_bands=0)


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("unett", "resnet34", "no architecture 'unett'; close are unet, "),
        ("xyz", "resnet34", "no architecture 'xyz'; there are unet, unetplusplus"),
        ("unet", "resnet35", "no encoder 'resnet35'; close are .*resnet34"),
        ("unet", "tu-convnextt_tiny", "no encoder 'tu-convnextt_tiny'; close are tu-convnext_tiny"),
        ("dpt", "resnet34", "cannot build dpt on resnet34: Only Timm encoders are supported"),
        ("unet", "tu-vit_tiny_patch16_224", "cannot build unet on tu-vit_tiny_patch16_224: "),
    ],
)
def test_names_that_smp_does_not_know_or_cannot_combine_are_refused(
    smp: object, architecture: str, encoder: str, message: str
):
    with pytest.raises(UsageError, match=message):
        on_meta(architecture, encoder)


@pytest.mark.parametrize(
    ("architecture", "encoder", "params", "gflops"),
    [
        ("unet", "resnet34", 24.466, 67.10),
        ("unet", "resnet50", 32.550, 89.96),
        ("unetplusplus", "resnet34", 26.108, 151.90),
        ("fpn", "resnet50", 26.145, 66.54),
        ("upernet", "tu-convnext_tiny", 37.060, 153.47),
    ],
)
def test_the_rows_of_the_docstring(smp: object, architecture: str, encoder: str, params: float, gflops: float):
    cost = count(on_meta(architecture, encoder), 10, 2)

    assert round(cost.params / 1e6, 3) == params
    assert round(cost.gflops_rule, 2) == gflops


@pytest.mark.parametrize(
    ("architecture", "encoder", "multiple"),
    [
        ("unet", "resnet18", 32),
        ("unetplusplus", "resnet18", 32),
        ("manet", "resnet18", 32),
        ("linknet", "resnet18", 32),
        ("fpn", "resnet18", 32),
        ("pspnet", "resnet18", 8),
        ("deeplabv3", "resnet18", 8),
        ("deeplabv3plus", "resnet18", 16),
        ("pan", "resnet18", 128),
        ("upernet", "resnet18", 32),
        ("segformer", "resnet18", 32),
        ("dpt", "tu-vit_tiny_patch16_224.augreg_in21k", 32),
    ],
)
def test_every_architecture_takes_any_size(smp: object, architecture: str, encoder: str, multiple: int):
    network = on_meta(architecture, encoder).eval()

    assert network.multiple == multiple
    for height, width in ((64, 64), (65, 70), (510, 510)):
        primary, auxiliary = (torch.empty(1, bands, height, width, device="meta") for bands in (10, 2))
        assert network(primary, auxiliary).shape == (1, 9, height, width)


def test_all_of_a_network_is_built_on_the_device_that_was_asked_for(smp: object):
    network = on_meta("unet", "resnet34")

    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


@pytest.mark.parametrize("batch", [1, 2])
def test_every_parameter_of_a_unet_has_a_gradient(smp: object, batch: int):
    network = on_meta("unet", "resnet34").train()

    network(*(image.to("meta") for image in inputs(batch))).sum().backward()

    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_a_network_with_one_input_does_not_care_where_a_band_comes_from(smp: object):
    torch.manual_seed(0)
    network = Smp(SMALL).eval()
    primary, auxiliary = inputs(1, 65, 70)
    both = torch.cat([primary, auxiliary], dim=1)

    with torch.no_grad():
        one, other = network(primary, auxiliary), network(both, both[:, :0])

    assert one.shape == (1, 9, 65, 70)
    assert torch.equal(one, other)


def test_padding_is_cut_off_again_so_that_logits_stay_where_they_belong(smp: object):
    torch.manual_seed(0)
    network = Smp(SMALL).eval()
    primary, auxiliary = inputs(1, 62, 62)

    with torch.no_grad():
        padded = torch.nn.functional.pad(torch.cat([primary, auxiliary], dim=1), (1, 1, 1, 1), mode="reflect")
        assert torch.equal(network(primary, auxiliary), network.network(padded)[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite(smp: object, dtype: torch.dtype):
    torch.manual_seed(0)
    network = Smp(SMALL)

    with torch.autocast("cpu", dtype):
        logits = [network.train()(*inputs()), network.eval()(*inputs(1))]

    assert all(one.isfinite().all() for one in logits)


@pytest.mark.slow
def test_it_compiles_in_one_graph_and_exports(smp: object):
    torch.manual_seed(0)
    network, pair = Smp(SMALL).eval(), inputs(1, 65, 70)

    with torch.no_grad():
        wanted = network(*pair)
        compiled = torch.compile(network, fullgraph=True, backend="eager")(*pair)
        exported = torch.export.export(network, pair).module()(*pair)

    assert torch.allclose(compiled, wanted, atol=1e-6)
    assert torch.allclose(exported, wanted, atol=1e-6)


def test_it_copies_and_loads_strictly(smp: object):
    torch.manual_seed(0)
    network, other, pair = Smp(SMALL).eval(), Smp(SMALL).eval(), inputs(1, 65, 70)
    other.load_state_dict(network.state_dict(), strict=True)

    with torch.no_grad():
        wanted = network(*pair)
        copied, loaded = copy.deepcopy(network)(*pair), other(*pair)

    assert torch.equal(copied, wanted)
    assert torch.equal(loaded, wanted)
