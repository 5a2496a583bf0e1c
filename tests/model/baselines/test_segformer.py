"""SegFormer-B2: the single-branch rows of the paper's tables."""

from __future__ import annotations

import re

import pytest
import torch
from dwplus.manifests import load_toml
from dwplus.model.baselines.segformer import SMALL, SegFormer, SegFormerConfig
from dwplus.model.cost import count, count_by_rule
from dwplus.model.registry import build
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.bands import preset


def test_twelve_bands_have_the_papers_parameters_and_flops():
    printed = load_toml("paper")["table2"]["segformer"]
    with torch.device("meta"):
        network = build("segformer", decoder="plain")

    cost = count(network, 10, 2)

    assert cost.params == cost.params_rule == 27_381_769
    assert cost.gflops_rule == pytest.approx(114.5277, abs=5e-5)
    assert (round(cost.params / 1e6, 2), round(cost.gflops_rule, 2)) == (printed["params"], printed["flops"])
    assert cost.gflops == pytest.approx(122.05, abs=5e-3)  # attention counted: more than the paper's rule says


@pytest.mark.parametrize("row", ["sar", "rgb", "ms"])
def test_single_branch_rows_of_table_v(row: str):
    paper = load_toml("paper")
    bands, wanted = len(preset(paper["table5"][row]["primary"])), paper["counted"]["table5"][row]
    with torch.device("meta"):
        network = build("segformer", bands, 0)
        macs, _ = count_by_rule(network, torch.empty(1, bands, 512, 512), torch.empty(1, 0, 512, 512))

    assert sum(p.numel() for p in network.parameters()) == wanted["params"]
    assert 2 * macs / 1e9 == pytest.approx(wanted["gflops"], abs=5e-5)


def test_a_network_with_one_input_does_not_care_where_a_band_comes_from():
    torch.manual_seed(0)
    network = SegFormer(SMALL).eval()
    image = torch.randn(1, 12, 33, 47)

    with torch.no_grad():
        one = network(image[:, :10], image[:, 10:])
        other = network(image, image[:, :0])

    assert one.shape == (1, 9, 33, 47)
    assert torch.equal(one, other)


def test_no_band_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one band"):
        SegFormerConfig(primary_bands=0)


def test_transformers_segformer_gives_the_same_logits_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    settings = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 16}
    other = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            num_channels=5, num_labels=9, num_attention_heads=[1, 2, 3, 4], sr_ratios=[8, 4, 2, 1], **settings
        )
    ).eval()
    ours = SegFormer(
        SegFormerConfig(
            primary_bands=3,
            auxiliary_bands=2,
            depths=(1, 2, 1, 1),
            widths=(8, 16, 24, 32),
            heads=(1, 2, 3, 4),
            decoder_width=16,
            norm_eps=1e-5,  # transformers' own, everywhere
        )
    ).eval()
    ours.load_state_dict(dict(from_transformers(other.state_dict())), strict=True)
    image = torch.randn(2, 5, 64, 96)

    with torch.no_grad():
        expected = torch.nn.functional.interpolate(
            other(pixel_values=image).logits, size=(64, 96), mode="bilinear", align_corners=False
        )
        found = ours(image[:, :3], image[:, 3:])

    assert torch.allclose(found, expected, atol=1e-5)


def from_transformers(state: dict[str, torch.Tensor]):
    """Weights by our names; keys and values are one Linear here."""
    names = {
        "segformer.": "encoder.",
        "decode_head.linear_projections": "decoder.linears",
        "decode_head.linear_fuse": "decoder.fuse",
        "decode_head.batch_norm": "decoder.norm",
        "decode_head.classifier": "decoder.classify",
        "patch_embeddings.proj": "embed.conv",
        "patch_embeddings.layer_norm": "embed.norm",
        "layernorm_before": "norm",
        "layernorm_after": "ffn_norm",
        "sequence_reduction.sequence_reduction": "reduce",
        "sequence_reduction.layer_norm": "reduce_norm",
        "attention.q_proj": "attention.query",
        "attention.k_proj": "attention.key_value",
        "attention.o_proj": "attention.projection",
        "mlp.fc1": "ffn.expand",
        "mlp.dwconv.dwconv": "ffn.depthwise",
        "mlp.fc2": "ffn.contract",
    }
    for key, value in state.items():
        if "v_proj" in key:
            continue
        both = [value, state[key.replace("k_proj", "v_proj")]] if "k_proj" in key else [value]
        name = key.replace(".proj.", ".") if "linear_projections" in key else key
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        yield re.sub(r"(stages[.][0-9]+)[.]layer_norm", r"\1.norm", name), torch.cat(both) if len(both) > 1 else value
