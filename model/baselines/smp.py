"""Any network of segmentation_models_pytorch (smp), as one of ours: an optional extra.

Source: Iakubovskii 2019, https://github.com/qubvel-org/segmentation_models.pytorch (MIT). Not in the paper; the rows
that its readers will miss. Counted with smp 0.6.0, 12 bands and 512 px (parameters, GFLOP by the paper's rule):

==================  =====================  =======  =====
architecture        encoder                M        G
==================  =====================  =======  =====
``unet``            ``resnet34``           24.466   67.10
``unet``            ``resnet50``           32.550   89.96
``unetplusplus``    ``resnet34``           26.108   151.90
``fpn``             ``resnet50``           26.145   66.54
``upernet``         ``tu-convnext_tiny``   37.060   153.47
==================  =====================  =======  =====

Always from scratch: no weights are downloaded, and initialisation is smp's and timm's own.

What smp does not promise, so this adapter cannot either:

- **A gradient for every parameter.** Some encoders keep layers that their decoder never asks for (``pspnet`` the two
  last stages, ``dpt`` the encoder's norm and classifier, EfficientNet its last convolution). They count as parameters
  and stay as they started; distributed training needs ``find_unused_parameters`` for them. ``unet`` on a ResNet has
  none.
- **Training on a single image.** ``deeplabv3``, ``deeplabv3plus``, ``pan`` and ``upernet`` normalise maps of one pixel
  an image and need two.
- **Any input size.** Encoders made for one size (``tu-swin_*`` and others) refuse tiles; those of ``dpt`` are set to
  resize their position table.
- **The meta device.** ``mit_*`` encoders cannot be built there. (Their code is under a licence that forbids commercial
  use; ``segformer`` of this package is free of it.)
- **Names of its weights.** They are smp's and timm's, and change with their versions.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from ...pipeline.errors import UsageError, in_brief
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.padding import run_padded

_TIMM = "tu-"
"""Prefix of encoders that smp takes from timm."""

_OPTIONS: dict[str, dict[str, Any]] = {"dpt": {"dynamic_img_size": True}}
"""What an architecture needs beyond its defaults: vision transformers are made for one input size otherwise."""

_DIVISIONS: dict[str, int] = {"dpt": 2, "pan": 8}
"""By how much a decoder divides the encoder's coarsest map further: DPT halves it once, PAN three times."""


@dataclass(frozen=True)
class SmpConfig:
    """Choices of the network; bands of both inputs are concatenated.

    Attributes:
        architecture: smp's name of the decoder, as ``unet`` or ``deeplabv3plus``.
        encoder: smp's name of the encoder, as ``resnet34``; ``tu-`` and a name of timm's for any of timm's.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    architecture: str = "unet"
    encoder: str = "resnet34"

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(f"smp needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}")


SMALL = SmpConfig(encoder="resnet18")
"""The smallest ResNet."""


class Smp(nn.Module):
    """A network of smp that takes two inputs of any size.

    Raises:
        UsageError: smp is not installed, a name is unknown, or architecture and encoder do not go together.
    """

    def __init__(self, config: SmpConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SmpConfig()
        self.network = _network(config)
        self.multiple = int(self.network.encoder.output_stride) * _DIVISIONS.get(config.architecture, 1)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0 -> logits (B, classes, H, W)."""
        return run_padded(self._logits, primary, auxiliary, multiple=self.multiple)

    def _logits(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        logits: Tensor = self.network(torch.cat([primary, auxiliary], dim=1))
        return logits


def _network(config: SmpConfig) -> Any:
    smp, timm = _library("segmentation_models_pytorch"), _library("timm")
    _check("architecture", config.architecture, list(smp.MODEL_ARCHITECTURES_MAPPING))
    encoders = [*smp.encoders.get_encoder_names(), *(_TIMM + name for name in timm.list_models())]
    _check("encoder", _untagged(config.encoder), encoders)
    try:
        network = smp.create_model(
            config.architecture,
            config.encoder,
            encoder_weights=None,
            in_channels=config.primary_bands + config.auxiliary_bands,
            classes=config.classes,
            **_OPTIONS.get(config.architecture, {}),
        )
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"smp cannot build {config.architecture} on {config.encoder}: {in_brief(error)}; choose another encoder"
        ) from error
    # smp makes the encoder's first convolution on the CPU, whatever the default device is.
    return network.to(torch.get_default_device())


def _library(name: str) -> Any:
    """An optional library; a torchvision that does not fit torch fails with a RuntimeError."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"networks of smp need {name}, which cannot be imported ({error}); run: pip install 'dwplus[models]'"
        ) from error


def _untagged(encoder: str) -> str:
    """A timm name without the tag of its weights: tu-resnet18.a1_in1k -> tu-resnet18."""
    return encoder.partition(".")[0] if encoder.startswith(_TIMM) else encoder


def _check(what: str, name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    close = get_close_matches(name, known, n=6, cutoff=0.5)
    some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    raise UsageError(
        f"smp has no {what} {name!r}; " + (f"close are {', '.join(close)}" if close else f"there are {some}")
    )
