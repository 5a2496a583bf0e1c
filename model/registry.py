"""The table of networks: name -> how to build it, what it takes, whose it is, which row of the paper it is.

To add a network: one file with a settings dataclass and an ``nn.Module`` whose ``forward(primary, auxiliary)`` gives
logits of the input's size, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import nn

from ..pipeline.errors import UsageError
from .baselines import segformer
from .baselines.segformer import SegFormer
from .config import from_mapping, to_mapping
from .specsar_former import SMALL, SpecSarFormer, SpecSarFormerConfig


class NetworkConfig(Protocol):
    """What every network's settings have: a frozen dataclass with the bands of both inputs."""

    @property
    def primary_bands(self) -> int: ...
    @property
    def auxiliary_bands(self) -> int: ...


@dataclass(frozen=True)
class ModelSpec:
    """One network.

    Attributes:
        network: class of the network, called with its settings.
        defaults: its settings.
        inputs: ``dual`` needs an auxiliary input, ``single`` concatenates and works without one.
        citation: whose network it is.
        paper: key of its row in ``manifests/paper.toml``; None where the paper has none.
    """

    network: Callable[..., nn.Module]
    defaults: NetworkConfig
    inputs: Literal["dual", "single"]
    citation: str
    paper: str | None = None


_SPECSAR = "Yu et al., SpecSAR-Former: A Lightweight Transformer-based Network for Global LULC Mapping"
_SEGFORMER = "Xie et al., SegFormer, NeurIPS 2021, arXiv 2105.15203"

MODELS: dict[str, ModelSpec] = {
    "specsar-former": ModelSpec(SpecSarFormer, SpecSarFormerConfig(), "dual", _SPECSAR, "specsar-former"),
    "specsar-former-small": ModelSpec(SpecSarFormer, SMALL, "dual", _SPECSAR),
    "segformer": ModelSpec(SegFormer, segformer.SegFormerConfig(), "single", _SEGFORMER, "segformer"),
    "segformer-small": ModelSpec(SegFormer, segformer.SMALL, "single", _SEGFORMER),
}


def spec(name: str) -> ModelSpec:
    """Row of a network.

    Raises:
        UsageError: no network is called that; the message lists those there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UsageError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}") from None


def configure(name: str, primary_bands: int = 10, auxiliary_bands: int = 2, **overrides: Any) -> NetworkConfig:
    """Settings of a network with some of them changed.

    Raises:
        UsageError: the name or an override is unknown, or the settings do not fit each other.
    """
    row = spec(name)
    bands = {"primary_bands": primary_bands, "auxiliary_bands": auxiliary_bands}
    settings: NetworkConfig = from_mapping(
        type(row.defaults), {**to_mapping(row.defaults), **bands, **overrides}, where=f"model {name!r}"
    )
    return settings


def build(name: str, primary_bands: int = 10, auxiliary_bands: int = 2, **overrides: Any) -> nn.Module:
    """A network with fresh weights; raises as ``configure``."""
    return spec(name).network(configure(name, primary_bands, auxiliary_bands, **overrides))
