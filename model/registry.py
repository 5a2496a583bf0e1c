"""The table of networks: name -> how to build it, what it takes, whose it is, which row of the paper it is.

To add a network: one file with a settings dataclass and an ``nn.Module`` whose ``forward(primary, auxiliary)`` gives
logits of the input's size, and one row here (another in ``SMALL_SETTINGS``). Names that are not listed but made:
``table4/ca-sa`` (rows of the paper's ablations, ``manifests/paper.toml``), ``smp/fpn/resnet50`` (any network of
segmentation-models-pytorch), ``cmx-small`` (a network with few channels) and ``my_module:build`` (a network from
outside, ``outside.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, Protocol

from torch import nn

from ..manifests import load_toml
from ..pipeline.errors import UsageError, in_brief
from ..pipeline.spec.bands import preset
from ..pipeline.spec.classes import DYNAMIC_WORLD
from .baselines import (
    cmnext,
    cmtfnet,
    cmx,
    deeplabv3plus,
    dynamic_world,
    ftransunet,
    multisenseseg,
    pspnet,
    segformer,
    smp,
    vit_adapter,
)
from .baselines.segformer import SegFormer, SegFormerConfig
from .blocks.mit import MIT_SIZES
from .config import from_mapping, to_mapping
from .outside import Outside, OutsideConfig, installed, names_a_function, of_entry_point, of_module
from .specsar_former import SMALL, SpecSarFormer, SpecSarFormerConfig


class NetworkConfig(Protocol):
    """What the settings of every network have: a frozen dataclass with the bands of both inputs and the classes."""

    @property
    def primary_bands(self) -> int: ...
    @property
    def auxiliary_bands(self) -> int: ...
    @property
    def classes(self) -> int: ...


@dataclass(frozen=True)
class ModelSpec:
    """One network.

    Attributes:
        network: class of the network, called with its settings.
        defaults: its settings.
        inputs: ``dual`` needs an auxiliary input, ``single`` concatenates and works without one.
        citation: whose network it is.
        paper: key of its row in Tables I to III (``manifests/paper.toml``); None where the paper has none.
        min_batch: samples that a training step needs on one device: 2 where a BatchNorm sees one value per sample.
        flops_per_mac: operations that the paper's row counts for a multiply-accumulate.
        primary, auxiliary: presets of the bands it is meant for; empty = no auxiliary input.
        note: what to know before its numbers are compared.
    """

    network: Callable[..., nn.Module]
    defaults: NetworkConfig
    inputs: Literal["dual", "single"]
    citation: str
    paper: str | None = None
    min_batch: int = 1
    flops_per_mac: Literal[1, 2] = 2
    primary: str = "ms10"
    auxiliary: str = "sar"
    note: str = ""


_SPECSAR = "Yu et al., SpecSAR-Former: A Lightweight Transformer-based Network for Global LULC Mapping"
_SEGFORMER = "Xie et al., SegFormer, NeurIPS 2021, arXiv 2105.15203"
_PSPNET = "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105"
_DEEPLAB = "Chen et al., DeepLabV3+, ECCV 2018, arXiv 1802.02611"
_CMTFNET = "Wu et al., CMTFNet, TGRS 2023, doi 10.1109/TGRS.2023.3314641"
_VIT_ADAPTER = "Chen et al., Vision Transformer Adapter, ICLR 2023, arXiv 2205.08534"
_MULTISENSESEG = "Wang et al., MultiSenseSeg, TGRS 2024, doi 10.1109/TGRS.2024.3390750"
_CMX = "Zhang et al., CMX, T-ITS 2023, arXiv 2203.04838"
_FTRANSUNET = "Ma et al., FTransUNet, TGRS 2024, doi 10.1109/TGRS.2024.3373033"
_CMNEXT = "Zhang et al., Delivering Arbitrary-Modal Semantic Segmentation (CMNeXt), CVPR 2023, arXiv 2303.01480"
_DYNAMIC_WORLD = "Brown et al., Dynamic World, Scientific Data 2022, doi 10.1038/s41597-022-01307-4"
_SMP = "Iakubovskii, Segmentation Models PyTorch, github.com/qubvel-org/segmentation_models.pytorch"

_VIT_ADAPTER_NOTE = (
    "official form (B, UPerNet 512); the paper's 179.35 M / 1978.31 G fit no configuration that was tried"
)
_CMTFNET_NOTE = "the paper counts one operation a multiply-accumulate in this row, two in all others: 69.86 as they do"
_FCN_NOTE = "trained from scratch; the paper's row is the published product, which is another thing"

MODELS: dict[str, ModelSpec] = {
    "specsar-former": ModelSpec(SpecSarFormer, SpecSarFormerConfig(), "dual", _SPECSAR, "specsar-former"),
    "specsar-former-small": ModelSpec(SpecSarFormer, SMALL, "dual", _SPECSAR),
    "segformer": ModelSpec(SegFormer, SegFormerConfig(), "single", _SEGFORMER, "segformer"),
    "segformer-small": ModelSpec(SegFormer, segformer.SMALL, "single", _SEGFORMER),
    "pspnet": ModelSpec(pspnet.PSPNet, pspnet.PSPNetConfig(), "single", _PSPNET, "pspnet", min_batch=2),
    "deeplabv3plus": ModelSpec(
        deeplabv3plus.DeepLabV3Plus,
        deeplabv3plus.DeepLabV3PlusConfig(),
        "single",
        _DEEPLAB,
        "deeplabv3plus",
        min_batch=2,
    ),
    "cmtfnet": ModelSpec(
        cmtfnet.CMTFNet,
        cmtfnet.CMTFNetConfig(),
        "single",
        _CMTFNET,
        "cmtfnet",
        flops_per_mac=1,
        note=_CMTFNET_NOTE,
    ),
    "vit-adapter": ModelSpec(
        vit_adapter.VitAdapter,
        vit_adapter.VitAdapterConfig(),
        "single",
        _VIT_ADAPTER,
        "vit-adapter",
        min_batch=2,
        note=_VIT_ADAPTER_NOTE,
    ),
    "multisenseseg": ModelSpec(
        multisenseseg.MultiSenseSeg,
        multisenseseg.MultiSenseSegConfig(),
        "dual",
        _MULTISENSESEG,
        "multisenseseg",
        min_batch=2,
    ),
    "cmx": ModelSpec(cmx.Cmx, cmx.CmxConfig(), "dual", _CMX, "cmx"),
    "ftransunet": ModelSpec(ftransunet.FTransUNet, ftransunet.FTransUNetConfig(), "dual", _FTRANSUNET, "ftransunet"),
    "cmnext": ModelSpec(cmnext.CmNext, cmnext.CmNextConfig(), "dual", _CMNEXT, "cmnext"),
    "dynamic-world-fcn": ModelSpec(
        dynamic_world.DynamicWorldNet, dynamic_world.DynamicWorldConfig(), "single", _DYNAMIC_WORLD, note=_FCN_NOTE
    ),
    "smp/unet/resnet34": ModelSpec(smp.Smp, smp.SmpConfig(), "single", _SMP),
    **{
        f"specsar-former-{name}": ModelSpec(
            SpecSarFormer,
            SpecSarFormerConfig(widths=size.widths, depths=size.depths, decoder_width=size.decoder_width),
            "dual",
            _SPECSAR,
            note="b2 is the paper's" if name == "b2" else "",
        )
        for name, size in MIT_SIZES.items()
    },
    **{
        f"segformer-{name}": ModelSpec(
            SegFormer,
            SegFormerConfig(widths=size.widths, depths=size.depths, decoder_width=size.decoder_width),
            "single",
            _SEGFORMER,
            note="b2 is the paper's" if name == "b2" else "",
        )
        for name, size in MIT_SIZES.items()
    },
}

SMALL_SETTINGS: dict[str, NetworkConfig] = {
    "specsar-former": SMALL,
    "segformer": segformer.SMALL,
    "pspnet": pspnet.SMALL,
    "deeplabv3plus": deeplabv3plus.SMALL,
    "cmtfnet": cmtfnet.SMALL,
    "vit-adapter": vit_adapter.SMALL,
    "multisenseseg": multisenseseg.SMALL,
    "cmx": cmx.SMALL,
    "ftransunet": ftransunet.SMALL,
    "cmnext": cmnext.SMALL,
    "dynamic-world-fcn": dynamic_world.SMALL,
    "smp/unet/resnet34": smp.SMALL,
}
"""Network -> settings of the same structure with few channels (``cmx-small``): to try a network on two cores."""


# --- names that are made ----------------------------------------------------------------------------------------------


def table_rows() -> dict[str, ModelSpec]:
    """Rows of the ablations by name: ``table4/ca-sa``, ``table5/rgb``, ``table6/3-1``."""
    paper = load_toml("paper")
    rows = {f"table4/{key}": _with_settings("specsar-former", row["model"]) for key, row in paper["table4"].items()}
    rows |= {f"table5/{key}": _with_bands(row) for key, row in paper["table5"].items()}
    splits = (row["model"] for row in paper["table6"].values())
    return rows | {"table6/" + "-".join(map(str, s["split"])): _with_settings("specsar-former", s) for s in splits}


def _with_settings(name: str, settings: Mapping[str, Any]) -> ModelSpec:
    return replace(MODELS[name], defaults=configure(name, **settings), paper=None)


def _with_bands(row: Mapping[str, str]) -> ModelSpec:
    """A row of Table V: a network on some of the bands."""
    bands = {name: len(preset(row[name])) if row[name] else 0 for name in ("primary", "auxiliary")}
    settings = configure(row["model"], bands["primary"], bands["auxiliary"])
    return replace(
        MODELS[row["model"]],
        defaults=settings,
        paper=None,
        primary=row["primary"],
        auxiliary=row["auxiliary"],
        note=row["title"],
    )


def _smp(name: str) -> ModelSpec:
    parts = name.split("/")
    if len(parts) != 3 or not all(parts):
        raise UsageError(f"unknown model {name!r}; write smp/ARCHITECTURE/ENCODER, for example smp/unet/resnet34")
    return replace(MODELS["smp/unet/resnet34"], defaults=smp.SmpConfig(architecture=parts[1], encoder=parts[2]))


def _from_outside(name: str, found: Any) -> ModelSpec:
    if isinstance(found, ModelSpec):
        return found
    note = "from outside dwplus"
    fewest = int(getattr(found, "min_batch", 1))
    return ModelSpec(Outside(found), OutsideConfig(), "dual", name, min_batch=fewest, note=note)


def installed_networks() -> dict[str, ModelSpec]:
    """Networks that installed packages offer, by name.

    Raises:
        UsageError: one cannot be imported.
    """
    return {name: _from_outside(name, of_entry_point(name)) for name in sorted(installed()) if name not in MODELS}


# --- settings of older versions ---------------------------------------------------------------------------------------


def older_form(name: str) -> dict[str, Any]:
    """Settings whose default has changed, or that were added, with the values that older versions built.

    A network's settings list them as ``OLDER_FORM``; empty for networks that never changed and for unknown names.
    """
    try:
        return dict(getattr(type(spec(name).defaults), "OLDER_FORM", {}))
    except UsageError:
        return {}


def completed(name: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings of a network; those that the version which recorded them did not have, as it built them."""
    return {**older_form(name), **recorded}


# --- the way in -------------------------------------------------------------------------------------------------------


def spec(name: str) -> ModelSpec:
    """Row of a network.

    Raises:
        UsageError: no network is called that; the message names those that are nearly, or all.
    """
    if name in MODELS:
        return MODELS[name]
    base = name.removesuffix("-small")
    if base != name and base in SMALL_SETTINGS:
        return replace(MODELS[base], defaults=SMALL_SETTINGS[base], paper=None, note="")
    if name.startswith("smp/"):
        return _smp(name)
    if names_a_function(name):
        return _from_outside(name, of_module(name))
    if name in installed():
        return _from_outside(name, of_entry_point(name))
    rows = table_rows() if name.startswith("table") else {}
    if name in rows:
        return rows[name]
    known = [*rows] if rows else [*MODELS]
    near = get_close_matches(name, known, n=3, cutoff=0.75)
    raise UsageError(
        f"unknown model {name!r}; {'did you mean' if near else 'choose one of'} {', '.join(near or known)}"
        f"{' (all: dwplus models)' if near else ''}"
    )


def configure(
    name: str,
    primary_bands: int | None = None,
    auxiliary_bands: int | None = None,
    *,
    labels: int = len(DYNAMIC_WORLD),
    **overrides: Any,
) -> NetworkConfig:
    """Settings of a network with some of them changed; bands that are not given are those of its row.

    Args:
        labels: how many classes the labels have: as many as the network gives logits for.

    Raises:
        UsageError: the name or an override is unknown, or the settings do not fit each other.
    """
    row = spec(name)
    given = {"primary_bands": primary_bands, "auxiliary_bands": auxiliary_bands}
    bands = {key: number for key, number in given.items() if number is not None}
    if isinstance(row.defaults, OutsideConfig) and overrides:
        overrides = {"options": overrides}
    settings: NetworkConfig = from_mapping(
        type(row.defaults),
        {**to_mapping(row.defaults), **bands, "classes": labels, **overrides},
        where=f"model {name!r}",
    )
    if settings.classes != labels:
        raise UsageError(f"model {name!r}: classes is {settings.classes}; it must be {labels}, as many as labels have")
    return settings


def build(
    name: str,
    primary_bands: int | None = None,
    auxiliary_bands: int | None = None,
    *,
    labels: int = len(DYNAMIC_WORLD),
    **overrides: Any,
) -> nn.Module:
    """A network with fresh weights; arguments and errors as of ``configure``."""
    return _network(name, configure(name, primary_bands, auxiliary_bands, labels=labels, **overrides))


def make_network(name: str, settings: Mapping[str, Any], *, where: str) -> nn.Module:
    """A network with fresh weights, of settings as a run keeps them.

    Raises:
        UsageError: the name or a setting is unknown, or the settings do not fit each other.
    """
    return _network(name, settings_of(name, settings, where=where))


def settings_of(name: str, recorded: Mapping[str, Any], *, where: str) -> NetworkConfig:
    """Settings of a network, as a run keeps them.

    Raises:
        UsageError: the name or a setting is unknown, or the settings do not fit each other.
    """
    settings: NetworkConfig = from_mapping(type(spec(name).defaults), recorded, where=where)
    return settings


def _network(name: str, settings: NetworkConfig) -> nn.Module:
    try:
        return spec(name).network(settings)
    except (ArithmeticError, AssertionError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"model {name!r}: these settings do not fit each other ({in_brief(error)})") from error
