"""Building blocks of the MiT family: dwplus.model.blocks.layers and mit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks import decoder as decoder_file
from dwplus.model.blocks import strips
from dwplus.model.blocks.decoder import MlpDecoder
from dwplus.model.blocks.layers import (
    DropPath,
    MixFfn,
    PatchEmbedding,
    ReducedAttention,
    as_map,
    as_tokens,
    drop_path_rates,
    initialise,
    upsample,
)
from torch import nn


def test_tokens_run_row_by_row_and_go_back_to_the_same_map():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)

    tokens = as_tokens(image)

    assert tokens[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(as_map(tokens, (2, 3)), image)


@pytest.mark.parametrize(("size", "grid"), [(510, 128), (512, 128), (29, 8)])
def test_stem_gives_510_px_the_same_grid_as_512_px(size: int, grid: int):
    stem = PatchEmbedding(2, 4, kernel=7, stride=4)

    tokens, shape = stem(torch.zeros(1, 2, size, size))

    assert shape == (grid, grid)
    assert tokens.shape == (1, grid * grid, 4)


@pytest.mark.parametrize("scale", ["head", "width"])
def test_attention_is_softmax_of_scaled_products_head_by_head(scale: str):
    torch.manual_seed(0)
    attention = ReducedAttention(6, 2, 2, scale=scale).double()
    attention.apply(lambda m: nn.init.normal_(m.weight) if isinstance(m, nn.Linear) else None)
    queries, source = torch.randn(2, 16, 6).double(), torch.randn(2, 16, 6).double()

    found = attention(queries, source, (4, 4))

    reduced = F.layer_norm(
        F.conv2d(source.transpose(1, 2).reshape(2, 6, 4, 4), attention.reduce.weight, attention.reduce.bias, stride=2)
        .flatten(2)
        .transpose(1, 2),
        (6,),
    )  # (B, 4, 6)
    query, pair = attention.query(queries), attention.key_value(reduced)
    factor = 3**-0.5 if scale == "head" else 6**-0.5
    heads = []
    for head in range(2):
        columns = slice(3 * head, 3 * head + 3)
        key, value = pair[..., :6][..., columns], pair[..., 6:][..., columns]
        weights = torch.softmax(query[..., columns] @ key.transpose(1, 2) * factor, dim=-1)
        heads.append(weights @ value)
    assert torch.allclose(found, attention.projection(torch.cat(heads, dim=-1)), atol=1e-12)


def test_attention_without_reduction_has_no_convolution_and_no_norm():
    attention = ReducedAttention(4, 1, 1)

    names = {name.split(".")[0] for name, _ in attention.named_parameters()}

    assert names == {"query", "key_value", "projection"}


@pytest.mark.parametrize("heads", [1, 2])
def test_the_projection_may_come_before_the_queries(heads: int):
    torch.manual_seed(0)
    attention = ReducedAttention(4, heads, 2).double()
    tokens = torch.randn(2, 16, 4).double()

    folded = attention(tokens, tokens, (4, 4))
    attention.form = "plain"

    assert torch.allclose(folded, attention(tokens, tokens, (4, 4)), atol=1e-12)


def test_maps_of_a_batch_of_one_are_channels_last():
    tokens = torch.randn(1, 12, 5)

    assert as_map(tokens, (3, 4)).stride() == (60, 1, 20, 5)
    assert as_tokens(as_map(tokens, (3, 4))).data_ptr() == tokens.data_ptr()


def test_mix_ffn_sees_neighbours_and_the_border():
    torch.manual_seed(0)
    ffn = MixFfn(2, 4)
    constant = torch.ones(1, 25, 2)

    out = as_map(ffn(constant, (5, 5)), (5, 5))

    assert torch.allclose(out[..., 1, 1], out[..., 2, 3])  # inside: every token is the same
    assert not torch.allclose(out[..., 0, 0], out[..., 2, 2])  # zero padding tells a corner where it is


def decoder_pair(seed: int = 0) -> tuple[MlpDecoder, MlpDecoder]:
    torch.manual_seed(seed)
    plain = MlpDecoder((4, 6, 8), 16, 9, dropout=0.0, form="plain")
    plain.apply(initialise)
    for linear in plain.linears:
        nn.init.normal_(linear.bias)
    folded = MlpDecoder((4, 6, 8), 16, 9, dropout=0.0, form="folded")
    folded.load_state_dict(plain.state_dict())
    return plain, folded


def decoder_inputs(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((4, 12), (6, 6), (8, 3))
    return [torch.randn(2, channels, size, size, generator=generator).to(dtype) for channels, size in shapes]


def test_folded_decoder_is_exact():
    plain, folded = (decoder.double().train() for decoder in decoder_pair())
    maps = decoder_inputs(torch.float64)

    assert torch.allclose(plain(maps), folded(maps), rtol=0, atol=1e-11)


def test_folded_decoder_gives_the_plain_decoders_logits_and_gradients_in_float32():
    plain, folded = (decoder.eval() for decoder in decoder_pair())
    maps = decoder_inputs(torch.float32)

    logits = [decoder(maps) for decoder in (plain, folded)]
    for out in logits:
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()

    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    gradients = [torch.cat([p.grad.flatten() for p in d.parameters() if p.grad is not None]) for d in (plain, folded)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-4


@pytest.mark.parametrize("grids", [((12, 12), (6, 6), (3, 3)), ((11, 13), (6, 7), (3, 4)), ((40, 9), (20, 5), (10, 3))])
@pytest.mark.parametrize("way", ["training", "scoring"])
def test_folded_decoder_goes_from_strip_to_strip_without_a_trace(way: str, grids, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoder_file, "STRIP_ROWS", 4)
    monkeypatch.setattr(strips, "PIXELS_AT_ONCE", 10)
    plain, folded = (decoder.double().train(way == "training") for decoder in decoder_pair())
    for decoder in (plain, folded):
        decoder.norm.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(1)
    channels = (4, 6, 8)
    maps = [torch.randn(2, c, *grid, generator=generator).double() for c, grid in zip(channels, grids, strict=True)]

    with torch.set_grad_enabled(way == "training"):
        logits = [decoder(maps) for decoder in (plain, folded)]

    assert torch.allclose(*logits, rtol=0, atol=1e-11)
    if way == "training":
        for out in logits:
            (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
        for (name, one), (_, other) in zip(plain.named_parameters(), folded.named_parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, rtol=1e-9, atol=1e-9), name
        assert torch.allclose(plain.norm.running_mean, folded.norm.running_mean)
        assert torch.allclose(plain.norm.running_var, folded.norm.running_var)


def test_dropout_leaves_out_the_same_channels_in_both_forms():
    logits = []
    for form in ("plain", "folded"):
        torch.manual_seed(0)
        decoder = MlpDecoder((4, 6, 8), 16, 9, dropout=0.5, form=form).double().train()
        torch.manual_seed(5)
        logits.append(decoder(decoder_inputs(torch.float64)))

    assert torch.allclose(*logits, rtol=0, atol=1e-11)


def test_decoder_concatenates_the_coarsest_map_first():
    decoder = MlpDecoder((1, 1), 1, 1, dropout=0.0, form="plain").eval()
    with torch.no_grad():
        for linear in decoder.linears:
            linear.weight.fill_(1)
            linear.bias.zero_()
        decoder.fuse.weight.copy_(torch.tensor([100.0, 1.0]).reshape(1, 2, 1, 1))

    fine, coarse = torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 1, 1), 3.0)
    fused = decoder._fused_plain([fine, coarse])

    assert fused.unique().tolist() == [100 * 3 + 2]


def test_weights_begin_as_segformers_do():
    torch.manual_seed(0)
    linear, conv, norm = nn.Linear(200, 200), nn.Conv2d(8, 64, 3, groups=4), nn.LayerNorm(4)
    for module in (linear, conv, norm):
        initialise(module)

    assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(linear.weight.detach().abs().max()) < 2
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * 64 / 4)) ** 0.5, rel=0.1)
    assert norm.weight.tolist() == [1, 1, 1, 1]
    assert not linear.bias.any()
    assert conv.bias is not None
    assert not conv.bias.any()


def test_drop_path_rises_linearly_from_the_first_block_to_the_last():
    assert drop_path_rates((2, 1), 0.2) == [[0.0, 0.1], [0.2]]
    assert drop_path_rates((1,), 0.2) == [[0.0]]


def test_drop_path_leaves_out_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)

    out = drop.train()(x)

    assert sorted(set(out.flatten(1)[:, 0].tolist())) == pytest.approx([0, 4 / 3])
    assert float(out.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(drop.add(x, x), 2 * x)
    torch.manual_seed(3)
    left = drop.train()(x)
    torch.manual_seed(3)
    assert torch.allclose(drop.add(x, x), x + left)


def test_logits_are_stretched_over_510_px_or_cropped_from_512():
    logits = torch.randn(1, 2, 128, 128)

    resized, cropped = upsample(logits, (510, 510)), upsample(logits, (510, 510), "crop")

    whole = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    assert resized.shape == cropped.shape == (1, 2, 510, 510)
    assert torch.equal(cropped, whole[..., :510, :510])
    assert not torch.equal(resized, cropped)
