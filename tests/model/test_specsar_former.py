"""SpecSAR-Former: the paper's figures, the folded decoder, every choice that the paper leaves open."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.config import from_mapping
from dwplus.model.cost import count, count_by_rule
from dwplus.model.registry import build
from dwplus.model.specsar_former import SMALL, MutualModalAggregation, SpecSarFormer, SpecSarFormerConfig
from dwplus.pipeline.errors import UsageError

TINY = {"widths": (16, 32), "depths": (1, 2), "heads": (1, 2), "reductions": (8, 4), "decoder_width": 16}
TINY |= {"drop_path": 0.0, "dropout": 0.0}


def settings(mapping: dict[str, object]) -> SpecSarFormerConfig:
    return from_mapping(SpecSarFormerConfig, mapping, where="specsar-former")


def tiny(**changes: object) -> SpecSarFormer:
    torch.manual_seed(0)
    return SpecSarFormer(SpecSarFormerConfig(**{**TINY, **changes}))


def inputs(size: int = 32, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    primary = torch.randn(batch, 10, size, size, generator=generator)
    return primary, torch.randn(batch, 2, size, size, generator=generator)


@cache
def on_meta(config: SpecSarFormerConfig) -> tuple[int, int, float]:
    """(true parameters, parameters by the paper's rule, GFLOP by the paper's rule) at 512 px."""
    primary, auxiliary = config.primary_bands, config.auxiliary_bands
    with torch.device("meta"):
        network = SpecSarFormer(config)
        macs, params_rule = count_by_rule(
            network, torch.empty(1, primary, 512, 512), torch.empty(1, auxiliary, 512, 512)
        )
    return sum(p.numel() for p in network.parameters()), params_rule, 2 * macs / 1e9


def test_defaults_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["specsar-former"]  # 26.70 M, 109.59 G
    with torch.device("meta"):
        network = build("specsar-former")

    cost = count(network, 10, 2)

    assert cost.params == cost.params_rule == 26_704_265
    assert cost.gflops_rule == pytest.approx(109.590, abs=5e-4)
    assert round(cost.params / 1e6, 2) == printed["params"]
    assert round(cost.gflops_rule, 2) == printed["flops"]
    assert cost.gflops == pytest.approx(124.83, abs=5e-3)  # attention counted: more than the paper's rule says
    assert cost.gflops_run == pytest.approx(50.29, abs=5e-3)  # what the folded form leaves of it


def test_eleven_spectral_bands_do_not_fit_the_paper():
    params, _, gflops = on_meta(SpecSarFormerConfig(primary_bands=11))

    assert params == 26_706_617
    assert gflops == pytest.approx(109.667, abs=5e-4)


def most_slow(*rows: str, quick: tuple[str, ...]) -> list[object]:
    """Rows that are counted at full size: some always, the others where there is time."""
    return [pytest.param(row, marks=() if row in quick else pytest.mark.slow) for row in rows]


@pytest.mark.parametrize(
    "row",
    most_slow("none", "ca", "sa", "mmam", "sa-mmam", "ca-mmam", "ca-sa", "ca-sa-mmam", quick=("none", "ca-sa-mmam")),
)
def test_rows_of_table_iv_are_one_switch_each(row: str):
    paper = load_toml("paper")
    wanted = paper["counted"]["table4"][row]

    params, params_rule, gflops = on_meta(settings(paper["table4"][row]["model"]))

    assert params == params_rule == wanted["params"]
    assert gflops == pytest.approx(wanted["gflops"], abs=5e-5)


@pytest.mark.parametrize("row", most_slow("1/4, 3/4", "1/2, 1/2", "3/4, 1/4", quick=("1/2, 1/2",)))
def test_rows_of_table_vi_are_a_split_each(row: str):
    paper = load_toml("paper")
    wanted = paper["counted"]["table6"][row]

    params, _, gflops = on_meta(settings(paper["table6"][row]["model"]))

    assert params == wanted["params"]
    assert gflops == pytest.approx(wanted["gflops"], abs=5e-5)


def test_rgb_and_nine_others_of_table_v():
    wanted = load_toml("paper")["counted"]["table5"]["rgb-other"]

    params, _, gflops = on_meta(SpecSarFormerConfig(3, 9))

    assert params == wanted["params"]
    assert gflops == pytest.approx(wanted["gflops"], abs=5e-5)


@pytest.mark.parametrize(
    ("change", "params"),
    [
        ({"cross_mlp": "two-layer"}, 26_704_265),  # family (b): the figures cannot tell
        ({"stage_norm": "after"}, 26_704_265),
        ({"merge_norm": "after"}, 26_704_265),
        ({"decoder_width": 512}, 25_128_000),
        ({"aggregation_bias": False}, 26_702_200),
        ({"classes": 10}, 26_705_034),
    ],
)
def test_other_choices_have_the_parameters_that_were_found_for_them(change: dict[str, object], params: int):
    with torch.device("meta"):
        network = SpecSarFormer(SpecSarFormerConfig(**change))

    rounded = 10**2 if params % 100 == 0 else 1
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(params, abs=5 * rounded if rounded > 1 else 0)


def test_pooling_by_mean_is_counted_with_fewer_flops():
    assert on_meta(SpecSarFormerConfig(aggregation_pool="mean"))[2] == pytest.approx(109.5861, abs=5e-5)


def test_folded_and_plain_network_agree_in_logits_and_gradients():
    plain, folded = tiny(decoder="plain"), tiny(decoder="folded")
    folded.load_state_dict(plain.state_dict())

    logits = [network(*inputs(64, batch=2)) for network in (plain, folded)]
    for out in logits:
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()

    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    gradients = [torch.cat([p.grad.flatten() for p in n.parameters() if p.grad is not None]) for n in (plain, folded)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-4


@pytest.mark.parametrize("way", ["training", "scoring"])
def test_both_forms_are_the_same_function_in_double_precision(way: str):
    plain, folded = (tiny(decoder=form).double().train(way == "training") for form in ("plain", "folded"))
    folded.load_state_dict(plain.state_dict())
    images = [image.double() for image in inputs(61, batch=2)]

    with torch.set_grad_enabled(way == "training"):
        logits = [network(*images) for network in (plain, folded)]

    assert torch.allclose(*logits, rtol=0, atol=1e-10)
    if way == "training":
        for out in logits:
            (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
        for (name, one), (_, other) in zip(plain.named_parameters(), folded.named_parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, rtol=1e-7, atol=1e-9), name


@pytest.mark.parametrize(
    ("training", "grad"),
    [
        (True, True),
        *(pytest.param(*way, marks=pytest.mark.slow) for way in ((False, False), (True, False), (False, True))),
    ],
)
def test_it_compiles_in_one_graph(training: bool, grad: bool):
    # One block a stage: what is traced of a second one is the same.
    network, images = tiny(depths=(1, 1)).train(training), inputs(64, batch=2)
    compiled = torch.compile(network, fullgraph=True, backend="eager")

    with torch.set_grad_enabled(grad):
        torch.manual_seed(0)
        expected = network(*images)
        torch.manual_seed(0)
        assert torch.allclose(compiled(*images), expected, atol=1e-5)


def test_it_is_exported():
    network, images = tiny(depths=(1, 1)).eval(), inputs(64)

    exported = torch.export.export(network, images).module()

    assert torch.allclose(exported(*images), network(*images), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_finite_logits_and_gradients(dtype: torch.dtype):
    network, images = tiny().train(), inputs(64, batch=2)

    with torch.autocast("cpu", dtype):
        logits = network(*images)
    logits.float().square().mean().backward()

    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    reference = network.eval()(*images)
    with torch.autocast("cpu", dtype), torch.no_grad():
        assert torch.allclose(network(*images).float(), reference, atol=0.05 * float(reference.detach().abs().max()))


@pytest.mark.parametrize("size", [29, 64, 130])
def test_logits_have_the_size_of_the_input(size: int):
    with torch.no_grad():
        assert tiny()(*inputs(size)).shape == (1, 9, size, size)


def test_small_network_gives_510_px_logits_for_a_tile():
    with torch.no_grad():
        assert SpecSarFormer(SMALL).eval()(*inputs(510)).shape == (1, 9, 510, 510)


def test_too_small_an_input_is_refused():
    with pytest.raises(UsageError, match="29 px"):
        tiny()(*inputs(28))


@pytest.mark.parametrize(
    "change",
    [
        {"attention_scale": "width"},
        {"cross_order": "sequential"},
        {"cross_mlp": "two-layer"},
        {"stage_norm": "after"},
        {"merge_norm": "after"},
        {"aggregation_activation": "gelu"},
        {"aggregation_bias": False},
        {"aggregation_residual": True},
        {"output": "crop"},
        {"split": (1, 1)},
        {"self_attention": False},
        {"cross_attention": False},
        {"aggregation": False},
        {"norm_eps": 1e-2},
        {"ffn_ratio": 2},
        {"heads": (2, 4)},
        {"auxiliary_heads": (4, 8)},
        {"reductions": (4, 2)},
        {"classes": 3},
        {"depths": (2, 1)},
    ],
    ids=str,
)
def test_every_open_choice_changes_what_the_network_says(change: dict[str, object]):
    torch.manual_seed(0)
    outs = []
    for network in (tiny(), tiny(**change)):
        generator = torch.Generator().manual_seed(2)
        for parameter in network.parameters():  # larger weights than a fresh network's, or biases and scales hide
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        with torch.no_grad():
            outs.append(network.eval()(*inputs(62)))

    assert outs[0].shape != outs[1].shape or not torch.allclose(outs[0], outs[1], atol=1e-4)


@pytest.mark.parametrize("change", [{"dropout": 0.9}, {"drop_path": 0.9}, {"attention_dropout": 0.9}], ids=str)
def test_dropouts_act_in_training_alone(change: dict[str, object]):
    network, data = tiny(**change), inputs(32, batch=2)

    with torch.no_grad():
        training = [network.train()(*data) for _ in range(2)]
        network.eval()
        evaluation = [network(*data) for _ in range(2)]

    assert not torch.equal(*training)
    assert torch.equal(*evaluation)


def test_pooling_by_module_and_by_mean_is_the_same_number():
    module, mean = tiny(), tiny(aggregation_pool="mean")
    mean.load_state_dict(module.state_dict())

    with torch.no_grad():
        assert torch.allclose(module.eval()(*inputs()), mean.eval()(*inputs()), atol=1e-6)


def test_aggregation_weighs_channels_by_the_mean_of_both_branches():
    torch.manual_seed(0)
    aggregation = MutualModalAggregation(3, 1, SpecSarFormerConfig())
    features = torch.randn(2, 6, 4)

    out = aggregation(features, (2, 3))

    mean = features.mean(1)
    primary, auxiliary = aggregation.mlps
    for sample in range(2):
        m1, m2 = torch.sigmoid(primary(mean[sample])), torch.sigmoid(auxiliary(mean[sample]))
        assert torch.allclose(out[sample], features[sample] * torch.cat([m1, m2]), atol=1e-6)


def test_in_parallel_order_both_directions_read_what_self_attention_gave():
    network = tiny()
    block = network.stages[0].blocks[0]
    p, a, grid = torch.randn(1, 64, 12), torch.randn(1, 64, 4), (8, 8)

    found_p, found_a = block(p, a, grid)

    p1, a1 = block.primary.attend(p, grid), block.auxiliary.attend(a, grid)
    p2, a2 = block.primary.cross(p1, a1, grid), block.auxiliary.cross(a1, p1, grid)
    assert torch.equal(found_p, block.primary.feed(p2, grid))
    assert torch.equal(found_a, block.auxiliary.feed(a2, grid))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"decoder_with": 768}, "unknown key 'decoder_with'"),
        ({"decoder": "fast"}, "choose one of folded, plain"),
        ({"depths": "3463"}, "a list is wanted"),
        ({"split": [3]}, "2 values are wanted"),
        ({"dropout": "a lot"}, "float is wanted"),
        ({"self_attention": 1}, "bool is wanted"),
        ({"heads": [1, 2, 7, 8]}, "7 heads do not divide 240"),
        ({"split": [2, 1]}, "does not divide 64"),
        ({"widths": [64, 128, 320]}, "3 values for 4 stages"),
        ({"auxiliary_bands": 0}, "needs two inputs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(mapping: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        settings(mapping)
